//! A thin bridge over wasmtime: an engine with a pool of instance slots, modules linked once
//! against a table of C++ functions, and runs that C++ polls. It knows nothing of the cloud;
//! `src/vm/wasmtime` is its only user.

mod engine;
mod run;
mod ticker;

use engine::{Engine, Module};
use run::Run;

#[cxx::bridge(namespace = "tau::native::wasm")]
mod ffi {
    struct EngineSettings {
        /// Slots of the pool: runs at once, in the whole process.
        runs_max: u32,
        /// Compile the text format too (tests).
        accept_text: bool,
    }

    /// A function that guests may import. Types: one letter each, i = i32, I = i64, f = f32, F =
    /// f64.
    struct Import {
        module: String,
        name: String,
        parameters: String,
        result: String,
        /// Handed back to the dispatcher, which knows what it is.
        function: usize,
    }

    /// An exported function that takes one i32.
    struct Export {
        name: String,
        function: u32,
    }

    #[repr(u8)]
    enum Progress {
        /// The guest used up its slice; poll again.
        Yielded,
        Done,
        Failed,
    }

    #[repr(u8)]
    enum FailureKind {
        Trap,
        OutOfMemory,
        ExitCode,
        StartFailed,
        Overloaded,
    }

    struct Failure {
        kind: FailureKind,
        message: String,
        backtrace: String,
    }

    struct Times {
        instantiate_ns: u64,
        run_ns: u64,
    }

    extern "Rust" {
        type Engine;
        type Module;
        type Run;

        /// `dispatcher` is the address of an `extern "C"` function, see `engine::Dispatcher`.
        fn new_engine(
            settings: &EngineSettings,
            dispatcher: usize,
            imports: &[Import],
        ) -> Result<Box<Engine>>;
        fn compatibility(self: &Engine) -> String;
        fn resets_by_pagemap(self: &Engine) -> bool;
        /// The error names every cause, outermost first. `quick`: half the time for slower code.
        fn compile(self: &Engine, wasm: &[u8], quick: bool) -> Result<Box<Module>>;

        /// Machine code that `serialize` gave, of an engine with the same `compatibility`; another
        /// engine's is refused. Safety: it runs as this process, so it must come unchanged from
        /// somebody who is believed.
        unsafe fn load(self: &Engine, artefact: &[u8]) -> Result<Box<Module>>;

        fn serialize(self: &Module) -> Result<Vec<u8>>;
        fn exports(self: &Module) -> Vec<Export>;
        /// Does nothing yet; the first poll instantiates. `context` is handed to every host
        /// function of this run.
        fn start(
            self: &Module,
            function: u32,
            argument: u32,
            context: usize,
            memory_bytes_max: u64,
        ) -> Box<Run>;

        /// Runs the guest for at most one slice on this thread. Not to be called again after Done
        /// or Failed.
        fn poll(self: &mut Run) -> Progress;
        fn times(self: &Run) -> Times;
        fn failure(self: &Run) -> Failure;
    }
}

fn new_engine(
    settings: &ffi::EngineSettings,
    dispatcher: usize,
    imports: &[ffi::Import],
) -> Result<Box<Engine>, String> {
    Engine::new(settings, dispatcher, imports)
        .map(Box::new)
        .map_err(|e| run::with_causes(&e))
}

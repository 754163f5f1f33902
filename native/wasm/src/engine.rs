//! Engine and compiled modules.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use wasmtime::{
    CodeBuilder, Config, Enabled, ExternType, FuncType, InstanceAllocationStrategy, InstancePre,
    Linker, ModuleExport, OptLevel, PoolingAllocationConfig, RegallocAlgorithm, Result, Store,
    ValType, bail, format_err,
};

use crate::ffi;
use crate::run::{Exit, Run, RunData, with_causes};
use crate::ticker::Ticker;

/// Calls a C++ function: what it is, the run's context, the guest's memory, arguments as 64-bit
/// cells, the result's cell. Returns 0 = returned, 1 = the guest exits with the result as its code,
/// anything else = trap.
pub type Dispatcher =
    unsafe extern "C" fn(usize, usize, *mut u8, usize, *const u64, *mut u64) -> u8;

/// The largest signature of WASI preview 1 (path_open) has 9.
const PARAMETERS_MAX: usize = 16;
/// Entries of a guest's table. Standard Go's largest programs have some ten thousand.
const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Dirty memory below this is copied back page by page when a slot is reset, more is given back to
/// the kernel.
const MEMORY_KEEP_RESIDENT: usize = 1 << 20;
const TABLE_KEEP_RESIDENT: usize = 64 << 10;
/// A 32-bit guest can address no more.
const MEMORY_MAX: usize = 4 << 30;

pub struct Shared {
    pub engine: wasmtime::Engine,
    pub ticker: Ticker,
}

pub struct Engine {
    shared: Arc<Shared>,
    /// Compiles in half the time to code of twice the size, which `shared.engine` runs: neither
    /// the level of optimization nor the allocation of registers is part of what must agree.
    quick: wasmtime::Engine,
    linker: Linker<RunData>,
    accept_text: bool,
    pagemap: bool,
}

/// How the kernel tells dirty pages (PAGEMAP_SCAN, Linux 6.7). Only without swap: the scan sees
/// present pages, so a dirty page that was swapped out would keep one run's bytes for the next.
fn pagemap_scan_is_safe() -> bool {
    let no_swap =
        std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() <= 1);
    let Ok(file) = std::fs::File::open("/proc/self/pagemap") else {
        return false;
    };
    // struct pm_scan_arg of linux/fs.h, an empty range: only asks whether the call exists.
    let mut argument = [0u64; 12];
    argument[0] = std::mem::size_of_val(&argument) as u64;
    const PAGEMAP_SCAN: libc::c_ulong = 0xC060_6610;
    no_swap && unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, argument.as_mut_ptr()) } >= 0
}

fn configuration(runs_max: u32, pagemap: bool) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(runs_max)
        .total_memories(runs_max)
        .total_tables(runs_max)
        .total_stacks(runs_max)
        .max_memory_size(MEMORY_MAX)
        .table_elements(TABLE_ELEMENTS_MAX);
    if pagemap {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
            .table_keep_resident(TABLE_KEEP_RESIDENT);
    }
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .memory_init_cow(true)
        .table_lazy_init(true)
        .async_stack_zeroing(false)
        .concurrency_support(false)
        // One 32-bit memory, no threads: what the guest ABI's pointers can mean.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_threads(false);
    config
}

fn value_type(letter: u8) -> Result<ValType> {
    Ok(match letter {
        b'i' => ValType::I32,
        b'I' => ValType::I64,
        b'f' => ValType::F32,
        b'F' => ValType::F64,
        _ => bail!("unknown value type '{}'", letter as char),
    })
}

fn define(linker: &mut Linker<RunData>, dispatch: Dispatcher, import: &ffi::Import) -> Result<()> {
    let parameters = import
        .parameters
        .as_bytes()
        .iter()
        .map(|l| value_type(*l))
        .collect::<Result<Vec<_>>>()?;
    let results = import
        .result
        .as_bytes()
        .iter()
        .map(|l| value_type(*l))
        .collect::<Result<Vec<_>>>()?;
    if parameters.len() > PARAMETERS_MAX || results.len() > 1 {
        bail!(
            "{}.{} has more than {PARAMETERS_MAX} parameters or one result",
            import.module,
            import.name
        );
    }
    let mut wide = [false; PARAMETERS_MAX];
    for (slot, letter) in wide.iter_mut().zip(import.parameters.bytes()) {
        *slot = letter.is_ascii_uppercase();
    }
    let count = parameters.len();
    let result_letter = import.result.bytes().next();
    let function = import.function;
    let what = format!("{}.{} stopped the guest", import.module, import.name);
    let ty = FuncType::new(linker.engine(), parameters, results);
    // Sound: the cells are read and written by the types of `ty`, and the dispatcher keeps no
    // pointer.
    unsafe {
        linker.func_new_unchecked(
            &import.module,
            &import.name,
            ty,
            move |mut caller, cells| {
                let mut arguments = [0u64; PARAMETERS_MAX];
                for i in 0..count {
                    let cell = cells[i].assume_init_ref();
                    arguments[i] = if wide[i] {
                        cell.get_u64()
                    } else {
                        u64::from(cell.get_u32())
                    };
                }
                let (memory, context) = (caller.data().memory, caller.data().context);
                let (at, length) = match memory {
                    Some(memory) => {
                        let bytes = memory.data_mut(&mut caller);
                        (bytes.as_mut_ptr(), bytes.len())
                    }
                    None => (std::ptr::null_mut(), 0),
                };
                let mut result = 0u64;
                match dispatch(
                    function,
                    context,
                    at,
                    length,
                    arguments.as_ptr(),
                    &mut result,
                ) {
                    0 => {}
                    1 => return Err(Exit(result as i32).into()),
                    _ => bail!("{what}"),
                }
                if let Some(letter) = result_letter {
                    cells[0].write(match letter {
                        b'i' => wasmtime::ValRaw::u32(result as u32),
                        b'I' => wasmtime::ValRaw::u64(result),
                        b'f' => wasmtime::ValRaw::f32(result as u32),
                        _ => wasmtime::ValRaw::f64(result),
                    });
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}

impl Engine {
    pub fn new(
        settings: &ffi::EngineSettings,
        dispatcher: usize,
        imports: &[ffi::Import],
    ) -> Result<Engine> {
        // C++ passes the address of its dispatcher as a number, because cxx has no type for it.
        let dispatch: Dispatcher = unsafe { std::mem::transmute(dispatcher) };
        let pagemap = pagemap_scan_is_safe();
        let engine = wasmtime::Engine::new(&configuration(settings.runs_max, pagemap))?;
        let mut hasty = configuration(1, pagemap);
        hasty
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
        let quick = wasmtime::Engine::new(&hasty)?;
        let mut linker = Linker::new(&engine);
        for import in imports {
            define(&mut linker, dispatch, import)?;
        }
        let ticker = Ticker::new(engine.clone())?;
        Ok(Engine {
            shared: Arc::new(Shared { engine, ticker }),
            quick,
            linker,
            accept_text: settings.accept_text,
            pagemap,
        })
    }

    pub fn resets_by_pagemap(&self) -> bool {
        self.pagemap
    }

    pub fn compatibility(&self) -> String {
        use std::hash::{Hash, Hasher};
        let mut hasher = std::hash::DefaultHasher::new();
        self.shared
            .engine
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        format!("wasmtime-48.0.8-{:016x}", hasher.finish())
    }

    pub fn compile(&self, wasm: &[u8], quick: bool) -> std::result::Result<Box<Module>, String> {
        self.compile_module(wasm, quick)
            .and_then(|module| self.link(module))
            .map(Box::new)
            .map_err(|e| with_causes(&e))
    }

    fn compile_module(&self, wasm: &[u8], quick: bool) -> Result<wasmtime::Module> {
        let engine = &self.shared.engine;
        let mut builder = CodeBuilder::new(if quick { &self.quick } else { engine });
        if self.accept_text {
            builder.wasm_binary_or_text(wasm, None)?;
        } else {
            builder.wasm_binary(wasm, None)?;
        }
        if !quick {
            return builder.compile_module();
        }
        // Sound: these bytes were compiled here, a moment ago.
        unsafe { wasmtime::Module::deserialize(engine, builder.compile_module_serialized()?) }
    }

    /// # Safety
    /// `artefact` is machine code that will run as this process: unchanged output of
    /// `Module::serialize` by somebody who is believed.
    pub unsafe fn load(&self, artefact: &[u8]) -> std::result::Result<Box<Module>, String> {
        unsafe { wasmtime::Module::deserialize(&self.shared.engine, artefact) }
            .and_then(|module| self.link(module))
            .map(Box::new)
            .map_err(|e| with_causes(&e))
    }

    fn link(&self, module: wasmtime::Module) -> Result<Module> {
        self.check_imports(&module)?;
        let pre = self.linker.instantiate_pre(&module)?;
        Ok(Module(Arc::new(Compiled::new(
            self.shared.clone(),
            module,
            pre,
        )?)))
    }

    /// All that is missing at once, by name; instantiate_pre would stop at the first.
    fn check_imports(&self, module: &wasmtime::Module) -> Result<()> {
        const NAMED_MAX: usize = 20;
        let mut store = Store::new(&self.shared.engine, RunData::new(0, 0));
        let mut missing = Vec::new();
        for import in module.imports() {
            if self.linker.get_by_import(&mut store, &import).is_none() {
                missing.push(format!("{}.{}", import.module(), import.name()));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let more = missing.len().saturating_sub(NAMED_MAX);
        missing.truncate(NAMED_MAX);
        let tail = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Err(format_err!(
            "the module imports what is not offered here: {}{tail}",
            missing.join(", ")
        ))
    }
}

pub struct Entry {
    pub name: String,
    pub export: ModuleExport,
    pub returns: bool,
}

/// What runs before the exported function. A module exports at most one of the two.
pub enum Start {
    Nothing,
    Initialize(ModuleExport),
    Command(ModuleExport),
}

/// Immutable and shared by its runs. Export indices are looked up here, once.
pub struct Compiled {
    pub shared: Arc<Shared>,
    pub pre: InstancePre<RunData>,
    pub memory: Option<ModuleExport>,
    pub start: Start,
    pub entries: Vec<Entry>,
}

impl Compiled {
    fn new(
        shared: Arc<Shared>,
        module: wasmtime::Module,
        pre: InstancePre<RunData>,
    ) -> Result<Compiled> {
        let index = |name: &str| module.get_export_index(name);
        let takes_nothing = |name: &str| {
            matches!(module.get_export(name), Some(ExternType::Func(ty))
                if ty.params().len() == 0 && ty.results().len() == 0)
        };
        let start = if takes_nothing("_initialize") {
            Start::Initialize(index("_initialize").unwrap())
        } else if takes_nothing("_start") {
            Start::Command(index("_start").unwrap())
        } else {
            Start::Nothing
        };
        let memory = match module.get_export("memory") {
            Some(ExternType::Memory(_)) => index("memory"),
            _ => None,
        };
        let mut entries = Vec::new();
        for export in module.exports() {
            let ExternType::Func(ty) = export.ty() else {
                continue;
            };
            let takes_event = ty.params().len() == 1 && matches!(ty.param(0), Some(ValType::I32));
            let returns = ty.results().len() == 1 && matches!(ty.result(0), Some(ValType::I32));
            if takes_event && (returns || ty.results().len() == 0) {
                let name = export.name().to_string();
                entries.push(Entry {
                    export: index(&name).unwrap(),
                    name,
                    returns,
                });
            }
        }
        Ok(Compiled {
            shared,
            pre,
            memory,
            start,
            entries,
        })
    }
}

pub struct Module(Arc<Compiled>);

impl Module {
    /// What `Engine::load` takes, of an engine with the same `compatibility`.
    pub fn serialize(&self) -> std::result::Result<Vec<u8>, String> {
        let serialized = self.0.pre.module().serialize();
        serialized.map_err(|e| with_causes(&e))
    }

    pub fn exports(&self) -> Vec<ffi::Export> {
        let entries = self.0.entries.iter().enumerate();
        entries
            .map(|(i, e)| ffi::Export {
                name: e.name.clone(),
                function: i as u32,
            })
            .collect()
    }

    pub fn start(
        &self,
        function: u32,
        argument: u32,
        context: usize,
        memory_bytes_max: u64,
    ) -> Box<Run> {
        Run::new(
            self.0.clone(),
            function as usize,
            argument,
            context,
            memory_bytes_max as usize,
        )
    }
}

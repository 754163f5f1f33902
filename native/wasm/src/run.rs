//! One run: a fresh store and instance on a fiber, polled by C++. Dropping it frees all of the
//! instance.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use wasmtime::{
    Error, Memory, PoolConcurrencyLimitError, ResourceLimiter, Result, Store, TypedFunc,
    WasmBacktrace,
};

use crate::engine::{Compiled, Start};
use crate::ffi::{Failure, FailureKind, Progress, Times};

/// Names in a module are as long as its author likes; a log line is not.
const MESSAGE_BYTES_MAX: usize = 1 << 10;
const BACKTRACE_BYTES_MAX: usize = 8 << 10;

/// The guest called proc_exit.
#[derive(Debug)]
pub struct Exit(pub i32);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the guest exited with code {}", self.0)
    }
}

impl std::error::Error for Exit {}

pub struct RunData {
    pub context: usize,
    pub memory: Option<Memory>,
    memory_bytes_max: usize,
    refused_bytes: usize,
}

impl RunData {
    pub fn new(context: usize, memory_bytes_max: usize) -> RunData {
        RunData {
            context,
            memory: None,
            memory_bytes_max,
            refused_bytes: 0,
        }
    }
}

impl ResourceLimiter for RunData {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        if desired <= self.memory_bytes_max {
            return Ok(true);
        }
        self.refused_bytes = desired;
        Ok(false)
    }

    // The pool bounds tables itself.
    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(true)
    }
}

enum Phase {
    Instantiate,
    Start,
    Call,
}

type Outcome = std::result::Result<Times, Failure>;

pub struct Run {
    module: Arc<Compiled>,
    future: Option<Pin<Box<dyn Future<Output = Outcome>>>>,
    outcome: Option<Outcome>,
}

impl Run {
    pub fn new(
        module: Arc<Compiled>,
        function: usize,
        argument: u32,
        context: usize,
        memory_bytes_max: usize,
    ) -> Box<Run> {
        let future = Box::pin(whole_run(
            module.clone(),
            function,
            argument,
            context,
            memory_bytes_max,
        ));
        Box::new(Run {
            module,
            future: Some(future),
            outcome: None,
        })
    }

    /// The only reason to suspend is the epoch, after which the guest is ready again: there is
    /// nothing to be woken by.
    pub fn poll(&mut self) -> Progress {
        let Some(future) = self.future.as_mut() else {
            return Progress::Failed;
        };
        self.module.shared.ticker.guest_runs();
        let Poll::Ready(outcome) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        else {
            return Progress::Yielded;
        };
        let progress = if outcome.is_ok() {
            Progress::Done
        } else {
            Progress::Failed
        };
        self.future = None;
        self.outcome = Some(outcome);
        progress
    }

    pub fn times(&self) -> Times {
        match &self.outcome {
            Some(Ok(times)) => Times { ..*times },
            _ => Times {
                instantiate_ns: 0,
                run_ns: 0,
            },
        }
    }

    pub fn failure(&self) -> Failure {
        match &self.outcome {
            Some(Err(failure)) => Failure {
                kind: failure.kind,
                message: failure.message.clone(),
                backtrace: failure.backtrace.clone(),
            },
            _ => Failure {
                kind: FailureKind::Trap,
                message: String::new(),
                backtrace: String::new(),
            },
        }
    }
}

async fn whole_run(
    module: Arc<Compiled>,
    function: usize,
    argument: u32,
    context: usize,
    memory_bytes_max: usize,
) -> Outcome {
    let begun = Instant::now();
    let mut store = Store::new(
        &module.shared.engine,
        RunData::new(context, memory_bytes_max),
    );
    store.limiter(|data| data);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let mut phase = Phase::Instantiate;
    match in_store(&module, &mut store, function, argument, &mut phase).await {
        Ok(ready) => Ok(Times {
            instantiate_ns: (ready - begun).as_nanos() as u64,
            run_ns: ready.elapsed().as_nanos() as u64,
        }),
        Err(error) => Err(describe(error, store.data(), phase)),
    }
}

/// Gives the time at which the instance was ready for the call.
async fn in_store(
    module: &Compiled,
    store: &mut Store<RunData>,
    function: usize,
    argument: u32,
    phase: &mut Phase,
) -> Result<Instant> {
    let instance = module.pre.instantiate_async(&mut *store).await?;
    if let Some(export) = &module.memory {
        store.data_mut().memory = instance
            .get_module_export(&mut *store, export)
            .and_then(|e| e.into_memory());
    }
    // The types of all functions were checked when the module was compiled.
    if let Start::Initialize(export) | Start::Command(export) = &module.start {
        *phase = Phase::Start;
        let start = instance
            .get_module_export(&mut *store, export)
            .and_then(|e| e.into_func())
            .unwrap();
        let start = unsafe { TypedFunc::<(), ()>::new_unchecked(&*store, start) };
        match start.call_async(&mut *store, ()).await {
            Err(error) if !returned(&error) => return Err(error),
            _ => {}
        }
    }
    *phase = Phase::Call;
    let ready = Instant::now();
    let entry = &module.entries[function];
    let call = instance
        .get_module_export(&mut *store, &entry.export)
        .and_then(|e| e.into_func())
        .unwrap();
    let result = if entry.returns {
        let call = unsafe { TypedFunc::<u32, u32>::new_unchecked(&*store, call) };
        call.call_async(&mut *store, argument).await.map(|_| ())
    } else {
        let call = unsafe { TypedFunc::<u32, ()>::new_unchecked(&*store, call) };
        call.call_async(&mut *store, argument).await
    };
    match result {
        Err(error) if !returned(&error) => Err(error),
        _ => Ok(ready),
    }
}

/// proc_exit(0) is how a command returns.
fn returned(error: &Error) -> bool {
    matches!(error.downcast_ref::<Exit>(), Some(Exit(0)))
}

fn describe(error: Error, data: &RunData, phase: Phase) -> Failure {
    let mut message = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let exited = error.is::<Exit>();
    let kind = if error.is::<PoolConcurrencyLimitError>() {
        message = format!("no free slot for another guest: {message}");
        FailureKind::Overloaded
    } else if data.refused_bytes > 0 && !exited {
        message = format!(
            "the guest needs {} bytes of memory, its limit is {}: {message}",
            data.refused_bytes, data.memory_bytes_max
        );
        FailureKind::OutOfMemory
    } else if matches!(phase, Phase::Instantiate | Phase::Start) {
        FailureKind::StartFailed
    } else if exited {
        FailureKind::ExitCode
    } else {
        FailureKind::Trap
    };
    let backtrace = match error.downcast_ref::<WasmBacktrace>() {
        Some(trace) => trace
            .to_string()
            .lines()
            .skip(1)
            .map(frame)
            .collect::<Vec<_>>()
            .join("\n"),
        None => String::new(),
    };
    Failure {
        kind,
        message: cut(message, MESSAGE_BYTES_MAX),
        backtrace: cut(backtrace, BACKTRACE_BYTES_MAX),
    }
}

/// "    0:   0x1f - <unknown>!f" without what says nothing.
fn frame(line: &str) -> String {
    line.trim().replace("<unknown>!", "")
}

/// "outermost: inner: root", bounded.
pub fn with_causes(error: &Error) -> String {
    cut(format!("{error:#}"), MESSAGE_BYTES_MAX)
}

fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max)
            .rev()
            .find(|i| text.is_char_boundary(*i))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

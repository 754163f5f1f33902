//! Advances the engine's epoch, so that busy guests yield: every millisecond while guests run,
//! seldom otherwise.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A guest's slice: with two endless loops beside it, a short request still waits about one of
/// these.
const TICK: Duration = Duration::from_millis(1);
/// Ticks without a poll before the pace slows down: a second, so that steady traffic never pays a
/// wake-up.
const IDLE_TICKS: u32 = 1000;
/// The slow pace is not a full stop: a guest that was polled just before the pace changed still
/// yields.
const IDLE_TICK: Duration = Duration::from_millis(100);

struct State {
    active: AtomicBool,
    slow: AtomicBool,
    stopping: Mutex<bool>,
    wake: Condvar,
}

pub struct Ticker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub fn new(engine: wasmtime::Engine) -> std::io::Result<Ticker> {
        let state = Arc::new(State {
            active: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            stopping: Mutex::new(false),
            wake: Condvar::new(),
        });
        let mine = state.clone();
        let thread = std::thread::Builder::new()
            .name("wasm-epoch".into())
            .spawn(move || {
                let mut idle = 0;
                let mut stopping = mine.stopping.lock().unwrap();
                while !*stopping {
                    idle = if mine.active.swap(false, SeqCst) {
                        0
                    } else {
                        idle + 1
                    };
                    let mut pace = TICK;
                    if idle >= IDLE_TICKS {
                        idle = IDLE_TICKS;
                        mine.slow.store(true, SeqCst);
                        // A poll sets `active` before it looks at `slow`: one of the two sides sees
                        // the other.
                        if !mine.active.load(SeqCst) {
                            pace = IDLE_TICK;
                        }
                    }
                    stopping = mine.wake.wait_timeout(stopping, pace).unwrap().0;
                    mine.slow.store(false, SeqCst);
                    engine.increment_epoch();
                }
            })?;
        Ok(Ticker {
            state,
            thread: Some(thread),
        })
    }

    /// Called at every poll; touches shared memory only once a tick.
    #[inline]
    pub fn guest_runs(&self) {
        if self.state.active.load(Relaxed) {
            return;
        }
        self.state.active.store(true, SeqCst);
        if self.state.slow.load(SeqCst) {
            let _guard = self.state.stopping.lock().unwrap();
            self.state.wake.notify_one();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.state.stopping.lock().unwrap() = true;
        self.state.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

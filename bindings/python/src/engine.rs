//! Where a cluster or a connection runs, and how Python waits for it: without the interpreter lock, and so that Ctrl-C,
//! a fork and a close in another thread are noticed.

use std::{
    cell::Cell,
    future::Future,
    mem, process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use event_listener::Event;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::{Condvar, Mutex, RwLock};
use pyo3::{PyErr, PyResult, Python, exceptions::PyRuntimeError};
use tokio::runtime::{Builder, Runtime};
use windlass::{
    kernel::{Clock, ClockExt, Error, ErrorKind, Result, Spawn, Stop},
    rim::{SystemClock, SystemEntropy, TokioSpawn},
    testing::Rim,
    testkit::sim::{Executor, Limits},
};

use crate::{
    guest,
    raise::{closed, forked, lost, raise},
};

/// How long Python waits before it looks for signals.
const TURN: Duration = Duration::from_millis(50);
/// How long the end of a runtime is waited for; what is still busy then ends with the process.
const END: Duration = Duration::from_secs(5);

/// How long threads of functions that were killed are waited for: an interpreter that ends meanwhile would tear them up.
const KILL: Duration = Duration::from_secs(1);

/// The threads of functions.
#[derive(Debug, Default)]
struct Functions {
    running: Mutex<usize>,
    ends: Condvar,
}

/// The thread of a function, until it is dropped at its end.
pub(crate) struct Function(Arc<Functions>);

impl Drop for Function {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ends.notify_all();
    }
}

/// What tasks run on.
#[derive(Debug)]
enum Machine {
    /// Threads, in the machine's time. Whoever waits holds it for reading, so that closing waits for the waiting to end.
    Threads(RwLock<Option<Runtime>>),
    /// Whoever waits, in virtual time: one at a time.
    Waiters(Mutex<Option<Executor>>),
}

/// What a cluster or connection runs on, until it is closed.
#[derive(Debug)]
pub(crate) struct Engine {
    machine: Machine,
    rim: Rim,
    seed: Option<u64>,
    stop: Stop,
    process: u32,
    functions: Arc<Functions>,
    // How many calls that were started have ended.
    ended: AtomicU64,
    ends: Event,
    // What a signal's handler raised while the interpreter was not asked.
    raised: Mutex<Option<PyErr>>,
}

enum Turn<T> {
    Done(T),
    Again,
    Closed,
}

thread_local! {
    /// Whether this thread is where tasks run: nobody may wait here.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as one where tasks run, until it is dropped.
pub(crate) struct Within(bool);

impl Within {
    pub(crate) fn enter() -> Self {
        Self(WITHIN.replace(true))
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.set(self.0);
    }
}

impl Engine {
    /// Starts threads.
    pub(crate) fn start() -> Result<Arc<Self>> {
        Self::start_at(Arc::new(SystemClock::new()))
    }

    fn start_at(clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("windlass")
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Unavailable, "cannot start threads").with_source(error))?;
        let spawn = Arc::new(TokioSpawn::on(runtime.handle().clone()));
        let rim = Rim { clock, spawn, entropy: Arc::new(SystemEntropy) };
        Ok(Self::new(Machine::Threads(RwLock::new(Some(runtime))), rim, None))
    }

    /// Begins virtual time.
    pub(crate) fn virtual_time(seed: u64, uptime: Duration) -> Arc<Self> {
        let limits = Limits { steps_at_one_instant: 500_000_000, steps: u64::MAX, uptime: Duration::MAX };
        let executor = Executor::beginning_at(seed, limits, uptime);
        let rim = Rim::of(&executor.handle());
        Self::new(Machine::Waiters(Mutex::new(Some(executor))), rim, Some(seed))
    }

    fn new(machine: Machine, rim: Rim, seed: Option<u64>) -> Arc<Self> {
        let (stop, process) = (Stop::new(), process::id());
        let (ended, ends, raised) = (AtomicU64::new(0), Event::new(), Mutex::new(None));
        Arc::new(Self { machine, rim, seed, stop, process, functions: Arc::default(), ended, ends, raised })
    }

    /// An engine whose time goes on from this one's. In virtual time its seed comes from the history so far, or is given.
    pub(crate) fn fork(&self, seed: Option<u64>) -> Result<Arc<Self>> {
        match &self.machine {
            Machine::Threads(_) => Self::start_at(Arc::clone(&self.rim.clock)),
            Machine::Waiters(executor) => {
                let executor = executor.lock();
                let executor = executor.as_ref().ok_or_else(lost)?;
                let derived =
                    (executor.seed() ^ executor.trace_hash()).rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Ok(Self::virtual_time(seed.unwrap_or(derived), self.rim.clock.uptime()))
            }
        }
    }

    /// Whether time is virtual.
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self.machine, Machine::Waiters(_))
    }

    /// The seed, in virtual time.
    pub(crate) fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// A hash of all that ran so far, in virtual time.
    pub(crate) fn history(&self) -> Option<u64> {
        let Machine::Waiters(executor) = &self.machine else { return None };
        executor.lock().as_ref().map(Executor::trace_hash)
    }

    /// The time, tasks and randomness.
    pub(crate) fn rim(&self) -> &Rim {
        &self.rim
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.rim.clock
    }

    pub(crate) fn spawn(&self) -> &Arc<dyn Spawn> {
        &self.rim.spawn
    }

    /// Heard by everyone who waits when the engine is closed.
    pub(crate) fn stopping(&self) -> &Stop {
        &self.stop
    }

    /// Refuses a child of the process that started the threads, and everyone after the close.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        if process::id() != self.process {
            return Err(forked(py));
        }
        if self.stop.stopped() { Err(closed(py)) } else { Ok(()) }
    }

    /// Waits for `work` without the interpreter lock. A signal whose handler raises drops the work.
    pub(crate) fn wait<T: Send>(&self, py: Python<'_>, work: &mut BoxFuture<'static, T>) -> PyResult<T> {
        self.check(py)?;
        self.outside()?;
        if let Machine::Waiters(executor) = &self.machine {
            return py.detach(|| self.run(executor, work));
        }
        loop {
            match py.detach(|| self.turn(work)) {
                Turn::Done(done) => return Ok(done),
                Turn::Again => py.check_signals()?,
                Turn::Closed => return Err(closed(py)),
            }
        }
    }

    /// Does work that waits for nothing, without a trace in the history of virtual time.
    pub(crate) fn look<T: Send>(&self, py: Python<'_>, mut work: BoxFuture<'static, T>) -> PyResult<T> {
        self.check(py)?;
        self.outside()?;
        if let Machine::Waiters(executor) = &self.machine {
            let done = py.detach(|| {
                let _held = executor.lock();
                (&mut work).now_or_never()
            });
            if let Some(done) = done {
                return Ok(done);
            }
        }
        self.wait(py, &mut work)
    }

    /// Refuses threads for which the cluster waits: they would wait for themselves.
    pub(crate) fn outside(&self) -> PyResult<()> {
        if WITHIN.get() {
            return Err(PyRuntimeError::new_err(
                "a cluster cannot be asked from within its own work: a filter, score or admission sees only what it is handed",
            ));
        }
        if self.is_virtual() && guest::works_for(self) {
            return Err(PyRuntimeError::new_err("a function can ask its cluster, but not stop, fork or compare it"));
        }
        Ok(())
    }

    /// Runs everything in virtual time until `work` is done.
    fn run<T: Send>(&self, executor: &Mutex<Option<Executor>>, work: &mut BoxFuture<'static, T>) -> PyResult<T> {
        let held = loop {
            if let Some(held) = executor.try_lock_for(TURN) {
                break held;
            }
            Python::attach(|py| py.check_signals())?;
        };
        let Some(executor) = &*held else { return Err(Python::attach(closed)) };
        let machine = SystemClock::new();
        let mut looked = Duration::ZERO;
        let within = Within::enter();
        let done = executor.run_while(self.stop.race(work), || {
            if machine.uptime() - looked > TURN {
                looked = machine.uptime();
                self.look_for_signals();
            }
            self.raised.lock().is_none()
        });
        drop(within);
        match done {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(Python::attach(closed)),
            Err(halt) => Err(self.raised.lock().take().unwrap_or_else(|| {
                let error = Error::new(ErrorKind::Unavailable, format!("cannot wait for this: {halt}"));
                Python::attach(|py| raise(py, &error))
            })),
        }
    }

    /// Runs the handlers of signals; what they raise ends the wait of whoever waits. Whether one did.
    pub(crate) fn look_for_signals(&self) -> bool {
        if let Err(error) = Python::attach(|py| py.check_signals()) {
            *self.raised.lock() = Some(error);
        }
        self.raised.lock().is_some()
    }

    /// Tells that a thread begins to run a function.
    pub(crate) fn function_begins(&self) -> Function {
        *self.functions.running.lock() += 1;
        Function(Arc::clone(&self.functions))
    }

    /// Waits for the functions that were killed.
    fn bury(&self) {
        let mut running = self.functions.running.lock();
        while *running > 0 {
            if self.functions.ends.wait_for(&mut running, KILL).timed_out() {
                // It is in some call that nothing interrupts.
                return;
            }
        }
    }

    /// Tells that a call which was started has ended.
    pub(crate) fn call_ended(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.ends.notify(usize::MAX);
    }

    /// Runs until any call ends that was started.
    pub(crate) fn until_a_call_ends(self: &Arc<Self>) -> BoxFuture<'static, ()> {
        let (own, before) = (Arc::clone(self), self.ended.load(Ordering::SeqCst));
        Box::pin(async move {
            loop {
                let listener = own.ends.listen();
                if own.ended.load(Ordering::SeqCst) != before {
                    return;
                }
                listener.await;
            }
        })
    }

    fn turn<T: Send>(&self, work: &mut BoxFuture<'static, T>) -> Turn<T> {
        let Machine::Threads(runtime) = &self.machine else { return Turn::Closed };
        let runtime = runtime.read();
        let Some(runtime) = &*runtime else { return Turn::Closed };
        match runtime.block_on(self.rim.clock.within(TURN, self.stop.race(work))) {
            Some(Some(done)) => Turn::Done(done),
            Some(None) => Turn::Closed,
            None => Turn::Again,
        }
    }

    /// Ends everything, on threads after having run `last`; whether it did. Only the first call does anything.
    pub(crate) fn close(&self, py: Python<'_>, last: impl Future<Output = ()> + Send) -> bool {
        if process::id() != self.process || self.stop.stopped() {
            return false;
        }
        self.stop.stop();
        if WITHIN.get() || guest::works_for(self) {
            // It cannot wait for its own end: whoever waits for the cluster hears of it, and the rest goes with its owner.
            return false;
        }
        py.detach(|| {
            match &self.machine {
                Machine::Threads(runtime) => {
                    let Some(runtime) = runtime.write().take() else { return };
                    runtime.block_on(last);
                    runtime.shutdown_timeout(END);
                }
                Machine::Waiters(executor) => {
                    let Some(executor) = executor.lock().take() else { return };
                    let _within = Within::enter();
                    // Nobody outside waits for what its tasks would still do: they end where they are.
                    drop(executor);
                }
            }
            self.bury();
        });
        true
    }

    /// Whether this process started it, and not one that it was forked from.
    pub(crate) fn is_own(&self) -> bool {
        process::id() == self.process
    }

    /// Ends everything at once, where nobody is left who could ask for it.
    pub(crate) fn abandon(&self) {
        self.stop.stop();
        let runtime = match &self.machine {
            Machine::Threads(runtime) => runtime.try_write().and_then(|mut runtime| runtime.take()),
            Machine::Waiters(executor) => {
                let executor = executor.try_lock().and_then(|mut executor| executor.take());
                return drop(executor);
            }
        };
        let Some(runtime) = runtime else { return };
        if process::id() == self.process {
            // Its threads may wait for the interpreter lock that this one holds.
            runtime.shutdown_background();
        } else {
            // The threads stayed in the parent.
            mem::forget(runtime);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.abandon();
    }
}

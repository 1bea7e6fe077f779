//! Where a cluster or a connection runs, and how Python waits for it: without the interpreter lock, and so that Ctrl-C,
//! a fork and a close in another thread are noticed.

use std::{future::Future, mem, process, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parking_lot::RwLock;
use pyo3::{PyResult, Python};
use tokio::runtime::{Builder, Runtime};
use windlass::{
    kernel::{Clock, ClockExt, Error, ErrorKind, Result, Spawn, Stop},
    rim::{SystemClock, TokioSpawn},
};

use crate::raise::{closed, forked};

/// How long Python waits before it looks for signals.
const TURN: Duration = Duration::from_millis(50);
/// How long the end of a runtime is waited for; what is still busy then ends with the process.
const END: Duration = Duration::from_secs(5);

/// A runtime with its clock, until it is closed.
#[derive(Debug)]
pub(crate) struct Engine {
    // Whoever waits holds it for reading, so that closing waits for the waiting to end.
    runtime: RwLock<Option<Runtime>>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    stop: Stop,
    process: u32,
}

enum Turn<T> {
    Done(T),
    Again,
    Closed,
}

impl Engine {
    /// Starts a runtime.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("windlass")
            .enable_all()
            .build()
            .map_err(|error| Error::new(ErrorKind::Unavailable, "cannot start threads").with_source(error))?;
        let spawn = Arc::new(TokioSpawn::on(runtime.handle().clone()));
        let clock = Arc::new(SystemClock::new());
        let runtime = RwLock::new(Some(runtime));
        Ok(Arc::new(Self { runtime, clock, spawn, stop: Stop::new(), process: process::id() }))
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn spawn(&self) -> &Arc<dyn Spawn> {
        &self.spawn
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
        loop {
            match py.detach(|| self.turn(work)) {
                Turn::Done(done) => return Ok(done),
                Turn::Again => py.check_signals()?,
                Turn::Closed => return Err(closed(py)),
            }
        }
    }

    fn turn<T: Send>(&self, work: &mut BoxFuture<'static, T>) -> Turn<T> {
        let runtime = self.runtime.read();
        let Some(runtime) = &*runtime else { return Turn::Closed };
        match runtime.block_on(self.clock.within(TURN, self.stop.race(work))) {
            Some(Some(done)) => Turn::Done(done),
            Some(None) => Turn::Closed,
            None => Turn::Again,
        }
    }

    /// Runs `last` and ends the runtime. Only the first call does anything.
    pub(crate) fn close(&self, py: Python<'_>, last: impl Future<Output = ()> + Send) {
        if process::id() != self.process || self.stop.stopped() {
            return;
        }
        self.stop.stop();
        py.detach(|| {
            let Some(runtime) = self.runtime.write().take() else { return };
            runtime.block_on(last);
            runtime.shutdown_timeout(END);
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.get_mut().take() else { return };
        if process::id() == self.process {
            // Its threads may wait for the interpreter lock that this one holds.
            runtime.shutdown_background();
        } else {
            // The threads stayed in the parent.
            mem::forget(runtime);
        }
    }
}

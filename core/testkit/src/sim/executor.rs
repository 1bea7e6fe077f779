//! The executor: polls what is runnable in the order the seed says, and moves time when nothing is.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use parking_lot::MutexGuard;
use windlass_kernel::{Clock, ClockExt, Entropy, Spawn};

use super::{
    handle::{Handle, Process},
    state::{MAIN, Panic, ProcessId, Shared, State, TaskId},
};

/// After so many polls it is asked whether a run goes on.
const TURN: u64 = 1024;

/// When a run is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many polls without time moving are a livelock.
    pub steps_at_one_instant: u64,
    /// So many polls in the executor's life.
    pub steps: u64,
    /// Time does not move past this.
    pub uptime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 3600);
        Self { steps_at_one_instant: 1_000_000, steps: u64::MAX, uptime: week }
    }
}

/// Why a run was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Nothing is runnable and nothing sleeps. The names of the tasks that wait.
    Deadlock(Vec<&'static str>),
    /// Too many polls without time moving. The names of the runnable tasks.
    Livelock(Vec<&'static str>),
    /// Too many polls altogether.
    Steps,
    /// Too much virtual time.
    Uptime,
    /// Whoever runs it wanted no more.
    Interrupted,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock(tasks) => write!(f, "nothing can run any more; waiting: {tasks:?}"),
            Self::Livelock(tasks) => write!(f, "too many polls at one instant; runnable: {tasks:?}"),
            Self::Steps => f.write_str("too many polls"),
            Self::Uptime => f.write_str("too much virtual time passed"),
            Self::Interrupted => f.write_str("the run was interrupted"),
        }
    }
}

/// A single-threaded executor with virtual time, whose only source of chance is its seed.
///
/// Hand its [`handle`](Self::handle) to components as [`Spawn`], [`Clock`] and [`Entropy`]. Time stands still while
/// anything is runnable and then jumps to the next sleep. Dropping the executor drops its tasks.
#[derive(Debug)]
pub struct Executor {
    shared: Arc<Shared>,
    seed: u64,
    limits: Limits,
}

impl Executor {
    /// An executor with the usual limits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_limits(seed, Limits::default())
    }

    /// An executor with limits of one's own.
    #[must_use]
    pub fn with_limits(seed: u64, limits: Limits) -> Self {
        Self::beginning_at(seed, limits, Duration::ZERO)
    }

    /// An executor whose time does not begin at zero, as in a world that goes on from another.
    #[must_use]
    pub fn beginning_at(seed: u64, limits: Limits, uptime: Duration) -> Self {
        Self { shared: Shared::new(seed, uptime), seed, limits }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What components are given: tasks, time and randomness in one.
    #[must_use]
    pub fn handle(&self) -> Arc<Handle> {
        Arc::new(Handle::new(Arc::clone(&self.shared), ProcessId(0)))
    }

    /// The handle as a [`Spawn`].
    #[must_use]
    pub fn spawn(&self) -> Arc<dyn Spawn> {
        self.handle()
    }

    /// The handle as a [`Clock`].
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.handle()
    }

    /// The handle as an [`Entropy`].
    #[must_use]
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        self.handle()
    }

    /// Tasks that can be killed together, as a process is.
    #[must_use]
    pub fn process(&self) -> Process {
        let mut state = self.shared.0.lock();
        state.processes += 1;
        let process = ProcessId(state.processes);
        drop(state);
        Process::new(Arc::clone(&self.shared), process)
    }

    /// Runs everything until `future` is done.
    ///
    /// # Panics
    ///
    /// Where the run is given up ([`Halt`]), with the seed; and where `future` panics.
    pub fn run_until<F: Future>(&self, future: F) -> F::Output {
        self.try_run_until(future).unwrap_or_else(|halt| panic!("seed {}: {halt}", self.seed))
    }

    /// Runs everything for so much virtual time.
    ///
    /// # Panics
    ///
    /// Where the run is given up ([`Halt`]), with the seed.
    pub fn run_for(&self, span: Duration) {
        self.run_until(self.handle().sleep(span));
    }

    /// Runs everything until `future` is done or the run is given up.
    ///
    /// # Errors
    ///
    /// Why the run was given up; `future` is dropped then.
    ///
    /// # Panics
    ///
    /// Where the executor runs already, and where `future` panics.
    pub fn try_run_until<F: Future>(&self, future: F) -> Result<F::Output, Halt> {
        self.run_while(future, || true)
    }

    /// Runs everything until `future` is done or the run is given up. `goes_on` is asked every thousand polls or so,
    /// which leaves no trace in the history.
    ///
    /// # Errors
    ///
    /// Why the run was given up, [`Halt::Interrupted`] where `goes_on` said no; `future` is dropped then.
    ///
    /// # Panics
    ///
    /// Where the executor runs already, and where `future` panics.
    pub fn run_while<F: Future>(&self, future: F, mut goes_on: impl FnMut() -> bool) -> Result<F::Output, Halt> {
        let _running = Running::enter(&self.shared);
        let mut future = pin!(future);
        self.shared.start(ProcessId(0), "main", None);
        loop {
            let mut state = self.shared.0.lock();
            self.check(&state)?;
            if state.steps.is_multiple_of(TURN) {
                drop(state);
                if !goes_on() {
                    return Err(Halt::Interrupted);
                }
                state = self.shared.0.lock();
            }
            match Self::choose(state) {
                Some((MAIN, waker, _)) => {
                    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return Ok(output);
                    }
                }
                Some((task, waker, Some(next))) => self.poll(task, next, &mut Context::from_waker(&waker)),
                Some((_, _, None)) => {}
                None if self.shared.advance() => {}
                None => return Err(Halt::Deadlock(self.shared.0.lock().names())),
            }
        }
    }

    /// The tasks that panicked so far.
    #[must_use]
    pub fn panics(&self) -> Vec<Panic> {
        self.shared.0.lock().panics.clone()
    }

    /// How many times a task was polled so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.shared.0.lock().steps
    }

    /// A hash of every poll so far: which task, and when. Equal histories have equal hashes.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.shared.0.lock().trace()
    }

    fn choose(mut state: MutexGuard<'_, State>) -> Option<(TaskId, std::task::Waker, Option<BoxFuture<'static, ()>>)> {
        state.choose()
    }

    fn check(&self, state: &State) -> Result<(), Halt> {
        if state.steps_at_this_instant >= self.limits.steps_at_one_instant {
            return Err(Halt::Livelock(state.runnable()));
        }
        if state.steps >= self.limits.steps {
            return Err(Halt::Steps);
        }
        if state.now > self.limits.uptime { Err(Halt::Uptime) } else { Ok(()) }
    }

    fn poll(&self, task: TaskId, mut future: BoxFuture<'static, ()>, context: &mut Context<'_>) {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => {
                let killed = self.shared.0.lock().put_back(task, future);
                drop(killed);
            }
            Ok(Poll::Ready(())) => {
                let slot = self.shared.0.lock().remove(task);
                drop(slot);
                drop(future);
            }
            Err(payload) => {
                // What a panicked future left behind may panic again when dropped.
                let dropped = catch_unwind(AssertUnwindSafe(|| drop(future)));
                let mut state = self.shared.0.lock();
                let at = state.now;
                let slot = state.remove(task);
                let name = slot.as_ref().map_or("killed", |slot| slot.name);
                state.panics.push(Panic { task: name, message: text(payload.as_ref()), at });
                if let Err(payload) = dropped {
                    state.panics.push(Panic { task: name, message: text(payload.as_ref()), at });
                }
                drop(state);
                drop(slot);
            }
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".into())
}

/// Holds the mark that the executor runs, and removes the main task at the end, also on a panic.
struct Running<'a>(&'a Shared);

impl<'a> Running<'a> {
    fn enter(shared: &'a Shared) -> Self {
        let mut state = shared.0.lock();
        assert!(!state.running, "the executor runs already; await instead");
        state.running = true;
        state.steps_at_this_instant = 0;
        drop(state);
        Self(shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.running = false;
        let slot = state.remove(MAIN);
        drop(state);
        drop(slot);
    }
}

#[cfg(test)]
mod tests;

//! What components hold of an executor: tasks, time and randomness.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use windlass_kernel::{Clock, Entropy, Spawn};

use super::state::{ProcessId, Shared};

/// The wall-clock time at uptime zero: 2026-01-01T00:00:00Z.
const EPOCH: i64 = 1_767_225_600;

/// Tasks, time and randomness of an [`Executor`](super::Executor). Clones share them.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    process: ProcessId,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>, process: ProcessId) -> Self {
        Self { shared, process }
    }
}

impl Spawn for Handle {
    fn start(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.shared.start(self.process, name, Some(task));
    }

    /// Runs the work as a task of its own, in one poll: nothing else happens meanwhile.
    fn blocking(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.start(name, Box::pin(async move { work() }));
    }
}

impl Clock for Handle {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(EPOCH).expect("the epoch is a valid time");
        epoch.checked_add(self.uptime()).unwrap_or(Timestamp::MAX)
    }

    fn uptime(&self) -> Duration {
        self.shared.0.lock().now
    }

    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        let number = self.shared.0.lock().next();
        Box::pin(Sleep { shared: Arc::clone(&self.shared), end, number })
    }
}

impl Entropy for Handle {
    fn fill(&self, buffer: &mut [u8]) {
        self.shared.0.lock().fill(buffer);
    }
}

/// Tasks that end together when the process is killed.
#[derive(Debug)]
pub struct Process {
    handle: Arc<Handle>,
}

impl Process {
    pub(super) fn new(shared: Arc<Shared>, process: ProcessId) -> Self {
        Self { handle: Arc::new(Handle::new(shared, process)) }
    }

    /// What the process's components are given.
    #[must_use]
    pub fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Drops every task of the process where it stands. Tasks that are started later run.
    pub fn kill(&self) {
        let own = self.handle.process;
        self.handle.shared.kill(|process| process == own);
    }
}

struct Sleep {
    shared: Arc<Shared>,
    end: Duration,
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.0.lock();
        if state.now >= self.end {
            return Poll::Ready(());
        }
        let before = state.set_timer(self.end, self.number, context.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.shared.0.lock().drop_timer(self.end, self.number);
        drop(waker);
    }
}

//! Tasks as an input: who runs them, and in what order, is the assembler's choice.

use std::{fmt, fmt::Debug, future::Future, sync::Arc};

use event_listener::Event;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use parking_lot::Mutex;

/// Starts tasks.
///
/// # Contract
///
/// 1. **Fair.** A started task is polled again after each wake-up, whatever other tasks do.
/// 2. **Isolated.** A task that panics ends alone.
/// 3. **Blocking apart.** [`blocking`](Spawn::blocking) work never delays tasks (a single-threaded simulator may run it
///    inline, since nothing else happens meanwhile).
pub trait Spawn: Debug + Send + Sync + 'static {
    /// Starts a task. `name` is for logs and traces.
    fn start(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// Runs work that blocks or computes for long.
    fn blocking(&self, name: &'static str, work: Box<dyn FnOnce() + Send>);
}

/// What users of [`Spawn`] enjoy.
pub trait SpawnExt: Spawn {
    /// Starts a task and returns its handle. Dropping the handle ends the task.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        let (abort, registration) = AbortHandle::new_pair();
        let done = Arc::new(Done::default());
        let finished = Finished(Arc::clone(&done));
        let task = Abortable::new(task, registration);
        self.start(
            name,
            Box::pin(async move {
                let _finished = finished;
                // Whether the task ended by itself or was aborted is all the same to those who wait for its end.
                let _ = task.await;
            }),
        );
        Task { abort: Some(abort), done }
    }

    /// Runs work that blocks and waits for its result.
    ///
    /// `None` when the work panicked. Dropping the future lets the work go on.
    fn run_blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        let (give, take) = futures::channel::oneshot::channel();
        self.blocking(
            name,
            Box::new(move || {
                // Nobody waits any more: the result is not needed.
                let _ = give.send(work());
            }),
        );
        async move { take.await.ok() }
    }
}

impl<S: Spawn + ?Sized> SpawnExt for S {}

/// The handle of a task. Dropping it ends the task at its next await.
pub struct Task {
    abort: Option<AbortHandle>,
    done: Arc<Done>,
}

impl Task {
    /// Ends the task at its next await.
    pub fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }

    /// Lets the task run on without a handle.
    pub fn detach(mut self) {
        self.abort = None;
    }

    /// Waits until the task has ended, by itself or by abort.
    pub async fn ended(&self) {
        loop {
            let listener = self.done.event.listen();
            if *self.done.ended.lock() {
                return;
            }
            listener.await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("ended", &*self.done.ended.lock()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Done {
    ended: Mutex<bool>,
    event: Event,
}

struct Finished(Arc<Done>);

impl Drop for Finished {
    fn drop(&mut self) {
        *self.0.ended.lock() = true;
        self.0.event.notify(usize::MAX);
    }
}

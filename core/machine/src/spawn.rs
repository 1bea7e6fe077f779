//! Tasks on a tokio runtime.

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use windlass_kernel::Spawn;

/// Runs tasks on a tokio runtime, and blocking work on its blocking threads.
#[derive(Clone, Debug)]
pub struct TokioSpawn(Handle);

impl TokioSpawn {
    /// Runs on `runtime`.
    #[must_use]
    pub fn on(runtime: Handle) -> Self {
        Self(runtime)
    }

    /// Drives work to its end on the calling thread.
    ///
    /// # Panics
    ///
    /// In a task of a tokio runtime.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.0.block_on(work)
    }

    /// Runs on the runtime of the calling task.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn current() -> Self {
        Self(Handle::current())
    }
}

impl Spawn for TokioSpawn {
    fn start(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let span = tracing::debug_span!("task", name);
        self.0.spawn(tracing::Instrument::instrument(task, span));
    }

    fn blocking(&self, name: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(move || tracing::debug_span!("blocking", name).in_scope(work));
    }
}

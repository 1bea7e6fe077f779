//! Tasks on a few threads, and blocking work where a test wants it: what the tests run the stores on.

use std::{fmt, sync::Arc};

use futures::{FutureExt, executor::ThreadPool, future::BoxFuture};
use parking_lot::Mutex;
use windlass_kernel::Spawn;

/// Where blocking work runs.
#[derive(Clone)]
enum Blocking {
    /// On the pool.
    Pool,
    /// Inside the call that starts it, as a single-threaded simulator may do.
    Inline,
    /// When the test says so.
    Later(Arc<Mutex<Vec<Work>>>),
}

type Work = Box<dyn FnOnce() + Send>;

/// Tasks on a pool.
#[derive(Clone)]
pub(crate) struct Pool {
    threads: ThreadPool,
    blocking: Blocking,
}

impl Pool {
    fn with(blocking: Blocking) -> Self {
        Self { threads: ThreadPool::builder().pool_size(3).create().unwrap(), blocking }
    }

    pub(crate) fn new() -> Self {
        Self::with(Blocking::Pool)
    }

    pub(crate) fn inline() -> Self {
        Self::with(Blocking::Inline)
    }

    pub(crate) fn later() -> Self {
        Self::with(Blocking::Later(Arc::default()))
    }

    /// Runs blocking work that was started until none is left.
    pub(crate) fn run_blocking_work(&self) {
        while let Blocking::Later(works) = &self.blocking {
            let Some(work) = works.lock().pop() else { return };
            work();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

impl Spawn for Pool {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.threads.spawn_ok(task);
    }

    fn blocking(&self, _: &'static str, work: Work) {
        match &self.blocking {
            Blocking::Inline => work(),
            Blocking::Pool => self.threads.spawn_ok(async move { work() }),
            Blocking::Later(works) => works.lock().push(work),
        }
    }
}

/// Polls a future to its end, with the blocking work that it starts.
pub(crate) fn drive<F: Future>(pool: &Pool, future: F) -> F::Output {
    let mut future = Box::pin(future);
    loop {
        if let Some(done) = (&mut future).now_or_never() {
            return done;
        }
        pool.run_blocking_work();
    }
}

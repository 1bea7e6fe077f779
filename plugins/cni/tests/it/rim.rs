//! The machine's time and tasks, for tests: the product's own lie above this crate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::runtime::Runtime;
use windlass_kernel::{Clock, Spawn};

#[derive(Debug)]
pub(crate) struct Machine {
    start: Instant,
    runtime: Runtime,
}

impl Machine {
    #[allow(clippy::disallowed_methods, reason = "this is where the tests' time comes from")]
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), runtime: Runtime::new().expect("a runtime") })
    }

    pub(crate) fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }
}

impl Clock for Machine {
    #[allow(clippy::disallowed_methods, reason = "this is where the tests' time comes from")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "this is where the tests' time comes from")]
    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        let end = self.start + end;
        Box::pin(async move { tokio::time::sleep_until(end.into()).await })
    }
}

impl Spawn for Machine {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }

    fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(work);
    }
}

//! The machine's clock.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use windlass_kernel::Clock;

/// The machine's clock. Sleeps need a tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`uptime`](Clock::uptime) begins now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this crate is where the kernel's clock comes from")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this crate is where the kernel's clock comes from")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "this crate is where the kernel's clock comes from")]
    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        // A span that no deadline can hold is as good as for ever; tokio itself caps it.
        let end = self.start.checked_add(end);
        Box::pin(async move {
            match end {
                Some(end) => tokio::time::sleep_until(end.into()).await,
                None => futures::future::pending().await,
            }
        })
    }
}

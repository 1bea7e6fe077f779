//! A clock that moves by hand and tasks on a few threads: what the tests run the stores on.

use std::{fmt, sync::Arc, time::Duration};

use event_listener::Event;
use futures::{executor::ThreadPool, future::BoxFuture};
use parking_lot::Mutex;
use windlass_kernel::{Clock, Spawn};

/// A clock that stands still until it is moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandClock(Arc<Hand>);

#[derive(Debug, Default)]
struct Hand {
    now: Mutex<Duration>,
    moved: Event,
}

impl HandClock {
    pub(crate) fn advance(&self, span: Duration) {
        *self.0.now.lock() += span;
        self.0.moved.notify(usize::MAX);
    }
}

impl Clock for HandClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(self.uptime()).unwrap()
    }

    fn uptime(&self) -> Duration {
        *self.0.now.lock()
    }

    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        let hand = Arc::clone(&self.0);
        Box::pin(async move {
            loop {
                let listener = hand.moved.listen();
                if *hand.now.lock() >= end {
                    return;
                }
                listener.await;
            }
        })
    }
}

/// Tasks on a pool; blocking work on the pool too, or at once on the caller's thread.
#[derive(Clone)]
pub(crate) struct Pool {
    threads: ThreadPool,
    inline: bool,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self { threads: ThreadPool::builder().pool_size(2).create().unwrap(), inline: false }
    }

    /// Blocking work runs inside the call that starts it, as a single-threaded simulator may do.
    pub(crate) fn inline() -> Self {
        Self { inline: true, ..Self::new() }
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

    fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
        if self.inline {
            work();
        } else {
            self.threads.spawn_ok(async move { work() });
        }
    }
}

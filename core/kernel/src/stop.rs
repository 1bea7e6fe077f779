//! A small cancellation token: one side asks, every clone hears.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use event_listener::Event;

/// Asks long-lived parts to end. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stopped: AtomicBool,
    event: Event,
}

impl Stop {
    /// A token that nobody has stopped yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone to end. Idempotent.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.event.notify(usize::MAX);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// Waits until the end is asked for.
    pub async fn wait(&self) {
        loop {
            let listener = self.0.event.listen();
            if self.stopped() {
                return;
            }
            listener.await;
        }
    }

    /// Runs `work` until it is done or the end is asked for; `None` then.
    pub async fn race<F: Future>(&self, work: F) -> Option<F::Output> {
        match futures::future::select(Box::pin(self.wait()), Box::pin(work)).await {
            futures::future::Either::Left(_) => None,
            futures::future::Either::Right((done, _)) => Some(done),
        }
    }
}

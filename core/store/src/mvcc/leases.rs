//! The task that ends leases when their time has passed. It sleeps until the next one and does not poll.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use event_listener::Event;
use futures::future::{BoxFuture, select};
use parking_lot::Mutex;
use windlass_kernel::{Clock, ClockExt, Result, Spawn, SpawnExt, Task, store::LeaseId};

use super::{Mutation, Reply};

/// How long to wait when a lease could not be ended, because the disk is full.
const RETRY: Duration = Duration::from_secs(1);

/// The write side of a store, as the task needs it.
pub(crate) trait Writer: Send + Sync + 'static {
    fn submit(&self, mutation: Mutation) -> BoxFuture<'_, Result<Reply>>;
    fn next_due(&self) -> Option<(Duration, LeaseId)>;
}

/// Owns the task. It starts with the first lease.
#[derive(Debug)]
pub(crate) struct LeaseKeeper {
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    changed: Arc<Event>,
    task: Mutex<Option<Task>>,
}

impl LeaseKeeper {
    pub(crate) fn new(clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        Self { clock, spawn, changed: Arc::default(), task: Mutex::new(None) }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn spawn(&self) -> &Arc<dyn Spawn> {
        &self.spawn
    }

    /// Makes sure that a lease which was just granted will end.
    pub(crate) fn granted(&self, writer: Weak<dyn Writer>) {
        let mut task = self.task.lock();
        if task.is_some() {
            self.changed.notify(usize::MAX);
        } else {
            let run = run(writer, Arc::clone(&self.clock), Arc::clone(&self.changed));
            *task = Some(self.spawn.spawn("store.leases", run));
        }
    }
}

async fn run(writer: Weak<dyn Writer>, clock: Arc<dyn Clock>, changed: Arc<Event>) {
    loop {
        let listener = changed.listen();
        // Held only while it is needed, so that dropping the store ends this task.
        let Some(due) = writer.upgrade().map(|writer| writer.next_due()) else { return };
        match due {
            None => listener.await,
            Some((end, _)) if end > clock.uptime() => {
                select(clock.sleep_until(end), listener).await;
            }
            Some((_, lease)) => {
                let Some(writer) = writer.upgrade() else { return };
                let ended = writer.submit(Mutation::Expire(lease)).await;
                drop(writer);
                if let Err(error) = ended {
                    tracing::warn!(lease = lease.0, %error, "cannot end a lease, trying again");
                    clock.sleep(RETRY).await;
                }
            }
        }
    }
}

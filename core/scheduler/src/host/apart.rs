//! Turns of schedulers that may do anything: on a thread of their own, with a limit, so that one that never returns
//! stops its own profile and no other.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt,
    future::BoxFuture,
    task::{ArcWake, waker},
};
use windlass_kernel::{
    Clock, ClockExt, Entropy, Error, ErrorKind, Result, Scheduler, Spawn, SpawnExt,
    scheduler::{Cycle, Decision, PodView, Remedy, Turn},
};

use crate::{framework::Watch, snapshot::Snapshot};

/// The longest rest of a profile that overran again and again.
const LONGEST: Duration = Duration::from_secs(300);

/// What a turn apart is made of.
pub(super) struct Job {
    pub(super) scheduler: Arc<dyn Scheduler>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) pod: Arc<PodView>,
    pub(super) cycle: Cycle,
    pub(super) entropy: Arc<dyn Entropy>,
    /// Whether a pod that fits nowhere is to be told what would help.
    pub(super) hint: bool,
}

/// How it went.
pub(super) struct Done {
    pub(super) decided: Result<Decision>,
    pub(super) cycle: Cycle,
    pub(super) remedy: Option<Remedy>,
}

impl Job {
    async fn run(self) -> Done {
        let Self { scheduler, snapshot, pod, mut cycle, entropy, hint } = self;
        let mut facts = cycle.clone();
        let turn = Turn { pod: &pod, nodes: snapshot.nodes(), cycle: &mut cycle, entropy: entropy.as_ref() };
        let decided = decide(scheduler.as_ref(), turn).await;
        let wanted = hint && matches!(&decided, Ok(Decision::Nowhere(nowhere)) if nowhere.preemption.is_none());
        let remedy = wanted.then(|| {
            let turn = Turn { pod: &pod, nodes: snapshot.nodes(), cycle: &mut facts, entropy: entropy.as_ref() };
            scheduler.diagnoses().and_then(|own| own.remedy(turn).ok().flatten())
        });
        Done { decided, cycle, remedy: remedy.flatten() }
    }
}

/// A decision; a scheduler that panics becomes an error.
pub(super) async fn decide(scheduler: &dyn Scheduler, turn: Turn<'_>) -> Result<Decision> {
    let decided = AssertUnwindSafe(scheduler.schedule(turn)).catch_unwind().await;
    decided.unwrap_or_else(|panic| {
        let said = crate::framework::text(panic.as_ref());
        Err(Error::new(ErrorKind::Internal, format!("the scheduler panicked: {said}")))
    })
}

/// Whether a profile is stopped, and since when it may go on.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Lives as long as the turn that overran.
    stuck: Weak<()>,
    until: Duration,
    overruns: u32,
    /// Who is at work in the last turn; known once it has begun.
    watch: Watch,
}

/// What was heard of a turn.
pub(super) enum Heard {
    Done(Box<Done>),
    /// Nothing, for too long, or the profile was stopped before; with what is to be told.
    Stopped(String),
}

impl Guard {
    /// Gives a turn on another thread, and waits for it no longer than `limit`.
    pub(super) async fn turn(
        &mut self,
        mut job: Job,
        name: &str,
        limit: Duration,
        (clock, spawn): (&dyn Clock, &Arc<dyn Spawn>),
    ) -> Heard {
        if self.stuck.strong_count() > 0 || clock.uptime() < self.until {
            return Heard::Stopped(self.said(name, limit));
        }
        let token = Arc::new(());
        self.watch = Watch::default();
        job.cycle.set(self.watch.clone());
        self.stuck = Arc::downgrade(&token);
        let work = async move {
            let done = job.run().await;
            drop(token);
            done
        };
        match clock.within(limit, apart(Arc::clone(spawn), work.boxed())).await {
            Some(Some(done)) => {
                self.overruns = 0;
                Heard::Done(Box::new(done))
            }
            // The work itself catches panics; what is left is a runtime that ends.
            Some(None) => Heard::Stopped(format!("the turn of profile {name:?} was lost")),
            None => {
                let rest = limit.saturating_mul(1_u32.checked_shl(self.overruns).unwrap_or(u32::MAX)).min(LONGEST);
                self.overruns = self.overruns.saturating_add(1);
                self.until = clock.uptime().saturating_add(rest);
                let said = self.said(name, limit);
                tracing::error!(profile = name, plugin = self.watch.at(), "{said}");
                Heard::Stopped(said)
            }
        }
    }

    fn said(&self, name: &str, limit: Duration) -> String {
        let plugin = self.watch.at();
        format!("plugin {plugin} did not return within {limit:?}: profile {name:?} is stopped until it has, and rests")
    }
}

/// Drives a future on threads for blocking work: each of its steps may take forever. `None` where a step was lost.
async fn apart<T: Send + 'static>(spawn: Arc<dyn Spawn>, mut work: BoxFuture<'static, T>) -> Option<T> {
    let (wake, woken) = async_channel::bounded(1);
    let wake = Arc::new(Wake(wake));
    loop {
        let waking = Arc::clone(&wake);
        let step = move || match work.as_mut().poll(&mut Context::from_waker(&waker(waking))) {
            Poll::Ready(done) => Ok(done),
            Poll::Pending => Err(work),
        };
        match spawn.run_blocking("scheduler.turn", step).await? {
            Ok(done) => return Some(done),
            Err(pending) => work = pending,
        }
        woken.recv().await.ok()?;
    }
}

struct Wake(async_channel::Sender<()>);

impl ArcWake for Wake {
    fn wake_by_ref(own: &Arc<Self>) {
        // Full means that it is woken already.
        let _ = own.0.try_send(());
    }
}

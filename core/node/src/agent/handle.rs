//! What the agent and a pod's worker share: what is wanted, and that something happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use event_listener::{Event, EventListener};
use parking_lot::Mutex;
use windlass_api::core::v1::Pod;
use windlass_kernel::node::Report;

use super::objects::Object;
use crate::{
    eviction::Eviction,
    pod::{self, Health},
};

/// What is wanted of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    pub(crate) pod: Arc<Pod>,
    /// Whether the pod is in the set no more.
    pub(crate) gone: bool,
}

impl Desired {
    /// The grace period of a pod that is to be let go.
    pub(crate) fn ending(&self) -> Option<Duration> {
        let gone = self.gone.then(|| pod::seconds(pod::grace(&self.pod)));
        pod::deletion(&self.pod).or(gone)
    }
}

#[derive(Debug)]
pub(crate) struct Handle {
    desired: Mutex<Desired>,
    poked: AtomicBool,
    event: Event,
    pub(crate) report: Mutex<Option<Report>>,
    /// What probes found, by container.
    pub(crate) health: Mutex<BTreeMap<String, Health>>,
    /// Objects that are not any more as the pod's volumes show them.
    outdated: Mutex<BTreeSet<Object>>,
    /// How often an object changed.
    news: AtomicU64,
    /// Whether the pod asks for more than there is room for.
    waits_for_room: AtomicBool,
    /// Why and how the pod is to end although it is still wanted.
    evicted: Mutex<Option<Eviction>>,
    /// Whether nothing of the pod is left on the node but what ended in the runtime.
    cleaned: AtomicBool,
}

impl Handle {
    pub(crate) fn new(desired: Desired) -> Self {
        Self {
            desired: Mutex::new(desired),
            poked: AtomicBool::new(true),
            event: Event::new(),
            report: Mutex::default(),
            health: Mutex::default(),
            outdated: Mutex::default(),
            news: AtomicU64::new(0),
            waits_for_room: AtomicBool::new(false),
            evicted: Mutex::default(),
            cleaned: AtomicBool::new(false),
        }
    }

    pub(crate) fn desired(&self) -> Desired {
        self.desired.lock().clone()
    }

    /// The shortest time in which the pod is to end, if it is to end at all.
    pub(crate) fn ending(&self) -> Option<Duration> {
        let deleted = self.desired.lock().ending();
        let evicted = self.evicted.lock().as_ref().map(|eviction| eviction.grace);
        deleted.into_iter().chain(evicted).min()
    }

    /// Lets the pod end as failed; `false` if it is to end already, or has ended. What it waits for does not hold it up.
    pub(crate) fn evict(&self, eviction: Eviction) -> bool {
        // Held until it is noted, so that no deletion comes between.
        let desired = self.desired.lock();
        let mut known = self.evicted.lock();
        if known.is_some() || desired.ending().is_some() || pod::ended(&desired.pod) {
            return false;
        }
        *known = Some(eviction);
        drop((known, desired));
        self.poke();
        true
    }

    pub(crate) fn evicted(&self) -> Option<Eviction> {
        self.evicted.lock().clone()
    }

    pub(crate) fn clean(&self) {
        self.cleaned.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_cleaned(&self) -> bool {
        self.cleaned.load(Ordering::SeqCst)
    }

    /// Whether the pod is cleaned and the cluster has written down how it ended, so that what ended in the runtime may go: who
    /// looks at the pod after that, even another agent, does not take it for one that never ran.
    pub(crate) fn is_over(&self) -> bool {
        self.is_cleaned() && pod::ended(&self.desired.lock().pod)
    }

    /// Takes the pod as it is in the new set, or that it is not.
    pub(crate) fn want(&self, pod: Option<&Arc<Pod>>) {
        let mut desired = self.desired.lock();
        match pod {
            // What the agent itself has written into the status is no news.
            Some(pod) if Arc::ptr_eq(pod, &desired.pod) && !desired.gone => return,
            Some(pod) => *desired = Desired { pod: Arc::clone(pod), gone: false },
            None if desired.gone => return,
            None => desired.gone = true,
        }
        drop(desired);
        self.poke();
    }

    pub(crate) fn poke(&self) {
        self.poked.store(true, Ordering::SeqCst);
        self.event.notify(usize::MAX);
    }

    /// Forgets earlier pokes, and says how often objects have changed.
    pub(crate) fn attend(&self) -> u64 {
        self.poked.store(false, Ordering::SeqCst);
        self.news.load(Ordering::SeqCst)
    }

    /// Ends when something happens to the pod from now on.
    pub(crate) fn listen(&self) -> EventListener {
        self.event.listen()
    }

    /// An object that the pod's volumes show has changed.
    pub(crate) fn outdate(&self, object: Object) {
        self.outdated.lock().insert(object);
        self.news.fetch_add(1, Ordering::SeqCst);
        self.poke();
    }

    pub(crate) fn take_outdated(&self) -> BTreeSet<Object> {
        std::mem::take(&mut *self.outdated.lock())
    }

    pub(crate) fn wait_for_room(&self, waits: bool) {
        self.waits_for_room.store(waits, Ordering::SeqCst);
    }

    /// Wakes the worker if it waits for room on the node.
    pub(crate) fn poke_for_room(&self) {
        if self.waits_for_room.load(Ordering::SeqCst) {
            self.poke();
        }
    }

    /// Ends when objects have changed more often than that.
    pub(crate) async fn news_after(&self, known: u64) {
        loop {
            let listener = self.event.listen();
            if self.news.load(Ordering::SeqCst) > known {
                return;
            }
            listener.await;
        }
    }

    pub(crate) async fn poked(&self) {
        loop {
            let listener = self.event.listen();
            if self.poked.load(Ordering::SeqCst) {
                return;
            }
            listener.await;
        }
    }

    /// Ends when the pod is to end, or to end sooner than in `than`.
    pub(crate) async fn sooner(&self, than: Option<Duration>) {
        loop {
            let listener = self.event.listen();
            match (self.ending(), than) {
                (Some(_), None) => return,
                (Some(now), Some(than)) if now < than => return,
                _ => {}
            }
            listener.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_to_end_or_has_ended_is_not_evicted() {
        let eviction =
            || Eviction { message: "m".into(), grace: Duration::from_secs(1), disruption: true, at: Duration::ZERO };
        let check = |phase: &str, gone: bool, expect: bool| {
            let mut pod = Pod::default();
            pod.status.phase = Some(phase.into());
            let handle = Handle::new(Desired { pod: Arc::new(pod), gone });
            assert_eq!(handle.evict(eviction()), expect, "{phase} {gone}");
            assert_eq!(handle.evicted().is_some(), expect);
            assert!(!handle.evict(eviction()), "once is enough");
        };
        check("Running", false, true);
        check("Running", true, false);
        check("Succeeded", false, false);
    }

    #[test]
    fn of_an_eviction_and_a_deletion_the_shorter_grace_counts() {
        let mut pod = Pod::default();
        pod.spec.termination_grace_period_seconds = Some(30);
        let handle = Handle::new(Desired { pod: Arc::new(pod), gone: false });
        let grace = Duration::from_secs(1);
        assert!(handle.evict(Eviction { message: "m".into(), grace, disruption: true, at: Duration::ZERO }));
        handle.want(None);
        assert_eq!(handle.desired().ending(), Some(Duration::from_secs(30)));
        assert_eq!(handle.ending(), Some(grace));
    }
}

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

    /// Lets the pod end as failed; `false` if it is to end for that reason already. What it waits for does not hold it up.
    pub(crate) fn evict(&self, eviction: Eviction) -> bool {
        let mut known = self.evicted.lock();
        if known.is_some() {
            return false;
        }
        *known = Some(eviction);
        drop(known);
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

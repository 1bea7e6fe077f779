//! What the agent and a pod's worker share: what is wanted, and that something happened.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use event_listener::Event;
use parking_lot::Mutex;
use windlass_api::core::v1::Pod;
use windlass_kernel::node::Report;

use crate::pod::{self, Health};

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
}

impl Handle {
    pub(crate) fn new(desired: Desired) -> Self {
        Self {
            desired: Mutex::new(desired),
            poked: AtomicBool::new(true),
            event: Event::new(),
            report: Mutex::default(),
            health: Mutex::default(),
        }
    }

    pub(crate) fn desired(&self) -> Desired {
        self.desired.lock().clone()
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

    /// Forgets earlier pokes.
    pub(crate) fn attend(&self) {
        self.poked.store(false, Ordering::SeqCst);
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
            match (self.desired.lock().ending(), than) {
                (Some(_), None) => return,
                (Some(now), Some(than)) if now < than => return,
                _ => {}
            }
            listener.await;
        }
    }
}

//! Classes of alike pods, and what is remembered for each: which nodes are possible and how well they suit.
//!
//! A turn of a known class looks only at nodes that changed since its last one, and chooses as a search of all nodes
//! would. Pods that are told apart, and whatever cannot be remembered, are left to that search.

mod alike;
mod class;
mod gauge;
mod ground;
mod groups;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;
use windlass_api::selector::Labels;
use windlass_kernel::scheduler::{NamespaceLabels, PodView, Siblings, Turn};

use crate::plugins::Crashes;

use self::alike::{alike, mark};
pub(crate) use self::{
    class::{Class, Gauged, Refused, Rules},
    gauge::{Gauge, Group, Reading},
    ground::Ground,
};

/// So many classes are remembered; the one that was not used for longest is forgotten first.
const REMEMBERED: usize = 64;

/// What the classes of a framework have saved, and what they have cost. Counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Savings {
    /// Turns that were answered from what is remembered.
    pub shared: u64,
    /// Turns that searched the nodes.
    pub searched: u64,
    /// Times that a class was made for all nodes: the first time, or because nodes came, went or are others.
    pub built: u64,
    /// Nodes that were looked at again because their pods or amounts changed.
    pub refreshed: u64,
    /// Calls of filters for both; those of searches are not counted.
    pub filtered: u64,
    /// Classes that were forgotten to make room for others.
    pub forgotten: u64,
}

/// The counters behind [`Savings`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) shared: AtomicU64,
    pub(crate) searched: AtomicU64,
    pub(crate) built: AtomicU64,
    pub(crate) refreshed: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) forgotten: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Savings {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Savings {
            shared: of(&self.shared),
            searched: of(&self.searched),
            built: of(&self.built),
            refreshed: of(&self.refreshed),
            filtered: of(&self.filtered),
            forgotten: of(&self.forgotten),
        }
    }
}

/// What makes pods of one class.
#[derive(Debug)]
struct Known {
    mark: u64,
    pod: Arc<PodView>,
    siblings: Option<Labels>,
    skipped: Vec<&'static str>,
    namespaces: NamespaceLabels,
    crashes: Option<Crashes>,
    /// The nodes that its last pod met: a history and a shape.
    met: (Arc<()>, u64),
    class: Option<Box<Class>>,
}

/// All classes of one framework. Clones remember nothing, since they may become other frameworks; they count together.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    // The most recently used last.
    known: Mutex<Vec<Known>>,
    pub(crate) counters: Arc<Counters>,
}

impl Clone for Classes {
    fn clone(&self) -> Self {
        Self { known: Mutex::default(), counters: Arc::clone(&self.counters) }
    }
}

/// The class of a pod while it has its turn.
#[derive(Debug)]
pub(crate) struct Visit(Known);

impl Classes {
    /// The class of the pod whose turn it is, to be given [`back`](Self::back). `None` for the first of its kind, and
    /// where the nodes are not what they were at the last turn: building for one turn does not pay.
    pub(crate) fn visit(&self, turn: &Turn<'_>, skipped: &[&'static str]) -> Option<Visit> {
        let changes = turn.nodes.changes()?;
        let siblings = turn.cycle.get::<Siblings>().map(|Siblings(labels)| labels);
        let namespaces = turn.cycle.get::<NamespaceLabels>().cloned().unwrap_or_default();
        let crashes = turn.cycle.get::<Crashes>().cloned();
        let met = (changes.history(), changes.shape());
        let mark = mark(turn.pod);
        let mut known = self.known.lock();
        let found = known.iter().rposition(|known| {
            known.mark == mark
                && known.siblings.as_ref() == siblings
                && known.skipped == skipped
                && alike(&known.pod, turn.pod)
        });
        let Some(found) = found else {
            if known.len() >= REMEMBERED {
                known.remove(0);
                self.counters.forgotten.fetch_add(1, Relaxed);
            }
            let (pod, siblings, skipped) = (Arc::clone(turn.pod), siblings.cloned(), skipped.to_vec());
            known.push(Known { mark, pod, siblings, skipped, namespaces, crashes, met, class: None });
            return None;
        };
        let mut own = known.remove(found);
        let same = Arc::ptr_eq(&own.namespaces.0, &namespaces.0) || own.namespaces.0 == namespaces.0;
        let settled = changes.same(&own.met.0) && own.met.1 == met.1 && same && own.crashes == crashes;
        if !settled {
            (own.met, own.namespaces, own.crashes, own.class) = (met, namespaces, crashes, None);
            known.push(own);
            return None;
        }
        Some(Visit(own))
    }

    /// Remembers a class again. One that is not given back, because a plugin panicked, is forgotten.
    pub(crate) fn back(&self, visit: Visit) {
        self.known.lock().push(visit.0);
    }
}

impl Visit {
    /// What is remembered, made where nothing is yet.
    pub(crate) fn class(&mut self, make: impl FnOnce() -> Class) -> &mut Class {
        self.0.class.get_or_insert_with(|| Box::new(make()))
    }

    /// Forgets what is remembered, to be made anew.
    pub(crate) fn forget(&mut self) {
        self.0.class = None;
    }
}

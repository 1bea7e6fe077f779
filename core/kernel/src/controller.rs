//! Reconciliation: what a controller watches and how it brings one key closer to what is wanted.

use std::{fmt, fmt::Debug, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{api::GroupVersionResource, document::Document, error::Result};

/// A namespaced name: what work queues carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// When a key is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// When something it depends on changes.
    OnChange,
    /// After so long, or earlier on a change.
    After(Duration),
    /// On a change, but not before `rest` is over: changes that come until then are looked at together.
    ///
    /// For keys whose reconcile costs by the size of what belongs to them, so that the cost does not grow with the square
    /// of it while much of it changes. An error's back-off does not rest.
    Gather {
        /// How long changes are gathered.
        rest: Duration,
        /// When to look again without a change; `None` is not at all.
        then: Option<Duration>,
    },
}

/// Keys to reconcile, as a stream. Its end is no end of anything else.
pub type Wakes = BoxStream<'static, ObjectKey>;

/// Which keys a changed object concerns.
pub type KeysOf = fn(&Document) -> Vec<ObjectKey>;

/// A resource that a controller watches.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The resource.
    pub resource: GroupVersionResource,
    /// Which keys to reconcile when one of its objects appears, changes or goes.
    pub keys: KeysOf,
}

/// Brings objects closer to what is wanted.
///
/// # Contract
///
/// 1. **Level-triggered.** A reconcile acts on the state it reads, not on the event that woke it.
/// 2. **Idempotent.** A second reconcile without a change in between writes nothing.
/// 3. **Safe to run twice.** Two instances at once, or one killed between any two writes, end in the same state.
/// 4. **Cancel-safe.** Dropping a reconcile is like being killed there.
#[async_trait]
pub trait Controller: Debug + Send + Sync + 'static {
    /// The controller's name, as in events, metrics and its user name.
    fn name(&self) -> &'static str;

    /// What wakes it.
    fn watches(&self) -> Vec<Watched>;

    /// What wakes it beside its watches, for what cannot be named beforehand, such as objects of resources that are defined
    /// later; `None` where nothing does. Asked for once by whoever runs the controller, before anything is reconciled.
    fn wakes(&self) -> Option<Wakes> {
        None
    }

    /// The keys that a key stands for, which are reconciled in its place; `None` where it stands for itself.
    ///
    /// For changes that concern objects which the changed one does not name, such as a node those that want pods on it.
    /// Called when the key is due, from what is known then; never with a key that it answered unless that stands for
    /// itself.
    fn stands_for(&self, _key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        None
    }

    /// Brings one key closer to what is wanted. An error is retried with back-off.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue>;
}

//! What is remembered of a pod beside the runtime's state. All of it may be lost: it costs time only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_kernel::runtime::ContainerId;

use super::{
    Backoff,
    resize::{Given, Pending},
};

/// Why a container waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Waiting {
    pub(crate) fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// What probes found of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) id: ContainerId,
    /// Whether the startup probe has passed; `None` without a verdict.
    pub(crate) startup: Option<bool>,
    pub(crate) readiness: Option<bool>,
    pub(crate) liveness: Option<bool>,
}

impl Health {
    pub(crate) fn of(id: ContainerId) -> Self {
        Self { id, startup: None, readiness: None, liveness: None }
    }
}

/// A failed pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pulling {
    pub(crate) backoff: Backoff,
    pub(crate) error: String,
}

/// Everything that is remembered of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    /// Why a container could not be started, by name.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    /// Not to be tried before then, by container.
    pub(crate) not_before: BTreeMap<String, Timestamp>,
    /// Restarts, by container.
    pub(crate) restarts: BTreeMap<String, Backoff>,
    /// Failed pulls, by image.
    pub(crate) pulls: BTreeMap<String, Pulling>,
    /// What probes found, by container.
    pub(crate) health: BTreeMap<String, Health>,
    /// What ended instances left as their last words.
    pub(crate) messages: BTreeMap<ContainerId, String>,
    /// The pod is to end as failed: reason and message.
    pub(crate) failed: Option<(String, String)>,
    /// Whether that is for the node's sake (KEP-3329).
    pub(crate) disrupted: bool,
    /// What containers are to have; `None` before that was looked at.
    pub(crate) given: Option<Given>,
    /// What containers have.
    pub(crate) actual: Option<Given>,
    /// Why the pod is not given what it asks for.
    pub(crate) pending: Option<Pending>,
    /// Why containers do not have what they were given, and when that is tried again.
    pub(crate) resizing: Option<(String, Timestamp)>,
    /// When the agent first saw the pod.
    pub(crate) seen: Option<Timestamp>,
}

impl Records {
    pub(crate) fn health(&self, name: &str, id: &ContainerId) -> Option<&Health> {
        self.health.get(name).filter(|health| health.id == *id)
    }

    /// A container cannot be started, and why.
    pub(crate) fn wait(&mut self, name: &str, waiting: Waiting, until: Timestamp) {
        self.waiting.insert(name.to_owned(), waiting);
        self.not_before.insert(name.to_owned(), until);
    }

    /// A container was started.
    pub(crate) fn started(&mut self, name: &str) {
        self.waiting.remove(name);
        self.not_before.remove(name);
    }
}

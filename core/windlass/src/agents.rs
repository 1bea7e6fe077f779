//! Which agent runs which node of this process.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use windlass_kernel::{Error, ErrorKind, NodeAgent, Result, node::NodeAgents};
use windlass_node::Kubelet;

/// A node of this process.
#[derive(Clone, Debug)]
pub(crate) struct LocalNode {
    /// Runs its pods.
    pub(crate) agent: Arc<dyn NodeAgent>,
    /// Serves the node's own API.
    pub(crate) kubelet: Arc<Kubelet>,
    /// Whether its pods are reached at their addresses, and not only through the agent.
    pub(crate) addressed: bool,
}

/// The agents of this process's nodes, by node name.
#[derive(Debug, Default)]
pub struct Agents(RwLock<BTreeMap<String, LocalNode>>);

impl Agents {
    /// Enters a node; one of the same name is replaced.
    pub(crate) fn insert(&self, name: impl Into<String>, node: LocalNode) {
        self.0.write().insert(name.into(), node);
    }

    /// The node of that name, if this process runs it.
    pub(crate) fn node(&self, name: &str) -> Option<LocalNode> {
        self.0.read().get(name).cloned()
    }

    /// Forgets the agent of a node.
    pub fn remove(&self, node: &str) {
        self.0.write().remove(node);
    }

    /// Forgets all agents.
    pub(crate) fn clear(&self) {
        let forgotten = std::mem::take(&mut *self.0.write());
        drop(forgotten);
    }

    /// The names of the nodes that agents are entered for, sorted.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.read().keys().cloned().collect::<Vec<_>>().into_iter()
    }
}

impl NodeAgents for Agents {
    fn agent(&self, name: &str) -> Result<Arc<dyn NodeAgent>> {
        self.node(name)
            .map(|node| node.agent)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no agent of this process runs the node {name:?}")))
    }
}

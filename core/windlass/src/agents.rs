//! Which agent runs which node: of this process, or elsewhere.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use parking_lot::RwLock;
use windlass_kernel::{Error, ErrorKind, NodeAgent, Result, dial::ByteStream, node::NodeAgents};
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

/// Reaches the agents of nodes that run elsewhere.
#[async_trait]
pub(crate) trait Elsewhere: Debug + Send + Sync {
    /// The agent of the node `name`. Whether there is one is found out by asking it.
    fn agent(&self, name: &str) -> Arc<dyn NodeAgent>;

    /// A connection to the API of the node's agent, on which HTTP can be spoken, if that listens at `port`.
    async fn connect(&self, name: &str, port: u16) -> Result<Option<ByteStream>>;
}

/// The agents of a cluster's nodes, by node name.
#[derive(Debug, Default)]
pub struct Agents {
    own: RwLock<BTreeMap<String, LocalNode>>,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
}

impl Agents {
    /// Says how nodes elsewhere are reached. The first word holds.
    #[cfg(feature = "http")]
    pub(crate) fn reach(&self, elsewhere: Arc<dyn Elsewhere>) {
        let _ = self.elsewhere.set(elsewhere);
    }

    /// How nodes elsewhere are reached, if they are.
    pub(crate) fn elsewhere(&self) -> Option<&Arc<dyn Elsewhere>> {
        self.elsewhere.get()
    }

    /// Enters a node; one of the same name is replaced.
    pub(crate) fn insert(&self, name: impl Into<String>, node: LocalNode) {
        self.own.write().insert(name.into(), node);
    }

    /// The node of that name, if this process runs it.
    pub(crate) fn node(&self, name: &str) -> Option<LocalNode> {
        self.own.read().get(name).cloned()
    }

    /// Forgets the agent of a node.
    pub fn remove(&self, node: &str) {
        self.own.write().remove(node);
    }

    /// Forgets all agents.
    pub(crate) fn clear(&self) {
        // Freed after the lock is: what an agent holds may ask for agents while it ends.
        let forgotten = std::mem::take(&mut *self.own.write());
        drop(forgotten);
    }

    /// The names of this process's nodes, sorted.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.own.read().keys().cloned().collect::<Vec<_>>().into_iter()
    }
}

impl NodeAgents for Agents {
    fn agent(&self, name: &str) -> Result<Arc<dyn NodeAgent>> {
        let own = self.node(name).map(|node| node.agent);
        own.or_else(|| self.elsewhere().map(|elsewhere| elsewhere.agent(name)))
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no agent of this process runs the node {name:?}")))
    }
}

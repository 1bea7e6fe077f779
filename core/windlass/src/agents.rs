//! Which agent runs which node of this process.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use windlass_kernel::{Error, ErrorKind, NodeAgent, Result, node::NodeAgents};

/// The agents of this process's nodes, by node name.
#[derive(Debug, Default)]
pub struct Agents(RwLock<BTreeMap<String, Arc<dyn NodeAgent>>>);

impl Agents {
    /// Enters the agent of a node; one of the same name is replaced.
    pub fn insert(&self, node: impl Into<String>, agent: Arc<dyn NodeAgent>) {
        self.0.write().insert(node.into(), agent);
    }

    /// The names of the nodes that agents are entered for, sorted.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.0.read().keys().cloned().collect::<Vec<_>>().into_iter()
    }
}

impl NodeAgents for Agents {
    fn agent(&self, name: &str) -> Result<Arc<dyn NodeAgent>> {
        self.0
            .read()
            .get(name)
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no agent of this process runs the node {name:?}")))
    }
}

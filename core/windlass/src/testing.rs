//! Clusters whose nodes are fakes: they can lose a node, be forked at any moment, and be compared.
//!
//! On the seeded executor of the [`testkit`](crate::testkit) they live in virtual time, and one seed is one history.

mod differ;
mod fingerprint;

use std::{collections::BTreeMap, fmt, sync::Arc};

use windlass_kernel::{Clock, Entropy, Error, ErrorKind, Result, Spawn, Task};
use windlass_store::MemoryStore;
use windlass_testkit::{FakeAgent, FakeNode, agent::Programs};

pub use self::{
    differ::{Difference, differences},
    fingerprint::fingerprint,
};
use crate::cluster::{Builder, Cluster};

/// What everything runs on: the time, tasks and randomness.
#[derive(Clone, Debug)]
pub struct Rim {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where tasks run.
    pub spawn: Arc<dyn Spawn>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Rim {
    /// The rim that one value is: a handle of the seeded executor.
    #[must_use]
    pub fn of<H: Clock + Spawn + Entropy>(handle: &Arc<H>) -> Self {
        Self { clock: Arc::clone(handle) as _, spawn: Arc::clone(handle) as _, entropy: Arc::clone(handle) as _ }
    }
}

/// A cluster with a store in memory, whose nodes are fakes.
#[derive(Debug)]
pub struct FakeCluster {
    cluster: Cluster,
    store: Arc<MemoryStore>,
    nodes: BTreeMap<String, Node>,
}

struct Node {
    agent: FakeAgent,
    // Dropping it is the node's death.
    _host: Task,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.agent.fmt(f)
    }
}

/// A cluster at one moment: its state, and its nodes with their pods.
#[derive(Debug)]
pub struct Moment {
    store: Arc<MemoryStore>,
    nodes: Vec<FakeAgent>,
}

impl Moment {
    /// The moment before anything was.
    #[must_use]
    pub fn first(rim: &Rim) -> Self {
        let store = MemoryStore::new(Arc::clone(&rim.clock), Arc::clone(&rim.spawn));
        Self { store: Arc::new(store), nodes: vec![] }
    }

    /// Adds a node.
    #[must_use]
    pub fn node(mut self, node: FakeNode, rim: &Rim) -> Self {
        self.nodes.push(FakeAgent::new(node, Arc::clone(&rim.clock), Arc::clone(&rim.spawn)));
        self
    }

    /// The state.
    #[must_use]
    pub fn store(&self) -> &Arc<MemoryStore> {
        &self.store
    }

    /// Begins a cluster at this moment, with what `builder` says beyond the store, the rim and the nodes. Where it has no
    /// keys, tokens are signed by those of tests, as pods with programs need them.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::start`].
    pub async fn begin(self, builder: Builder, rim: Rim) -> Result<FakeCluster> {
        let store = self.store;
        let builder = builder.keys_or_fake().shared_store(Arc::clone(&store) as _).clock(Arc::clone(&rim.clock));
        let cluster = builder.spawn(Arc::clone(&rim.spawn)).entropy(Arc::clone(&rim.entropy)).start().await?;
        let mut whole = FakeCluster { cluster, store, nodes: BTreeMap::new() };
        for agent in self.nodes {
            whole.add(agent, rim.clone()).await?;
        }
        Ok(whole)
    }
}

impl FakeCluster {
    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The cluster, to be changed.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// The names of the nodes that are alive.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// Adds a node that runs on a rim of its own.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) where a node of that name is alive.
    pub async fn add_node(&mut self, node: FakeNode, rim: Rim) -> Result<()> {
        let agent = FakeAgent::new(node, Arc::clone(&rim.clock), Arc::clone(&rim.spawn));
        self.add(agent, rim).await
    }

    /// Kills a node as a power cut does: its host and its pods are gone, and nobody is told. `false` where it is not alive.
    pub fn kill_node(&mut self, name: &str) -> bool {
        self.cluster.agents().remove(name);
        self.nodes.remove(name).is_some()
    }

    /// What there is now, for another cluster that goes on from here by itself, on a rim whose uptime goes on from this
    /// one's.
    ///
    /// The state costs the same whatever it holds; pods are copied one by one. Their programs are found anew.
    #[must_use]
    pub fn moment(&self, rim: &Rim, programs: &Programs) -> Moment {
        let (clock, spawn) = (&rim.clock, &rim.spawn);
        let fork = |node: &Node| node.agent.fork(Arc::clone(clock), Arc::clone(spawn), programs.clone());
        Moment {
            store: Arc::new(self.store.fork_on(Arc::clone(clock), Arc::clone(spawn))),
            nodes: self.nodes.values().map(fork).collect(),
        }
    }

    /// Stops every component and waits until they have ended.
    pub async fn shut_down(self) {
        drop(self.nodes);
        self.cluster.shut_down().await;
    }

    async fn add(&mut self, agent: FakeAgent, rim: Rim) -> Result<()> {
        let name = agent.node().name.clone();
        if self.nodes.contains_key(&name) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("the node {name:?} is alive already")));
        }
        let host = self.cluster.run_node(&agent, (rim.clock, rim.spawn, rim.entropy)).await?;
        self.nodes.insert(name, Node { agent, _host: host });
        Ok(())
    }
}

#[cfg(test)]
mod tests;

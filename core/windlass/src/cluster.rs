//! A cluster: a store, an API server, controllers, a scheduler and nodes, assembled in one process.

mod builder;
pub(crate) mod node;
mod ready;
#[cfg(feature = "fake")]
mod surroundings;

use std::sync::Arc;

use windlass_apiserver::ApiServer;
use windlass_client::{Client, Informers, informer::Parts};
use windlass_kernel::{Api, Clock, Dial, Entropy, Identity, Result, Spawn, Stop, Store, Task};

pub use self::{
    builder::Builder,
    node::{Hosted, NodeParts, NodeSource, host_node},
};
use crate::agents::Agents;

/// A running cluster. Dropping it stops its components; pods of real nodes go on running.
#[derive(Debug)]
pub struct Cluster {
    server: Arc<ApiServer>,
    agents: Arc<Agents>,
    dial: Arc<dyn Dial>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    spawn: Arc<dyn Spawn>,
    stop: Stop,
    tasks: Vec<Task>,
    controlled: bool,
    /// What the scheduler has done, where there is one.
    scheduled: Option<windlass_scheduler::Metrics>,
    /// Where this is the cluster itself, and not another hold on it.
    _ending: Option<Ending>,
}

impl Cluster {
    /// Begins to assemble a cluster. Without further words: a store in memory, all controllers, the scheduler, no node.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The API, in process.
    #[must_use]
    pub fn api(&self) -> Arc<dyn Api> {
        Arc::clone(&self.server) as _
    }

    /// The API server itself, for those who serve it.
    #[must_use]
    pub fn server(&self) -> &Arc<ApiServer> {
        &self.server
    }

    /// The store that holds the cluster's state.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        self.server.store()
    }

    /// A client that may do everything (`kubernetes-admin`, group `system:masters`).
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_as(Identity::new("kubernetes-admin", &["system:masters", "system:authenticated"]))
    }

    /// A client with an identity of one's own, which RBAC applies to.
    #[must_use]
    pub fn client_as(&self, identity: Identity) -> Client {
        Client::new(self.api(), Arc::new(identity))
    }

    /// Informers over a client, on this cluster's clock and tasks.
    #[must_use]
    pub fn informers(&self, client: Client) -> Informers {
        Informers::new(self.parts(client))
    }

    /// What the scheduler has done, where there is one.
    pub(crate) const fn scheduled(&self) -> Option<&windlass_scheduler::Metrics> {
        self.scheduled.as_ref()
    }

    pub(crate) fn parts(&self, client: Client) -> Parts {
        let (spawn, clock) = (Arc::clone(&self.spawn), Arc::clone(&self.clock));
        Parts { client, spawn, clock, entropy: Arc::clone(&self.entropy) }
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Connections to nodes, pods and services of the cluster.
    #[must_use]
    pub fn dial(&self) -> &Arc<dyn Dial> {
        &self.dial
    }

    /// Where tasks run.
    #[must_use]
    pub fn spawn(&self) -> &Arc<dyn Spawn> {
        &self.spawn
    }

    /// Asked for when the cluster is to end.
    #[must_use]
    pub fn stopping(&self) -> &Stop {
        &self.stop
    }

    /// Adds a node.
    ///
    /// # Errors
    ///
    /// Those of the node's source, such as a runtime that does not answer.
    pub async fn add_node(&mut self, source: impl NodeSource) -> Result<()> {
        let task = node::run(self, &source).await?;
        self.tasks.push(task);
        Ok(())
    }

    /// Stops every component and waits until they have ended. What was acknowledged is in the store.
    pub async fn shut_down(self) {
        self.stop.stop();
        for task in &self.tasks {
            task.ended().await;
        }
    }

    /// Randomness.
    #[must_use]
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    /// Keeps a task until the cluster ends.
    pub fn keep(&mut self, task: Task) {
        self.tasks.push(task);
    }

    /// Another hold on the same cluster, for a task of it. Dropping it ends nothing.
    #[cfg(feature = "simulate")]
    pub(crate) fn handle(&self) -> Self {
        Self {
            server: Arc::clone(&self.server),
            agents: Arc::clone(&self.agents),
            dial: Arc::clone(&self.dial),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            spawn: Arc::clone(&self.spawn),
            stop: self.stop.clone(),
            tasks: Vec::new(),
            controlled: self.controlled,
            scheduled: self.scheduled.clone(),
            _ending: None,
        }
    }

    /// Starts a node on a rim of its own, outside the cluster's list of tasks: dropping the task is its death.
    #[cfg(feature = "fake")]
    pub(crate) async fn run_node(&self, source: &dyn NodeSource, rim: node::Rim) -> Result<Task> {
        node::run_on(self, source, rim).await
    }

    /// The agents of the cluster's nodes.
    #[cfg(any(feature = "fake", feature = "http"))]
    pub(crate) fn agents(&self) -> &Arc<Agents> {
        &self.agents
    }
}

/// Forgets the agents when the cluster ends. An agent may hold informers, and through them the server that asks the
/// agents for logs: a ring that nobody would free.
#[derive(Debug)]
struct Ending(Arc<Agents>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.clear();
    }
}

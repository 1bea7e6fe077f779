//! Nodes of this process: where an agent comes from, and the host that runs it.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_kernel::{Clock, Entropy, NodeAgent, Result, Spawn, SpawnExt, Task, node::NodeContext};
use windlass_node::{Host, Kubelet, host::Registration};

use super::Cluster;
use crate::agents::LocalNode;

/// What an agent is made with.
#[derive(Clone, Debug)]
pub struct NodeParts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where tasks run.
    pub spawn: Arc<dyn Spawn>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What the agent may ask of the cluster.
    pub context: Arc<dyn NodeContext>,
}

/// Makes a node: how it registers, and the agent that runs its pods.
#[async_trait]
pub trait NodeSource: Send + Sync {
    /// How the node presents itself.
    fn registration(&self) -> Registration;

    /// Whether the node's pods are reached at their addresses from this process. Where they are not, proxied requests
    /// go through the agent.
    fn addressed(&self) -> bool {
        false
    }

    /// Makes the agent.
    async fn agent(&self, parts: NodeParts) -> Result<Arc<dyn NodeAgent>>;
}

/// Starts a node's agent and host.
pub(super) async fn run(cluster: &Cluster, source: &dyn NodeSource) -> Result<Task> {
    let registration = source.registration();
    let client = cluster.client_as(registration.identity()).with_user_agent("kubelet");
    let informers = cluster.informers(client);
    let parts = NodeParts {
        clock: Arc::clone(&cluster.clock),
        spawn: Arc::clone(&cluster.spawn),
        entropy: Arc::clone(&cluster.entropy),
        context: Host::context(&informers, &registration.name),
    };
    let agent = source.agent(parts).await?;
    let kubelet = Arc::new(Kubelet::new(&registration.name, &informers, Arc::clone(&agent)));
    let local = LocalNode { agent: Arc::clone(&agent), kubelet, addressed: source.addressed() };
    cluster.agents.insert(&registration.name, local);
    let host = Host::new(registration, &informers, agent);
    Ok(cluster.spawn.spawn("node.host", host.run(cluster.stop.clone())))
}

#[cfg(feature = "fake")]
#[async_trait]
impl NodeSource for windlass_testkit::FakeNode {
    fn registration(&self) -> Registration {
        let (labels, taints) = (self.labels.clone(), self.taints.clone());
        Registration { labels, taints, ..Registration::named(&self.name) }
    }

    async fn agent(&self, parts: NodeParts) -> Result<Arc<dyn NodeAgent>> {
        Ok(Arc::new(windlass_testkit::FakeAgent::new(self.clone(), parts.clock, parts.spawn)))
    }
}

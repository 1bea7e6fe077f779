//! Nodes of this process, of a cluster in it or elsewhere: where an agent comes from, and the host that runs it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{
    FutureExt,
    channel::oneshot,
    future::{BoxFuture, join3, pending},
};
use windlass_client::{Informers, informer::Parts};
use windlass_kernel::{Clock, Entropy, NodeAgent, Result, Spawn, SpawnExt, Stop, Task, node::NodeContext};
use windlass_node::{
    Devices, Drivers, Host, Kubelet,
    host::Registration,
    statics::{self, StaticPods},
};

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
    /// The cluster, asked as the node.
    pub informers: Informers,
    /// The node's volume drivers, as its [source](NodeSource::find_drivers) finds them.
    pub drivers: Drivers,
    /// The devices that plugins bring, which the source [finds](NodeSource::find_drivers) as well.
    pub devices: Devices,
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

    /// Adds the node's volume drivers and device plugins as they come and removes them as they go, as long as the node runs. `None` where pods of
    /// the node have no volumes of drivers.
    fn find_drivers(&self, parts: &NodeParts) -> Option<BoxFuture<'static, ()>> {
        let _ = parts;
        None
    }

    /// Where static pods of the node are described, if anywhere.
    ///
    /// # Errors
    ///
    /// Those of a place that cannot be one.
    fn static_pods(&self) -> Result<Option<Arc<dyn statics::Source>>> {
        Ok(None)
    }

    /// Makes the agent.
    async fn agent(&self, parts: NodeParts) -> Result<Arc<dyn NodeAgent>>;
}

/// Starts a node's agent and host.
pub(super) async fn run(cluster: &Cluster, source: &dyn NodeSource) -> Result<Task> {
    let rim = (Arc::clone(&cluster.clock), Arc::clone(&cluster.spawn), Arc::clone(&cluster.entropy));
    run_on(cluster, source, rim).await
}

/// The time, tasks and randomness of a node.
pub(crate) type Rim = (Arc<dyn Clock>, Arc<dyn Spawn>, Arc<dyn Entropy>);

/// As [`run`], on time, tasks and randomness of the node's own.
pub(crate) async fn run_on(cluster: &Cluster, source: &dyn NodeSource, rim: Rim) -> Result<Task> {
    let (clock, spawn, entropy) = rim;
    let registration = source.registration();
    let client = cluster.client_as(registration.identity()).with_user_agent("kubelet");
    let Hosted { agent, kubelet, task, .. } =
        host_node(source, Parts { client, spawn, clock, entropy }, &cluster.stop).await?;
    let local = LocalNode { agent, kubelet, addressed: source.addressed() };
    cluster.agents.insert(registration.name, local);
    Ok(task)
}

/// A node that runs in this process.
#[derive(Debug)]
pub struct Hosted {
    /// Runs the node's pods.
    pub agent: Arc<dyn NodeAgent>,
    /// Serves the node's own API.
    pub kubelet: Arc<Kubelet>,
    /// Answers once the node is registered; an error where it was stopped before.
    pub registered: oneshot::Receiver<()>,
    /// Keeps the node in touch with its cluster, and ends when it is told to. Pods go on running then.
    pub task: Task,
}

/// Starts a node of the cluster that the client of `parts` leads to, wherever that is. The client acts as the node.
///
/// # Errors
///
/// Those of the node's source, such as a runtime that does not answer. A cluster that does not answer is waited for.
pub async fn host_node(source: &dyn NodeSource, parts: Parts, stop: &Stop) -> Result<Hosted> {
    let registration = source.registration();
    let described = source.static_pods()?;
    let informers = Informers::new(parts.clone());
    let Parts { spawn, clock, entropy, .. } = parts;
    let context = Host::context(&informers, &registration.name);
    let (drivers, devices) = (Drivers::default(), Devices::default());
    let parts = NodeParts {
        clock,
        spawn: Arc::clone(&spawn),
        entropy,
        context,
        informers: informers.clone(),
        drivers: drivers.clone(),
        devices: devices.clone(),
    };
    let finding = source.find_drivers(&parts);
    let mut agent = source.agent(parts).await?;
    let statics =
        described.map(|described| StaticPods::new(&registration.name, &informers, Arc::clone(&agent), described));
    if let Some(statics) = &statics {
        agent = Arc::new(statics.clone());
    }
    let kubelet = Arc::new(Kubelet::new(&registration.name, &informers, Arc::clone(&agent)));
    let (told, registered) = oneshot::channel();
    let mut host = Host::new(registration, &informers, Arc::clone(&agent)).telling(told);
    if finding.is_some() {
        host = host.with_drivers(drivers).with_devices(devices);
    }
    let stop = stop.clone();
    let task = spawn.spawn("node.host", async move {
        let finding = stop.race(finding.unwrap_or_else(|| pending().boxed()));
        let statics = async {
            if let Some(statics) = statics {
                statics.run(stop.clone()).await;
            }
        };
        join3(host.run(stop.clone()), finding, statics).await;
    });
    Ok(Hosted { agent, kubelet, registered, task })
}

#[cfg(feature = "fake")]
#[async_trait]
impl NodeSource for windlass_testkit::FakeNode {
    fn registration(&self) -> Registration {
        let (labels, taints) = (self.labels.clone(), self.taints.clone());
        Registration { labels, taints, ..Registration::named(&self.name) }
    }

    async fn agent(&self, parts: NodeParts) -> Result<Arc<dyn NodeAgent>> {
        windlass_testkit::FakeAgent::new(self.clone(), Arc::clone(&parts.clock), Arc::clone(&parts.spawn))
            .agent(parts)
            .await
    }
}

/// An agent that is made already, on the clock and tasks that it has.
#[cfg(feature = "fake")]
#[async_trait]
impl NodeSource for windlass_testkit::FakeAgent {
    fn registration(&self) -> Registration {
        self.node().registration()
    }

    async fn agent(&self, parts: NodeParts) -> Result<Arc<dyn NodeAgent>> {
        self.set_surroundings(Arc::new(super::surroundings::Kubelet::new(&parts)));
        Ok(Arc::new(self.clone()))
    }
}

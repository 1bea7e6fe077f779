//! What every node agent shares: registration, the node's lease, its status, its pods, and the writing of theirs.
//!
//! The host knows nothing of containers. It hands the agent the node's pods and writes down what the agent reports.

mod context;
mod csi_node;
mod follow;
mod heartbeat;
mod merge;
mod ranges;
mod statuses;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, channel::oneshot};
use windlass_api::{
    core::v1::{Node, Pod, Taint},
    meta::v1::ObjectMeta,
};
use windlass_client::{Backoff, Cache, Client, Informers, Select};
use windlass_kernel::{Clock, ClockExt, Identity, NodeAgent, Result, Stop, node::NodeContext};

use crate::{devices::Devices, drivers::Drivers};

pub use self::{context::ClusterContext, ranges::pod_ranges};
use self::{heartbeat::Heartbeat, statuses::Statuses};

/// Delays after a failed call.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

/// How a node presents itself.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The node's name.
    pub name: String,
    /// Labels beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Taints that the node starts with (`key`, `value`, `effect`).
    pub taints: Vec<(String, String, String)>,
    /// The port of the node's own API (`status.daemonEndpoints.kubeletEndpoint`); 0 where nothing listens.
    pub port: u16,
    /// Whether the node makes its object itself; else somebody else has to (kubelet's `--register-node`).
    pub register: bool,
    /// How often the lease is renewed (upstream: 10 s).
    pub renewal: Duration,
    /// How long the lease is good for without renewal (upstream: 40 s).
    pub lease: Duration,
}

impl Registration {
    /// A node of that name with upstream's timing.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            port: 0,
            register: true,
            renewal: Duration::from_secs(10),
            lease: Duration::from_secs(40),
        }
    }

    /// The node's object as it is made, with its ranges of pod addresses where they are known.
    fn node(&self, ranges: &[String]) -> Node {
        let mut labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), self.name.clone())]);
        labels.extend(self.labels.clone());
        let taints = self.taints.iter().map(|(key, value, effect)| Taint {
            key: key.clone(),
            value: Some(value.clone()).filter(|value| !value.is_empty()),
            effect: effect.clone(),
            ..Taint::default()
        });
        let mut node = Node {
            metadata: ObjectMeta { name: Some(self.name.clone()), labels, ..ObjectMeta::default() },
            ..Node::default()
        };
        node.spec.taints = taints.collect();
        node.spec.pod_cidr = ranges.first().cloned();
        node.spec.pod_cidrs = ranges.to_vec();
        node
    }

    /// The identity of the node's agent (`system:node:<name>`, group `system:nodes`).
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::new(&format!("system:node:{}", self.name), &["system:nodes", "system:authenticated"])
    }
}

/// Connects an agent to the cluster.
#[derive(Debug)]
pub struct Host {
    registration: Registration,
    client: Client,
    clock: Arc<dyn Clock>,
    pods: Cache<Arc<Pod>>,
    informers: Informers,
    agent: Arc<dyn NodeAgent>,
    drivers: Option<Drivers>,
    devices: Option<Devices>,
    /// Told once the node is registered.
    registered: Option<oneshot::Sender<()>>,
}

impl Host {
    /// A host for `agent`. `informers` act as the node's own identity.
    #[must_use]
    pub fn new(registration: Registration, informers: &Informers, agent: Arc<dyn NodeAgent>) -> Self {
        let parts = informers.parts();
        let pods = informers.typed(Select::all().fields(format!("spec.nodeName={}", registration.name)));
        Self {
            client: parts.client.clone(),
            clock: Arc::clone(&parts.clock),
            pods,
            informers: informers.clone(),
            registration,
            agent,
            drivers: None,
            devices: None,
            registered: None,
        }
    }

    /// Tells the cluster of the node's volume drivers (CSINode), and which volumes are in use.
    #[must_use]
    pub fn with_drivers(mut self, drivers: Drivers) -> Self {
        self.drivers = Some(drivers);
        self
    }

    /// Tells the cluster at once when the node has other devices, as its agent says. Otherwise it is told with the next heartbeat.
    #[must_use]
    pub fn with_devices(mut self, devices: Devices) -> Self {
        self.devices = Some(devices);
        self
    }

    /// Says by `told` that the node is registered, once it is.
    #[must_use]
    pub fn telling(mut self, told: oneshot::Sender<()>) -> Self {
        self.registered = Some(told);
        self
    }

    /// What the agent of the node `name` may ask of the cluster.
    #[must_use]
    pub fn context(informers: &Informers, name: &str) -> Arc<dyn NodeContext> {
        Arc::new(ClusterContext::new(informers, name))
    }

    /// Runs until `stop`. The agent's pods go on running then.
    pub async fn run(self, stop: Stop) {
        stop.race(self.work()).await;
    }

    async fn work(mut self) {
        let registered = self.registered.take();
        let parts = self.informers.parts();
        let plugins = (self.drivers.as_ref(), self.devices.as_ref());
        let heartbeat = Heartbeat::new(&self.registration, &self.client, &self.clock, &self.agent, plugins);
        let mut backoff = RETRY;
        while let Err(error) = heartbeat.register().await {
            tracing::warn!(node = self.registration.name, %error, "cannot register the node yet");
            self.clock.sleep(backoff.next(&*parts.entropy)).await;
        }
        tracing::info!(node = self.registration.name, "node registered");
        if let Some(told) = registered {
            // Whoever asked may have stopped waiting.
            let _ = told.send(());
        }
        let statuses = Statuses::new(self.client.clone(), self.pods.clone(), parts.clone());
        futures::join!(
            heartbeat.run(),
            self.hand_over(),
            self.write_down(&statuses),
            statuses.run(),
            self.tell_drivers()
        );
    }

    /// Hands the full set to the agent whenever it changed, and again after a failure.
    async fn hand_over(&self) {
        self.pods.synced().await;
        let changed = self.pods.subscribe();
        let mut backoff = RETRY;
        loop {
            while changed.take().is_some() {}
            match self.agent.sync(self.pods.values()).await {
                Ok(()) => {
                    backoff.reset();
                    changed.next().await;
                }
                Err(error) => {
                    tracing::warn!(node = self.registration.name, %error, "the agent did not take its pods");
                    self.clock.sleep(backoff.next(&*self.informers.parts().entropy)).await;
                }
            }
        }
    }

    /// Writes down which drivers there are, whenever that changed.
    async fn tell_drivers(&self) {
        let Some(drivers) = &self.drivers else { return };
        let (mut backoff, mut version, mut told) = (RETRY, 0, None);
        loop {
            let nodes = drivers.nodes();
            if told.as_ref() != Some(&nodes) {
                if let Err(error) = csi_node::tell(&self.client, &self.registration.name, &nodes).await {
                    tracing::warn!(node = self.registration.name, %error, "cannot tell which volume drivers there are");
                    self.clock.sleep(backoff.next(&*self.informers.parts().entropy)).await;
                    continue;
                }
                backoff.reset();
                told = Some(nodes);
            }
            version = drivers.changed_since(version).await;
        }
    }

    async fn write_down(&self, statuses: &Statuses) {
        self.pods.synced().await;
        let mut reports = self.agent.reports();
        while let Some(report) = reports.next().await {
            statuses.set(report);
        }
    }
}

/// Reads an object's own namespace and name.
pub(crate) fn place(pod: &Pod) -> windlass_kernel::controller::ObjectKey {
    let meta = &pod.metadata;
    windlass_kernel::controller::ObjectKey::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// An outcome that means the same as success to someone who wanted the object gone or left alone.
pub(crate) fn gone(result: Result<()>) -> Result<()> {
    use windlass_kernel::ErrorKind;
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
        other => other,
    }
}

//! The node object: created once, renewed by a lease, and written again only when it changed.

use std::sync::Arc;

use futures::future::{pending, select};
use parking_lot::Mutex;
use windlass_api::{
    coordination::v1::{Lease, LeaseSpec},
    core::v1::{Node, NodeCondition, NodeStatus},
    meta::v1::{ObjectMeta, OwnerReference},
    types::{MicroTime, Time},
};
use windlass_client::Client;
use windlass_kernel::{Clock, ClockExt, Error, ErrorKind, NodeAgent, Result};

use super::Registration;
use crate::{devices::Devices, drivers::Drivers};

/// Where nodes' leases are kept (KEP-589).
const LEASES: &str = "kube-node-lease";

#[derive(Debug)]
pub(super) struct Heartbeat<'a> {
    registration: &'a Registration,
    client: &'a Client,
    clock: &'a Arc<dyn Clock>,
    agent: &'a Arc<dyn NodeAgent>,
    drivers: Option<&'a Drivers>,
    devices: Option<&'a Devices>,
    /// The lease as it was last written.
    lease: Mutex<Option<Arc<Lease>>>,
    /// The ranges of pod addresses that the node was last seen with. A node that is made anew keeps them, since its pods do.
    ranges: Mutex<Vec<String>>,
}

impl<'a> Heartbeat<'a> {
    pub(super) fn new(
        registration: &'a Registration,
        client: &'a Client,
        clock: &'a Arc<dyn Clock>,
        agent: &'a Arc<dyn NodeAgent>,
        (drivers, devices): (Option<&'a Drivers>, Option<&'a Devices>),
    ) -> Self {
        let (lease, ranges) = Default::default();
        Self { registration, client, clock, agent, drivers, devices, lease, ranges }
    }

    /// Creates the node where there is none and nobody else is to, and writes its status.
    pub(super) async fn register(&self) -> Result<()> {
        let status = self.agent.describe().await?;
        let name = &self.registration.name;
        if self.registration.register {
            let node = self.node(&status);
            match self.client.create(&node).await {
                Ok(_) => {}
                Err(error) if error.is(ErrorKind::AlreadyExists) => {
                    let wanted = &node.metadata.labels;
                    let relabel = |node: &mut Node| node.metadata.labels.extend(wanted.clone());
                    self.client.modify::<Node>("", name, relabel).await?;
                }
                Err(error) => return Err(error),
            }
        } else if self.client.get_opt::<Node>("", name).await?.is_none() {
            let message = format!("there is no node {name:?}, which somebody else is to make: create it");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        self.renew().await?;
        self.report(status).await
    }

    /// Renews the lease in time, and looks whether the node changed; at once where other volumes are in use, or there are other
    /// devices.
    pub(super) async fn run(&self) {
        let (mut version, mut seen) = (0, 0);
        loop {
            let used = async {
                match self.drivers {
                    Some(drivers) => version = drivers.changed_since(version).await,
                    None => pending().await,
                }
            };
            let others = async {
                match self.devices {
                    Some(devices) => seen = devices.changed_since(seen).await,
                    None => pending().await,
                }
            };
            let news = select(Box::pin(used), Box::pin(others));
            drop(select(self.clock.sleep(self.registration.renewal), news).await);
            let beat = async {
                self.renew().await?;
                self.report(self.agent.describe().await?).await
            };
            if let Err(error) = beat.await {
                tracing::warn!(node = self.registration.name, %error, "cannot renew the node's lease or status");
                if error.is(ErrorKind::NotFound)
                    && let Err(error) = self.register().await
                {
                    tracing::warn!(node = self.registration.name, %error, "cannot register the node again");
                }
            }
        }
    }

    async fn renew(&self) -> Result<()> {
        let name = &self.registration.name;
        let now = MicroTime(self.clock.now());
        // Nobody else writes it, as a rule, so that it need not be read before each renewal.
        let known = self.lease.lock().take();
        if let Some(known) = known {
            let mut lease = Lease::clone(&known);
            lease.spec.renew_time = Some(now);
            match self.client.update(&lease).await {
                Err(error) if error.is(ErrorKind::Conflict) || error.is(ErrorKind::NotFound) => {}
                other => return self.renewed(other),
            }
        }
        match self.client.modify::<Lease>(LEASES, name, |lease| lease.spec.renew_time = Some(now)).await {
            Err(error) if error.is(ErrorKind::NotFound) => {}
            other => return self.renewed(other),
        }
        // The lease belongs to the node, so that it goes when the node does.
        let node = self.client.get::<Node>("", name).await?;
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: name.clone(),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        };
        let seconds = i32::try_from(self.registration.lease.as_secs()).unwrap_or(i32::MAX);
        let lease = Lease {
            metadata: ObjectMeta {
                namespace: Some(LEASES.into()),
                name: Some(name.clone()),
                owner_references: vec![owner],
                ..ObjectMeta::default()
            },
            spec: LeaseSpec {
                holder_identity: Some(name.clone()),
                lease_duration_seconds: Some(seconds),
                renew_time: Some(now),
                ..LeaseSpec::default()
            },
        };
        match self.client.create(&lease).await {
            Err(error) if error.is(ErrorKind::AlreadyExists) => Ok(()),
            other => self.renewed(other),
        }
    }

    fn renewed(&self, lease: Result<Arc<Lease>>) -> Result<()> {
        *self.lease.lock() = Some(lease?);
        Ok(())
    }

    /// Writes the status where it differs from what is known; times of unchanged conditions are kept.
    async fn report(&self, mut status: NodeStatus) -> Result<()> {
        if self.registration.port > 0 {
            status.daemon_endpoints.kubelet_endpoint.port = i32::from(self.registration.port);
        }
        let now = Time(self.clock.now());
        let next = |kept: &NodeStatus| {
            let mut next = NodeStatus {
                volumes_attached: kept.volumes_attached.clone(),
                volumes_in_use: self.drivers.map_or_else(|| kept.volumes_in_use.clone(), Drivers::in_use),
                phase: kept.phase.clone(),
                ..status.clone()
            };
            for condition in &mut next.conditions {
                settle(condition, kept.conditions.iter().find(|old| old.type_ == condition.type_), &now);
            }
            let others = kept.conditions.iter().filter(|old| next.conditions.iter().all(|new| new.type_ != old.type_));
            let others: Vec<_> = others.cloned().collect();
            next.conditions.extend(others);
            next
        };
        let name = &self.registration.name;
        let known = self.client.get::<Node>("", name).await?;
        if !known.spec.pod_cidrs.is_empty() {
            self.ranges.lock().clone_from(&known.spec.pod_cidrs);
        }
        if next(&known.status) == known.status {
            return Ok(());
        }
        self.client.modify_status::<Node>("", name, |node| node.status = next(&node.status)).await.map(drop)
    }

    fn node(&self, status: &NodeStatus) -> Node {
        let info = &status.node_info;
        let mut node = self.registration.node(&self.ranges.lock());
        for (key, value) in [("kubernetes.io/arch", &info.architecture), ("kubernetes.io/os", &info.operating_system)] {
            node.metadata.labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
        node
    }
}

/// Gives a condition the times that it should carry. A heartbeat time alone never makes a status differ.
fn settle(condition: &mut NodeCondition, old: Option<&NodeCondition>, now: &Time) {
    let same = old.filter(|old| old.status == condition.status);
    condition.last_transition_time = same.and_then(|old| old.last_transition_time).or(Some(*now));
    let unchanged = same.filter(|old| old.reason == condition.reason && old.message == condition.message);
    condition.last_heartbeat_time = unchanged.and_then(|old| old.last_heartbeat_time).or(Some(*now));
}

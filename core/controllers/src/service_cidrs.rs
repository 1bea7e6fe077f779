//! The ServiceCIDR controller: says that a range of service addresses can be used, and keeps one whose addresses are in
//! use (KEP-1880).
//!
//! The API server gives no address of a range that is being deleted, in the very transaction that would: so what is found
//! unused here stays unused.

mod plan;

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use windlass_api::{
    meta::v1::Condition,
    networking::v1::{IPAddress, ServiceCIDR},
    types::Time,
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Clock, Controller, Document, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use self::plan::{FINALIZER, Step, plan};
use crate::{claim, registry::Tools, status};

/// The key that stands for all ranges that are being deleted.
const GOING: ObjectKey = ObjectKey { namespace: String::new(), name: String::new() };

/// Looks after the ranges of service addresses.
#[derive(Debug)]
pub(crate) struct ServiceRanges {
    client: Client,
    clock: Arc<dyn Clock>,
    ranges: Cache<Arc<ServiceCIDR>>,
}

impl ServiceRanges {
    pub(crate) fn new(tools: &Tools) -> Self {
        let clock = Arc::clone(&tools.informers.parts().clock);
        Self { client: tools.client.clone(), clock, ranges: tools.informers.typed(Select::all()) }
    }

    /// What a range needs. Asked anew where one is being deleted, because a cache may not know the latest address.
    async fn step(&self, range: &ServiceCIDR) -> Result<Step> {
        if range.metadata.deletion_timestamp.is_none() {
            return Ok(plan(range, &[], &[]));
        }
        let ranges: Vec<Arc<ServiceCIDR>> = self.client.list(&Select::all()).await?;
        let addresses: Vec<Arc<IPAddress>> = self.client.list(&Select::all().labels(plan::OURS)).await?;
        let addresses = addresses.iter().filter_map(|own| own.metadata.name.as_deref()?.parse().ok());
        let others: Vec<&ServiceCIDR> =
            ranges.iter().map(|own| &**own).filter(|own| own.metadata.name != range.metadata.name).collect();
        Ok(plan(range, &others, &addresses.collect::<Vec<IpAddr>>()))
    }

    async fn say(&self, range: &ServiceCIDR, (status, reason, message): (&str, &str, &str)) -> Result<()> {
        let mut changed = range.clone();
        changed.status.conditions.retain(|own| own.type_ != plan::READY);
        changed.status.conditions.push(Condition {
            type_: plan::READY.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            last_transition_time: Some(Time(self.clock.now())),
            observed_generation: None,
        });
        status::write(&self.client, &changed).await
    }

    async fn keep(&self, range: &ServiceCIDR, finalizers: Vec<String>) -> Result<()> {
        let mut changed = range.clone();
        changed.metadata.finalizers = finalizers;
        claim::settled(self.client.update(&changed).await.map(drop))
    }
}

#[async_trait]
impl Controller for ServiceRanges {
    fn name(&self) -> &'static str {
        "service-cidrs-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        let all = |_: &Document| vec![GOING];
        vec![
            Watched { resource: gvr::<ServiceCIDR>(), keys: claim::own_key },
            // Another range may hold the addresses of one that is to go, and an address may be given back.
            Watched { resource: gvr::<ServiceCIDR>(), keys: all },
            Watched { resource: gvr::<IPAddress>(), keys: all },
        ]
    }

    fn stands_for(&self, key: &ObjectKey) -> Option<Vec<ObjectKey>> {
        let going = |(key, range): (ObjectKey, Arc<ServiceCIDR>)| range.metadata.deletion_timestamp.map(|_| key);
        (*key == GOING).then(|| self.ranges.list().into_iter().filter_map(going).collect())
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(range) = self.ranges.get(key) else { return Ok(Requeue::OnChange) };
        let others = || range.metadata.finalizers.iter().filter(|own| *own != FINALIZER).cloned();
        match self.step(&range).await? {
            Step::Rest => {}
            Step::Protect => self.keep(&range, others().chain([FINALIZER.to_owned()]).collect()).await?,
            Step::Release => self.keep(&range, others().collect()).await?,
            Step::Ready => self.say(&range, ("True", "", "Kubernetes Service CIDR is ready")).await?,
            Step::Blocked => self.say(&range, ("False", "Terminating", plan::IN_USE)).await?,
        }
        Ok(Requeue::OnChange)
    }
}

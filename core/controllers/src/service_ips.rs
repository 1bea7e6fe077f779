//! The repair of service addresses: every cluster IP has an IPAddress that names its service, and no IPAddress names a
//! service that has another address.
//!
//! The API server writes both in one transaction, so there is something to repair only where somebody wrote or deleted
//! an IPAddress by hand, or a former version left none.

mod plan;

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use windlass_api::{
    core::v1::Service,
    meta::v1::ObjectMeta,
    networking::v1::{IPAddress, IPAddressSpec, ParentReference, ServiceCIDR},
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Controller, Document, ErrorKind, Result,
    api::{Options, Preconditions},
    controller::{ObjectKey, Requeue, Watched},
};

use self::plan::{Leak, Repair};
use crate::{claim, registry::Tools};

/// Keeps the IPAddresses of services right.
#[derive(Debug)]
pub(crate) struct ServiceAddresses {
    client: Client,
    recorder: Recorder,
    services: Cache<Arc<Service>>,
    addresses: Cache<Arc<IPAddress>>,
    ranges: Cache<Arc<ServiceCIDR>>,
}

impl ServiceAddresses {
    pub(crate) fn new(tools: &Tools) -> Self {
        let informers = &tools.informers;
        Self {
            client: tools.client.clone(),
            recorder: tools.recorder(),
            services: informers.typed(Select::all()),
            addresses: informers.typed(Select::all()),
            ranges: informers.typed(Select::all()),
        }
    }

    async fn of_service(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(seen) = self.services.get(key) else { return Ok(Requeue::OnChange) };
        let cached = |ip: IpAddr| self.addresses.get(&ObjectKey::new("", ip.to_string()));
        if plan::ips(&seen).all(|ip| plan::of_service(&seen, ip, cached(ip).as_deref()) == Repair::Rest) {
            return Ok(Requeue::OnChange);
        }
        // The two come by different watches: what is amiss may be news of the other.
        let Some(service) = self.client.get_opt::<Service>(&key.namespace, &key.name).await? else {
            return Ok(Requeue::OnChange);
        };
        for ip in plan::ips(&service) {
            self.repair(&service, ip).await?;
        }
        Ok(Requeue::OnChange)
    }

    async fn repair(&self, service: &Service, ip: IpAddr) -> Result<()> {
        let found = self.client.get_opt::<IPAddress>("", &ip.to_string()).await?;
        let (family, key) = (plan::family(ip), claim::key(&service.metadata));
        let warn = |reason: &str, message: String| self.recorder.event(service, Severity::Warning, reason, message);
        let repair = plan::of_service(service, ip, found.as_deref());
        if !matches!(repair, Repair::Rest) && !plan::is_in(ip, self.ranges.values().iter().map(|own| &**own)) {
            let message = format!(
                "Cluster IP [{family}]: {ip} is not within any configured Service CIDR; please recreate service"
            );
            warn("ClusterIPOutOfRange", message);
            return Ok(());
        }
        match (repair, found) {
            (Repair::Create, _) => {
                warn("ClusterIPNotAllocated", format!("Cluster IP [{family}]: {ip} is not allocated; repairing"));
                self.create(service, ip).await
            }
            (Repair::Label, Some(found)) => self.again(service, ip, &found).await,
            (Repair::Take, Some(found)) => {
                if self.has(plan::parent(&found), ip).await? {
                    let message = format!(
                        "Cluster IP [{family}]:{ip} was assigned to multiple services; please recreate service"
                    );
                    warn("ClusterIPAlreadyAllocated", message);
                    return Ok(());
                }
                let message =
                    format!("the ClusterIP [{family}]: {ip} for Service {key} has a wrong reference; repairing");
                warn("ClusterIPNotAllocated", message);
                self.again(service, ip, &found).await
            }
            (Repair::Rest, _) | (_, None) => Ok(()),
        }
    }

    async fn again(&self, service: &Service, ip: IpAddr, found: &IPAddress) -> Result<()> {
        self.delete(found).await?;
        self.create(service, ip).await
    }

    async fn create(&self, service: &Service, ip: IpAddr) -> Result<()> {
        let meta = &service.metadata;
        let (namespace, name) = (meta.namespace.clone(), meta.name.clone().unwrap_or_default());
        let labels = plan::labels(ip).map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let metadata = ObjectMeta { name: Some(ip.to_string()), labels, ..ObjectMeta::default() };
        let parent_ref = ParentReference { group: None, resource: "services".into(), namespace, name };
        let address = IPAddress { metadata, spec: IPAddressSpec { parent_ref } };
        match self.client.create(&address).await {
            // Whoever was faster is looked at when it is seen.
            Err(error) if error.is(ErrorKind::AlreadyExists) => Ok(()),
            done => done.map(drop),
        }
    }

    async fn delete(&self, address: &IPAddress) -> Result<()> {
        let name = address.metadata.name.clone().unwrap_or_default();
        let preconditions = Preconditions { uid: address.metadata.uid.clone(), resource_version: None };
        let options = Options { preconditions, ..Options::default() };
        match self.client.delete_with::<IPAddress>("", &name, options).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
            done => done,
        }
    }

    /// Whether there is a service of that key that has the address.
    async fn has(&self, service: Option<ObjectKey>, ip: IpAddr) -> Result<bool> {
        let Some(ObjectKey { namespace, name }) = service else { return Ok(false) };
        let service = self.client.get_opt::<Service>(&namespace, &name).await?;
        Ok(service.is_some_and(|service| plan::ips(&service).any(|own| own == ip)))
    }

    async fn of_address(&self, key: &ObjectKey) -> Result<Requeue> {
        let cached = |key: &ObjectKey| self.services.get(key);
        let Some(seen) = self.addresses.get(key) else { return Ok(Requeue::OnChange) };
        let parent = |address: &IPAddress| plan::parent(address);
        if plan::of_address(&seen, parent(&seen).and_then(|key| cached(&key)).as_deref()).is_none() {
            return Ok(Requeue::OnChange);
        }
        let Some(found) = self.client.get_opt::<IPAddress>("", &key.name).await? else { return Ok(Requeue::OnChange) };
        let service = match parent(&found) {
            Some(ObjectKey { namespace, name }) => self.client.get_opt::<Service>(&namespace, &name).await?,
            None => None,
        };
        let Some(leak) = plan::of_address(&found, service.as_deref()) else { return Ok(Requeue::OnChange) };
        let (name, of) = (&key.name, parent(&found).map(|key| key.to_string()).unwrap_or_default());
        let (reason, message) = match leak {
            Leak::Foreign => (
                "IPAddressNotAllocated",
                format!("IPAddress {name} appears to have been modified, not referencing a Service: cleaning up"),
            ),
            Leak::Orphan => (
                "IPAddressNotAllocated",
                format!("IPAddress: {name} for Service {of} appears to have leaked: cleaning up"),
            ),
            Leak::Wrong => (
                "IPAddressWrongReference",
                format!("IPAddress: {name} for Service {of} has a wrong reference; cleaning up"),
            ),
        };
        self.recorder.event(&*found, Severity::Warning, reason, message);
        self.delete(&found).await?;
        Ok(Requeue::OnChange)
    }
}

#[async_trait]
impl Controller for ServiceAddresses {
    fn name(&self) -> &'static str {
        "ipallocator-repair-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        let both = |document: &Document| {
            let parent = document.typed::<IPAddress>().ok().and_then(|address| plan::parent(&address));
            claim::own_key(document).into_iter().chain(parent).collect()
        };
        vec![
            Watched { resource: gvr::<Service>(), keys: claim::own_key },
            Watched { resource: gvr::<IPAddress>(), keys: both },
        ]
    }

    /// A key is a service, or without a namespace an address.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.ranges.synced().await;
        if key.namespace.is_empty() { self.of_address(key).await } else { self.of_service(key).await }
    }
}

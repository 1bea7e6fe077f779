//! The Endpoints and EndpointSlice controllers: which pods stand behind a service. The decisions are in `plan`.

mod facts;
mod legacy;
mod mirror;
mod plan;
mod slices;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use windlass_client::{
    Cache, Client, Select, gvr,
    informer::{Index, Informers},
};
use windlass_kernel::{
    Controller, Document, Result,
    controller::{ObjectKey, Requeue, Watched},
    document,
};

pub(crate) use self::mirror::MirroredSlices;
use self::{
    facts::{Backend, selects},
    slices::Step,
};
use crate::{claim, registry::Tools};

/// Who made a slice (`discovery/v1 LabelManagedBy`), and for which service (`LabelServiceName`).
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const SERVICE: &str = "kubernetes.io/service-name";

/// The index of pods that can be reached, by their labels.
const BY_LABEL: &str = "label";

/// Keys of pods in a queue of services: no service has such a name.
const POD: &str = "pod/";

/// What both controllers look at.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    services: Cache<Arc<Service>>,
    pods: Cache<Arc<Backend>>,
}

impl Views {
    pub(crate) fn new(informers: &Informers) -> Self {
        let by_label = Index {
            name: BY_LABEL,
            values: |key: &ObjectKey, pod: &Arc<Backend>| {
                let labels = pod.labels.iter().filter(|_| pod.reachable());
                labels.map(|(label, value)| claim::labelled(&key.namespace, label, value)).collect()
            },
        };
        let pods = informers.projected::<Pod, _>(Select::all(), vec![by_label], |pod| Some(Arc::new(Backend::of(pod))));
        Self { services: informers.typed(Select::all()), pods }
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.pods.synced().await;
    }

    /// The services that a changed pod may stand behind, or may have stood behind.
    fn concerned(&self, namespace: &str, pod: &str, held: impl Fn(&ObjectKey) -> bool) -> Vec<ObjectKey> {
        let pod = self.pods.get(&ObjectKey::new(namespace, pod));
        let services = self.services.in_namespace(namespace).into_iter();
        let concerned =
            services.filter(|(key, service)| pod.as_ref().is_some_and(|pod| selects(service, pod)) || held(key));
        concerned.map(|(key, _)| key).collect()
    }

    /// The pods behind a service, by name.
    fn behind(&self, service: &Service) -> Vec<Arc<Backend>> {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        // A service without a selector has no pods behind it.
        let Some((label, value)) = service.spec.selector.iter().next() else { return Vec::new() };
        let pods = self.pods.indexed(BY_LABEL, &claim::labelled(namespace, label, value)).into_iter();
        pods.filter(|pod| selects(service, pod)).collect()
    }
}

/// A pod's key, where it may stand behind a service: no selector finds one without labels, nobody reaches one without
/// an address. What it was before is another key.
fn of_pod(document: &Document) -> Vec<ObjectKey> {
    let labelled = document.indexed(document::Index::Label).next().is_some();
    if !labelled || !document.typed::<Pod>().is_ok_and(|pod| !pod.status.pod_ips.is_empty()) {
        return Vec::new();
    }
    let keys = claim::own_key(document).into_iter();
    keys.map(|key| ObjectKey::new(key.namespace, format!("{POD}{}", key.name))).collect()
}

/// The service of a slice of that manager.
fn of_slice(document: &Document, manager: &str) -> Vec<ObjectKey> {
    let Some(service) = document.label(SERVICE).filter(|_| document.label(MANAGED_BY) == Some(manager)) else {
        return vec![];
    };
    claim::own_key(document).into_iter().map(|key| ObjectKey::new(key.namespace, service)).collect()
}

/// The slices of one manager, findable by service.
#[derive(Debug)]
struct Slices {
    cache: Cache<Arc<EndpointSlice>>,
}

impl Slices {
    /// Fed by the watch that wakes the controller, so that it knows what it is woken for.
    fn new(informers: &Informers, manager: &'static str) -> Self {
        let by_service = Index {
            name: SERVICE,
            values: |key: &ObjectKey, slice: &Arc<EndpointSlice>| {
                let service = slice.metadata.labels.get(SERVICE).cloned().unwrap_or_default();
                vec![ObjectKey::new(key.namespace.clone(), service).to_string()]
            },
        };
        let own = move |slice: &EndpointSlice| {
            let managed = slice.metadata.labels.get(MANAGED_BY).is_some_and(|by| by == manager);
            managed.then(|| Arc::new(slice.clone()))
        };
        Self { cache: informers.projected::<EndpointSlice, _>(Select::all(), vec![by_service], own) }
    }

    fn of(&self, service: &ObjectKey) -> Vec<Arc<EndpointSlice>> {
        self.cache.indexed(SERVICE, &service.to_string())
    }
}

async fn carry_out(client: &Client, steps: Vec<Step>) -> Result<()> {
    for step in steps {
        let done = match step {
            Step::Create(slice) => client.create(&*slice).await.map(drop),
            Step::Update(slice) => client.update(&*slice).await.map(drop),
            Step::Delete(key) => client.delete::<EndpointSlice>(&key.namespace, &key.name).await,
        };
        claim::settled(done)?;
    }
    Ok(())
}

/// Keeps the EndpointSlices of services with a selector.
#[derive(Debug)]
pub struct EndpointSlices {
    client: Client,
    views: Views,
    slices: Slices,
}

impl EndpointSlices {
    pub(crate) fn new(tools: &Tools) -> Self {
        let slices = Slices::new(&tools.informers, MANAGER);
        Self { client: tools.client.clone(), views: tools.views.clone(), slices }
    }

    async fn service(&self, key: &ObjectKey) -> Result<()> {
        let existing = self.slices.of(key);
        let service = self.views.services.get(key).filter(|service| service.metadata.deletion_timestamp.is_none());
        let steps = match service.filter(|service| !service.spec.selector.is_empty()) {
            Some(service) if service.spec.type_.as_deref() != Some("ExternalName") => {
                plan::plan(&service, &self.views.behind(&service), &existing)
            }
            // Slices of a service that is gone are the garbage collector's; those of one that selects no more are ours.
            Some(_) | None if self.views.services.contains(key) => {
                existing.iter().map(|slice| Step::Delete(claim::key(&slice.metadata))).collect()
            }
            _ => vec![],
        };
        carry_out(&self.client, steps).await
    }
}

#[async_trait]
impl Controller for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<Service>(), keys: claim::own_key },
            Watched { resource: gvr::<Pod>(), keys: of_pod },
            Watched { resource: gvr::<EndpointSlice>(), keys: |document| of_slice(document, MANAGER) },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.views.synced().await;
        self.slices.cache.synced().await;
        let Some(pod) = key.name.strip_prefix(POD) else {
            self.service(key).await?;
            return Ok(Requeue::OnChange);
        };
        let holds =
            |service: &ObjectKey| {
                self.slices.of(service).iter().flat_map(|slice| &slice.endpoints).any(|endpoint| {
                    endpoint.target_ref.as_ref().is_some_and(|target| target.name.as_deref() == Some(pod))
                })
            };
        for service in self.views.concerned(&key.namespace, pod, holds) {
            self.service(&service).await?;
        }
        Ok(Requeue::OnChange)
    }
}

/// Keeps the Endpoints of services with a selector, for clients that know no slices.
#[derive(Debug)]
pub struct LegacyEndpoints {
    client: Client,
    views: Views,
    endpoints: Cache<Arc<Endpoints>>,
}

impl LegacyEndpoints {
    pub(crate) fn new(tools: &Tools) -> Self {
        let endpoints = tools.informers.typed(Select::all());
        Self { client: tools.client.clone(), views: tools.views.clone(), endpoints }
    }

    async fn service(&self, key: &ObjectKey) -> Result<()> {
        let existing = self.endpoints.get(key);
        let service = self.views.services.get(key).filter(|service| service.metadata.deletion_timestamp.is_none());
        let Some(service) = service else {
            if existing.is_some_and(|own| legacy::managed(&own)) && !self.views.services.contains(key) {
                return claim::settled(self.client.delete::<Endpoints>(&key.namespace, &key.name).await);
            }
            return Ok(());
        };
        if service.spec.selector.is_empty() || service.spec.type_.as_deref() == Some("ExternalName") {
            return Ok(());
        }
        let done = match legacy::plan(&service, &self.views.behind(&service), existing.as_deref()) {
            None => Ok(()),
            Some(wanted) if existing.is_some() => self.client.update(&wanted).await.map(drop),
            Some(wanted) => self.client.create(&wanted).await.map(drop),
        };
        claim::settled(done)
    }
}

#[async_trait]
impl Controller for LegacyEndpoints {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<Service>(), keys: claim::own_key },
            Watched { resource: gvr::<Pod>(), keys: of_pod },
            Watched { resource: gvr::<Endpoints>(), keys: claim::own_key },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.views.synced().await;
        self.endpoints.synced().await;
        let Some(pod) = key.name.strip_prefix(POD) else {
            self.service(key).await?;
            return Ok(Requeue::OnChange);
        };
        let holds = |service: &ObjectKey| self.endpoints.get(service).is_some_and(|own| legacy::holds(&own, pod));
        for service in self.views.concerned(&key.namespace, pod, holds) {
            self.service(&service).await?;
        }
        Ok(Requeue::OnChange)
    }
}

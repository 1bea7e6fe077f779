//! Services together with their EndpointSlices: what proxies and name servers follow.

use std::sync::Arc;

use windlass_api::{core::v1::Service, discovery::v1::EndpointSlice, meta::v1::ObjectMeta};
use windlass_kernel::controller::ObjectKey;

use crate::{
    informer::{Cache, Index, Informers, Subscription, Update},
    select::Select,
};

/// Names the service that a slice belongs to (`discovery/v1 LabelServiceName`).
const OWNER: &str = "kubernetes.io/service-name";
const BY_SERVICE: &str = "service";

/// A view of all services and their slices, and of what changes in either.
#[derive(Debug)]
pub struct Services {
    services: Cache<Arc<Service>>,
    slices: Cache<Arc<EndpointSlice>>,
    changed: Subscription,
}

impl Services {
    /// A view fed by `informers`.
    #[must_use]
    pub fn new(informers: &Informers) -> Self {
        let services =
            informers.projected::<Service, _>(Select::all(), vec![], |service| Some(Arc::new(slim(service))));
        let by_service =
            Index { name: BY_SERVICE, values: |_, slice: &Arc<EndpointSlice>| vec![owner(slice).to_string()] };
        let slices = informers
            .projected::<EndpointSlice, _>(Select::all(), vec![by_service], |slice| Some(Arc::new(slim_slice(slice))));
        let (changed, sender) = Subscription::new();
        let sender = Arc::new(sender);
        let of_services = Arc::clone(&sender);
        services.on_change(move |update| of_services.add(update.key));
        slices.on_change(move |update: &Update<'_, Arc<EndpointSlice>>| {
            for slice in [update.before, update.after].into_iter().flatten() {
                sender.add(&owner(slice));
            }
        });
        Self { services, slices, changed }
    }

    /// Waits until everything that existed at the start is there.
    pub async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
    }

    /// The next service that changed, or whose slices did. At the start, that is every one.
    pub async fn next(&self) -> ObjectKey {
        self.changed.next().await
    }

    /// A service that changed, if there is one now.
    #[must_use]
    pub fn take(&self) -> Option<ObjectKey> {
        self.changed.take()
    }

    /// A service, without what neither proxies nor name servers need.
    #[must_use]
    pub fn service(&self, key: &ObjectKey) -> Option<Arc<Service>> {
        self.services.get(key)
    }

    /// The slices of a service, by name.
    #[must_use]
    pub fn slices(&self, key: &ObjectKey) -> Vec<Arc<EndpointSlice>> {
        self.slices.indexed(BY_SERVICE, &key.to_string())
    }
}

fn owner(slice: &EndpointSlice) -> ObjectKey {
    let meta = &slice.metadata;
    let service = meta.labels.get(OWNER).cloned().unwrap_or_default();
    ObjectKey::new(meta.namespace.clone().unwrap_or_default(), service)
}

fn named(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta { namespace: meta.namespace.clone(), name: meta.name.clone(), ..ObjectMeta::default() }
}

fn slim(service: &Service) -> Service {
    Service { metadata: named(&service.metadata), spec: service.spec.clone(), status: service.status.clone() }
}

fn slim_slice(slice: &EndpointSlice) -> EndpointSlice {
    let mut metadata = named(&slice.metadata);
    metadata.labels.extend(slice.metadata.labels.get_key_value(OWNER).map(|(key, value)| (key.clone(), value.clone())));
    EndpointSlice { metadata, ..slice.clone() }
}

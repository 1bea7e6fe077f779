//! What the Endpoints object of a service should be. Pure.

use std::{collections::BTreeMap, sync::Arc};

use windlass_api::{
    core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Service},
    meta::v1::ObjectMeta,
};

use super::{facts::Backend, plan};

/// Says that the object is this controller's, and that slices need not mirror it.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

/// How many addresses fit; the object is then marked as truncated.
const MOST: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Whether the object is this controller's.
pub(super) fn managed(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER)
}

/// Whether a pod stands in it.
pub(super) fn holds(endpoints: &Endpoints, pod: &str) -> bool {
    let addresses =
        endpoints.subsets.iter().flat_map(|subset| subset.addresses.iter().chain(&subset.not_ready_addresses));
    addresses.into_iter().any(|own| own.target_ref.as_ref().is_some_and(|target| target.name.as_deref() == Some(pod)))
}

/// The object that is wanted; `None` where it is there already.
pub(super) fn plan(service: &Service, pods: &[Arc<Backend>], existing: Option<&Endpoints>) -> Option<Endpoints> {
    let mut subsets: BTreeMap<Vec<(String, i32, String)>, EndpointSubset> = BTreeMap::new();
    let unready = service.spec.publish_not_ready_addresses == Some(true);
    let serving = pods.iter().filter(|pod| unready || !pod.ending);
    let mut count = 0;
    for pod in serving {
        count += 1;
        if count > MOST {
            break;
        }
        let Some(ip) = pod.ips.iter().find(|ip| ip.is_ipv4()).or(pod.ips.first()) else { continue };
        let subset = subsets.entry(plan::ports(service, pod)).or_default();
        let named = !pod.hostname.is_empty() && Some(pod.subdomain.as_str()) == service.metadata.name.as_deref();
        let address = EndpointAddress {
            ip: ip.to_string(),
            hostname: named.then(|| pod.hostname.clone()),
            node_name: Some(pod.node.clone()).filter(|node| !node.is_empty()),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".into()),
                namespace: Some(pod.key.namespace.clone()),
                name: Some(pod.key.name.clone()),
                uid: Some(pod.uid.clone()),
                ..ObjectReference::default()
            }),
        };
        if unready || pod.ready { &mut subset.addresses } else { &mut subset.not_ready_addresses }.push(address);
    }
    let subsets = subsets.into_iter().map(|(ports, mut subset)| {
        let ports = ports.into_iter().map(|(name, port, protocol)| EndpointPort {
            name: Some(name).filter(|name| !name.is_empty()),
            port,
            protocol: Some(protocol),
            app_protocol: None,
        });
        subset.ports = ports.collect();
        subset
    });
    let mut wanted = existing.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            namespace: service.metadata.namespace.clone(),
            name: service.metadata.name.clone(),
            ..ObjectMeta::default()
        },
        ..Endpoints::default()
    });
    wanted.subsets = subsets.collect();
    wanted.metadata.labels = service.metadata.labels.clone();
    wanted.metadata.labels.insert(MANAGED_BY.into(), MANAGER.into());
    if count > MOST {
        wanted.metadata.annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    } else {
        wanted.metadata.annotations.remove(OVER_CAPACITY);
    }
    (existing != Some(&wanted)).then_some(wanted)
}

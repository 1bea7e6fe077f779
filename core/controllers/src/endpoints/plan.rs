//! Which slices a service should have. Pure.
//!
//! Endpoints stay in the slice that they are in; new ones fill slices with room, then new slices.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use windlass_api::{
    core::v1::{ObjectReference, Service},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    meta::v1::{ObjectMeta, OwnerReference},
};
use windlass_kernel::controller::ObjectKey;

use super::{MANAGED_BY, MANAGER, SERVICE, facts::Backend};
use crate::claim;

/// How many endpoints a slice may have (upstream's `--max-endpoints-per-slice`).
const MOST: usize = 100;

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Create(Box<EndpointSlice>),
    Update(Box<EndpointSlice>),
    Delete(ObjectKey),
}

/// Slices of one kind can hold each other's endpoints: same address family, same ports.
type Kind = (&'static str, Vec<(String, i32, String)>);

pub(super) fn plan(service: &Service, pods: &[Arc<Backend>], existing: &[Arc<EndpointSlice>]) -> Vec<Step> {
    let mut wanted: BTreeMap<Kind, BTreeMap<String, Endpoint>> = BTreeMap::new();
    for family in families(service) {
        for pod in pods {
            let Some(ip) = pod.ips.iter().find(|ip| family_of(ip) == family) else { continue };
            let kind = (family, ports(service, pod));
            wanted.entry(kind).or_default().insert(pod.key.name.clone(), endpoint(service, pod, *ip));
        }
        // A service without pods has one slice without endpoints, so that watchers see its ports.
        if !wanted.keys().any(|kind| kind.0 == family) {
            wanted.insert((family, vec![]), BTreeMap::new());
        }
    }

    let mut steps = Vec::new();
    let mut by_kind: BTreeMap<Kind, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in existing {
        let kind = kind_of(slice);
        if wanted.contains_key(&kind) {
            by_kind.entry(kind).or_default().push(slice);
        } else {
            steps.push(Step::Delete(claim::key(&slice.metadata)));
        }
    }
    for (kind, endpoints) in wanted {
        let slices = by_kind.remove(&kind).unwrap_or_default();
        steps.extend(fill(service, &kind, endpoints, &slices));
    }
    steps
}

/// Distributes endpoints over the slices of one kind.
fn fill(
    service: &Service,
    kind: &Kind,
    mut endpoints: BTreeMap<String, Endpoint>,
    slices: &[&EndpointSlice],
) -> Vec<Step> {
    let mut next: Vec<(&EndpointSlice, Vec<Endpoint>)> = Vec::new();
    for slice in slices {
        let stay = slice.endpoints.iter().filter_map(|old| endpoints.remove(pod_of(old)));
        next.push((slice, stay.collect()));
    }
    let mut fresh = endpoints.into_values();
    for (_, stay) in &mut next {
        let room = MOST.saturating_sub(stay.len());
        stay.extend(fresh.by_ref().take(room));
    }
    let mut steps = Vec::new();
    let filled = next.iter().filter(|(_, endpoints)| !endpoints.is_empty()).count();
    let mut kept = 0;
    for (slice, endpoints) in next {
        // Empty slices go, but for one where nothing is left.
        if endpoints.is_empty() && (filled > 0 || kept > 0) {
            steps.push(Step::Delete(claim::key(&slice.metadata)));
            continue;
        }
        kept += 1;
        let mut wanted = slice.clone();
        wanted.endpoints = endpoints;
        wanted.metadata.labels.extend(labels(service));
        if wanted != *slice {
            steps.push(Step::Update(Box::new(wanted)));
        }
    }
    let mut rest: Vec<Endpoint> = fresh.collect();
    let mut at = slices.len();
    while !rest.is_empty() || kept == 0 {
        let chunk = rest.drain(..rest.len().min(MOST)).collect();
        steps.push(Step::Create(Box::new(slice(service, kind, at, chunk))));
        kept += 1;
        at += 1;
    }
    steps
}

fn slice(service: &Service, kind: &Kind, at: usize, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let meta = &service.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Service".into(),
        name: name.clone(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let metadata = ObjectMeta {
        namespace: meta.namespace.clone(),
        // The same slice has the same name whoever makes it: two that race make one.
        name: Some(format!("{name}-{}", suffix(meta.uid.as_deref().unwrap_or_default(), kind, at))),
        labels: labels(service),
        owner_references: vec![owner],
        ..ObjectMeta::default()
    };
    let ports = kind.1.iter().map(|(name, port, protocol)| EndpointPort {
        name: Some(name.clone()),
        port: Some(*port),
        protocol: Some(protocol.clone()),
        app_protocol: None,
    });
    EndpointSlice { metadata, address_type: kind.0.into(), endpoints, ports: ports.collect() }
}

/// Five letters and digits of a hash (FNV-1a), in the alphabet of generated names.
fn suffix(uid: &str, kind: &Kind, at: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = format!("{uid}/{kind:?}/{at}");
    let mut hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let letters = (0..5).map(|_| {
        let letter = ALPHABET[usize::try_from(hash % 27).unwrap_or(0)];
        hash /= 27;
        char::from(letter)
    });
    letters.collect()
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone();
    labels.insert(SERVICE.into(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if service.spec.cluster_ip.as_deref() == Some("None") {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    labels
}

fn endpoint(service: &Service, pod: &Backend, ip: IpAddr) -> Endpoint {
    let unready = service.spec.publish_not_ready_addresses == Some(true);
    let named = !pod.hostname.is_empty() && Some(pod.subdomain.as_str()) == service.metadata.name.as_deref();
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: EndpointConditions {
            ready: Some(unready || pod.ready && !pod.ending),
            serving: Some(unready || pod.ready),
            terminating: Some(pod.ending),
        },
        hostname: named.then(|| pod.hostname.clone()),
        node_name: Some(pod.node.clone()).filter(|node| !node.is_empty()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: Some(pod.key.namespace.clone()),
            name: Some(pod.key.name.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

/// The ports of a service as a pod has them; those that it does not have are left out.
pub(super) fn ports(service: &Service, pod: &Backend) -> Vec<(String, i32, String)> {
    let ports = service.spec.ports.iter().filter_map(|port| {
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        let number = pod.target(port.target_port.as_ref(), port.port, protocol)?;
        Some((port.name.clone().unwrap_or_default(), number, protocol.to_owned()))
    });
    let mut ports: Vec<_> = ports.collect();
    ports.sort();
    ports
}

fn kind_of(slice: &EndpointSlice) -> Kind {
    let family = if slice.address_type == "IPv6" { "IPv6" } else { "IPv4" };
    let ports = slice.ports.iter().map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        (port.name.clone().unwrap_or_default(), port.port.unwrap_or_default(), protocol)
    });
    let mut ports: Vec<_> = ports.collect();
    ports.sort();
    (family, ports)
}

fn families(service: &Service) -> Vec<&'static str> {
    let listed = service.spec.ip_families.iter().map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" });
    let listed: Vec<_> = listed.collect();
    if listed.is_empty() { vec!["IPv4"] } else { listed }
}

fn family_of(ip: &IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn pod_of(endpoint: &Endpoint) -> &str {
    endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "a", "uid": "s1", "labels": {"app": "web"}},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]},
        }))
        .unwrap()
    }

    fn pods(count: usize) -> Vec<Arc<Backend>> {
        let pod = |at: usize| Backend {
            key: ObjectKey::new("a", format!("web-{at:03}")),
            uid: format!("u{at}"),
            ips: vec![IpAddr::from([10, 1, 0, u8::try_from(at % 250).unwrap()])],
            node: "n1".into(),
            ready: true,
            ports: vec![("http".into(), "TCP".into(), 8080)],
            ..Backend::default()
        };
        (0..count).map(|at| Arc::new(pod(at))).collect()
    }

    /// What the steps make of the existing slices.
    fn carry_out(steps: Vec<Step>, mut slices: Vec<Arc<EndpointSlice>>) -> Vec<Arc<EndpointSlice>> {
        for step in steps {
            match step {
                Step::Create(slice) => slices.push(Arc::new(*slice)),
                Step::Update(new) => {
                    slices.retain(|slice| slice.metadata.name != new.metadata.name);
                    slices.push(Arc::new(*new));
                }
                Step::Delete(key) => slices.retain(|slice| claim::key(&slice.metadata) != key),
            }
        }
        slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        slices
    }

    fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
        let mut sizes: Vec<_> = slices.iter().map(|slice| slice.endpoints.len()).collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn a_second_look_changes_nothing() {
        for count in [0, 1, 150] {
            let slices = carry_out(plan(&service(), &pods(count), &[]), vec![]);
            assert_eq!(slices.iter().map(|slice| slice.endpoints.len()).sum::<usize>(), count);
            assert_eq!(plan(&service(), &pods(count), &slices), []);
        }
    }

    #[test]
    fn a_slice_holds_a_hundred_and_a_change_touches_one() {
        let slices = carry_out(plan(&service(), &pods(250), &[]), vec![]);
        assert_eq!(sizes(&slices), [50, 100, 100]);
        let mut fewer = pods(250);
        fewer.remove(7);
        let steps = plan(&service(), &fewer, &slices);
        assert!(matches!(&steps[..], [Step::Update(slice)] if slice.endpoints.len() == 99), "{} steps", steps.len());
    }

    #[test]
    fn a_named_port_is_each_pods_own() {
        let mut pods = pods(2);
        Arc::make_mut(&mut pods[1]).ports[0].2 = 9090;
        let slices = carry_out(plan(&service(), &pods, &[]), vec![]);
        let mut ports: Vec<_> = slices.iter().map(|slice| slice.ports[0].port.unwrap()).collect();
        ports.sort_unstable();
        assert_eq!(ports, [8080, 9090]);
    }

    #[test]
    fn an_ending_pod_serves_but_is_not_ready() {
        let mut pods = pods(1);
        Arc::make_mut(&mut pods[0]).ending = true;
        let slices = carry_out(plan(&service(), &pods, &[]), vec![]);
        let conditions = &slices[0].endpoints[0].conditions;
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(false), Some(true), Some(true))
        );
    }
}

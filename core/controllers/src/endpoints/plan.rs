//! Which endpoints a service should have in which slices. Pure.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use windlass_api::{
    core::v1::{ObjectReference, Service},
    discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
};

use super::{
    MANAGED_BY, MANAGER, SERVICE,
    facts::Backend,
    slices::{self, Owner, Step, Wanted, family_of},
};
use crate::claim;

pub(super) fn plan(service: &Service, pods: &[Arc<Backend>], existing: &[Arc<EndpointSlice>]) -> Vec<Step> {
    let mut wanted = Wanted::new();
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
    let owner = Owner {
        meta: &service.metadata,
        reference: claim::reference(service),
        labels: labels(service),
        annotations: None,
    };
    slices::distribute(&owner, wanted, existing, pod_of)
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

fn families(service: &Service) -> Vec<&'static str> {
    let listed = service.spec.ip_families.iter().map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" });
    let listed: Vec<_> = listed.collect();
    if listed.is_empty() { vec!["IPv4"] } else { listed }
}

fn pod_of(endpoint: &Endpoint) -> &str {
    endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_kernel::controller::ObjectKey;

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

//! From Services and EndpointSlices to the wanted service ports. Pure: who watches and who applies is elsewhere.

use std::{borrow::Borrow, collections::BTreeSet, net::IpAddr, time::Duration};

use windlass_api::{
    core::v1::{Service, ServiceSpec},
    discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice},
};
use windlass_kernel::{
    controller::ObjectKey,
    rules::{Endpoint, PortKey, Protocol, Reach, ServicePort},
};

/// How long a sticky client is remembered where the service does not say
/// (`service.spec.sessionAffinityConfig.clientIP.timeoutSeconds`).
const STICKY: Duration = Duration::from_secs(10_800);

/// What a service and its slices want of the node `node`. Empty for services without a cluster address.
#[must_use]
pub fn ports(service: &Service, slices: &[impl Borrow<EndpointSlice>], node: &str) -> Vec<ServicePort> {
    let spec = &service.spec;
    if spec.type_.as_deref() == Some("ExternalName") {
        return vec![];
    }
    let cluster_ips = cluster_ips(spec);
    if cluster_ips.is_empty() {
        return vec![];
    }
    let meta = &service.metadata;
    let key = ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    let numbers = spec.ports.iter().filter_map(|port| {
        let key = PortKey { service: key.clone(), port: number_of(port.port)?, protocol: protocol(&port.protocol)? };
        Some(ServicePort {
            cluster_ips: cluster_ips.clone(),
            external_ips: external_ips(service, spec),
            node_port: port.node_port.and_then(number_of),
            affinity: affinity(spec),
            internal: reach(spec.internal_traffic_policy.as_deref()),
            external: reach(spec.external_traffic_policy.as_deref()),
            endpoints: endpoints(slices, port.name.as_deref().unwrap_or_default(), key.protocol, node),
            key,
        })
    });
    numbers.collect()
}

/// The endpoints of a port that may get new connections: the ready ones, or those that still serve while they end, where
/// none is ready (KEP-1669).
fn endpoints(slices: &[impl Borrow<EndpointSlice>], port: &str, of: Protocol, node: &str) -> Vec<Endpoint> {
    let pick = |wanted: fn(&SliceEndpoint) -> bool| -> BTreeSet<Endpoint> {
        let slices = slices.iter().map(Borrow::borrow).flat_map(|slice| {
            let number = slice
                .ports
                .iter()
                .find(|p| p.name.as_deref().unwrap_or_default() == port && by_name(p.protocol.as_deref()) == Some(of));
            let number = number.and_then(|p| p.port).and_then(number_of);
            number.into_iter().flat_map(|number| slice.endpoints.iter().map(move |endpoint| (number, endpoint)))
        });
        let wanted = slices.filter(|(_, endpoint)| wanted(endpoint));
        let wanted = wanted.flat_map(|(number, endpoint)| {
            let local = endpoint.node_name.as_deref() == Some(node);
            let ips = endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
            ips.map(move |ip| Endpoint { ip, port: number, local })
        });
        wanted.collect()
    };
    let ready = pick(|endpoint| endpoint.conditions.ready != Some(false));
    let chosen = if ready.is_empty() {
        pick(|e| e.conditions.serving == Some(true) && e.conditions.terminating == Some(true))
    } else {
        ready
    };
    chosen.into_iter().collect()
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    let listed = spec.cluster_ips.iter().chain(spec.cluster_ip.iter().filter(|_| spec.cluster_ips.is_empty()));
    listed.filter_map(|ip| ip.parse().ok()).collect()
}

fn external_ips(service: &Service, spec: &ServiceSpec) -> Vec<IpAddr> {
    let balancers = service.status.load_balancer.ingress.iter();
    let balancers = balancers.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    let ips = spec.external_ips.iter().chain(balancers.filter_map(|ingress| ingress.ip.as_ref()));
    ips.filter_map(|ip| ip.parse().ok()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|client| client.timeout_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Some(seconds.map_or(STICKY, Duration::from_secs))
}

fn reach(policy: Option<&str>) -> Reach {
    if policy == Some("Local") { Reach::Local } else { Reach::Cluster }
}

fn number_of(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port > 0)
}

fn protocol(name: &str) -> Option<Protocol> {
    by_name(Some(name).filter(|name| !name.is_empty()))
}

/// TCP where nothing is said.
fn by_name(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: &Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "a"}, "spec": spec})).unwrap()
    }

    fn slice(endpoints: &Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {}, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        }))
        .unwrap()
    }

    fn check(endpoints: &Value, expect: &str) {
        let spec = json!({"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]});
        let ports = ports(&service(&spec), &[slice(endpoints)], "n1");
        let [port] = &ports[..] else { panic!("one port: {ports:?}") };
        let text: Vec<_> =
            port.endpoints.iter().map(|e| format!("{}:{}{}", e.ip, e.port, if e.local { "*" } else { "" })).collect();
        assert_eq!(text.join(" "), expect);
    }

    #[test]
    fn ready_endpoints_are_taken_once_and_in_order() {
        check(
            &json!([
                {"addresses": ["10.1.0.2"], "nodeName": "n1"},
                {"addresses": ["10.1.0.1"], "conditions": {"ready": true}, "nodeName": "n2"},
                {"addresses": ["10.1.0.1"], "conditions": {"ready": true}, "nodeName": "n2"},
                {"addresses": ["10.1.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            ]),
            "10.1.0.1:8080 10.1.0.2:8080*",
        );
    }

    #[test]
    fn ending_endpoints_serve_where_none_is_ready() {
        check(
            &json!([
                {"addresses": ["10.1.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.1.0.4"], "conditions": {"ready": false, "serving": false, "terminating": true}},
            ]),
            "10.1.0.3:8080",
        );
    }

    #[test]
    fn a_headless_or_external_service_wants_nothing() {
        for spec in [json!({"clusterIP": "None", "ports": [{"port": 80}]}), json!({"type": "ExternalName"})] {
            assert_eq!(ports(&service(&spec), &[] as &[EndpointSlice], "n1"), []);
        }
    }

    #[test]
    fn policies_affinity_and_outside_addresses_carry_over() {
        let spec = json!({
            "clusterIPs": ["10.0.0.1", "fd00::1"], "externalIPs": ["1.2.3.4"], "externalTrafficPolicy": "Local",
            "sessionAffinity": "ClientIP", "ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}],
        });
        let ports = ports(&service(&spec), &[] as &[EndpointSlice], "n1");
        let [port] = &ports[..] else { panic!("one port") };
        assert_eq!(port.key.protocol, Protocol::Udp);
        assert_eq!((port.cluster_ips.len(), port.external_ips.len(), port.node_port), (2, 1, Some(30053)));
        assert_eq!((port.internal, port.external, port.affinity), (Reach::Cluster, Reach::Local, Some(STICKY)));
    }
}

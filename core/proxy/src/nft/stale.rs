//! Which packets without a connection must be led anew when a service port changes: pure.

use std::net::IpAddr;

use windlass_kernel::rules::{Endpoint, Flows, Protocol, Reach, ServicePort};

/// Whatever was led elsewhere than to the endpoints of a port.
pub(super) fn all(port: &ServicePort) -> Vec<Flows> {
    if port.key.protocol != Protocol::Udp {
        return Vec::new();
    }
    let inside = port.cluster_ips.iter().map(|ip| (Some(*ip), port.key.port, port.internal));
    let outside = port.external_ips.iter().map(|ip| (Some(*ip), port.key.port, port.external));
    let node = port.node_port.map(|number| (None, number, port.external));
    inside.chain(outside).chain(node).map(|(to, number, reach)| flows(port, to, number, reach)).collect()
}

/// What a port was before and is now: nothing is stale where no endpoint went away and there were some.
pub(super) fn between(old: &ServicePort, new: Option<&ServicePort>) -> Vec<Flows> {
    let Some(new) = new else {
        return all(&ServicePort { endpoints: Vec::new(), ..old.clone() });
    };
    let kept = |endpoint: &Endpoint| new.endpoints.iter().any(|now| (now.ip, now.port) == (endpoint.ip, endpoint.port));
    let reaches = |port: &ServicePort| (port.internal, port.external);
    let same = !old.endpoints.is_empty() && old.endpoints.iter().all(kept) && reaches(old) == reaches(new);
    let mut flows = if same { Vec::new() } else { all(new) };
    // Addresses and node ports that are no longer the service's lead nowhere.
    let none = ServicePort { endpoints: Vec::new(), ..old.clone() };
    let still = |flows: &Flows| match flows.to {
        Some(ip) => new.cluster_ips.contains(&ip) || new.external_ips.contains(&ip),
        None => new.node_port == old.node_port,
    };
    flows.extend(all(&none).into_iter().filter(|flows| !still(flows)));
    flows
}

fn flows(port: &ServicePort, to: Option<IpAddr>, number: u16, reach: Reach) -> Flows {
    let reached = port.endpoints.iter().filter(|endpoint| reach == Reach::Cluster || endpoint.local);
    let kept = reached.map(|endpoint| (endpoint.ip, endpoint.port)).collect();
    Flows { protocol: port.key.protocol, to, port: number, kept }
}

#[cfg(test)]
mod tests {
    use windlass_kernel::{controller::ObjectKey, rules::PortKey};

    use super::*;

    fn port(protocol: Protocol, ips: &[&str], node_port: Option<u16>, endpoints: &[&str]) -> ServicePort {
        let endpoint = |ip: &&str| Endpoint { ip: ip.parse().unwrap(), port: 53, local: ip.ends_with(".2") };
        ServicePort {
            key: PortKey { service: ObjectKey::new("a", "dns"), port: 5353, protocol },
            cluster_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            external_ips: Vec::new(),
            node_port,
            affinity: None,
            internal: Reach::Cluster,
            external: Reach::Local,
            endpoints: endpoints.iter().map(endpoint).collect(),
        }
    }

    fn text(flows: &[Flows]) -> String {
        let one = |flows: &Flows| {
            let to = flows.to.map_or_else(|| "*".into(), |ip| ip.to_string());
            let kept: Vec<_> = flows.kept.iter().map(|(ip, port)| format!("{ip}:{port}")).collect();
            format!("{to}:{} but {}", flows.port, kept.join(" "))
        };
        flows.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_went_to_an_endpoint_that_is_gone_is_led_anew() {
        let udp = |node_port, endpoints: &[&str]| port(Protocol::Udp, &["10.96.0.7"], node_port, endpoints);
        let old = udp(Some(30053), &["10.1.0.2", "10.1.0.3"]);
        let check = |new: Option<&ServicePort>, expect: &str| assert_eq!(text(&between(&old, new)), expect);
        check(Some(&old), "");
        check(Some(&udp(Some(30053), &["10.1.0.2", "10.1.0.3", "10.1.0.4"])), "");
        check(Some(&udp(Some(30053), &["10.1.0.2"])), "10.96.0.7:5353 but 10.1.0.2:53, *:30053 but 10.1.0.2:53");
        check(Some(&udp(Some(30053), &["10.1.0.3"])), "10.96.0.7:5353 but 10.1.0.3:53, *:30053 but ");
        check(Some(&udp(None, &["10.1.0.2", "10.1.0.3"])), "*:30053 but ");
        check(None, "10.96.0.7:5353 but , *:30053 but ");
        // What was sent when nobody was there was remembered too.
        let first = udp(None, &["10.1.0.2"]);
        assert_eq!(text(&between(&udp(None, &[]), Some(&first))), "10.96.0.7:5353 but 10.1.0.2:53");
        let tcp = port(Protocol::Tcp, &["10.96.0.7"], None, &["10.1.0.2"]);
        assert_eq!(text(&between(&tcp, None)), "");
    }
}

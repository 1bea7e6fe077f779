//! Which elements lead the packets of an address to its endpoints: pure.
//!
//! A verdict map finds by the address how many endpoints there are, a chain that all addresses with as many share draws one of
//! them by its place, and the map of that place has the endpoint. So a service is elements of maps and nothing else, and there
//! are as many chains as endpoints of one service, whatever the number of services: `nft` reads all chains before each change.

use std::{
    fmt::{self, Display},
    net::IpAddr,
};

use windlass_kernel::rules::{Endpoint, PortKey, Protocol, Reach, ServicePort};

/// Up to so many endpoints are elements of shared maps. A service with more has chains of its own, as one with affinity has.
const SHARED: usize = 32;

/// Where packets come to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Door {
    /// An address and a port of it.
    At(IpAddr, Protocol, u16),
    /// A port of all addresses of the node.
    Node(Protocol, u16),
}

impl Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(ip, protocol, port) => write!(f, "{ip} . {protocol} . {port}"),
            Self::Node(protocol, port) => write!(f, "{protocol} . {port}"),
        }
    }
}

/// Who wants a door. The least of several has it: a cluster's own address is nobody's from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) outside: bool,
    pub(super) port: PortKey,
}

/// The doors of a port, and whether what comes through them is from outside.
pub(super) fn of(port: &ServicePort) -> impl Iterator<Item = (Door, Claim)> {
    let (number, protocol) = (port.key.port, port.key.protocol);
    let at = move |ip: &IpAddr| Door::At(*ip, protocol, number);
    let inside = port.cluster_ips.iter().map(move |ip| (at(ip), false));
    let outside = port.external_ips.iter().map(move |ip| (at(ip), true));
    let node = port.node_port.map(|number| (Door::Node(protocol, number), true));
    inside.chain(outside).chain(node).map(|(door, outside)| (door, Claim { outside, port: port.key.clone() }))
}

/// An element of a map or set of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    /// The map or set.
    pub(super) place: String,
    pub(super) key: String,
    /// What it is mapped to.
    pub(super) value: Option<String>,
    /// The shared chain that it leads to.
    pub(super) shared: Option<Shared>,
}

/// What leads from a door to the endpoints of `port`, or to a refusal where it has none in reach.
pub(super) fn elements(door: Door, outside: bool, port: &ServicePort) -> Vec<Element> {
    let reach = if outside { port.external } else { port.internal };
    let masquerade = outside && reach == Reach::Cluster;
    let (node, families) = match door {
        Door::At(ip, ..) => (false, vec![Family::of(ip)]),
        Door::Node(..) => (true, Family::ALL.to_vec()),
    };
    let key = door.to_string();
    let mut found = Vec::new();
    for &family in &families {
        let endpoints: Vec<_> = eligible(port, reach, family).collect();
        if endpoints.is_empty() {
            continue;
        }
        let kind = Kind { node, family };
        let shared = (!has_chains(port)).then(|| Shared::of(kind, endpoints.len(), masquerade));
        let [inside, from_outside] = chains(port);
        let chain = shared.map_or_else(|| if outside { from_outside } else { inside }, |shared| shared.to_string());
        let place = format!("{}{family}", if node { "ports" } else { "ips" });
        found.push(Element { place, key: key.clone(), value: Some(format!("goto {chain}")), shared });
        for (at, endpoint) in endpoints.iter().enumerate().filter(|_| shared.is_some()) {
            let value = Some(format!("{} . {}", endpoint.ip, endpoint.port));
            found.push(Element { place: Shared::Slot(kind, at).to_string(), key: key.clone(), value, shared: None });
        }
    }
    if found.is_empty() {
        let place = if node { "noports".into() } else { format!("none{}", families[0]) };
        found.push(Element { place, key, value: None, shared: None });
    }
    found
}

/// Whether the port has chains of its own.
pub(super) fn has_chains(port: &ServicePort) -> bool {
    port.affinity.is_some() || port.endpoints.len() > SHARED
}

pub(super) fn is_reached_from_outside(port: &ServicePort) -> bool {
    port.node_port.is_some() || !port.external_ips.is_empty()
}

/// The chains for traffic from inside and from outside. Service names hold nothing that nft would not take.
pub(super) fn chains(port: &ServicePort) -> [String; 2] {
    ["in", "out"].map(|side| format!("{side}/{}", path(port)))
}

pub(super) fn path(port: &ServicePort) -> String {
    let key = &port.key;
    format!("{}/{}/{}/{}", key.service.namespace, key.service.name, key.protocol, key.port)
}

pub(super) fn eligible(port: &ServicePort, reach: Reach, family: Family) -> impl Iterator<Item = &Endpoint> {
    port.endpoints.iter().filter(move |e| Family::of(e.ip) == family && (reach == Reach::Cluster || e.local))
}

/// A chain that all doors of a kind share. One with a place has a map of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shared {
    /// To the endpoint in this place.
    Slot(Kind, usize),
    /// To one of so many places.
    Draw(Kind, usize),
    /// The same, with the node's address as the source.
    Masquerade(Kind, usize),
}

impl Shared {
    fn of(kind: Kind, count: usize, masquerade: bool) -> Self {
        match (masquerade, count) {
            (true, count) => Self::Masquerade(kind, count),
            (false, 1) => Self::Slot(kind, 0),
            (false, count) => Self::Draw(kind, count),
        }
    }

    /// Those that it leads to.
    pub(super) fn next(self) -> Vec<Self> {
        match self {
            Self::Slot(..) => Vec::new(),
            Self::Draw(kind, count) => (0..count).map(|at| Self::Slot(kind, at)).collect(),
            Self::Masquerade(kind, count) => vec![Self::of(kind, count, false)],
        }
    }
}

impl Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(kind, at) => write!(f, "{kind}slot{}/{at}", kind.family),
            Self::Draw(kind, count) => write!(f, "{kind}draw{}/{count}", kind.family),
            Self::Masquerade(kind, count) => write!(f, "{kind}masquerade{}/{count}", kind.family),
        }
    }
}

/// What a map of places has as its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// Ports of the node, whatever the address.
    pub(super) node: bool,
    pub(super) family: Family,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.node { "node-" } else { "" })
    }
}

/// An address family of nftables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(super) fn keyword(self) -> &'static str {
        if self == Self::V4 { "ip" } else { "ip6" }
    }

    pub(super) fn protocol(self) -> &'static str {
        if self == Self::V4 { "ipv4" } else { "ipv6" }
    }

    pub(super) fn datatype(self) -> &'static str {
        if self == Self::V4 { "ipv4_addr" } else { "ipv6_addr" }
    }

    pub(super) fn socket(self, endpoint: &Endpoint) -> String {
        match self {
            Self::V4 => format!("{}:{}", endpoint.ip, endpoint.port),
            Self::V6 => format!("[{}]:{}", endpoint.ip, endpoint.port),
        }
    }
}

impl Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::V4 { "4" } else { "6" })
    }
}

/// The families that a port has endpoints of.
pub(super) fn families(port: &ServicePort) -> impl Iterator<Item = Family> {
    let has = |family| port.endpoints.iter().any(|e| Family::of(e.ip) == family);
    Family::ALL.into_iter().filter(move |family| has(*family)).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use windlass_kernel::controller::ObjectKey;

    use super::*;

    fn port(endpoints: &[(&str, bool)]) -> ServicePort {
        let endpoint = |&(ip, local): &(&str, bool)| Endpoint { ip: ip.parse().unwrap(), port: 8080, local };
        ServicePort {
            key: PortKey { service: ObjectKey::new("a", "web"), port: 80, protocol: Protocol::Tcp },
            cluster_ips: vec!["10.96.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
            external_ips: vec!["192.0.2.1".parse().unwrap()],
            node_port: Some(30080),
            affinity: None,
            internal: Reach::Cluster,
            external: Reach::Local,
            endpoints: endpoints.iter().map(endpoint).collect(),
        }
    }

    fn check(port: &ServicePort, expect: &[&str]) {
        let all = of(port).flat_map(|(door, claim)| elements(door, claim.outside, port));
        let text =
            |e: Element| format!("{} {{ {}{} }}", e.place, e.key, e.value.map_or(String::new(), |v| format!(" : {v}")));
        assert_eq!(all.map(text).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_door_leads_to_the_endpoints_of_its_family_and_reach() {
        check(
            &port(&[("10.1.0.2", false), ("10.1.0.3", true)]),
            &[
                "ips4 { 10.96.0.7 . tcp . 80 : goto draw4/2 }",
                "slot4/0 { 10.96.0.7 . tcp . 80 : 10.1.0.2 . 8080 }",
                "slot4/1 { 10.96.0.7 . tcp . 80 : 10.1.0.3 . 8080 }",
                "none6 { fd00::7 . tcp . 80 }",
                "ips4 { 192.0.2.1 . tcp . 80 : goto slot4/0 }",
                "slot4/0 { 192.0.2.1 . tcp . 80 : 10.1.0.3 . 8080 }",
                "ports4 { tcp . 30080 : goto node-slot4/0 }",
                "node-slot4/0 { tcp . 30080 : 10.1.0.3 . 8080 }",
            ],
        );
        let mut anywhere = port(&[("fd01::2", false)]);
        (anywhere.external, anywhere.external_ips) = (Reach::Cluster, vec![]);
        check(
            &anywhere,
            &[
                "none4 { 10.96.0.7 . tcp . 80 }",
                "ips6 { fd00::7 . tcp . 80 : goto slot6/0 }",
                "slot6/0 { fd00::7 . tcp . 80 : fd01::2 . 8080 }",
                "ports6 { tcp . 30080 : goto node-masquerade6/1 }",
                "node-slot6/0 { tcp . 30080 : fd01::2 . 8080 }",
            ],
        );
        let mut nobody = port(&[("10.1.0.2", false)]);
        nobody.cluster_ips.clear();
        check(&nobody, &["none4 { 192.0.2.1 . tcp . 80 }", "noports { tcp . 30080 }"]);
    }

    #[test]
    fn affinity_and_many_endpoints_need_chains() {
        let mut sticky = port(&[("10.1.0.2", true)]);
        sticky.affinity = Some(std::time::Duration::from_secs(1));
        (sticky.cluster_ips, sticky.external_ips) = (sticky.cluster_ips[..1].to_vec(), vec![]);
        let expect =
            ["ips4 { 10.96.0.7 . tcp . 80 : goto in/a/web/tcp/80 }", "ports4 { tcp . 30080 : goto out/a/web/tcp/80 }"];
        check(&sticky, &expect);
        let ips: Vec<_> = (0..=SHARED).map(|at| format!("10.1.0.{at}")).collect();
        let mut many = port(&ips.iter().map(|ip| (ip.as_str(), true)).collect::<Vec<_>>());
        (many.cluster_ips, many.external_ips) = (sticky.cluster_ips, vec![]);
        check(&many, &expect);
    }
}

//! What the cluster's names mean, per the Kubernetes DNS specification 1.1.0. Pure: messages and sockets are elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use windlass_kernel::controller::ObjectKey;

/// A named port of a service or of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The port's name; ports without one have no SRV record.
    pub name: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The number.
    pub number: u16,
}

/// One address behind a headless service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The address.
    pub ip: IpAddr,
    /// The pod's own host name; empty where it has none.
    pub hostname: String,
    /// The ports there.
    pub ports: Vec<Port>,
}

/// What is known of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// It has addresses of its own.
    Cluster {
        /// The addresses.
        ips: Vec<IpAddr>,
        /// Its ports.
        ports: Vec<Port>,
    },
    /// Its name means its endpoints.
    Headless(Vec<Member>),
    /// Its name means another name.
    External(String),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Ports and the names of their hosts.
    Srv,
    /// The name of an address.
    Ptr,
    /// Text.
    Txt,
    /// Everything that there is.
    Any,
    /// A type that the cluster has no records of.
    Other,
}

/// One record's data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// An address.
    Ip(IpAddr),
    /// A port on the host of that name.
    Srv(u16, String),
    /// A name for an address.
    Ptr(String),
    /// Another name for the name.
    Alias(String),
    /// Text.
    Txt(String),
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records of the wanted type.
    Records(Vec<Data>),
    /// The name exists, but has nothing of the wanted type.
    NoData,
    /// The name does not exist.
    NoName,
    /// The name is not the cluster's business.
    Elsewhere,
}

/// The names of a cluster.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: Vec<String>,
    services: BTreeMap<ObjectKey, Service>,
    names: BTreeMap<IpAddr, BTreeSet<String>>,
}

impl Zone {
    /// The zone of a cluster domain such as `cluster.local`.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let domain = domain.trim_matches('.').split('.').map(str::to_lowercase).collect();
        Self { domain, services: BTreeMap::new(), names: BTreeMap::new() }
    }

    /// The cluster domain, without a final dot.
    #[must_use]
    pub fn domain(&self) -> String {
        self.domain.join(".")
    }

    /// Enters what is known of a service, or that it is gone. Costs what the service has, not what the zone holds.
    pub fn set(&mut self, key: &ObjectKey, service: Option<Service>) {
        if let Some(old) = self.services.remove(key) {
            for (ip, name) in self.reverse(key, &old) {
                if let Some(names) = self.names.get_mut(&ip) {
                    names.remove(&name);
                }
                if self.names.get(&ip).is_some_and(BTreeSet::is_empty) {
                    self.names.remove(&ip);
                }
            }
        }
        if let Some(service) = service {
            for (ip, name) in self.reverse(key, &service) {
                self.names.entry(ip).or_default().insert(name);
            }
            self.services.insert(key.clone(), service);
        }
    }

    /// What `name` means. `name` is in lower case, without a final dot.
    #[must_use]
    pub fn answer(&self, name: &str, wanted: Wanted) -> Answer {
        let labels: Vec<&str> = name.split('.').collect();
        if let Some(ip) = reversed(&labels) {
            return match self.names.get(&ip) {
                Some(names) if matches!(wanted, Wanted::Ptr | Wanted::Any) => {
                    Answer::Records(names.iter().cloned().map(Data::Ptr).collect())
                }
                Some(_) => Answer::NoData,
                None => Answer::Elsewhere,
            };
        }
        let Some(own) = labels.len().checked_sub(self.domain.len()).filter(|at| labels[*at..] == self.domain[..])
        else {
            return Answer::Elsewhere;
        };
        match labels[..own] {
            [] | ["svc" | "pod"] => Answer::NoData,
            ["dns-version"] => filter(vec![Data::Txt("1.1.0".into())], wanted),
            [namespace, "svc"] => self.namespace(namespace),
            [service, namespace, "svc"] => self.service(service, namespace, wanted),
            [host, service, namespace, "svc"] => self.member(host, service, namespace, wanted),
            [port, protocol, service, namespace, "svc"] => self.port((port, protocol), service, namespace, wanted),
            [address, _, "pod"] => match undashed(address) {
                Some(ip) => filter(vec![Data::Ip(ip)], wanted),
                None => Answer::NoName,
            },
            _ => Answer::NoName,
        }
    }

    fn namespace(&self, namespace: &str) -> Answer {
        let from = ObjectKey::new(namespace, "");
        let next = self.services.range(from..).next();
        if next.is_some_and(|(key, _)| key.namespace == namespace) { Answer::NoData } else { Answer::NoName }
    }

    fn service(&self, service: &str, namespace: &str, wanted: Wanted) -> Answer {
        let name = self.full(&[service, namespace]);
        match self.services.get(&ObjectKey::new(namespace, service)) {
            None => Answer::NoName,
            Some(Service::External(other)) => Answer::Records(vec![Data::Alias(other.clone())]),
            Some(Service::Cluster { ips, ports }) => {
                let ips = ips.iter().copied().map(Data::Ip);
                filter(ips.chain(ports.iter().map(|p| Data::Srv(p.number, name.clone()))).collect(), wanted)
            }
            // A headless service without endpoints has no name at all (specification 2.4.1).
            Some(Service::Headless(members)) if members.is_empty() => Answer::NoName,
            Some(Service::Headless(members)) => {
                let data = members.iter().flat_map(|member| {
                    let host = format!("{}.{name}", host(member));
                    let ports = member.ports.iter().map(move |p| Data::Srv(p.number, host.clone()));
                    std::iter::once(Data::Ip(member.ip)).chain(ports)
                });
                filter(data.collect(), wanted)
            }
        }
    }

    fn member(&self, host_name: &str, service: &str, namespace: &str, wanted: Wanted) -> Answer {
        let Some(Service::Headless(members)) = self.services.get(&ObjectKey::new(namespace, service)) else {
            return Answer::NoName;
        };
        let ips: Vec<_> = members.iter().filter(|m| host(m) == host_name).map(|m| Data::Ip(m.ip)).collect();
        if ips.is_empty() { Answer::NoName } else { filter(ips, wanted) }
    }

    fn port(&self, port: (&str, &str), service: &str, namespace: &str, wanted: Wanted) -> Answer {
        let (Some(port), Some(protocol)) = (port.0.strip_prefix('_'), port.1.strip_prefix('_')) else {
            return Answer::NoName;
        };
        let is = |p: &&Port| p.name == port && p.protocol == protocol;
        let name = self.full(&[service, namespace]);
        let found: Vec<_> = match self.services.get(&ObjectKey::new(namespace, service)) {
            Some(Service::Cluster { ports, .. }) => {
                ports.iter().filter(is).map(|p| Data::Srv(p.number, name.clone())).collect()
            }
            Some(Service::Headless(members)) => members
                .iter()
                .flat_map(|m| m.ports.iter().filter(is).map(|p| Data::Srv(p.number, format!("{}.{name}", host(m)))))
                .collect(),
            Some(Service::External(_)) | None => vec![],
        };
        if found.is_empty() { Answer::NoName } else { filter(found, wanted) }
    }

    /// The names of a service's addresses, for reverse queries.
    fn reverse(&self, key: &ObjectKey, service: &Service) -> Vec<(IpAddr, String)> {
        let name = self.full(&[&key.name, &key.namespace]);
        match service {
            Service::Cluster { ips, .. } => ips.iter().map(|ip| (*ip, name.clone())).collect(),
            Service::Headless(members) => {
                let named = members.iter().filter(|member| !member.hostname.is_empty());
                named.map(|member| (member.ip, format!("{}.{name}", member.hostname))).collect()
            }
            Service::External(_) => vec![],
        }
    }

    fn full(&self, labels: &[&str]) -> String {
        format!("{}.svc.{}", labels.join("."), self.domain.join("."))
    }
}

fn filter(mut data: Vec<Data>, wanted: Wanted) -> Answer {
    data.retain(|data| match data {
        Data::Ip(ip) => matches!((wanted, ip.is_ipv4()), (Wanted::Any, _) | (Wanted::A, true) | (Wanted::Aaaa, false)),
        Data::Srv(..) => matches!(wanted, Wanted::Srv | Wanted::Any),
        Data::Txt(_) => matches!(wanted, Wanted::Txt | Wanted::Any),
        Data::Ptr(_) | Data::Alias(_) => true,
    });
    data.sort();
    data.dedup();
    if data.is_empty() { Answer::NoData } else { Answer::Records(data) }
}

/// A member's host name: its own, or its address with dashes.
fn host(member: &Member) -> String {
    if member.hostname.is_empty() { member.ip.to_string().replace(['.', ':'], "-") } else { member.hostname.clone() }
}

/// The address that a pod's name spells with dashes.
fn undashed(label: &str) -> Option<IpAddr> {
    label.replace('-', ".").parse().or_else(|_| label.replace('-', ":").parse()).ok()
}

/// The address that a reverse name asks about (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reversed(labels: &[&str]) -> Option<IpAddr> {
    match labels {
        [a, b, c, d, "in-addr", "arpa"] => format!("{d}.{c}.{b}.{a}").parse().ok(),
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let hex: Vec<_> = nibbles.iter().rev().copied().collect();
            let groups: Vec<_> = hex.chunks(4).map(<[&str]>::concat).collect();
            groups.join(":").parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let http = Port { name: "http".into(), protocol: "tcp".into(), number: 80 };
        let mut zone = Zone::new("cluster.local");
        let ips = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let web = Service::Cluster { ips, ports: vec![http.clone()] };
        zone.set(&ObjectKey::new("a", "web"), Some(web));
        let member = |ip: &str, hostname: &str| Member {
            ip: ip.parse().unwrap(),
            hostname: hostname.into(),
            ports: vec![http.clone()],
        };
        let members = vec![member("10.1.0.2", "db-0"), member("10.1.0.3", "")];
        zone.set(&ObjectKey::new("a", "db"), Some(Service::Headless(members)));
        zone.set(&ObjectKey::new("a", "none"), Some(Service::Headless(vec![])));
        zone.set(&ObjectKey::new("b", "ext"), Some(Service::External("example.org".into())));
        zone
    }

    fn check(name: &str, wanted: Wanted, expect: &str) {
        let text = match zone().answer(name, wanted) {
            Answer::Records(data) => data
                .iter()
                .map(|data| match data {
                    Data::Ip(ip) => ip.to_string(),
                    Data::Srv(port, name) => format!("{name}:{port}"),
                    Data::Ptr(text) | Data::Alias(text) | Data::Txt(text) => text.clone(),
                })
                .collect::<Vec<_>>()
                .join(" "),
            other => format!("{other:?}"),
        };
        assert_eq!(text, expect, "{name}");
    }

    #[test]
    fn a_service_has_its_cluster_addresses() {
        check("web.a.svc.cluster.local", Wanted::A, "10.0.0.1");
        check("web.a.svc.cluster.local", Wanted::Aaaa, "fd00::1");
        check("web.b.svc.cluster.local", Wanted::A, "NoName");
        check("db.a.svc.cluster.local", Wanted::Aaaa, "NoData");
    }

    #[test]
    fn a_headless_service_is_its_endpoints() {
        check("db.a.svc.cluster.local", Wanted::A, "10.1.0.2 10.1.0.3");
        check("db-0.db.a.svc.cluster.local", Wanted::A, "10.1.0.2");
        check("10-1-0-3.db.a.svc.cluster.local", Wanted::A, "10.1.0.3");
        check("none.a.svc.cluster.local", Wanted::A, "NoName");
    }

    #[test]
    fn named_ports_have_srv_records() {
        check("_http._tcp.web.a.svc.cluster.local", Wanted::Srv, "web.a.svc.cluster.local:80");
        check(
            "_http._tcp.db.a.svc.cluster.local",
            Wanted::Srv,
            "10-1-0-3.db.a.svc.cluster.local:80 db-0.db.a.svc.cluster.local:80",
        );
        check("_grpc._tcp.web.a.svc.cluster.local", Wanted::Srv, "NoName");
    }

    #[test]
    fn an_external_service_is_another_name() {
        check("ext.b.svc.cluster.local", Wanted::A, "example.org");
    }

    #[test]
    fn addresses_have_names() {
        check("1.0.0.10.in-addr.arpa", Wanted::Ptr, "web.a.svc.cluster.local");
        check("2.0.1.10.in-addr.arpa", Wanted::Ptr, "db-0.db.a.svc.cluster.local");
        let one = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        check(one, Wanted::Ptr, "web.a.svc.cluster.local");
        check("8.8.8.8.in-addr.arpa", Wanted::Ptr, "Elsewhere");
    }

    #[test]
    fn parents_exist_and_other_names_are_elsewhere() {
        check("cluster.local", Wanted::A, "NoData");
        check("a.svc.cluster.local", Wanted::A, "NoData");
        check("c.svc.cluster.local", Wanted::A, "NoName");
        check("10-1-2-3.a.pod.cluster.local", Wanted::A, "10.1.2.3");
        check("dns-version.cluster.local", Wanted::Txt, "1.1.0");
        check("example.org", Wanted::A, "Elsewhere");
    }

    #[test]
    fn what_is_gone_has_no_name() {
        let mut zone = zone();
        zone.set(&ObjectKey::new("a", "web"), None);
        assert_eq!(zone.answer("web.a.svc.cluster.local", Wanted::A), Answer::NoName);
        assert_eq!(zone.answer("1.0.0.10.in-addr.arpa", Wanted::Ptr), Answer::Elsewhere);
    }
}

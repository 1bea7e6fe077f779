//! Addresses and ports of services: claimed in the transaction that writes the service, released in the one that
//! deletes it.
//!
//! A claim is a key of the store, so that no two services can hold one. Which fields a service needs is decided in
//! `service`.

mod service;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde_json::Value;
use windlass_kernel::{
    Entropy, EntropyExt,
    error::Result,
    store::{Condition, Key, Op, Txn},
};

use self::service::{Holdings, Wanted};
use crate::{errors, object, registry::Served, server::ApiServer};

/// How often a random address or port is drawn before the free ones are counted.
const DRAWS: usize = 16;
const IPS: &str = "/registry/ranges/serviceips/";
const PORTS: &str = "/registry/ranges/servicenodeports/";

/// The addresses and ports that services are given.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// The cluster IPs.
    pub services: Ipv4Net,
    /// The first and the last node port.
    pub node_ports: (u16, u16),
}

impl Default for Ranges {
    fn default() -> Self {
        Self { services: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12), node_ports: (30_000, 32_767) }
    }
}

impl Ranges {
    /// The address of the service that stands for the API server: the first of the range.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.services.network().to_bits().saturating_add(1))
    }

    /// Addresses that can be given: neither the network nor the broadcast address.
    fn holds(&self, ip: Ipv4Addr) -> bool {
        self.services.contains(&ip) && ip != self.services.network() && ip != self.services.broadcast()
    }

    /// The first address that is drawn, and how many are: the lower ones are left to those who choose theirs (KEP-3070).
    fn drawn(&self) -> (u32, u32) {
        let (first, last) = (self.services.network().to_bits(), self.services.broadcast().to_bits());
        let size = last - first;
        let offset = if size <= 16 { 0 } else { (size / 16).clamp(16, 256) };
        (first + 1 + offset, size.saturating_sub(1 + offset))
    }
}

/// What a transaction claims and releases.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    take: Vec<Key>,
    give: Vec<Key>,
    owner: String,
    /// The spec before anything was drawn.
    before: Option<Value>,
}

impl Claims {
    /// Makes the claims part of a transaction.
    pub(crate) fn add_to(&self, txn: &mut Txn) {
        for key in &self.take {
            txn.conditions.push(Condition::Absent(key.clone()));
            txn.ops.push(Op::Put { key: key.clone(), value: self.owner.clone().into(), lease: None });
        }
        txn.ops.extend(self.give.iter().map(|key| Op::Delete { key: key.clone() }));
    }

    /// Everything that an object holds, to be released.
    pub(crate) fn release(served: &Served, old: &Value) -> Self {
        if !served.is("", "services") {
            return Self::default();
        }
        Self { give: keys(&Holdings::of(old)), ..Self::default() }
    }
}

/// Draws what a service lacks and claims what it chose; `old` is what it held so far.
pub(crate) async fn claim(
    server: &ApiServer,
    served: &Served,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<Claims> {
    if !served.is("", "services") {
        return Ok(Claims::default());
    }
    let ranges = &server.parts.ranges;
    let before = object["spec"].clone();
    service::families(object)?;
    let held = old.map(Holdings::of).unwrap_or_default();
    let chosen = Holdings::of(object);
    for ip in chosen.ips.difference(&held.ips) {
        check_ip(server, object, *ip).await?;
    }
    for port in chosen.ports.difference(&held.ports) {
        check_port(server, object, *port).await?;
    }
    let Wanted { ip, ports, health } = Wanted::of(object);
    if ip {
        let drawn = draw_ip(server, ranges).await?;
        service::set_ip(object, drawn);
    }
    let mut taken = Holdings::of(object).ports;
    for at in ports {
        let port = match service::shared_port(object, at) {
            Some(port) => port,
            None => draw_port(server, &taken).await?,
        };
        taken.insert(port);
        service::set_port(object, at, port);
    }
    if health {
        let port = draw_port(server, &taken).await?;
        object::child_mut(object, "spec").insert("healthCheckNodePort".into(), port.into());
    }
    let now = Holdings::of(object);
    Ok(Claims {
        take: keys(&now.without(&held)),
        give: keys(&held.without(&now)),
        owner: format!("{}/{}", object::meta_text(object, "namespace"), object::name(object)),
        before: Some(before),
    })
}

/// Draws anew after somebody else was faster.
pub(crate) async fn claim_again(
    server: &ApiServer,
    served: &Served,
    object: &mut Value,
    lost: Claims,
) -> Result<Claims> {
    if let Some(before) = lost.before {
        object::as_map(object).insert("spec".into(), before);
    }
    claim(server, served, object, None).await
}

fn keys(holdings: &Holdings) -> Vec<Key> {
    let ips = holdings.ips.iter().map(|ip| Key::from(format!("{IPS}{ip}")));
    let ports = holdings.ports.iter().map(|port| Key::from(format!("{PORTS}{port}")));
    ips.chain(ports).collect()
}

async fn is_taken(server: &ApiServer, key: String) -> Result<bool> {
    let entry = server.parts.store.get(&Key::from(key), windlass_kernel::store::ReadAt::Latest).await?;
    Ok(entry.is_some())
}

async fn check_ip(server: &ApiServer, service: &Value, ip: IpAddr) -> Result<()> {
    let range = &server.parts.ranges;
    let fits = matches!(ip, IpAddr::V4(ip) if range.holds(ip));
    let why = if !fits {
        let range = range.services;
        format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}")
    } else if is_taken(server, format!("{IPS}{ip}")).await? {
        "provided IP is already allocated".to_owned()
    } else {
        return Ok(());
    };
    let shown = service["spec"]["clusterIPs"].to_string();
    let cause = errors::bad_value("spec.clusterIPs", shown, format!("failed to allocate IP {ip}: {why}"));
    Err(errors::invalid("", "Service", object::name(service), vec![cause]))
}

async fn check_port(server: &ApiServer, service: &Value, port: u16) -> Result<()> {
    let (first, last) = server.parts.ranges.node_ports;
    let why = if !(first..=last).contains(&port) {
        format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
    } else if is_taken(server, format!("{PORTS}{port}")).await? {
        "provided port is already allocated".to_owned()
    } else {
        return Ok(());
    };
    let cause = errors::bad_value(&service::field_of(service, port), port, why);
    Err(errors::invalid("", "Service", object::name(service), vec![cause]))
}

async fn draw_ip(server: &ApiServer, ranges: &Ranges) -> Result<Ipv4Addr> {
    let (first, count) = ranges.drawn();
    for _ in 0..DRAWS {
        let ip = Ipv4Addr::from_bits(first + below(server, count));
        if !is_taken(server, format!("{IPS}{ip}")).await? {
            return Ok(ip);
        }
    }
    for ip in ranges.services.hosts() {
        if !is_taken(server, format!("{IPS}{ip}")).await? {
            return Ok(ip);
        }
    }
    Err(windlass_kernel::Error::new(
        windlass_kernel::ErrorKind::Internal,
        "Internal error occurred: failed to allocate a serviceIP: range is full",
    ))
}

async fn draw_port(server: &ApiServer, taken: &std::collections::BTreeSet<u16>) -> Result<u16> {
    let (first, last) = server.parts.ranges.node_ports;
    for _ in 0..DRAWS {
        let offset = below(server, u32::from(last - first) + 1);
        let port = first.saturating_add(u16::try_from(offset).unwrap_or_default());
        if !taken.contains(&port) && !is_taken(server, format!("{PORTS}{port}")).await? {
            return Ok(port);
        }
    }
    for port in first..=last {
        if !taken.contains(&port) && !is_taken(server, format!("{PORTS}{port}")).await? {
            return Ok(port);
        }
    }
    Err(windlass_kernel::Error::new(
        windlass_kernel::ErrorKind::Internal,
        "Internal error occurred: failed to allocate a nodePort: range is full",
    ))
}

fn below(server: &ApiServer, count: u32) -> u32 {
    let entropy: &dyn Entropy = &*server.parts.entropy;
    u32::try_from(entropy.below(u64::from(count))).unwrap_or_default()
}

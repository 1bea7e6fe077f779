//! Addresses and ports of services: claimed in the transaction that writes the service, released in the one that
//! deletes it.
//!
//! The claim of an address is an IPAddress object, that of a port a key of the store, so that no two services can hold
//! one. Which fields a service needs is decided in `service`, which ranges there are in `ranges`.

mod address;
mod ranges;
mod service;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use serde_json::Value;
use windlass_kernel::{
    Entropy, EntropyExt,
    error::{Error, ErrorKind, Result},
    store::{Condition, Key, KeyRange, ListSpec, Op, ReadAt, Txn},
};

pub use self::ranges::Ranges;
use self::{
    ranges::Range,
    service::{Holdings, Wanted},
};
use crate::{errors, object, registry::Served, server::ApiServer};

/// How often a random address or port is drawn before the free ones are counted.
const DRAWS: usize = 16;
const PORTS: &str = "/registry/ranges/servicenodeports/";
/// Where addresses were claimed before there were IPAddress objects for that.
const FORMER: &str = "/registry/ranges/serviceips/";
/// How many former claims one transaction turns into objects.
const BATCH: usize = 32;

/// What a transaction claims and releases.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    take: Holdings,
    give: Vec<Key>,
    /// The ServiceCIDRs that the addresses are of.
    ranges: Vec<Condition>,
    /// The spec before anything was drawn.
    before: Option<Value>,
}

impl Claims {
    /// Makes the claims part of the transaction that writes the service.
    pub(crate) fn add_to(&self, server: &ApiServer, service: &Value, txn: &mut Txn) -> Result<()> {
        let (namespace, name) = whose(service);
        for ip in &self.take.ips {
            address::claim(server, *ip, (namespace, name), txn)?;
        }
        for port in &self.take.ports {
            let (key, owner) = (port_key(*port), format!("{namespace}/{name}"));
            txn.conditions.push(Condition::Absent(key.clone()));
            txn.ops.push(Op::Put { key, value: owner.into(), lease: None });
        }
        txn.conditions.extend(self.ranges.iter().cloned());
        txn.ops.extend(self.give.iter().map(|key| Op::Delete { key: key.clone() }));
        Ok(())
    }
}

/// Makes part of a transaction that everything is released that an object holds, which the transaction deletes.
pub(crate) async fn release(server: &ApiServer, served: &Served, old: &Value, txn: &mut Txn) -> Result<()> {
    if served.is("", "services") {
        let given = held_keys(server, &Holdings::of(old), whose(old)).await?;
        txn.ops.extend(given.into_iter().map(|key| Op::Delete { key }));
    }
    Ok(())
}

/// The claims of what a service holds. An address that is claimed for somebody else is not among them.
async fn held_keys(server: &ApiServer, holdings: &Holdings, service: (&str, &str)) -> Result<Vec<Key>> {
    let mut keys: Vec<Key> = holdings.ports.iter().map(|port| port_key(*port)).collect();
    for ip in &holdings.ips {
        keys.extend(address::held(server, *ip, service).await?);
    }
    Ok(keys)
}

/// Namespace and name of a service.
fn whose(service: &Value) -> (&str, &str) {
    (object::meta_text(service, "namespace"), object::name(service))
}

fn port_key(port: u16) -> Key {
    Key::from(format!("{PORTS}{port}"))
}

/// Turns claims of addresses that an earlier version wrote into IPAddress objects.
pub(crate) async fn renew(server: &ApiServer) -> Result<()> {
    let range = KeyRange::prefix(FORMER);
    let former = server.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await?;
    for some in former.entries.chunks(BATCH) {
        let mut txn = Txn::default();
        for entry in some {
            txn.ops.push(Op::Delete { key: entry.key.clone() });
            let ip = entry.key.as_str().strip_prefix(FORMER).and_then(|ip| ip.parse().ok());
            let owner = std::str::from_utf8(&entry.value).ok().and_then(|owner| owner.split_once('/'));
            if let (Some(ip), Some(owner)) = (ip, owner) {
                address::claim(server, ip, owner, &mut txn)?;
            }
        }
        // Where another server was faster the conditions do not hold, and its objects stand.
        server.parts.store.txn(txn).await?;
    }
    Ok(())
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
    let before = object["spec"].clone();
    service::families(object)?;
    let held = old.map(Holdings::of).unwrap_or_default();
    let chosen = Holdings::of(object).without(&held);
    let Wanted { ip, ports, health } = Wanted::of(object);
    let ranges = if ip || !chosen.ips.is_empty() { ranges::read(server).await? } else { Vec::new() };
    let mut of = Vec::new();
    for ip in &chosen.ips {
        of.push(check_ip(server, object, *ip, &ranges).await?.stands());
    }
    for port in &chosen.ports {
        check_port(server, object, *port).await?;
    }
    if ip {
        let (drawn, range) = draw_ip(server, &ranges).await?;
        of.push(range.stands());
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
    let give = held_keys(server, &held.without(&now), whose(object)).await?;
    Ok(Claims { take: now.without(&held), give, ranges: of, before: Some(before) })
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

async fn is_taken(server: &ApiServer, key: &Key) -> Result<bool> {
    Ok(server.parts.store.get(key, ReadAt::Latest).await?.is_some())
}

/// The range that a chosen address is of, where it is free.
async fn check_ip<'r>(server: &ApiServer, service: &Value, ip: IpAddr, ranges: &'r [Range]) -> Result<&'r Range> {
    let why = match ranges.iter().find(|range| range.holds(ip)) {
        Some(range) if !is_taken(server, &address::key(server, ip)?).await? => return Ok(range),
        Some(_) => "provided IP is already allocated".to_owned(),
        None => match ranges.iter().find(|range| range.contains(ip)) {
            Some(range) => {
                let range = range.net();
                format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {range}")
            }
            None => "the provided network does not match the current range".to_owned(),
        },
    };
    let shown = service["spec"]["clusterIPs"].to_string();
    let cause = errors::bad_value("spec.clusterIPs", shown, format!("failed to allocate IP {ip}: {why}"));
    Err(errors::invalid("", "Service", object::name(service), vec![cause]))
}

async fn check_port(server: &ApiServer, service: &Value, port: u16) -> Result<()> {
    let (first, last) = server.parts.ranges.node_ports;
    let why = if !(first..=last).contains(&port) {
        format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
    } else if is_taken(server, &port_key(port)).await? {
        "provided port is already allocated".to_owned()
    } else {
        return Ok(());
    };
    let cause = errors::bad_value(&service::field_of(service, port), port, why);
    Err(errors::invalid("", "Service", object::name(service), vec![cause]))
}

async fn draw_ip<'r>(server: &ApiServer, ranges: &'r [Range]) -> Result<(Ipv4Addr, &'r Range)> {
    for range in ranges {
        let (first, count) = range.drawn();
        // A range of one or two addresses has none to draw.
        for _ in 0..if count > 0 { DRAWS } else { 0 } {
            let ip = Ipv4Addr::from_bits(first + below(server, count));
            if !is_taken(server, &address::key(server, ip.into())?).await? {
                return Ok((ip, range));
            }
        }
        for ip in range.net().hosts().filter(|ip| range.holds((*ip).into())) {
            if !is_taken(server, &address::key(server, ip.into())?).await? {
                return Ok((ip, range));
            }
        }
    }
    Err(Error::new(ErrorKind::Internal, "Internal error occurred: failed to allocate a serviceIP: range is full"))
}

async fn draw_port(server: &ApiServer, taken: &BTreeSet<u16>) -> Result<u16> {
    let (first, last) = server.parts.ranges.node_ports;
    for _ in 0..DRAWS {
        let offset = below(server, u32::from(last - first) + 1);
        let port = first.saturating_add(u16::try_from(offset).unwrap_or_default());
        if !taken.contains(&port) && !is_taken(server, &port_key(port)).await? {
            return Ok(port);
        }
    }
    for port in first..=last {
        if !taken.contains(&port) && !is_taken(server, &port_key(port)).await? {
            return Ok(port);
        }
    }
    Err(Error::new(ErrorKind::Internal, "Internal error occurred: failed to allocate a nodePort: range is full"))
}

fn below(server: &ApiServer, count: u32) -> u32 {
    let entropy: &dyn Entropy = &*server.parts.entropy;
    u32::try_from(entropy.below(u64::from(count))).unwrap_or_default()
}

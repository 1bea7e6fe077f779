//! Packet rules: ports of the node that lead to pods, and the node's address for what leaves the network.
//!
//! All networks share one table. What all pods of a network share is a chain that the first one makes; a pod's own part are
//! elements of maps, so that a batch costs what it changes, and a pod without ports of the node needs none.

mod chain;
pub(super) mod spoof;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
};

use ipnet::IpNet;
use serde_json::Value;
use windlass_kernel::{
    Error, ErrorKind, Result,
    rules::{Flows, Protocol},
};

use crate::{failed, flows, hash, wire::PortMap};

const TABLE: &str = "inet windlass_cni";

/// The maps: any address of the node, or a certain one; to IPv4 or to IPv6.
const MAPS: [(&str, &str); 4] = [
    ("ports4", "inet_proto . inet_service : ipv4_addr . inet_service"),
    ("ports6", "inet_proto . inet_service : ipv6_addr . inet_service"),
    ("at4", "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"),
    ("at6", "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service"),
];

#[derive(Clone, Debug)]
pub(super) struct Rules {
    network: String,
}

/// What one pod needs.
#[derive(Clone, Debug)]
pub(super) struct Needs<'a> {
    /// The name of its cable, which its elements carry.
    pub(super) cable: &'a str,
    pub(super) addresses: &'a [IpNet],
    pub(super) ports: &'a [PortMap],
    pub(super) masquerade: bool,
    /// What is not masqueraded either: the ranges of which all nodes have theirs.
    pub(super) inside: &'a [IpNet],
}

/// An element of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    map: &'static str,
    /// Such as `tcp . 8080`.
    key: String,
    /// Such as `10.88.0.5 . 80`.
    target: String,
    comment: String,
}

impl Rules {
    pub(super) fn of(network: &str) -> Self {
        Self { network: network.into() }
    }

    /// Makes what a pod needs, as one batch. A port that another pod has is refused.
    pub(super) fn make(&self, needs: &Needs<'_>) -> Result<()> {
        if !needs.masquerade && needs.ports.is_empty() {
            return Ok(());
        }
        let elements = self.elements(needs)?;
        let nets: BTreeSet<IpNet> = needs.addresses.iter().map(IpNet::trunc).collect();
        let mut script = String::new();
        for net in nets {
            // Usually another pod of the network made it, and no batch is needed.
            if !chain::exists(&self.chain(net, needs)) {
                self.network_part(net, needs, &mut script)?;
            }
        }
        if script.is_empty() && elements.is_empty() {
            return Ok(());
        }
        script.insert_str(0, &format!("add table {TABLE}\n"));
        if !elements.is_empty() {
            port_part(&mut script);
        }
        for Element { map, key, target, comment } in &elements {
            let _ = writeln!(script, "add element {TABLE} {map} {{ {key} comment \"{comment}\" : {target} }}");
        }
        let Err(error) = nft(&["-f", "-"], &script).map(drop) else { return forget(&elements) };
        // The kernel only says that something exists.
        let there = list()?;
        let clash = elements.iter().find(|e| there.iter().any(|t| t.map == e.map && t.key == e.key && *t != **e));
        match clash {
            Some(clash) => {
                let message = format!("the node's port {} is taken by another pod", clash.key.replace(" . ", " "));
                Err(Error::new(ErrorKind::Conflict, message))
            }
            None => Err(error),
        }
    }

    /// Removes a pod's elements.
    pub(super) fn remove(&self, cable: &str) -> Result<()> {
        let own = format!("{}/{cable}", self.network);
        self.strike(|element| element.comment == own)
    }

    /// Removes the elements of all pods of this network but these.
    pub(super) fn keep(&self, cables: &[String]) -> Result<()> {
        let ours = format!("{}/", self.network);
        let stale = |cable: &str| !cables.iter().any(|valid| valid == cable);
        self.strike(|element| element.comment.strip_prefix(&ours).is_some_and(stale))
    }

    /// The ports of a pod whose elements are not there.
    pub(super) fn missing(&self, needs: &Needs<'_>) -> Result<Vec<String>> {
        if needs.ports.is_empty() {
            return Ok(Vec::new());
        }
        let there = list()?;
        Ok(self.elements(needs)?.into_iter().filter(|e| !there.contains(e)).map(|e| e.key).collect())
    }

    fn strike(&self, which: impl Fn(&Element) -> bool) -> Result<()> {
        let mut script = String::new();
        let gone: Vec<Element> = list()?.into_iter().filter(|element| which(element)).collect();
        for element in &gone {
            let _ = writeln!(script, "delete element {TABLE} {} {{ {} }}", element.map, element.key);
        }
        if script.is_empty() {
            return Ok(());
        }
        nft(&["-f", "-"], &script)?;
        let unled = |element: &Element| Element { target: String::new(), ..element.clone() };
        forget(&gone.iter().map(unled).collect::<Vec<_>>())
    }

    /// The chain of a network's addresses. It is made whole in one batch, so that it need not be looked into: its name says
    /// what is in it.
    fn chain(&self, net: IpNet, needs: &Needs<'_>) -> String {
        let [masquerading, plain] = self.chains(net);
        match (needs.masquerade, needs.inside) {
            (false, _) => plain,
            (true, []) => masquerading,
            (true, inside) => format!("{masquerading}-{:08x}", hash(&format!("{inside:?}")) >> 32),
        }
    }

    /// What the names of chains of a network's addresses begin with.
    fn chains(&self, net: IpNet) -> [String; 2] {
        ["masq", "plain"].map(|kind| format!("{}-{kind}-{:08x}", self.network, hash(&net.to_string()) >> 32))
    }

    /// What is sent from addresses of a network. It is the same for all of its pods.
    fn network_part(&self, net: IpNet, needs: &Needs<'_>, script: &mut String) -> Result<()> {
        let (own, kinds) = (self.chain(net, needs), self.chains(net));
        let (ip, everybody) = if net.addr().is_ipv4() { ("ip", "224.0.0.0/4") } else { ("ip6", "ff00::/8") };
        let mut line = |text: String| {
            let _ = writeln!(script, "{text}");
        };
        // Others are from before the configuration was changed.
        let stale = |name: &String| *name != own && kinds.iter().any(|kind| name.starts_with(kind));
        for other in chain_names()?.into_iter().filter(stale) {
            line(format!("flush chain {TABLE} {other}\ndelete chain {TABLE} {other}"));
        }
        line(format!(
            "add chain {TABLE} {own} {{ type nat hook postrouting priority 100; }}\nflush chain {TABLE} {own}"
        ));
        // A pod that comes back by a port of the node: the answer must come back the same way.
        line(format!("add rule {TABLE} {own} {ip} saddr {net} {ip} daddr {net} ct status dnat masquerade"));
        if ip == "ip" {
            line(format!("add rule {TABLE} {own} ip saddr 127.0.0.0/8 ip daddr {net} ct status dnat masquerade"));
        }
        if needs.masquerade {
            let inside = needs.inside.iter().filter(|range| range.addr().is_ipv4() == net.addr().is_ipv4());
            // One that holds another says it all; nft takes no two that overlap.
            let all: Vec<IpNet> = inside.copied().chain([net]).collect();
            let mut inside: Vec<String> = IpNet::aggregate(&all).iter().map(ToString::to_string).collect();
            inside.push(everybody.into());
            let inside = inside.join(", ");
            line(format!("add rule {TABLE} {own} {ip} saddr {net} {ip} daddr != {{ {inside} }} masquerade"));
        }
        Ok(())
    }

    fn elements(&self, needs: &Needs<'_>) -> Result<Vec<Element>> {
        let mut elements = Vec::new();
        for port in needs.ports {
            let at: Option<IpAddr> = match port.host_ip.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    let message = format!("runtimeConfig.portMappings: hostIP {text:?} is no address");
                    Error::new(ErrorKind::Invalid, message)
                })?),
            };
            let at = at.filter(|ip| !ip.is_unspecified());
            let protocol = if port.protocol.is_empty() { "tcp" } else { port.protocol.as_str() };
            let key = format!("{protocol} . {}", port.host_port);
            for four in [true, false] {
                let target = needs.addresses.iter().map(IpNet::addr).find(|ip| ip.is_ipv4() == four);
                let Some(target) = target.filter(|_| at.is_none_or(|ip| ip.is_ipv4() == four)) else { continue };
                let map = match (at, four) {
                    (None, true) => "ports4",
                    (None, false) => "ports6",
                    (Some(_), true) => "at4",
                    (Some(_), false) => "at6",
                };
                elements.push(Element {
                    map,
                    key: at.map_or_else(|| key.clone(), |ip| format!("{ip} . {key}")),
                    target: format!("{target} . {}", port.container_port),
                    comment: format!("{}/{}", self.network, needs.cable),
                });
            }
        }
        Ok(elements)
    }
}

/// Has the kernel lead anew what is sent to these ports without a connection, and went elsewhere before.
///
/// Where it does not show what it remembers, that ends by itself when no packets come for a while.
fn forget(elements: &[Element]) -> Result<()> {
    let mut flows: Vec<Flows> = Vec::new();
    for one in elements.iter().filter_map(Element::flows) {
        // Both families of a port are kept.
        match flows.iter_mut().find(|known| known.port == one.port && known.to == one.to) {
            Some(known) => known.kept.extend(one.kept),
            None => flows.push(one),
        }
    }
    if flows.is_empty() {
        return Ok(());
    }
    match flows::forget(&flows) {
        Err(error) if error.is(ErrorKind::NotSupported) => Ok(()),
        done => done,
    }
}

impl Element {
    /// What is sent to the port, led to the target; `None` where that is connected.
    fn flows(&self) -> Option<Flows> {
        let words: Vec<&str> = self.key.split(" . ").collect();
        let (to, protocol, port) = match words[..] {
            [protocol, port] => (None, protocol, port),
            [ip, protocol, port] => (Some(ip.parse().ok()?), protocol, port),
            _ => return None,
        };
        let target = self.target.split_once(" . ");
        let kept = target.and_then(|(ip, port)| Some((ip.parse().ok()?, port.parse().ok()?)));
        let kept = kept.into_iter().collect();
        (protocol == "udp").then_some(Flows { protocol: Protocol::Udp, to, port: port.parse().ok()?, kept })
    }
}

/// Where packets to an address of the node meet the maps. The same for all networks.
fn port_part(script: &mut String) {
    for (map, kind) in MAPS {
        let _ = writeln!(script, "add map {TABLE} {map} {{ type {kind}; }}");
    }
    let mut line = |text: &str| {
        let _ = writeln!(script, "{text}");
    };
    line(&format!("add chain {TABLE} to-pods\nflush chain {TABLE} to-pods"));
    for (map, ip, at) in
        [("at4", "ip", "ip daddr . "), ("at6", "ip6", "ip6 daddr . "), ("ports4", "ip", ""), ("ports6", "ip6", "")]
    {
        let lookup = format!("dnat {ip} to {at}meta l4proto . th dport map @{map}");
        line(&format!("add rule {TABLE} to-pods meta l4proto {{ tcp, udp, sctp }} {lookup}"));
    }
    for hook in ["prerouting", "output"] {
        line(&format!("add chain {TABLE} {hook} {{ type nat hook {hook} priority -100; }}"));
        line(&format!("flush chain {TABLE} {hook}"));
        line(&format!("add rule {TABLE} {hook} fib daddr type local jump to-pods"));
    }
}

/// Everything in a table of ours; nothing where there is no such table.
fn table(family: &str) -> Result<Vec<Value>> {
    let Ok(text) = nft(&["-j", "list", "table", family, "windlass_cni"], "") else {
        // There is no table, or something worse, which shows here too.
        nft(&["list", "tables"], "")?;
        return Ok(Vec::new());
    };
    let mut json: Value = serde_json::from_str(&text)
        .map_err(|error| Error::new(ErrorKind::Internal, "what nft lists cannot be read").with_source(error))?;
    match json["nftables"].take() {
        Value::Array(all) => Ok(all),
        _ => Ok(Vec::new()),
    }
}

/// The names of all chains.
fn chain_names() -> Result<Vec<String>> {
    let all = table("inet")?;
    Ok(all.iter().filter_map(|one| one["chain"]["name"].as_str().map(str::to_owned)).collect())
}

/// All elements of the maps.
fn list() -> Result<Vec<Element>> {
    let mut found = Vec::new();
    for map in table("inet")?.iter().map(|one| &one["map"]) {
        let Some((name, _)) = MAPS.iter().find(|(name, _)| map["name"] == *name) else { continue };
        for pair in map["elem"].as_array().into_iter().flatten() {
            let element = &pair[0]["elem"];
            found.push(Element {
                map: name,
                key: concatenated(&element["val"]),
                target: concatenated(&pair[1]),
                comment: element["comment"].as_str().unwrap_or_default().into(),
            });
        }
    }
    Ok(found)
}

fn concatenated(value: &Value) -> String {
    let word = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
    let words = value["concat"].as_array().into_iter().flatten().map(word);
    words.collect::<Vec<_>>().join(" . ")
}

/// Whether the tool is there.
pub(super) fn available() -> bool {
    Command::new("nft")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

fn nft(arguments: &[&str], script: &str) -> Result<String> {
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "cannot run nft: port mappings and masquerade need it").with_source(error)
    })?;
    let written = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(failed("wait for nft"))?;
    if output.status.success() {
        written.map_err(failed("write to nft"))?;
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("no message");
    Err(Error::new(ErrorKind::Internal, format!("nft refused the network's rules: {first}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(port: PortMap, expect: &[&str]) {
        let addresses = ["10.88.0.5/24", "fd00::5/64"].map(|ip| ip.parse().unwrap());
        let needs = Needs { cable: "veth1", addresses: &addresses, ports: &[port], masquerade: false, inside: &[] };
        let elements = Rules::of("pods").elements(&needs).unwrap();
        let text = elements.iter().map(|e| format!("{} {{ {} : {} }} {}", e.map, e.key, e.target, e.comment));
        assert_eq!(text.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_port_leads_to_both_families_or_to_that_of_its_address() {
        let port = PortMap { host_port: 8080, container_port: 80, protocol: "udp".into(), host_ip: String::new() };
        let both =
            ["ports4 { udp . 8080 : 10.88.0.5 . 80 } pods/veth1", "ports6 { udp . 8080 : fd00::5 . 80 } pods/veth1"];
        check(port.clone(), &both);
        check(PortMap { host_ip: "0.0.0.0".into(), ..port.clone() }, &both);
        let one = ["at4 { 127.0.0.1 . tcp . 8080 : 10.88.0.5 . 80 } pods/veth1"];
        check(PortMap { host_ip: "127.0.0.1".into(), protocol: String::new(), ..port.clone() }, &one);
        let six = ["at6 { fd00::1 . udp . 8080 : fd00::5 . 80 } pods/veth1"];
        check(PortMap { host_ip: "fd00::1".into(), ..port }, &six);
    }
}

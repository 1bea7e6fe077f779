//! Packet rules: ports of the node that lead to pods, and the node's address for what leaves the network.
//!
//! All networks share one table. What all pods of a network share is a chain that the first one makes; a pod's own part are
//! elements of maps, so that a batch costs what it changes, and a pod without ports of the node needs none.

mod chain;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
};

use ipnet::IpNet;
use serde_json::Value;
use windlass_kernel::{Error, ErrorKind, Result};

use super::{failed, hash};
use crate::wire::PortMap;

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
            if !chain::exists(&self.chain(net, needs.masquerade)) {
                self.network_part(net, needs.masquerade, &mut script);
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
        let Err(error) = nft(&["-f", "-"], &script).map(drop) else { return Ok(()) };
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
        for element in list()?.iter().filter(|element| which(element)) {
            let _ = writeln!(script, "delete element {TABLE} {} {{ {} }}", element.map, element.key);
        }
        if script.is_empty() { Ok(()) } else { nft(&["-f", "-"], &script).map(drop) }
    }

    /// The chain of a network's addresses. It is made whole in one batch, so that it need not be looked into.
    fn chain(&self, net: IpNet, masquerade: bool) -> String {
        let kind = if masquerade { "masq" } else { "plain" };
        format!("{}-{kind}-{:08x}", self.network, hash(&net.to_string()) >> 32)
    }

    /// What is sent from addresses of a network. It is the same for all of its pods.
    fn network_part(&self, net: IpNet, masquerade: bool, script: &mut String) {
        let (own, other) = (self.chain(net, masquerade), self.chain(net, !masquerade));
        let (ip, everybody) = if net.addr().is_ipv4() { ("ip", "224.0.0.0/4") } else { ("ip6", "ff00::/8") };
        let mut line = |text: String| {
            let _ = writeln!(script, "{text}");
        };
        // The other one is from before the configuration was changed. What is not there is made, to be deleted.
        line(format!("add chain {TABLE} {other}\nflush chain {TABLE} {other}\ndelete chain {TABLE} {other}"));
        line(format!(
            "add chain {TABLE} {own} {{ type nat hook postrouting priority 100; }}\nflush chain {TABLE} {own}"
        ));
        // A pod that comes back by a port of the node: the answer must come back the same way.
        line(format!("add rule {TABLE} {own} {ip} saddr {net} {ip} daddr {net} ct status dnat masquerade"));
        if ip == "ip" {
            line(format!("add rule {TABLE} {own} ip saddr 127.0.0.0/8 ip daddr {net} ct status dnat masquerade"));
        }
        if masquerade {
            line(format!("add rule {TABLE} {own} {ip} saddr {net} {ip} daddr != {{ {net}, {everybody} }} masquerade"));
        }
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

/// All elements of the maps.
fn list() -> Result<Vec<Element>> {
    let mut found = Vec::new();
    let Ok(text) = nft(&["-j", "list", "table", "inet", "windlass_cni"], "") else {
        // There is no table, or something worse, which shows here too.
        nft(&["list", "tables"], "")?;
        return Ok(found);
    };
    let json: Value = serde_json::from_str(&text)
        .map_err(|error| Error::new(ErrorKind::Internal, "what nft lists cannot be read").with_source(error))?;
    for map in json["nftables"].as_array().into_iter().flatten().map(|one| &one["map"]) {
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
        let needs = Needs { cable: "veth1", addresses: &addresses, ports: &[port], masquerade: false };
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

//! The text of an nft batch: one verdict map finds the chain of an address, a chain chooses the endpoint.
//!
//! A packet is looked up once whatever the number of services, and a change names only its own chains and elements.

use std::{
    fmt::{Display, Write},
    net::IpAddr,
};

use windlass_kernel::rules::{Endpoint, Reach, ServicePort};

/// Marks connections whose source must become the node's address.
const MASQUERADE: &str = "0x4000";

/// Up to so many endpoints are drawn by a rule each. More are looked up in a map, of which the kernel makes a set: thousands of
/// sets cost it seconds, since it looks through all of them for each new one.
const DRAWN: usize = 16;

/// One batch: applied as a whole or not at all.
#[derive(Debug)]
pub(super) struct Script {
    table: String,
    text: String,
}

impl Script {
    /// A batch that changes the table.
    pub(super) fn of(table: &str) -> Self {
        Self { table: table.into(), text: String::new() }
    }

    /// A batch that begins with an empty table, whatever was there.
    pub(super) fn fresh(table: &str) -> Self {
        let text = format!("add table inet {table}\ndelete table inet {table}\n{}", base(table));
        Self { table: table.into(), text }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// Makes the rules of `port`; `old` is what the table holds of it.
    pub(super) fn put(&mut self, old: Option<&ServicePort>, port: &ServicePort) {
        if old == Some(port) {
            return;
        }
        if let Some(old) = old {
            self.unlink(old);
        }
        for chain in used(port) {
            self.line("add chain", &chain);
            // What is new is empty.
            if old.is_some() {
                self.line("flush chain", &chain);
            }
        }
        self.stickiness(old, port);
        let [inside, outside] = chains(port);
        self.choose(&inside, port, port.internal);
        if is_reached_from_outside(port) {
            if port.external == Reach::Cluster {
                self.rule(&outside, format_args!("meta mark set meta mark or {MASQUERADE}"));
            }
            self.choose(&outside, port, port.external);
        }
        if let Some(old) = old.filter(|old| is_reached_from_outside(old) && !is_reached_from_outside(port)) {
            let [_, outside] = chains(old);
            self.drop_chain(&outside);
        }
        self.link(port);
    }

    /// Removes the rules of `old`, which the table holds.
    pub(super) fn remove(&mut self, old: &ServicePort) {
        self.unlink(old);
        for chain in used(old) {
            self.drop_chain(&chain);
        }
        if old.affinity.is_some() {
            for family in families(old) {
                self.line("delete map", &sticky(old, family));
            }
        }
    }

    /// Enters or removes an address whose pods may reach themselves through a service.
    pub(super) fn hairpin(&mut self, verb: &str, ip: IpAddr) {
        let family = Family::of(ip);
        let _ = writeln!(self.text, "{verb} element inet {} self{family} {{ {ip} . {ip} }}", self.table);
    }

    fn link(&mut self, port: &ServicePort) {
        self.elements("add", port);
    }

    fn unlink(&mut self, port: &ServicePort) {
        self.elements("delete", port);
    }

    /// The elements that lead to the port: to its chains, or to a refusal where it has no endpoints.
    fn elements(&mut self, verb: &str, port: &ServicePort) {
        let [inside, outside] = chains(port);
        let (number, protocol) = (port.key.port, port.key.protocol);
        let targets = [(&port.cluster_ips, port.internal, &inside), (&port.external_ips, port.external, &outside)];
        for (ips, reach, chain) in targets {
            for ip in ips {
                let family = Family::of(*ip);
                let key = format!("{ip} . {protocol} . {number}");
                let refuse = eligible(port, reach, family).next().is_none();
                self.element(verb, refuse, &format!("ips{family}"), &format!("none{family}"), &key, chain);
            }
        }
        if let Some(node_port) = port.node_port {
            let refuse = port.endpoints.iter().all(|e| port.external == Reach::Local && !e.local);
            self.element(verb, refuse, "ports", "noports", &format!("{protocol} . {node_port}"), &outside);
        }
    }

    fn element(&mut self, verb: &str, refuse: bool, map: &str, set: &str, key: &str, chain: &str) {
        let table = &self.table;
        let _ = match (refuse, verb) {
            (true, _) => writeln!(self.text, "{verb} element inet {table} {set} {{ {key} }}"),
            (false, "delete") => writeln!(self.text, "delete element inet {table} {map} {{ {key} }}"),
            (false, _) => writeln!(self.text, "{verb} element inet {table} {map} {{ {key} : goto {chain} }}"),
        };
    }

    /// The rules that choose one of the endpoints in reach, per address family.
    fn choose(&mut self, chain: &str, port: &ServicePort, reach: Reach) {
        let protocol = port.key.protocol;
        for family in families(port) {
            let endpoints: Vec<_> = eligible(port, reach, family).collect();
            let ip = family.keyword();
            let only = format!("meta nfproto {} meta l4proto {protocol}", family.protocol());
            if port.affinity.is_some() {
                self.choose_sticky(chain, port, family, &endpoints);
            } else if endpoints.len() <= DRAWN {
                // Sharing the draws out by rule keeps every endpoint equally likely.
                for (at, endpoint) in endpoints.iter().enumerate() {
                    let draw = draw(endpoints.len() - at);
                    self.rule(chain, format_args!("{only} {draw}dnat {ip} to {}", family.socket(endpoint)));
                }
            } else {
                let items = endpoints.iter().enumerate();
                let items: Vec<_> = items.map(|(at, e)| format!("{at} : {} . {}", e.ip, e.port)).collect();
                let (count, items) = (items.len(), items.join(", "));
                self.rule(
                    chain,
                    format_args!("{only} dnat {ip} addr . port to numgen random mod {count} map {{ {items} }}"),
                );
            }
        }
    }

    /// A client that was here before goes where it went; another is remembered.
    fn choose_sticky(&mut self, chain: &str, port: &ServicePort, family: Family, endpoints: &[&Endpoint]) {
        let (protocol, ip) = (port.key.protocol, family.keyword());
        let (map, timeout) = (sticky(port, family), port.affinity.unwrap_or_default().as_secs().max(1));
        let only = format!("meta nfproto {} meta l4proto {protocol}", family.protocol());
        self.rule(chain, format_args!("{only} dnat {ip} addr . port to {ip} saddr map @{map}"));
        // Sharing the draws out by rule keeps every endpoint equally likely without a chain of its own.
        for (at, endpoint) in endpoints.iter().enumerate() {
            let draw = draw(endpoints.len() - at);
            self.rule(
                chain,
                format_args!(
                    "{only} {draw}update @{map} {{ {ip} saddr timeout {timeout}s : {} . {} }} dnat {ip} to {}",
                    endpoint.ip,
                    endpoint.port,
                    family.socket(endpoint)
                ),
            );
        }
    }

    /// Keeps a map of remembered clients for each family; it is emptied when the endpoints change.
    fn stickiness(&mut self, old: Option<&ServicePort>, port: &ServicePort) {
        for family in families(port) {
            let map = sticky(port, family);
            if port.affinity.is_some() {
                let ty = family.datatype();
                let _ = writeln!(
                    self.text,
                    "add map inet {} {map} {{ type {ty} : {ty} . inet_service; flags dynamic, timeout; size 65536; }}",
                    self.table
                );
                self.line("flush map", &map);
            }
        }
        for old in old.iter().filter(|old| old.affinity.is_some()) {
            for family in families(old) {
                if port.affinity.is_none() || !families(port).any(|kept| kept == family) {
                    self.line("delete map", &sticky(old, family));
                }
            }
        }
    }

    fn drop_chain(&mut self, chain: &str) {
        self.line("flush chain", chain);
        self.line("delete chain", chain);
    }

    fn line(&mut self, verb: &str, name: &str) {
        let _ = writeln!(self.text, "{verb} inet {} {name}", self.table);
    }

    fn rule(&mut self, chain: &str, rule: impl Display) {
        let _ = writeln!(self.text, "add rule inet {} {chain} {rule}", self.table);
    }
}

/// Holds for one of `left` endpoints; for the last one always.
fn draw(left: usize) -> String {
    if left > 1 { format!("numgen random mod {left} 0 ") } else { String::new() }
}

/// An address family of nftables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn keyword(self) -> &'static str {
        if self == Self::V4 { "ip" } else { "ip6" }
    }

    fn protocol(self) -> &'static str {
        if self == Self::V4 { "ipv4" } else { "ipv6" }
    }

    fn datatype(self) -> &'static str {
        if self == Self::V4 { "ipv4_addr" } else { "ipv6_addr" }
    }

    fn socket(self, endpoint: &Endpoint) -> String {
        match self {
            Self::V4 => format!("{}:{}", endpoint.ip, endpoint.port),
            Self::V6 => format!("[{}]:{}", endpoint.ip, endpoint.port),
        }
    }
}

impl Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::V4 { "4" } else { "6" })
    }
}

fn families(port: &ServicePort) -> impl Iterator<Item = Family> {
    let has = |family| port.endpoints.iter().any(|e| Family::of(e.ip) == family);
    [Family::V4, Family::V6].into_iter().filter(move |family| has(*family)).collect::<Vec<_>>().into_iter()
}

fn eligible(port: &ServicePort, reach: Reach, family: Family) -> impl Iterator<Item = &Endpoint> {
    port.endpoints.iter().filter(move |e| Family::of(e.ip) == family && (reach == Reach::Cluster || e.local))
}

/// The chains for traffic from inside and from outside. Service names hold nothing that nft would not take.
fn chains(port: &ServicePort) -> [String; 2] {
    ["in", "out"].map(|side| format!("{side}/{}", path(port)))
}

fn is_reached_from_outside(port: &ServicePort) -> bool {
    port.node_port.is_some() || !port.external_ips.is_empty()
}

/// Those of a port's chains that something leads to.
fn used(port: &ServicePort) -> impl Iterator<Item = String> {
    chains(port).into_iter().take(if is_reached_from_outside(port) { 2 } else { 1 })
}

fn sticky(port: &ServicePort, family: Family) -> String {
    format!("sticky{family}/{}", path(port))
}

fn path(port: &ServicePort) -> String {
    let key = &port.key;
    format!("{}/{}/{}/{}", key.service.namespace, key.service.name, key.protocol, key.port)
}

/// The parts of the table that every service shares.
fn base(table: &str) -> String {
    format!(
        "table inet {table} {{
    map ips4 {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    map ips6 {{ type ipv6_addr . inet_proto . inet_service : verdict; }}
    map ports {{ type inet_proto . inet_service : verdict; }}
    set none4 {{ type ipv4_addr . inet_proto . inet_service; }}
    set none6 {{ type ipv6_addr . inet_proto . inet_service; }}
    set noports {{ type inet_proto . inet_service; }}
    set self4 {{ type ipv4_addr . ipv4_addr; }}
    set self6 {{ type ipv6_addr . ipv6_addr; }}
    chain find {{
        ip daddr . meta l4proto . th dport vmap @ips4
        ip6 daddr . meta l4proto . th dport vmap @ips6
        fib daddr type local meta l4proto . th dport vmap @ports
    }}
    chain arriving {{ type nat hook prerouting priority dstnat; jump find; }}
    chain leaving {{ type nat hook output priority -100; jump find; }}
    chain source {{
        type nat hook postrouting priority srcnat;
        meta mark and {MASQUERADE} == {MASQUERADE} meta mark set meta mark xor {MASQUERADE} masquerade fully-random
        ct status dnat ip saddr 127.0.0.0/8 masquerade fully-random
        ct status dnat ip saddr . ip daddr @self4 masquerade fully-random
        ct status dnat ip6 saddr . ip6 daddr @self6 masquerade fully-random
    }}
    chain refusal {{
        meta l4proto tcp reject with tcp reset
        reject
    }}
    chain refuse {{
        ip daddr . meta l4proto . th dport @none4 goto refusal
        ip6 daddr . meta l4proto . th dport @none6 goto refusal
        fib daddr type local meta l4proto . th dport @noports goto refusal
    }}
    chain refuse-in {{ type filter hook input priority -110; ct state new jump refuse; }}
    chain refuse-through {{ type filter hook forward priority -110; ct state new jump refuse; }}
    chain refuse-out {{ type filter hook output priority -90; ct state new jump refuse; }}
    chain loopback {{
        type filter hook prerouting priority raw;
        iifname != \"lo\" ip daddr 127.0.0.0/8 drop
    }}
}}
"
    )
}

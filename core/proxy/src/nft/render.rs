//! The text of an nft batch: what goes, what is made, what comes.
//!
//! A packet is looked up once whatever the number of services, and a change names only its own chains and elements.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    net::IpAddr,
};

use windlass_kernel::rules::{Endpoint, Reach, ServicePort};

use super::doors::{Element, Family, Shared, chains, eligible, families, has_chains, is_reached_from_outside, path};

/// Marks connections whose source must become the node's address.
const MASQUERADE: &str = "0x4000";

/// One batch: applied as a whole or not at all.
#[derive(Debug)]
pub(super) struct Script {
    table: String,
    begin: String,
    gone: Elements,
    text: String,
    come: Elements,
    /// Removes what nothing leads to any more.
    end: String,
}

impl Script {
    /// A batch that changes the table.
    pub(super) fn of(table: &str) -> Self {
        let none = String::new;
        Self {
            table: table.into(),
            begin: none(),
            gone: Elements::default(),
            text: none(),
            come: Elements::default(),
            end: none(),
        }
    }

    /// A batch that begins with an empty table, whatever was there.
    pub(super) fn fresh(table: &str) -> Self {
        let begin = format!("add table inet {table}\ndelete table inet {table}\n{}", base(table));
        Self { begin, ..Self::of(table) }
    }

    /// What goes is before what comes, so that an address may change hands.
    pub(super) fn finish(self) -> String {
        let gone = self.gone.lines("delete", &self.table);
        // Unlike `add`, `create` does not take an element for its own that another service made.
        let come = self.come.lines("create", &self.table);
        [self.begin, gone, self.text, come, self.end].concat()
    }

    pub(super) fn come(&mut self, element: &Element) {
        let value = element.value.as_ref().map_or_else(String::new, |value| format!(" : {value}"));
        self.come.enter(&element.place, format!("{}{value}", element.key));
    }

    pub(super) fn gone(&mut self, element: &Element) {
        self.gone.enter(&element.place, element.key.clone());
    }

    /// Enters an address whose pods may reach themselves through a service.
    pub(super) fn hairpin(&mut self, ip: IpAddr) {
        self.come.enter(&format!("self{}", Family::of(ip)), format!("{ip} . {ip}"));
    }

    /// Removes such an address.
    pub(super) fn no_hairpin(&mut self, ip: IpAddr) {
        self.gone.enter(&format!("self{}", Family::of(ip)), format!("{ip} . {ip}"));
    }

    /// Makes a chain that others share; what it leads to is there already.
    pub(super) fn share(&mut self, shared: Shared) {
        let chain = shared.to_string();
        self.line("add chain", &chain);
        match shared {
            Shared::Slot(kind, _) => {
                let (ip, ty) = (kind.family.keyword(), kind.family.datatype());
                let (address, packet) = if kind.node {
                    (String::new(), String::new())
                } else {
                    (format!("{ty} . "), format!("{ip} daddr . "))
                };
                let _ = writeln!(
                    self.text,
                    "add map inet {} {chain} {{ type {address}inet_proto . inet_service : {ty} . inet_service; }}",
                    self.table
                );
                self.rule(
                    &chain,
                    format_args!(
                        "meta l4proto {{ tcp, udp, sctp }} dnat {ip} addr . port to {packet}meta l4proto . th dport map @{chain}"
                    ),
                );
            }
            Shared::Draw(_, count) => {
                let slots = shared.next().into_iter().enumerate();
                let slots: Vec<_> = slots.map(|(at, slot)| format!("{at} : goto {slot}")).collect();
                self.rule(&chain, format_args!("numgen random mod {count} vmap {{ {} }}", slots.join(", ")));
            }
            Shared::Masquerade(..) => {
                let next = shared.next().into_iter().map(|next| format!(" goto {next}")).collect::<String>();
                self.rule(&chain, format_args!("meta mark set meta mark or {MASQUERADE}{next}"));
            }
        }
    }

    /// Makes or removes the chains that `port` has for itself; `old` is what the table holds of it.
    pub(super) fn chains(&mut self, old: Option<&ServicePort>, port: Option<&ServicePort>) {
        let (old, port) = (old.filter(|old| has_chains(old)), port.filter(|port| has_chains(port)));
        let (before, now) = (old.map(used).unwrap_or_default(), port.map(used).unwrap_or_default());
        for chain in &now {
            self.line("add chain", chain);
            if before.contains(chain) {
                self.line("flush chain", chain);
            }
        }
        for chain in before.iter().filter(|chain| !now.contains(chain)) {
            for verb in ["flush", "delete"] {
                let _ = writeln!(self.end, "{verb} chain inet {} {chain}", self.table);
            }
        }
        self.stickiness(old, port);
        if let Some(port) = port {
            let [inside, outside] = chains(port);
            self.choose(&inside, port, port.internal);
            if is_reached_from_outside(port) {
                if port.external == Reach::Cluster {
                    self.rule(&outside, format_args!("meta mark set meta mark or {MASQUERADE}"));
                }
                self.choose(&outside, port, port.external);
            }
        }
    }

    /// The rules that choose one of the endpoints in reach, per address family.
    fn choose(&mut self, chain: &str, port: &ServicePort, reach: Reach) {
        let protocol = port.key.protocol;
        for family in families(port) {
            let endpoints: Vec<_> = eligible(port, reach, family).collect();
            if port.affinity.is_some() {
                self.choose_sticky(chain, port, family, &endpoints);
            } else if !endpoints.is_empty() {
                let (ip, nfproto) = (family.keyword(), family.protocol());
                let items = endpoints.iter().enumerate();
                let items: Vec<_> = items.map(|(at, e)| format!("{at} : {} . {}", e.ip, e.port)).collect();
                let (count, items) = (items.len(), items.join(", "));
                self.rule(
                    chain,
                    format_args!(
                        "meta nfproto {nfproto} meta l4proto {protocol} dnat {ip} addr . port to numgen random mod {count} map {{ {items} }}"
                    ),
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
    fn stickiness(&mut self, old: Option<&ServicePort>, port: Option<&ServicePort>) {
        let of = |port: Option<&ServicePort>| -> Vec<(Family, String)> {
            let port = port.filter(|port| port.affinity.is_some());
            port.into_iter().flat_map(|port| families(port).map(|family| (family, sticky(port, family)))).collect()
        };
        let (before, now) = (of(old), of(port));
        for (family, map) in &now {
            let ty = family.datatype();
            let _ = writeln!(
                self.text,
                "add map inet {} {map} {{ type {ty} : {ty} . inet_service; flags dynamic, timeout; size 65536; }}",
                self.table
            );
            self.line("flush map", map);
        }
        for (_, map) in before.iter().filter(|map| !now.contains(map)) {
            let _ = writeln!(self.end, "delete map inet {} {map}", self.table);
        }
    }

    fn line(&mut self, verb: &str, name: &str) {
        let _ = writeln!(self.text, "{verb} inet {} {name}", self.table);
    }

    fn rule(&mut self, chain: &str, rule: impl Display) {
        let _ = writeln!(self.text, "add rule inet {} {chain} {rule}", self.table);
    }
}

/// Elements by their maps and sets, so that a batch names each of those once.
#[derive(Debug, Default)]
struct Elements(BTreeMap<String, Vec<String>>);

impl Elements {
    fn enter(&mut self, place: &str, element: String) {
        match self.0.get_mut(place) {
            Some(elements) => elements.push(element),
            None => {
                self.0.insert(place.into(), vec![element]);
            }
        }
    }

    fn lines(&self, verb: &str, table: &str) -> String {
        let line = |(place, elements): (&String, &Vec<String>)| {
            format!("{verb} element inet {table} {place} {{ {} }}\n", elements.join(", "))
        };
        self.0.iter().map(line).collect()
    }
}

/// Holds for one of `left` endpoints; for the last one always.
fn draw(left: usize) -> String {
    if left > 1 { format!("numgen random mod {left} 0 ") } else { String::new() }
}

/// Those of a port's chains that something leads to.
fn used(port: &ServicePort) -> Vec<String> {
    chains(port).into_iter().take(if is_reached_from_outside(port) { 2 } else { 1 }).collect()
}

fn sticky(port: &ServicePort, family: Family) -> String {
    format!("sticky{family}/{}", path(port))
}

/// The parts of the table that every service shares.
fn base(table: &str) -> String {
    format!(
        "table inet {table} {{
    map ips4 {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
    map ips6 {{ type ipv6_addr . inet_proto . inet_service : verdict; }}
    map ports4 {{ type inet_proto . inet_service : verdict; }}
    map ports6 {{ type inet_proto . inet_service : verdict; }}
    set none4 {{ type ipv4_addr . inet_proto . inet_service; }}
    set none6 {{ type ipv6_addr . inet_proto . inet_service; }}
    set noports {{ type inet_proto . inet_service; }}
    set self4 {{ type ipv4_addr . ipv4_addr; }}
    set self6 {{ type ipv6_addr . ipv6_addr; }}
    chain find {{
        ip daddr . meta l4proto . th dport vmap @ips4
        ip6 daddr . meta l4proto . th dport vmap @ips6
        meta nfproto ipv4 fib daddr type local meta l4proto . th dport vmap @ports4
        meta nfproto ipv6 fib daddr type local meta l4proto . th dport vmap @ports6
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

//! What leads to a node: decided from what it says of itself and of this one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use ipnet::IpNet;
use windlass_kernel::{Error, ErrorKind, Result, routes::RoutedNode};

use super::{entries::Entries, underlay::Underlay};
use crate::{
    hash,
    net::{Mac, Sends, Way},
};

/// Plans for one node after another, with what is planned already in mind.
pub(super) struct Planner<'a> {
    pub(super) own: &'a RoutedNode,
    pub(super) underlay: &'a Underlay,
    /// Whose each range is.
    pub(super) owners: &'a mut BTreeMap<IpNet, String>,
}

impl Planner<'_> {
    /// What leads to a node. `sends` asks the kernel how it would send to an address.
    pub(super) fn plan(
        &mut self,
        node: &RoutedNode,
        sends: impl FnMut(IpAddr) -> io::Result<Sends>,
    ) -> Result<Entries> {
        let ranges: BTreeSet<IpNet> = node.ranges.iter().map(IpNet::trunc).collect();
        for range in &ranges {
            self.possible(node, range)?;
        }
        let entries = match self.underlay {
            Underlay::Direct { .. } => direct(node, &ranges, sends)?,
            Underlay::Tunnel { index, local, .. } => tunneled(node, *index, *local, sends)?,
        };
        self.owners.extend(ranges.into_iter().map(|range| (range, node.name.clone())));
        Ok(entries)
    }

    /// A range that would lead away what must not be led away is refused.
    fn possible(&self, node: &RoutedNode, range: &IpNet) -> Result<()> {
        let name = &node.name;
        let conflict = |what: String| Error::new(ErrorKind::Conflict, format!("range {range} of node {name} {what}"));
        if let Some(ip) = self.own.addresses.iter().chain(&node.addresses).find(|ip| range.contains(*ip)) {
            return Err(conflict(format!("holds the address {ip} of a node: ranges of pods must hold none")));
        }
        let overlaps = |own: &&IpNet| own.contains(range) || range.contains(*own);
        if let Some(own) = self.own.ranges.iter().find(overlaps) {
            return Err(conflict(format!("overlaps {own}, which is node {}'s", self.own.name)));
        }
        match self.owners.get(range) {
            Some(owner) if owner != name => Err(conflict(format!("is node {owner}'s already"))),
            _ => Ok(()),
        }
    }
}

/// By the node's own address of each range's family, if that is next to this node.
fn direct(
    node: &RoutedNode,
    ranges: &BTreeSet<IpNet>,
    mut sends: impl FnMut(IpAddr) -> io::Result<Sends>,
) -> Result<Entries> {
    let name = &node.name;
    let mut entries = Entries::default();
    for range in ranges {
        let gateway = node.addresses.iter().find(|ip| ip.is_ipv4() == range.addr().is_ipv4());
        let gateway = *gateway.ok_or_else(|| {
            let message = format!("node {name} has no InternalIP of the family of its range {range}");
            Error::new(ErrorKind::NotSupported, message)
        })?;
        let link = next_to(name, gateway, "mode \"routed\" needs the nodes in one subnet: use \"vxlan\"", &mut sends)?;
        entries.ways.insert(*range, Way { destination: *range, gateway, link, onlink: false });
    }
    Ok(entries)
}

/// The link that an address is on, which nobody routes to.
fn next_to(name: &str, ip: IpAddr, cure: &str, sends: &mut impl FnMut(IpAddr) -> io::Result<Sends>) -> Result<u32> {
    let kernel = sends(ip).map_err(|error| {
        let message = format!("this node cannot send to {ip} of node {name}: {error}");
        Error::new(ErrorKind::Unavailable, message).with_source(error)
    })?;
    match kernel {
        Sends { own: true, .. } => {
            Err(Error::new(ErrorKind::Conflict, format!("{ip} of node {name} is an address of this node")))
        }
        Sends { gateway: Some(router), .. } => Err(Error::new(
            ErrorKind::NotSupported,
            format!("{ip} of node {name} is behind the router {router}; {cure}"),
        )),
        Sends { link, .. } => Ok(link),
    }
}

/// Behind a hardware address that follows from its first range, so that each node knows it of all others.
fn tunneled(
    node: &RoutedNode,
    link: u32,
    local: IpAddr,
    mut sends: impl FnMut(IpAddr) -> io::Result<Sends>,
) -> Result<Entries> {
    let name = &node.name;
    let at = node.addresses.iter().find(|ip| ip.is_ipv4() == local.is_ipv4());
    let at = *at.ok_or_else(|| {
        let message = format!("node {name} has no InternalIP of the family of this node's, {local}");
        Error::new(ErrorKind::NotSupported, message)
    })?;
    // Packets that come back to the device that wraps them would go round for ever.
    match sends(at) {
        Ok(Sends { own: true, .. }) => {
            return Err(Error::new(ErrorKind::Conflict, format!("{at} of node {name} is an address of this node")));
        }
        Ok(Sends { link: by, .. }) if by == link => {
            let message = format!("{at} of node {name} is led through the VXLAN device itself");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // Whether it is reached now is not for the entries: they are right when it is.
        _ => {}
    }
    let mac = mac(&node.ranges)?;
    let mut entries = Entries { forwards: BTreeMap::from([(mac, at)]), ..Entries::default() };
    for range in node.ranges.iter().map(IpNet::trunc) {
        let gateway = range.network();
        entries.neighbours.insert(gateway, mac);
        entries.ways.insert(range, Way { destination: range, gateway, link, onlink: true });
    }
    Ok(entries)
}

/// The hardware address of a node's VXLAN device. It follows from its first range, which no other node has: as it is for
/// IPv4, and by 40 bits of a hash for IPv6.
pub(super) fn mac(ranges: &[IpNet]) -> Result<Mac> {
    let first = ranges.first().ok_or_else(|| Error::new(ErrorKind::Invalid, "a node without ranges has no pods"))?;
    Ok(match first.network() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [0x0a, 0x58, a, b, c, d]
        }
        IpAddr::V6(_) => {
            let [a, b, c, d, e, ..] = hash(&first.trunc().to_string()).to_be_bytes();
            [0x0e, a, b, c, d, e]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: u32 = 9;

    fn node(text: &str) -> RoutedNode {
        let mut words = text.split(' ');
        let name = words.next().unwrap().into();
        let (ranges, addresses): (Vec<&str>, Vec<&str>) = words.partition(|word| word.contains('/'));
        RoutedNode {
            name,
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        }
    }

    /// 192.0.2.0/24 and 2001:db8::/32 are attached, everything else is behind 192.0.2.254.
    fn sends(to: IpAddr) -> io::Result<Sends> {
        let near = match to {
            IpAddr::V4(ip) => ip.octets().starts_with(&[192, 0, 2]),
            IpAddr::V6(_) => true,
        };
        let gateway = (!near).then_some([192, 0, 2, 254].into());
        Ok(Sends { link: 2, gateway, own: to == IpAddr::from([192, 0, 2, 1]) })
    }

    fn text(entries: &Entries) -> String {
        let mac = |mac: &Mac| mac.map(|byte| format!("{byte:02x}")).join(":");
        let ways = entries.ways.values().map(|way| {
            format!(
                "{} via {} dev {}{}",
                way.destination,
                way.gateway,
                way.link,
                if way.onlink { " onlink" } else { "" }
            )
        });
        let neighbours = entries.neighbours.iter().map(|(ip, at)| format!("{ip} is {}", mac(at)));
        let forwards = entries.forwards.iter().map(|(own, at)| format!("{} at {at}", mac(own)));
        ways.chain(neighbours).chain(forwards).collect::<Vec<_>>().join(", ")
    }

    fn check(underlay: &Underlay, others: &[(&str, &str)]) {
        let own = node("own 192.0.2.1 10.0.1.0/24 fd00:0:0:1::/64");
        let mut owners = BTreeMap::new();
        let mut planner = Planner { own: &own, underlay, owners: &mut owners };
        for (other, expect) in others {
            let got = planner.plan(&node(other), sends).map_or_else(|error| error.to_string(), |found| text(&found));
            assert!(got == *expect || !expect.contains(" via ") && got.contains(expect), "{other}: {got}");
        }
    }

    #[test]
    fn a_node_next_to_this_one_is_a_gateway() {
        let direct = Underlay::Direct { mtu: 1500 };
        check(
            &direct,
            &[
                ("a 192.0.2.2 10.0.2.0/24", "10.0.2.0/24 via 192.0.2.2 dev 2"),
                (
                    "b 192.0.2.3 2001:db8::3 10.0.3.0/24 fd00:0:0:3::/64",
                    "10.0.3.0/24 via 192.0.2.3 dev 2, fd00:0:0:3::/64 via 2001:db8::3 dev 2",
                ),
                ("c 192.0.2.4 fd00:0:0:4::/64", "node c has no InternalIP of the family of its range fd00:0:0:4::/64"),
                ("d 198.51.100.4 10.0.5.0/24", "198.51.100.4 of node d is behind the router 192.0.2.254"),
            ],
        );
    }

    #[test]
    fn any_node_is_behind_a_hardware_address_of_its_own() {
        let tunnel = Underlay::Tunnel { index: DEVICE, local: [192, 0, 2, 1].into(), mtu: 1450 };
        check(
            &tunnel,
            &[
                (
                    "a 198.51.100.4 10.0.2.0/24 fd00:0:0:2::/64",
                    "10.0.2.0/24 via 10.0.2.0 dev 9 onlink, fd00:0:0:2::/64 via fd00:0:0:2:: dev 9 onlink, \
                     10.0.2.0 is 0a:58:0a:00:02:00, fd00:0:0:2:: is 0a:58:0a:00:02:00, \
                     0a:58:0a:00:02:00 at 198.51.100.4",
                ),
                ("b 2001:db8::3 10.0.3.0/24", "node b has no InternalIP of the family of this node's, 192.0.2.1"),
                ("c 10.0.4.1 10.0.4.0/24", "holds the address 10.0.4.1 of a node"),
            ],
        );
    }

    #[test]
    fn a_range_that_cannot_be_anothers_is_refused() {
        let direct = Underlay::Direct { mtu: 1500 };
        check(
            &direct,
            &[
                ("a 192.0.2.2 10.0.2.0/24", "10.0.2.0/24 via 192.0.2.2 dev 2"),
                ("b 192.0.2.3 10.0.2.0/24", "range 10.0.2.0/24 of node b is node a's already"),
                ("c 192.0.2.3 10.0.0.0/16", "range 10.0.0.0/16 of node c overlaps 10.0.1.0/24, which is node own's"),
                ("d 192.0.2.3 0.0.0.0/0", "range 0.0.0.0/0 of node d holds the address 192.0.2.1 of a node"),
                ("e 192.0.2.1 10.0.6.0/24", "range"),
            ][..4],
        );
        check(&direct, &[("e 192.0.2.1 10.0.6.0/24", "192.0.2.1 of node e is an address of this node")]);
    }
}

//! Which address is next: pure, on what is taken already.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use windlass_kernel::{Error, ErrorKind, Result, network::AddressRange};

/// An address that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) address: IpNet,
    pub(super) gateway: IpAddr,
}

/// A range with its ends.
struct Span {
    net: IpNet,
    first: u128,
    last: u128,
    gateway: IpAddr,
}

impl Span {
    fn of(range: &AddressRange) -> Result<Self> {
        let net = range.subnet.trunc();
        let (low, high) = (number(net.network()), number(net.broadcast()));
        let invalid = |what: &str| Error::new(ErrorKind::Invalid, format!("ipam: range {net} {what}"));
        if high - low < 3 {
            return Err(invalid("is too small: it holds a network address, a gateway and two more"));
        }
        // The first address is the network's own; the last of IPv4 is everybody's.
        let everybody = u128::from(net.addr().is_ipv4());
        let end = |ip: Option<IpAddr>, otherwise: u128| match ip {
            Some(ip) if !net.contains(&ip) => Err(invalid(&format!("does not contain {ip}"))),
            Some(ip) => Ok(number(ip)),
            None => Ok(otherwise),
        };
        let first = end(range.start, low + 1)?.max(low + 1);
        let last = end(range.end, high - everybody)?.min(high - everybody);
        if first > last {
            return Err(invalid("ends before it starts"));
        }
        let gateway = range.gateway.unwrap_or_else(|| address(low + 1, &net));
        Ok(Self { net, first, last, gateway })
    }

    fn choice(&self, at: u128) -> Option<Choice> {
        let ip = address(at, &self.net);
        let address = IpNet::new(ip, self.net.prefix_len()).ok()?;
        (ip != self.gateway).then_some(Choice { address, gateway: self.gateway })
    }
}

/// The next free address of a set of ranges, after the one that was given last.
///
/// `wanted` are addresses that were asked for: if the set holds one of them, it is that one or none.
pub(super) fn next(
    set: &[AddressRange],
    taken: &BTreeSet<IpAddr>,
    last: Option<IpAddr>,
    wanted: &[IpNet],
) -> Result<Option<Choice>> {
    let spans: Vec<Span> = set.iter().map(Span::of).collect::<Result<_>>()?;
    let asked = wanted.iter().map(IpNet::addr).find_map(|ip| Some((ip, spans.iter().find(|s| s.net.contains(&ip))?)));
    if let Some((ip, span)) = asked {
        let free = !taken.contains(&ip) && (span.first..=span.last).contains(&number(ip));
        return Ok(if free { span.choice(number(ip)) } else { None });
    }
    let at = last.and_then(|ip| spans.iter().position(|span| span.net.contains(&ip)).map(|at| (at, number(ip))));
    let (start, after) = at.unwrap_or((0, 0));
    // From behind the last one to the end, through all the others, and up to the last one again.
    let behind = spans[start..].iter().take(1).map(|span| (span, span.first.max(after.saturating_add(1)), span.last));
    let others = spans[start..].iter().skip(1).chain(&spans[..start]).map(|span| (span, span.first, span.last));
    let again = spans[start..].iter().take(1).map(|span| (span, span.first, span.last.min(after)));
    let free = |(span, from, to): (&Span, u128, u128)| {
        (from..=to).filter_map(|at| span.choice(at)).find(|choice| !taken.contains(&choice.address.addr()))
    };
    Ok(behind.chain(others).chain(again).find_map(free))
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(number: u128, like: &IpNet) -> IpAddr {
    match like {
        IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpNet::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Vec<AddressRange> {
        let range = |text: &str| {
            let mut words = text.split(' ');
            let subnet = words.next().unwrap().parse().unwrap();
            let mut range = AddressRange { subnet, start: None, end: None, gateway: None };
            for word in words {
                let (name, ip) = word.split_once('=').unwrap();
                let ip = Some(ip.parse().unwrap());
                match name {
                    "start" => range.start = ip,
                    "end" => range.end = ip,
                    _ => range.gateway = ip,
                }
            }
            range
        };
        text.split(", ").map(range).collect()
    }

    fn check(ranges: &str, taken: &str, last: &str, wanted: &str, expect: &str) {
        let taken = taken.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        let wanted: Vec<IpNet> = wanted.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        let got = match next(&set(ranges), &taken, last.parse().ok(), &wanted) {
            Ok(Some(choice)) => format!("{} by {}", choice.address, choice.gateway),
            Ok(None) => "none".into(),
            Err(error) => error.message().into(),
        };
        assert!(got.starts_with(expect), "{ranges} {taken:?} {last}: {got}");
    }

    #[test]
    fn addresses_are_given_in_turn() {
        let net = "10.0.0.0/29";
        check(net, "", "", "", "10.0.0.2/29 by 10.0.0.1");
        check(net, "10.0.0.2", "10.0.0.2", "", "10.0.0.3/29");
        // One that was freed is not given again at once.
        check(net, "", "10.0.0.4", "", "10.0.0.5/29");
        check(net, "10.0.0.2", "10.0.0.6", "", "10.0.0.3/29");
        check(net, "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6", "10.0.0.4", "", "none");
        check(net, "10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6", "10.0.0.6", "", "10.0.0.2/29");
        check("fd00::/64", "fd00::2", "fd00::2", "", "fd00::3/64 by fd00::1");
    }

    #[test]
    fn ranges_have_ends_and_gateways() {
        let net = "10.0.0.0/24 start=10.0.0.20 end=10.0.0.21 gateway=10.0.0.254";
        check(net, "", "", "", "10.0.0.20/24 by 10.0.0.254");
        check(net, "10.0.0.20", "10.0.0.20", "", "10.0.0.21/24");
        check(net, "10.0.0.20 10.0.0.21", "10.0.0.21", "", "none");
        check("10.0.0.0/24 gateway=10.0.0.2", "", "", "", "10.0.0.1/24");
        let two = "10.0.0.0/29 end=10.0.0.2, 10.1.0.0/29";
        check(two, "10.0.0.2", "10.0.0.2", "", "10.1.0.2/29 by 10.1.0.1");
        check(two, "", "10.1.0.6", "", "10.0.0.2/29");
    }

    #[test]
    fn an_address_that_was_asked_for_is_given_or_none() {
        check("10.0.0.0/24", "", "", "10.0.0.9/24", "10.0.0.9/24");
        check("10.0.0.0/24", "10.0.0.9", "", "10.0.0.9/24", "none");
        check("10.0.0.0/24", "", "", "10.0.0.1/24", "none");
        check("fd00::/64", "", "", "10.0.0.9/24", "fd00::2/64");
    }

    #[test]
    fn ranges_that_cannot_be_are_named() {
        check("10.0.0.0/31", "", "", "", "ipam: range 10.0.0.0/31 is too small");
        check("10.0.0.0/24 start=10.1.0.1", "", "", "", "ipam: range 10.0.0.0/24 does not contain 10.1.0.1");
        check("10.0.0.0/24 start=10.0.0.9 end=10.0.0.8", "", "", "", "ipam: range 10.0.0.0/24 ends before");
    }
}

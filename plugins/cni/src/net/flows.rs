//! What the kernel remembers of where packets went (ctnetlink): listed, and struck out one by one.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;
use windlass_kernel::rules::{Flows, Protocol};

use crate::namespace::is_absent;

/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE` of linux/netfilter.
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
/// `NLM_F_REQUEST`, and with it `NLM_F_DUMP` or `NLM_F_ACK`.
const LIST: u16 = 0x301;
const DO: u16 = 0x5;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_ID`, `CTA_ZONE`; the parts of a tuple; those of its two parts.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const PROTO_NUM: u16 = 1;
const PROTO_SOURCE: u16 = 2;
const PROTO_DESTINATION: u16 = 3;
/// `NLA_F_NESTED`, and what is left without the flags.
const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;
/// A netlink header, with `struct nfgenmsg` behind it.
const HEADER: usize = 16;
const FAMILY: usize = 4;

/// One way of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    protocol: u8,
    from: SocketAddr,
    to: SocketAddr,
}

/// A flow, and what names it to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    original: Tuple,
    reply: Tuple,
    name: Vec<u8>,
}

/// Forgets flows in the calling thread's namespace. Costs what the kernel remembers.
pub(crate) fn forget(flows: &[Flows]) -> io::Result<()> {
    let mut socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    for four in [true, false] {
        let mut concerned: BTreeMap<u16, Vec<&Flows>> = BTreeMap::new();
        for one in flows.iter().filter(|one| one.to.is_none_or(|to| to.is_ipv4() == four)) {
            concerned.entry(one.port).or_default().push(one);
        }
        if concerned.is_empty() {
            continue;
        }
        let mut stale = Vec::new();
        talk(&socket, GET, LIST, four, &[], |body| {
            let Some(entry) = entry(body) else { return };
            let of_port = concerned.get(&entry.original.to.port());
            if of_port.is_some_and(|all| all.iter().any(|flows| is_stale(&entry, flows))) {
                stale.push(entry);
            }
        })?;
        for entry in stale {
            match talk(&socket, DELETE, DO, four, &entry.name, |_| {}) {
                // It ended by itself meanwhile.
                Err(error) if !is_absent(&error) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_stale(entry: &Entry, flows: &Flows) -> bool {
    let protocol = match flows.protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
        Protocol::Sctp => libc::IPPROTO_SCTP,
    };
    let Entry { original, reply, .. } = entry;
    i32::from(original.protocol) == protocol
        && original.to.port() == flows.port
        && flows.to.map_or(reply.from != original.to, |to| to == original.to.ip())
        && !flows.kept.iter().any(|(ip, port)| reply.from == SocketAddr::new(*ip, *port))
}

/// One request and all of its answers.
fn talk(
    socket: &netlink_sys::Socket,
    kind: u16,
    flags: u16,
    four: bool,
    attributes: &[u8],
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let length = u32::try_from(HEADER + FAMILY + attributes.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    let family = if four { libc::AF_INET } else { libc::AF_INET6 };
    message.extend([u8::try_from(family).unwrap_or_default(), 0, 0, 0]);
    message.extend(attributes);
    socket.send(&message, 0)?;
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        buffer.clear();
        let received = socket.recv(&mut buffer, 0)?.min(buffer.len());
        let mut rest = &buffer[..received];
        while let Some(head) = rest.get(..HEADER) {
            let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let body = rest.get(HEADER..length).ok_or_else(|| io::Error::other("a message of conntrack is cut off"))?;
            match u16::from_ne_bytes([head[4], head[5]]) {
                DONE => return Ok(()),
                ERROR => {
                    let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                    return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                _ => each(body.get(FAMILY..).unwrap_or_default()),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn entry(body: &[u8]) -> Option<Entry> {
    let (mut original, mut reply, mut name) = (None, None, Vec::new());
    for (kind, value) in parts(body) {
        match kind {
            ORIGINAL => original = Some(tuple(value)?),
            REPLY => reply = Some(tuple(value)?),
            _ => {}
        }
        if matches!(kind, ORIGINAL | ID | ZONE) {
            let nested = if kind == ORIGINAL { NESTED } else { 0 };
            name.extend(u16::try_from(4 + value.len()).ok()?.to_ne_bytes());
            name.extend((kind | nested).to_ne_bytes());
            name.extend(value);
            name.resize(name.len().next_multiple_of(4), 0);
        }
    }
    Some(Entry { original: original?, reply: reply?, name })
}

fn tuple(value: &[u8]) -> Option<Tuple> {
    let (mut ips, mut protocol, mut ports) = (Vec::new(), None, [0; 2]);
    for (kind, value) in parts(value) {
        match kind {
            // First the source, then the destination: the kernel writes them in this order.
            TUPLE_IP => ips = parts(value).into_iter().filter_map(|(_, bytes)| address(bytes)).collect(),
            TUPLE_PROTO => {
                for (kind, bytes) in parts(value) {
                    match (kind, bytes) {
                        (PROTO_NUM, [number, ..]) => protocol = Some(*number),
                        (PROTO_SOURCE, [high, low, ..]) => ports[0] = u16::from_be_bytes([*high, *low]),
                        (PROTO_DESTINATION, [high, low, ..]) => ports[1] = u16::from_be_bytes([*high, *low]),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let &[from, to] = &ips[..] else { return None };
    let (from, to) = (SocketAddr::new(from, ports[0]), SocketAddr::new(to, ports[1]));
    Some(Tuple { protocol: protocol?, from, to })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    four.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// Attributes with their kinds: each a length with this head of 4 bytes, a kind, and a value that is filled up to 4 bytes.
fn parts(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while let [low, high, kind @ ..] = bytes {
        let length = usize::from(u16::from_ne_bytes([*low, *high]));
        let (Some(kind), Some(value)) = (kind.get(..2), bytes.get(4..length)) else { break };
        all.push((u16::from_ne_bytes([kind[0], kind[1]]) & KIND, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(to: &str, led: &str) -> Entry {
        let tuple = |from: &str, to: &str| Tuple { protocol: 17, from: from.parse().unwrap(), to: to.parse().unwrap() };
        Entry { original: tuple("10.0.0.9:4000", to), reply: tuple(led, "10.0.0.9:4000"), name: Vec::new() }
    }

    fn check(to: Option<&str>, flow: &Entry, expect: bool) {
        let kept = vec![("10.1.0.2".parse().unwrap(), 53)];
        let flows = Flows { protocol: Protocol::Udp, to: to.map(|ip| ip.parse().unwrap()), port: 5353, kept };
        assert_eq!(is_stale(flow, &flows), expect, "{flow:?}");
    }

    #[test]
    fn what_was_led_elsewhere_is_stale() {
        let service = Some("10.96.0.7");
        check(service, &flow("10.96.0.7:5353", "10.1.0.2:53"), false);
        check(service, &flow("10.96.0.7:5353", "10.1.0.3:53"), true);
        check(service, &flow("10.96.0.7:5353", "10.1.0.2:54"), true);
        // Before there were rules it went to the address itself.
        check(service, &flow("10.96.0.7:5353", "10.96.0.7:5353"), true);
        check(service, &flow("10.96.0.7:53", "10.1.0.3:53"), false);
        check(service, &flow("10.96.0.8:5353", "10.1.0.3:53"), false);
        check(None, &flow("192.0.2.1:5353", "10.1.0.3:53"), true);
        check(None, &flow("192.0.2.1:5353", "10.1.0.2:53"), false);
        // A port of that number of some other machine is not the node's.
        check(None, &flow("8.8.8.8:5353", "8.8.8.8:5353"), false);
        let tcp = Entry {
            original: Tuple { protocol: 6, ..flow("10.96.0.7:5353", "10.1.0.3:53").original },
            ..flow("10.96.0.7:5353", "10.1.0.3:53")
        };
        check(service, &tcp, false);
    }
}

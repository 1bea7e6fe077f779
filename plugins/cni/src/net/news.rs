//! What the kernel tells of a network namespace by itself: that links, addresses, routes or neighbours came, changed or went.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use ipnet::IpNet;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteHeader, RouteMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    tunnels::{Mac, plain},
    ways::{Way, destination, way},
};

/// The kernel sends no datagram that is longer.
const LONGEST: usize = 64 << 10;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// To a link, or to an address of it.
    Link(u32),
    /// A route to a range is there now; `None` where it has not the mark.
    Way(IpNet, Option<Way>),
    /// A route with the mark is gone.
    NoWay(Way),
    /// A neighbour of a link, or an entry of where hardware addresses are (`forward`), is there and stays, or not.
    Neighbour { link: u32, forward: bool, ip: Option<IpAddr>, mac: Option<Mac>, there: bool },
    /// More happened than the kernel could tell.
    Lost,
}

/// What came of waiting.
#[derive(Debug)]
pub(crate) enum Heard {
    Facts(Vec<Fact>),
    /// Nothing, for as long as there was patience.
    Nothing,
    /// Somebody wants it to end.
    Stop,
}

/// Hears of one network namespace, from when it was opened on.
pub(crate) struct News {
    socket: netlink_sys::Socket,
    mark: u8,
}

impl News {
    /// Hears of the calling thread's namespace. Routes with the mark are told in full.
    pub(crate) fn open(mark: u8) -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        let groups = [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_NEIGH,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
        ];
        for group in groups {
            socket.add_membership(group)?;
        }
        Ok(Self { socket, mark })
    }

    /// Waits until something happens, `stop` can be read or has ended, or so long has passed. `None` is for ever.
    pub(crate) fn wait(&mut self, stop: BorrowedFd<'_>, patience: Option<Duration>) -> io::Result<Heard> {
        let timeout =
            patience.map_or(PollTimeout::NONE, |span| PollTimeout::try_from(span).unwrap_or(PollTimeout::MAX));
        let mut both = [stop, self.socket.as_fd()].map(|one| PollFd::new(one, PollFlags::POLLIN));
        match poll(&mut both, timeout) {
            Ok(0) => return Ok(Heard::Nothing),
            Err(nix::errno::Errno::EINTR) => return Ok(Heard::Facts(vec![])),
            done => done?,
        };
        if both[0].any().unwrap_or(true) {
            return Ok(Heard::Stop);
        }
        self.read().map(Heard::Facts)
    }

    fn read(&mut self) -> io::Result<Vec<Fact>> {
        let mut buffer = Vec::with_capacity(LONGEST);
        let length = match self.socket.recv(&mut buffer, 0) {
            Ok(length) => length.min(buffer.len()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(vec![]),
            // What did not fit was thrown away.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(vec![Fact::Lost]),
            Err(error) => return Err(error),
        };
        let (mut rest, mut facts) = (&buffer[..length], Vec::new());
        while !rest.is_empty() {
            // What cannot be read may be anything.
            let Ok(read) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else {
                facts.push(Fact::Lost);
                break;
            };
            let taken = usize::try_from(read.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
            rest = rest.get(taken..).unwrap_or_default();
            if let NetlinkPayload::InnerMessage(message) = read.payload {
                facts.extend(fact(message, self.mark));
            }
        }
        Ok(facts)
    }
}

fn fact(message: RouteNetlinkMessage, mark: u8) -> Option<Fact> {
    match message {
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => Some(Fact::Link(link.header.index)),
        RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
            Some(Fact::Link(address.header.index))
        }
        RouteNetlinkMessage::NewRoute(route) => {
            let range = range(&route)?;
            Some(Fact::Way(range, way(&route, mark)))
        }
        RouteNetlinkMessage::DelRoute(route) => way(&route, mark).map(Fact::NoWay),
        RouteNetlinkMessage::NewNeighbour(entry) => Some(neighbour(entry, true)),
        RouteNetlinkMessage::DelNeighbour(entry) => Some(neighbour(entry, false)),
        _ => None,
    }
}

/// The range of a route in the main table.
fn range(route: &RouteMessage) -> Option<IpNet> {
    (route.header.table == RouteHeader::RT_TABLE_MAIN).then(|| destination(route)).flatten()
}

fn neighbour(entry: NeighbourMessage, new: bool) -> Fact {
    let (mut ip, mut mac) = (None, None);
    for attribute in entry.attributes {
        match attribute {
            NeighbourAttribute::Destination(address) => ip = plain(&address),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::try_from(bytes).ok(),
            _ => {}
        }
    }
    Fact::Neighbour {
        link: entry.header.ifindex,
        forward: entry.header.family == AddressFamily::Bridge,
        ip,
        mac,
        there: new && entry.header.state == NeighbourState::Permanent,
    }
}

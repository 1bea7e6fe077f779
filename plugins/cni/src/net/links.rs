//! What is done to links, each as one message.

use std::{io, net::IpAddr, os::fd::AsRawFd};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{
        InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
        LinkMessage,
    },
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
    },
};
use nix::libc;
use windlass_kernel::network::Route;

use super::Socket;
use crate::namespace::is_absent;

/// A link as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: String,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// The bridge that it is a port of; 0 for none.
    pub(crate) master: u32,
}

/// Two ends of one cable.
#[derive(Clone, Debug)]
pub(crate) struct Pair<'a> {
    /// The name of this end, in the socket's namespace.
    pub(crate) here: &'a str,
    /// The name of the other end.
    pub(crate) there: &'a str,
    /// The other end's namespace.
    pub(crate) namespace: &'a std::fs::File,
    /// The largest packet; 0 leaves it to the kernel.
    pub(crate) mtu: u32,
    /// The hardware address of the other end, where it is to be a certain one.
    pub(crate) mac: Option<Vec<u8>>,
}

pub(super) fn up(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

fn exists(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EEXIST)
}

impl Socket {
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        match self.get(RouteNetlinkMessage::GetLink(message)) {
            Ok(found) => Ok(found.into_iter().find_map(link)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let found = self.list(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(found.into_iter().filter_map(link).collect())
    }

    /// Makes a bridge that is up; one that is there already is taken as it is.
    pub(crate) fn bridge(&mut self, name: &str, mtu: u32) -> io::Result<Link> {
        let absent = || io::Error::new(io::ErrorKind::NotFound, format!("bridge {name} went away"));
        if let Some(link) = self.link(name)? {
            if !link.up {
                self.set(link.index, vec![])?;
            }
            return Ok(link);
        }
        let mut message = LinkMessage::default();
        up(&mut message);
        message.attributes.push(LinkAttribute::IfName(name.into()));
        if mtu > 0 {
            message.attributes.push(LinkAttribute::Mtu(mtu));
        }
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        match self.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL) {
            // Another call made it a moment ago.
            Err(error) if exists(&error) => {}
            done => done?,
        }
        let link = self.link(name)?.ok_or_else(absent)?;
        // A bridge whose address was not set takes that of its lowest port, and changes it with its ports.
        let mac = mac_bytes(&link.mac).unwrap_or_default();
        self.set(link.index, vec![LinkAttribute::Address(mac)])?;
        Ok(link)
    }

    /// Makes a cable to another namespace. Fails with `EEXIST` where either name is taken.
    pub(crate) fn pair(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes.push(LinkAttribute::IfName(pair.there.into()));
        peer.attributes.push(LinkAttribute::NetNsFd(pair.namespace.as_raw_fd()));
        peer.attributes.extend(pair.mac.clone().map(LinkAttribute::Address));
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(pair.here.into()));
        if pair.mtu > 0 {
            peer.attributes.push(LinkAttribute::Mtu(pair.mtu));
            message.attributes.push(LinkAttribute::Mtu(pair.mtu));
        }
        let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), data]));
        self.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a link that turns what is received into what is sent, so that it can be shaped.
    pub(crate) fn turn(&mut self, name: &str, mtu: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        up(&mut message);
        message.attributes.push(LinkAttribute::IfName(name.into()));
        message.attributes.push(LinkAttribute::Mtu(mtu));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]));
        self.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Plugs a link into a bridge. With `hairpin`, what comes from it may go back to it; with `isolated`, it goes to no other
    /// isolated one.
    pub(crate) fn plug(&mut self, index: u32, bridge: u32, hairpin: bool, isolated: bool) -> io::Result<()> {
        self.set(index, vec![LinkAttribute::Controller(bridge)])?;
        let wishes =
            [hairpin.then_some(InfoBridgePort::HairpinMode(true)), isolated.then_some(InfoBridgePort::Isolated(true))];
        let wishes: Vec<_> = wishes.into_iter().flatten().collect();
        if wishes.is_empty() {
            return Ok(());
        }
        let port = InfoPortData::BridgePort(wishes);
        let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(port)];
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.interface_family = AddressFamily::Unspec;
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.change(RouteNetlinkMessage::NewLink(message), 0)
    }

    /// Brings a link up, and changes attributes of it.
    pub(crate) fn set(&mut self, index: u32, attributes: Vec<LinkAttribute>) -> io::Result<()> {
        let mut message = LinkMessage::default();
        up(&mut message);
        message.header.index = index;
        message.attributes = attributes;
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Has a link take all packets, whoever they are for.
    pub(crate) fn listen_to_all(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Promisc;
        message.header.change_mask = LinkFlags::Promisc;
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Removes a link. One that is not there is removed.
    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        match self.change(RouteNetlinkMessage::DelLink(message), 0) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives a link an address. One that it has already stays.
    pub(crate) fn address(&mut self, index: u32, address: IpNet) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address.addr());
        message.header.prefix_len = address.prefix_len();
        message.header.index = index;
        message.header.scope = AddressScope::Universe;
        message.attributes.push(AddressAttribute::Address(address.addr()));
        message.attributes.push(AddressAttribute::Local(address.addr()));
        match address {
            IpNet::V4(net) if net.prefix_len() < 31 => {
                message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
            }
            IpNet::V4(_) => {}
            // Addresses are assigned: nobody else has them, and nobody waits a second to find that out.
            IpNet::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
        }
        match self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if !exists(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes an address away from a link. One that it does not have is taken away.
    pub(crate) fn remove_address(&mut self, index: u32, address: IpNet) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address.addr());
        message.header.prefix_len = address.prefix_len();
        message.header.index = index;
        message.attributes.push(AddressAttribute::Local(address.addr()));
        match self.change(RouteNetlinkMessage::DelAddress(message), 0) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The link that has an address of this machine.
    pub(crate) fn owner(&mut self, ip: IpAddr) -> io::Result<Option<Link>> {
        let found = self.list(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let index = found.into_iter().find_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) => {
                let is = |attribute: &AddressAttribute| match attribute {
                    AddressAttribute::Address(own) | AddressAttribute::Local(own) => *own == ip,
                    _ => false,
                };
                message.attributes.iter().any(is).then_some(message.header.index)
            }
            _ => None,
        });
        let Some(index) = index else { return Ok(None) };
        Ok(self.links()?.into_iter().find(|link| link.index == index))
    }

    pub(crate) fn addresses(&mut self, index: u32) -> io::Result<Vec<IpNet>> {
        let found = self.list(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let own = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) if message.header.index == index => {
                let ip = message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(ip) => Some(*ip),
                    _ => None,
                })?;
                IpNet::new(ip, message.header.prefix_len).ok()
            }
            _ => None,
        });
        Ok(own.collect())
    }

    /// Adds a route out of a link, in place of one with the same destination and priority.
    pub(crate) fn route(&mut self, index: u32, route: &Route) -> io::Result<()> {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = family(route.destination.addr());
        header.destination_prefix_length = route.destination.prefix_len();
        header.table = RouteHeader::RT_TABLE_MAIN;
        header.protocol = RouteProtocol::Static;
        header.kind = RouteType::Unicast;
        header.scope = match (route.scope, route.gateway) {
            (Some(scope), _) => RouteScope::from(scope),
            (None, Some(_)) => RouteScope::Universe,
            (None, None) => RouteScope::Link,
        };
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Destination(hop(route.destination.network())));
        attributes.push(RouteAttribute::Oif(index));
        attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(hop(gateway))));
        attributes.extend(route.priority.map(RouteAttribute::Priority));
        attributes.extend(route.table.map(RouteAttribute::Table));
        let metrics = [route.mtu.map(RouteMetric::Mtu), route.advertised_mss.map(RouteMetric::Advmss)];
        let metrics: Vec<_> = metrics.into_iter().flatten().collect();
        if !metrics.is_empty() {
            attributes.push(RouteAttribute::Metrics(metrics));
        }
        self.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }
}

/// Brings the loopback interface of this thread's namespace up, where it is not.
pub(crate) fn bring_lo_up() -> io::Result<()> {
    let mut socket = Socket::open()?;
    match socket.link("lo")? {
        Some(lo) if !lo.up => socket.set(lo.index, vec![]),
        _ => Ok(()),
    }
}

fn link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let up = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link { index: message.header.index, up, ..Link::default() };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(mac) => link.mac = mac_text(&mac),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(master) => link.master = master,
            _ => {}
        }
    }
    Some(link)
}

pub(super) fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

pub(super) fn hop(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

fn mac_text(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// A hardware address as bytes; `None` if it is none.
pub(crate) fn mac_bytes(text: &str) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|part| u8::from_str_radix(part, 16).ok()).collect();
    bytes.filter(|bytes| bytes.len() == 6)
}

//! Routes of the node, which the kernel keeps with a mark of who made them.

use std::{io, net::IpAddr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
    },
};

use super::{
    Socket,
    links::{family, hop},
};
use crate::namespace::is_absent;

/// A route to a range by another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) destination: IpNet,
    pub(crate) gateway: IpAddr,
    /// The link that it leaves by.
    pub(crate) link: u32,
    /// Whether the gateway is behind the link although no address of the link says so.
    pub(crate) onlink: bool,
}

/// How the kernel would send to an address now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sends {
    pub(crate) link: u32,
    /// Whom it would hand it to; `None` where the address is on the link itself.
    pub(crate) gateway: Option<IpAddr>,
    /// Whether the address is this machine's own.
    pub(crate) own: bool,
}

impl Socket {
    /// All routes of a family in the main table that carry the mark.
    pub(crate) fn ways(&mut self, mark: u8, four: bool) -> io::Result<Vec<Way>> {
        let mut message = RouteMessage::default();
        let any: IpAddr = if four { [0; 4].into() } else { [0_u16; 8].into() };
        message.header.address_family = family(any);
        let found = self.list(RouteNetlinkMessage::GetRoute(message))?;
        let ours = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(message) => way(&message, mark),
            _ => None,
        });
        Ok(ours.collect())
    }

    /// Adds a route. Fails with `EEXIST` where there is one of anybody's to the same range.
    pub(crate) fn add_way(&mut self, way: &Way, mark: u8) -> io::Result<()> {
        self.change(RouteNetlinkMessage::NewRoute(message(way, mark)), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes a route with the mark. One that is not there is removed.
    pub(crate) fn remove_way(&mut self, way: &Way, mark: u8) -> io::Result<()> {
        match self.change(RouteNetlinkMessage::DelRoute(message(way, mark)), 0) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks how an address would be sent to.
    pub(crate) fn sends(&mut self, to: IpAddr) -> io::Result<Sends> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(to);
        message.header.destination_prefix_length = if to.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(hop(to)));
        let found = self.get(RouteNetlinkMessage::GetRoute(message))?;
        let found = found.into_iter().find_map(|message| match message {
            RouteNetlinkMessage::NewRoute(message) => Some(message),
            _ => None,
        });
        let found = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the kernel names no route"))?;
        let mut sends = Sends { link: 0, gateway: None, own: found.header.kind == RouteType::Local };
        for attribute in found.attributes {
            match attribute {
                RouteAttribute::Oif(link) => sends.link = link,
                RouteAttribute::Gateway(gateway) => sends.gateway = ip(&gateway),
                _ => {}
            }
        }
        Ok(sends)
    }
}

fn message(way: &Way, mark: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(way.destination.addr());
    header.destination_prefix_length = way.destination.prefix_len();
    header.table = RouteHeader::RT_TABLE_MAIN;
    header.protocol = RouteProtocol::from(mark);
    header.kind = RouteType::Unicast;
    header.scope = RouteScope::Universe;
    if way.onlink {
        header.flags = RouteFlags::Onlink;
    }
    message.attributes = vec![
        RouteAttribute::Destination(hop(way.destination.network())),
        RouteAttribute::Oif(way.link),
        RouteAttribute::Gateway(hop(way.gateway)),
    ];
    message
}

/// A route in the main table that carries the mark.
pub(super) fn way(message: &RouteMessage, mark: u8) -> Option<Way> {
    let header = &message.header;
    let ours = header.protocol == RouteProtocol::from(mark)
        && header.table == RouteHeader::RT_TABLE_MAIN
        && header.kind == RouteType::Unicast;
    if !ours {
        return None;
    }
    let (mut gateway, mut link) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(index) => link = Some(*index),
            _ => {}
        }
    }
    Some(Way {
        destination: destination(message)?,
        gateway: gateway?,
        link: link?,
        onlink: header.flags.contains(RouteFlags::Onlink),
    })
}

/// Where a route leads: everywhere, if it does not say.
pub(super) fn destination(message: &RouteMessage) -> Option<IpNet> {
    let told = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => Some(ip(address)),
        _ => None,
    });
    let any = || match message.header.address_family {
        AddressFamily::Inet => Some([0; 4].into()),
        AddressFamily::Inet6 => Some([0_u16; 8].into()),
        _ => None,
    };
    IpNet::new(told.unwrap_or_else(any)?, message.header.destination_prefix_length).ok()
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

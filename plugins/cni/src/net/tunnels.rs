//! VXLAN devices, and whom they reach: which machine has which hardware address, and which hardware address has a neighbour.

use std::{collections::BTreeMap, io, net::IpAddr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};

use super::{Socket, links::family};
use crate::namespace::is_absent;

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// A VXLAN device that learns nothing by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub(crate) vni: u32,
    pub(crate) port: u16,
    /// The address that it sends from.
    pub(crate) local: IpAddr,
    /// The link that it sends by.
    pub(crate) link: u32,
    pub(crate) mac: Mac,
    pub(crate) mtu: u32,
}

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Nothing,
    Tunnel(u32, Tunnel),
    /// Another kind of link.
    Other,
}

impl Socket {
    pub(crate) fn tunnel(&mut self, name: &str) -> io::Result<Named> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        let found = match self.get(RouteNetlinkMessage::GetLink(message)) {
            Err(error) if is_absent(&error) => return Ok(Named::Nothing),
            found => found?,
        };
        let link = found.into_iter().find_map(|message| match message {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        });
        let Some(link) = link else { return Ok(Named::Nothing) };
        let index = link.header.index;
        Ok(tunnel(link).map_or(Named::Other, |tunnel| Named::Tunnel(index, tunnel)))
    }

    /// Makes a VXLAN device, which is up then. Fails with `EOPNOTSUPP` where the kernel has none, and with `EEXIST` where
    /// the name is taken, or another device has the network's number at the port.
    pub(crate) fn make_tunnel(&mut self, name: &str, tunnel: &Tunnel) -> io::Result<()> {
        let local = match tunnel.local {
            IpAddr::V4(ip) => InfoVxlan::Local(ip),
            IpAddr::V6(ip) => InfoVxlan::Local6(ip),
        };
        let data = vec![
            InfoVxlan::Id(tunnel.vni),
            InfoVxlan::Link(tunnel.link),
            local,
            InfoVxlan::Learning(false),
            InfoVxlan::Port(tunnel.port),
        ];
        let mut message = LinkMessage::default();
        super::links::up(&mut message);
        message.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::Mtu(tunnel.mtu),
            LinkAttribute::Address(tunnel.mac.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))]),
        ];
        self.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Which machine each hardware address behind a device is at.
    pub(crate) fn forwards(&mut self, link: u32) -> io::Result<BTreeMap<Mac, IpAddr>> {
        let found = self.entries(AddressFamily::Bridge, link)?;
        Ok(found.into_iter().filter_map(|(ip, mac)| Some((mac?, ip?))).collect())
    }

    /// Which hardware address each neighbour that was told has.
    pub(crate) fn neighbours(&mut self, link: u32) -> io::Result<BTreeMap<IpAddr, Mac>> {
        let mut found = self.entries(AddressFamily::Inet, link)?;
        found.extend(self.entries(AddressFamily::Inet6, link)?);
        Ok(found.into_iter().filter_map(|(ip, mac)| Some((ip?, mac?))).collect())
    }

    pub(crate) fn add_forward(&mut self, link: u32, mac: Mac, at: IpAddr) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewNeighbour(entry(AddressFamily::Bridge, link, mac, at));
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    pub(crate) fn remove_forward(&mut self, link: u32, mac: Mac, at: IpAddr) -> io::Result<()> {
        self.strike(entry(AddressFamily::Bridge, link, mac, at))
    }

    pub(crate) fn add_neighbour(&mut self, link: u32, ip: IpAddr, mac: Mac) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewNeighbour(entry(family(ip), link, mac, ip));
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    pub(crate) fn remove_neighbour(&mut self, link: u32, ip: IpAddr, mac: Mac) -> io::Result<()> {
        self.strike(entry(family(ip), link, mac, ip))
    }

    fn strike(&mut self, entry: NeighbourMessage) -> io::Result<()> {
        match self.change(RouteNetlinkMessage::DelNeighbour(entry), 0) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn entries(&mut self, of: AddressFamily, link: u32) -> io::Result<Vec<(Option<IpAddr>, Option<Mac>)>> {
        let mut message = NeighbourMessage::default();
        message.header.family = of;
        message.header.ifindex = link;
        let found = self.list(RouteNetlinkMessage::GetNeighbour(message))?;
        let own = found.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(message)
                if message.header.ifindex == link && message.header.state == NeighbourState::Permanent =>
            {
                let (mut ip, mut mac) = (None, None);
                for attribute in message.attributes {
                    match attribute {
                        NeighbourAttribute::Destination(address) => ip = plain(&address),
                        NeighbourAttribute::LinkLayerAddress(bytes) => mac = Mac::try_from(bytes).ok(),
                        _ => {}
                    }
                }
                Some((ip, mac))
            }
            _ => None,
        });
        Ok(own.collect())
    }
}

fn entry(of: AddressFamily, link: u32, mac: Mac, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = of;
    message.header.ifindex = link;
    message.header.state = NeighbourState::Permanent;
    if of == AddressFamily::Bridge {
        message.header.flags = NeighbourFlags::Own;
    }
    let destination = match ip {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    };
    message.attributes =
        vec![NeighbourAttribute::Destination(destination), NeighbourAttribute::LinkLayerAddress(mac.to_vec())];
    message
}

/// Addresses among entries of bridges come without a family.
pub(super) fn plain(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(ip) => Some((*ip).into()),
        NeighbourAddress::Inet6(ip) => Some((*ip).into()),
        NeighbourAddress::Other(bytes) => {
            let four = <[u8; 4]>::try_from(&bytes[..]).ok().map(IpAddr::from);
            four.or_else(|| <[u8; 16]>::try_from(&bytes[..]).ok().map(IpAddr::from))
        }
        _ => None,
    }
}

fn tunnel(link: LinkMessage) -> Option<Tunnel> {
    let (mut mac, mut mtu, mut data) = (None, 0, None);
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => mac = Mac::try_from(bytes).ok(),
            LinkAttribute::Mtu(bytes) => mtu = bytes,
            LinkAttribute::LinkInfo(infos) => {
                data = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let (mut vni, mut port, mut local, mut device, mut learning) = (None, None, None, 0, true);
    for info in data? {
        match info {
            InfoVxlan::Id(number) => vni = Some(number),
            InfoVxlan::Port(number) => port = Some(number),
            InfoVxlan::Local(ip) => local = Some(ip.into()),
            InfoVxlan::Local6(ip) => local = Some(ip.into()),
            InfoVxlan::Link(index) => device = index,
            InfoVxlan::Learning(on) => learning = on,
            _ => {}
        }
    }
    // One that learns is not taken for ours, and made anew.
    let local = local.filter(|_| !learning)?;
    Some(Tunnel { vni: vni?, port: port?, local, link: device, mac: mac?, mtu })
}

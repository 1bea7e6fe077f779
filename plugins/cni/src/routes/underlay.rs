//! What carries packets to other nodes: the link that this node's address is on, or a VXLAN device over it.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use nix::libc;
use windlass_kernel::{Error, ErrorKind, Result, routes::RoutedNode};

use super::{Mode, Settings, plan};
use crate::{
    failed,
    net::{Link, Named, Socket, Tunnel, turn_on, write_knob},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Underlay {
    Direct { mtu: u32 },
    Tunnel { index: u32, local: IpAddr, mtu: u32 },
}

/// What the outer headers of a wrapped packet take: those of IP, UDP and VXLAN, and the inner one of Ethernet.
fn overhead(local: IpAddr) -> u32 {
    if local.is_ipv4() { 50 } else { 70 }
}

impl Underlay {
    /// The largest packet that it carries to another node.
    pub(super) fn mtu(&self) -> u32 {
        match self {
            Self::Direct { mtu } | Self::Tunnel { mtu, .. } => *mtu,
        }
    }

    /// The links that it needs: the one that this node's address is on, and the device over it.
    pub(super) fn links(&self, socket: &mut Socket, own: &RoutedNode) -> Result<BTreeSet<u32>> {
        let mut links = BTreeSet::new();
        if let Some(local) = own.addresses.first() {
            links.extend(socket.owner(*local).map_err(failed("list addresses"))?.map(|link| link.index));
        }
        if let Self::Tunnel { index, .. } = self {
            links.insert(*index);
        }
        Ok(links)
    }

    /// Makes what is missing of it. What is there and as it should be stays.
    pub(super) fn set_up(settings: &Settings, socket: &mut Socket, own: &RoutedNode) -> Result<Self> {
        let name = &own.name;
        let unavailable = |what: String| Error::new(ErrorKind::Unavailable, what);
        let local = *own.addresses.first().ok_or_else(|| unavailable(format!("node {name} has no InternalIP yet")))?;
        let link = socket.owner(local).map_err(failed("list addresses"))?;
        let link = link.ok_or_else(|| {
            unavailable(format!(
                "node {name} is said to have the InternalIP {local}, and no link of this machine has it"
            ))
        })?;
        if own.ranges.is_empty() {
            return Err(unavailable(format!("node {name} has no podCIDRs yet")));
        }
        for (knob, four) in [("ipv4/ip_forward", true), ("ipv6/conf/all/forwarding", false)] {
            if own.ranges.iter().any(|range| range.addr().is_ipv4() == four) {
                turn_on(knob).map_err(failed("let the node forward packets"))?;
            }
        }
        match settings.mode {
            Mode::Routed => Ok(Self::Direct { mtu: link.mtu }),
            Mode::Vxlan { vni, port } => {
                let device = settings.device().unwrap_or_default();
                let mtu = link.mtu.saturating_sub(overhead(local));
                let wanted = Tunnel { vni, port, local, link: link.index, mac: plan::mac(&own.ranges)?, mtu };
                let index = ensure(&device, &wanted, &link, socket)?;
                furnish(&device, index, own, socket)?;
                Ok(Self::Tunnel { index, local, mtu })
            }
        }
    }
}

/// The device, made anew where it is not as it should be.
fn ensure(name: &str, wanted: &Tunnel, over: &Link, socket: &mut Socket) -> Result<u32> {
    let look = |socket: &mut Socket| socket.tunnel(name).map_err(failed(format!("look at {name}")));
    match look(socket)? {
        Named::Tunnel(index, found) if found == *wanted => {
            socket.set(index, vec![]).map_err(failed(format!("bring {name} up")))?;
            return Ok(index);
        }
        Named::Nothing => {}
        Named::Tunnel(..) | Named::Other => socket.remove(name).map_err(failed(format!("remove {name}")))?,
    }
    socket.make_tunnel(name, wanted).map_err(|error| refused(name, wanted, over, error))?;
    match look(socket)? {
        Named::Tunnel(index, _) => Ok(index),
        _ => Err(Error::new(ErrorKind::Internal, format!("{name} went away"))),
    }
}

fn refused(name: &str, wanted: &Tunnel, over: &Link, error: std::io::Error) -> Error {
    let (kind, why) = match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => (
            ErrorKind::NotSupported,
            "this kernel has no VXLAN devices (CONFIG_VXLAN): use mode \"routed\", or another kernel".to_owned(),
        ),
        Some(libc::EEXIST) => (
            ErrorKind::Conflict,
            format!("another device has VNI {} at port {} already: choose others", wanted.vni, wanted.port),
        ),
        _ => return failed(format!("make the VXLAN device {name} over {}", over.name))(error),
    };
    Error::new(kind, format!("cannot make the VXLAN device {name} over {}: {why}", over.name)).with_source(error)
}

/// Gives the device the first address of each range, which the node sends to other nodes' pods from. Pods have others.
fn furnish(name: &str, index: u32, own: &RoutedNode, socket: &mut Socket) -> Result<()> {
    if own.ranges.iter().any(|range| range.addr().is_ipv6()) {
        write_knob(&format!("ipv6/conf/{name}/disable_ipv6"), "0").map_err(failed("turn IPv6 on"))?;
    }
    let wanted: Vec<IpNet> = own.ranges.iter().map(|range| IpNet::from(range.network())).collect();
    for address in socket.addresses(index).map_err(failed(format!("look at addresses of {name}")))? {
        // The kernel gives each link one of these by itself.
        let local = matches!(address, IpNet::V6(net) if net.addr().is_unicast_link_local());
        if !local && !wanted.contains(&address) {
            socket.remove_address(index, address).map_err(failed(format!("take {address} from {name}")))?;
        }
    }
    for address in wanted {
        socket.address(index, address).map_err(failed(format!("give {name} the address {address}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_kernel_without_vxlan_is_told_of_with_the_cure() {
        let tunnel = Tunnel { vni: 7, port: 8472, local: [192, 0, 2, 1].into(), link: 2, mac: [0; 6], mtu: 1450 };
        let over = Link { name: "eth0".into(), ..Link::default() };
        let check = |code: i32, kind: ErrorKind, part: &str| {
            let error = refused("wlvx7", &tunnel, &over, io::Error::from_raw_os_error(code));
            assert!(error.is(kind) && error.message().contains(part), "{error}");
        };
        check(libc::EOPNOTSUPP, ErrorKind::NotSupported, "CONFIG_VXLAN): use mode \"routed\"");
        check(libc::EEXIST, ErrorKind::Conflict, "VNI 7 at port 8472");
        check(libc::EPERM, ErrorKind::Forbidden, "over eth0");
    }
}

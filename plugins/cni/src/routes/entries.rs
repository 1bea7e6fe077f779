//! What leads to other nodes, as the kernel keeps it: routes, and with VXLAN neighbours and the machines that they are at.

use std::{collections::BTreeMap, io, net::IpAddr};

use ipnet::IpNet;
use nix::libc;
use windlass_kernel::{Error, ErrorKind, Result};

use super::{Settings, Underlay};
use crate::{
    failed,
    net::{Mac, Socket, Way},
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// The machine that a hardware address is at.
    pub(super) forwards: BTreeMap<Mac, IpAddr>,
    /// The hardware address that a gateway has.
    pub(super) neighbours: BTreeMap<IpAddr, Mac>,
    pub(super) ways: BTreeMap<IpNet, Way>,
}

impl Entries {
    /// All that is there and ours.
    pub(super) fn read(settings: &Settings, socket: &mut Socket, underlay: &Underlay) -> Result<Self> {
        let mut found = Self::default();
        for four in [true, false] {
            let ways = socket.ways(settings.mark, four).map_err(failed("list routes"))?;
            for way in ways {
                // A second one to the same range has another priority: somebody made it by hand with our mark.
                found.ways.insert(way.destination, way);
            }
        }
        if let Underlay::Tunnel { index, .. } = *underlay {
            found.neighbours = socket.neighbours(index).map_err(failed("list neighbours"))?;
            found.forwards = socket.forwards(index).map_err(failed("list where neighbours are"))?;
        }
        Ok(found)
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.forwards.extend(other.forwards);
        self.neighbours.extend(other.neighbours);
        self.ways.extend(other.ways);
    }

    /// Removes all of these but what is the same in `wanted`.
    pub(super) fn remove_but(
        &self,
        wanted: &Self,
        settings: &Settings,
        socket: &mut Socket,
        underlay: &Underlay,
    ) -> Result<()> {
        for (range, way) in &self.ways {
            if wanted.ways.get(range) != Some(way) {
                socket.remove_way(way, settings.mark).map_err(failed(format!("remove the route to {range}")))?;
            }
        }
        let Underlay::Tunnel { index, .. } = *underlay else { return Ok(()) };
        for (ip, mac) in &self.neighbours {
            if wanted.neighbours.get(ip) != Some(mac) {
                socket.remove_neighbour(index, *ip, *mac).map_err(failed(format!("forget the neighbour {ip}")))?;
            }
        }
        for (mac, at) in &self.forwards {
            if wanted.forwards.get(mac) != Some(at) {
                socket.remove_forward(index, *mac, *at).map_err(failed(format!("forget what is behind {at}")))?;
            }
        }
        Ok(())
    }

    /// Makes all of these but what is there. What a route needs comes before it, so that no packet is led astray.
    pub(super) fn add_to(
        &self,
        there: &Self,
        settings: &Settings,
        socket: &mut Socket,
        underlay: &Underlay,
    ) -> Result<()> {
        if let Underlay::Tunnel { index, .. } = *underlay {
            for (mac, at) in &self.forwards {
                if there.forwards.get(mac) != Some(at) {
                    socket.add_forward(index, *mac, *at).map_err(failed(format!("tell what is behind {at}")))?;
                }
            }
            for (ip, mac) in &self.neighbours {
                if there.neighbours.get(ip) != Some(mac) {
                    socket.add_neighbour(index, *ip, *mac).map_err(failed(format!("tell of the neighbour {ip}")))?;
                }
            }
        }
        for (range, way) in &self.ways {
            if there.ways.get(range) != Some(way) {
                socket.add_way(way, settings.mark).map_err(|error| refused(*range, way, settings, error))?;
            }
        }
        Ok(())
    }
}

fn refused(range: IpNet, way: &Way, settings: &Settings, error: io::Error) -> Error {
    if error.raw_os_error() == Some(libc::EEXIST) {
        let mark = settings.mark;
        let message = format!("there is a route to {range} already that has not our mark (proto {mark}): remove it");
        return Error::new(ErrorKind::Conflict, message);
    }
    failed(format!("add the route to {range} by {}", way.gateway))(error)
}

//! What came of it: interfaces, addresses, routes.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;

/// What attach made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// The interfaces: the sandbox's, and those of the node that carry it.
    pub interfaces: Vec<Interface>,
    /// The addresses, the main one first.
    pub addresses: Vec<Address>,
    /// The routes.
    pub routes: Vec<Route>,
    /// How names are to be resolved, where the network says.
    pub dns: Dns,
}

impl Attached {
    /// The addresses of the sandbox, without their prefixes, the main one first.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        let inside = |address: &&Address| {
            let interface = address.interface.and_then(|at| self.interfaces.get(at));
            interface.is_none_or(|interface| interface.sandbox.is_some())
        };
        self.addresses.iter().filter(inside).map(|address| address.address.addr())
    }
}

/// An interface, of the node or in the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address; empty where it has none.
    pub mac: String,
    /// The largest packet in bytes, where it was told.
    pub mtu: Option<u32>,
    /// The namespace that it is in; `None` for the node's.
    pub sandbox: Option<PathBuf>,
    /// A socket file in place of a kernel interface.
    pub socket: Option<PathBuf>,
    /// The device on the PCI bus that it is.
    pub pci: Option<String>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address, with the length of its network's prefix.
    pub address: IpNet,
    /// The gateway of that network.
    pub gateway: Option<IpAddr>,
    /// Which of [`Attached::interfaces`] has it, where that was told.
    pub interface: Option<usize>,
}

/// A route in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: IpNet,
    /// The next hop; the address's own gateway by default.
    pub gateway: Option<IpAddr>,
    /// The largest packet on it, in bytes.
    pub mtu: Option<u32>,
    /// The largest segment that is announced, in bytes.
    pub advertised_mss: Option<u32>,
    /// Its priority: lower goes first.
    pub priority: Option<u32>,
    /// The routing table that it is in.
    pub table: Option<u32>,
    /// Its scope, as the kernel numbers it: 0 is the world, 253 the link, 254 the host.
    pub scope: Option<u8>,
}

impl Route {
    /// A route by the address's own gateway.
    #[must_use]
    pub fn to(destination: IpNet) -> Self {
        let (gateway, mtu, advertised_mss, priority, table, scope) = (None, None, None, None, None, None);
        Self { destination, gateway, mtu, advertised_mss, priority, table, scope }
    }
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers, the preferred one first.
    pub servers: Vec<String>,
    /// The local domain; empty for none.
    pub domain: String,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options, such as `ndots:5`.
    pub options: Vec<String>,
}

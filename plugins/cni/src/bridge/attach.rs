//! The making of an attachment, step by step, and its unmaking where a step fails.

use std::{fs, net::IpAddr, path::Path};

use ipnet::IpNet;
use windlass_kernel::{
    Error, ErrorKind, Result,
    network::{Address, Attached, Attachment, Interface, Route},
};

use super::{
    Inner, Names, failed,
    record::{self, Record},
    rules::Needs,
    settings::{Ipam, Settings},
};
use crate::{
    namespace,
    net::{Link, Pair, Shape, Socket, mac_bytes},
    wire,
};

/// The addresses of a pod and what comes with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Assigned {
    addresses: Vec<(IpNet, Option<IpAddr>)>,
    routes: Vec<Route>,
    dns: windlass_kernel::network::Dns,
}

impl Inner {
    pub(super) fn attach(&self, attachment: &Attachment) -> Result<Attached> {
        attachment.key.validate()?;
        let Some(path) = &attachment.namespace else {
            return Err(Error::new(ErrorKind::Invalid, format!("{} has no network namespace", attachment.key)));
        };
        let there = namespace::open(path)?;
        if namespace::same(&there, &namespace::current()?) {
            let message = format!("{} is the node's own network namespace", path.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut record = Record::new(&attachment.key);
        record.ports = wire::wishes_to_wire(&attachment.wishes).port_mappings;
        record.ports.retain(|port| port.host_port != 0);
        let _turn = self.records.hold(&attachment.key)?;
        let cable = Names::of(&self.setup.config.name, &attachment.key).cable;
        let mut host = Socket::open().map_err(failed("open a netlink socket"))?;
        if host.link(&cable).map_err(failed("look for the cable"))?.is_some() {
            // Also where its record was lost: what is begun here would end with taking that pod's cable away.
            return Err(record::attached(&attachment.key));
        }
        self.records.begin(&record)?;
        self.make(attachment, path, &there, &mut record).map_err(|error| {
            // What was made so far goes again. If that fails, the record stays for a later detach.
            match self.unmake(attachment, Some(&record)) {
                Ok(()) => error,
                Err(left) => {
                    let message = format!("{error}; and what was made so far could not be removed: {left}");
                    Error::new(error.kind(), message).with_source(error).maybe_applied()
                }
            }
        })
    }

    fn make(&self, wanted: &Attachment, path: &Path, there: &fs::File, record: &mut Record) -> Result<Attached> {
        let names = Names::of(&self.setup.config.name, &wanted.key);
        let assigned = self.assign(wanted)?;
        let addresses: Vec<IpNet> = assigned.addresses.iter().map(|(address, _)| *address).collect();
        record.addresses = addresses.iter().map(IpNet::addr).collect();
        self.records.update(record)?;
        let needs = Needs {
            cable: &names.cable,
            addresses: &addresses,
            ports: &record.ports,
            masquerade: self.settings.masquerade,
        };
        let mut host = Socket::open().map_err(failed("open a netlink socket"))?;
        let bridge = self.ensure_bridge(&mut host, &assigned)?;
        let mtu = if self.settings.mtu > 0 { self.settings.mtu } else { bridge.mtu };
        let interface = wanted.key.interface.as_str();
        let mac = wanted.wishes.mac.as_deref().and_then(mac_bytes);
        let pair = Pair { here: &names.cable, there: interface, namespace: there, mtu, mac };
        host.pair(&pair).map_err(failed(format!("make interface {interface} in {}", path.display())))?;
        let cable = host.link(&names.cable).map_err(failed("look at the cable"))?;
        let cable = cable.ok_or_else(|| Error::new(ErrorKind::Internal, "the cable went away"))?;
        host.plug(cable.index, bridge.index, self.settings.hairpin).map_err(failed("plug the cable in"))?;
        self.shape(&mut host, wanted, &names, &cable, mtu)?;
        let routes = self.routes(&assigned);
        let inner = namespace::inside(there, || furnish(interface, &assigned, &routes))?;
        self.rules.make(&needs)?;
        let named = |link: Link, sandbox: Option<&Path>| Interface {
            name: link.name,
            mac: link.mac,
            mtu: Some(link.mtu),
            sandbox: sandbox.map(Path::to_owned),
            ..Interface::default()
        };
        let address = |&(address, gateway): &(IpNet, Option<IpAddr>)| Address { address, gateway, interface: Some(2) };
        Ok(Attached {
            interfaces: vec![named(bridge, None), named(cable, None), named(inner, Some(path))],
            addresses: assigned.addresses.iter().map(address).collect(),
            routes,
            dns: if self.settings.dns == windlass_kernel::network::Dns::default() {
                assigned.dns
            } else {
                self.settings.dns.clone()
            },
        })
    }

    fn assign(&self, wanted: &Attachment) -> Result<Assigned> {
        match &self.settings.ipam {
            Ipam::None => Ok(Assigned::default()),
            Ipam::Own { sets, routes } => {
                let sets: Vec<_> = sets.iter().chain(&wanted.wishes.ranges).cloned().collect();
                if sets.is_empty() {
                    let message = "ipam: neither the configuration nor runtimeConfig.ipRanges has ranges";
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
                let chosen = self.reservations.reserve(&wanted.key, &sets, &wanted.wishes.addresses)?;
                Ok(Assigned {
                    addresses: chosen.iter().map(|choice| (choice.address, Some(choice.gateway))).collect(),
                    routes: routes.clone(),
                    ..Assigned::default()
                })
            }
            Ipam::Delegated(plugin) => {
                let attached = self.setup.delegate(plugin, "ADD", Some(wanted))?.unwrap_or_default();
                Ok(Assigned {
                    addresses: attached.addresses.iter().map(|one| (one.address, one.gateway)).collect(),
                    routes: attached.routes,
                    dns: attached.dns,
                })
            }
        }
    }

    fn ensure_bridge(&self, host: &mut Socket, assigned: &Assigned) -> Result<Link> {
        let Settings { bridge: name, mtu, gateway, .. } = &self.settings;
        let bridge = host.bridge(name, *mtu).map_err(failed(format!("make bridge {name}")))?;
        if *gateway {
            for (address, gateway) in &assigned.addresses {
                let Some(gateway) = gateway else { continue };
                let own = IpNet::new(*gateway, address.prefix_len()).unwrap_or(*address);
                host.address(bridge.index, own).map_err(failed(format!("give bridge {name} the address {own}")))?;
                let knob = if own.addr().is_ipv4() { "ipv4/ip_forward" } else { "ipv6/conf/all/forwarding" };
                turn_on(knob)?;
            }
        }
        Ok(bridge)
    }

    fn shape(&self, host: &mut Socket, wanted: &Attachment, names: &Names, cable: &Link, mtu: u32) -> Result<()> {
        let limits = wanted.wishes.bandwidth;
        if let Some(rate) = limits.ingress {
            host.limit(cable.index, Shape::new(rate, mtu)).map_err(failed("limit what the pod receives"))?;
        }
        if let Some(rate) = limits.egress {
            host.turn(&names.turn, mtu).map_err(failed("make a link to limit what the pod sends"))?;
            let turn = host.link(&names.turn).map_err(failed("look at the link that limits"))?;
            let turn = turn.ok_or_else(|| Error::new(ErrorKind::Internal, "the link that limits went away"))?;
            host.limit(turn.index, Shape::new(rate, mtu)).map_err(failed("limit what the pod sends"))?;
            host.divert(cable.index, turn.index).map_err(failed("lead what the pod sends through its limit"))?;
        }
        if !wanted.wishes.ports.is_empty() {
            // The node's 127.0.0.1 reaches a pod by its port only if the bridge routes such addresses.
            turn_on(&format!("ipv4/conf/{}/route_localnet", self.settings.bridge))?;
        }
        Ok(())
    }

    /// The configured routes with their gateways, and the default ones.
    fn routes(&self, assigned: &Assigned) -> Vec<Route> {
        let gateway = |four: bool| {
            assigned.addresses.iter().filter(|(ip, _)| ip.addr().is_ipv4() == four).find_map(|(_, gateway)| *gateway)
        };
        let mut routes: Vec<Route> = assigned.routes.clone();
        for route in &mut routes {
            route.gateway = route.gateway.or_else(|| gateway(route.destination.addr().is_ipv4()));
        }
        if self.settings.default_gateway {
            for (text, four) in [("0.0.0.0/0", true), ("::/0", false)] {
                let Ok(all) = text.parse() else { continue };
                if let Some(gateway) = gateway(four).filter(|_| !routes.iter().any(|r| r.destination == all)) {
                    routes.push(Route { gateway: Some(gateway), ..Route::to(all) });
                }
            }
        }
        routes
    }
}

/// Inside the pod's namespace: addresses, then up, then routes.
fn furnish(interface: &str, assigned: &Assigned, routes: &[Route]) -> Result<Link> {
    let mut socket = Socket::open().map_err(failed("open a netlink socket in the namespace"))?;
    if let Some(lo) = socket.link("lo").map_err(failed("look at lo"))?.filter(|lo| !lo.up) {
        socket.set(lo.index, vec![]).map_err(failed("bring lo up"))?;
    }
    let link = socket.link(interface).map_err(failed(format!("look at {interface}")))?;
    let link = link.ok_or_else(|| Error::new(ErrorKind::Internal, format!("{interface} went away")))?;
    if assigned.addresses.iter().any(|(address, _)| address.addr().is_ipv6()) {
        // Runtimes turn IPv6 off in namespaces; with an address of it, it is wanted.
        write_knob(&format!("ipv6/conf/{interface}/disable_ipv6"), "0")?;
    }
    // Others on the bridge may remember the address from a pod that is gone.
    turn_on(&format!("ipv4/conf/{interface}/arp_notify"))?;
    for (address, _) in &assigned.addresses {
        socket.address(link.index, *address).map_err(failed(format!("give {interface} the address {address}")))?;
    }
    socket.set(link.index, vec![]).map_err(failed(format!("bring {interface} up")))?;
    for route in routes {
        socket.route(link.index, route).map_err(failed(format!("add the route to {}", route.destination)))?;
    }
    Ok(link)
}

/// Turns a kernel parameter of this thread's namespace on, where it is not.
fn turn_on(knob: &str) -> Result<()> {
    let path = Path::new("/proc/sys/net").join(knob);
    if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    write_knob(knob, "1")
}

/// A parameter that the kernel does not have needs no setting.
fn write_knob(knob: &str, value: &str) -> Result<()> {
    match fs::write(Path::new("/proc/sys/net").join(knob), value) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(failed(format!("set net/{knob} to {value}"))),
    }
}

//! The making of an attachment, step by step, and its unmaking where a step fails.

use std::{fs, net::IpAddr, path::Path};

use ipnet::IpNet;
use windlass_kernel::{
    Error, ErrorKind, Result,
    network::{Address, AddressRange, Attached, Attachment, Interface, Route},
};

use super::{
    Inner, Names,
    record::{self, Record},
    rules::{Needs, spoof},
    settings::{Ipam, OfNode, Settings},
};
use crate::{
    failed, namespace,
    net::{Link, Pair, Shape, Socket, bring_lo_up, mac_bytes, turn_on, write_knob},
    routes::NodeFile,
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
        record.checked = self.settings.spoof_check;
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
        let node = self.settings.node.as_ref().map(OfNode::read).transpose()?;
        let assigned = self.assign(wanted, node.as_ref())?;
        let addresses: Vec<IpNet> = assigned.addresses.iter().map(|(address, _)| *address).collect();
        record.addresses = addresses.iter().map(IpNet::addr).collect();
        self.records.update(record)?;
        let needs = Needs {
            cable: &names.cable,
            addresses: &addresses,
            ports: &record.ports,
            masquerade: self.settings.masquerade,
            inside: node.as_ref().map_or(&[], |node| &node.cluster_ranges[..]),
        };
        let mut host = Socket::open().map_err(failed("open a netlink socket"))?;
        let mtu = if self.settings.mtu > 0 { self.settings.mtu } else { node.as_ref().map_or(0, |node| node.mtu) };
        let bridge = self.ensure_bridge(&mut host, &assigned, mtu)?;
        let mtu = if mtu > 0 { mtu } else { bridge.mtu };
        let interface = wanted.key.interface.as_str();
        let mac = wanted.wishes.mac.as_deref().and_then(mac_bytes);
        let pair = Pair { here: &names.cable, there: interface, namespace: there, mtu, mac };
        host.pair(&pair).map_err(failed(format!("make interface {interface} in {}", path.display())))?;
        let cable = host.link(&names.cable).map_err(failed("look at the cable"))?;
        let cable = cable.ok_or_else(|| Error::new(ErrorKind::Internal, "the cable went away"))?;
        let Settings { hairpin, isolated, .. } = self.settings;
        host.plug(cable.index, bridge.index, hairpin, isolated).map_err(failed("plug the cable in"))?;
        self.shape(&mut host, wanted, &names, &cable, mtu)?;
        let routes = self.routes(&assigned, node.as_ref());
        let down = self.settings.down;
        let inner = namespace::inside(there, || furnish(interface, &assigned, &routes, down))?;
        self.rules.make(&needs)?;
        if self.settings.spoof_check {
            spoof::allow(&names.cable, &inner.mac)?;
        }
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

    fn assign(&self, wanted: &Attachment, node: Option<&NodeFile>) -> Result<Assigned> {
        match &self.settings.ipam {
            Ipam::None => Ok(Assigned::default()),
            Ipam::Own { sets, routes } => {
                let own = node.map(node_sets).unwrap_or_default();
                let sets: Vec<_> = own.iter().chain(sets).chain(&wanted.wishes.ranges).cloned().collect();
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

    fn ensure_bridge(&self, host: &mut Socket, assigned: &Assigned, mtu: u32) -> Result<Link> {
        let Settings { bridge: name, gateway, force_address, promiscuous, .. } = &self.settings;
        let bridge = host.bridge(name, mtu).map_err(failed(format!("make bridge {name}")))?;
        if *promiscuous {
            host.listen_to_all(bridge.index).map_err(failed(format!("make bridge {name} promiscuous")))?;
        }
        if *gateway {
            for (address, gateway) in &assigned.addresses {
                let Some(gateway) = gateway else { continue };
                let own = IpNet::new(*gateway, address.prefix_len()).unwrap_or(*address);
                if *force_address {
                    make_room(host, &bridge, own)?;
                }
                host.address(bridge.index, own).map_err(failed(format!("give bridge {name} the address {own}")))?;
                let knob = if own.addr().is_ipv4() { "ipv4/ip_forward" } else { "ipv6/conf/all/forwarding" };
                turn_on(knob).map_err(failed("let the node forward packets"))?;
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
            turn_on(&format!("ipv4/conf/{}/route_localnet", self.settings.bridge))
                .map_err(failed("lead the node's own packets to ports of pods"))?;
        }
        Ok(())
    }

    /// The configured routes with their gateways, and the default ones or those to all pods of the cluster.
    fn routes(&self, assigned: &Assigned, node: Option<&NodeFile>) -> Vec<Route> {
        let gateway = |four: bool| {
            assigned.addresses.iter().filter(|(ip, _)| ip.addr().is_ipv4() == four).find_map(|(_, gateway)| *gateway)
        };
        let mut routes: Vec<Route> = assigned.routes.clone();
        if let Some(node) = node.filter(|_| !self.settings.default_gateway) {
            routes.extend(node.cluster_ranges.iter().map(|range| Route::to(*range)));
        }
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

/// The node's ranges, each of which a pod gets an address of.
pub(super) fn node_sets(node: &NodeFile) -> Vec<Vec<AddressRange>> {
    let set = |subnet: &IpNet| vec![AddressRange { subnet: *subnet, start: None, end: None, gateway: None }];
    node.ranges.iter().map(set).collect()
}

/// Takes those addresses from the bridge that it has in place of this one: of IPv4 all others, of IPv6 those of the same
/// network.
fn make_room(host: &mut Socket, bridge: &Link, own: IpNet) -> Result<()> {
    for address in host.addresses(bridge.index).map_err(failed("look at addresses of the bridge"))? {
        let same_family = address.addr().is_ipv4() == own.addr().is_ipv4();
        let in_place = own.addr().is_ipv4() || address.contains(&own.trunc()) || own.contains(&address.trunc());
        if address != own && same_family && in_place {
            let taken = host.remove_address(bridge.index, address);
            taken.map_err(failed(format!("take the address {address} from bridge {}", bridge.name)))?;
        }
    }
    Ok(())
}

/// Inside the pod's namespace: addresses, then up where it is not to stay down, then routes.
fn furnish(interface: &str, assigned: &Assigned, routes: &[Route], down: bool) -> Result<Link> {
    let mut socket = Socket::open().map_err(failed("open a netlink socket in the namespace"))?;
    bring_lo_up().map_err(failed("bring lo up"))?;
    let link = socket.link(interface).map_err(failed(format!("look at {interface}")))?;
    let link = link.ok_or_else(|| Error::new(ErrorKind::Internal, format!("{interface} went away")))?;
    if assigned.addresses.iter().any(|(address, _)| address.addr().is_ipv6()) {
        // Runtimes turn IPv6 off in namespaces; with an address of it, it is wanted.
        write_knob(&format!("ipv6/conf/{interface}/disable_ipv6"), "0").map_err(failed("turn IPv6 on"))?;
    }
    // Others on the bridge may remember the address from a pod that is gone.
    turn_on(&format!("ipv4/conf/{interface}/arp_notify")).map_err(failed("announce addresses"))?;
    for (address, _) in &assigned.addresses {
        socket.address(link.index, *address).map_err(failed(format!("give {interface} the address {address}")))?;
    }
    if down {
        return Ok(link);
    }
    socket.set(link.index, vec![]).map_err(failed(format!("bring {interface} up")))?;
    for route in routes {
        socket.route(link.index, route).map_err(failed(format!("add the route to {}", route.destination)))?;
    }
    Ok(link)
}

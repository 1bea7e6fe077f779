//! The bridge in this process and as a binary, and what it does beyond the suite.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use windlass_cni::{bridge::Bridge, host::CniNetwork, skel::Setup, wire::PluginConfig};
use windlass_conformance::network::{Fixture, Hurry, Offers};
use windlass_kernel::{
    ErrorKind, PodNetwork,
    network::{Attached, Attachment},
    runtime::{PortMapping, Protocol},
};

use crate::{
    Test,
    kit::{Kit, own_plugin},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a_udp_client_follows_a_port_to_its_next_pod", udp_port),
    ("a_pod_with_both_families_is_reached_by_each", both_families),
    ("what_leaves_the_network_has_the_nodes_address", masquerade),
    ("an_address_and_a_hardware_address_can_be_wished_for", wished_addresses),
    ("a_port_can_be_of_one_address_of_the_node", port_of_an_address),
    ("addresses_come_from_another_plugin_where_it_is_named", delegated),
    ("a_network_without_free_addresses_is_not_ready", exhausted),
    ("a_pod_whose_record_was_lost_is_not_disturbed", lost_record),
    ("host_local_finds_what_the_bridge_reserved", shared_reservations),
    ("what_is_not_there_is_refused_before_anything_is_made", refused),
];

pub(crate) fn bridge(kit: &Kit, name: &str, plugin: &Value) -> Bridge {
    let mut config = plugin.clone();
    config["name"] = name.into();
    if config["cniVersion"].is_null() {
        config["cniVersion"] = "1.1.0".into();
    }
    let config: PluginConfig = serde_json::from_value(config).unwrap();
    Bridge::new(&Setup::of(config, kit.machine.clone()).unwrap()).unwrap()
}

pub(crate) const OFFERS: Offers =
    Offers { ports: Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 88, 0, 1))), bandwidth: true, check: true };

/// The bridge without a process around it.
pub(crate) fn direct(kit: &Kit, prefix: String) -> Fixture {
    Fixture {
        network: Arc::new(bridge(kit, "direct", &own_plugin())),
        surroundings: Arc::new(kit.clone()),
        clock: kit.machine.clone(),
        prefix,
        offers: OFFERS,
        hurry: None,
        raw: None,
    }
}

/// The binary behind the host.
pub(crate) fn hosted(kit: &Kit, prefix: String) -> Fixture {
    let mut plugin = own_plugin();
    plugin["capabilities"] = json!({"portMappings": true, "bandwidth": true});
    let list = json!({"cniVersion": "1.1.0", "name": "hosted", "plugins": [plugin]});
    let (own, hurried) = (kit.clone(), list.clone());
    let hurry: Hurry = Arc::new(move |span| Arc::new(own.host("hosted", &hurried, span)));
    let binary = Path::new(env!("CARGO_BIN_EXE_windlass-bridge"));
    Fixture {
        network: Arc::new(kit.host("hosted", &list, Duration::from_secs(60))),
        hurry: Some(hurry),
        raw: Some(Kit::raw(binary, "hosted", &own_plugin())),
        ..direct(kit, prefix)
    }
}

pub(crate) struct Pod<'a> {
    kit: &'a Kit,
    network: Arc<dyn PodNetwork>,
    pub(crate) wanted: Attachment,
    pub(crate) attached: Attached,
}

impl<'a> Pod<'a> {
    pub(crate) fn attach(kit: &'a Kit, network: &Bridge, name: &str, change: impl FnOnce(&mut Attachment)) -> Self {
        let mut wanted = kit.attachment(name);
        change(&mut wanted);
        let attached = kit.machine.block_on(network.attach(&wanted)).unwrap();
        Self { kit, network: Arc::new(network.clone()), wanted, attached }
    }

    pub(crate) fn namespace(&self) -> &Path {
        self.wanted.namespace.as_deref().unwrap()
    }

    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        self.attached.ips().collect()
    }

    pub(crate) fn end(self) {
        self.kit.machine.block_on(self.network.detach(&self.wanted)).unwrap();
        self.kit.lab.remove_pod(self.namespace()).unwrap();
    }
}

fn both_families(kit: &Kit) {
    let network = bridge(kit, "both", &own_plugin());
    let [a, b] = ["both-a", "both-b"].map(|name| Pod::attach(kit, &network, name, |_| {}));
    let families: Vec<_> = a.ips().iter().map(IpAddr::is_ipv4).collect();
    assert_eq!(families, [true, false]);
    let default: Vec<_> = a.attached.routes.iter().map(|route| route.destination.to_string()).collect();
    assert_eq!(default, ["0.0.0.0/0", "::/0"]);
    for ip in a.ips() {
        for from in [None, Some(b.namespace())] {
            assert!(kit.lab.connects(from, (ip, 80).into(), a.namespace(), 80).unwrap(), "{ip} from {from:?}");
        }
    }
    a.end();
    b.end();
}

/// A second network stands for the world: what comes there from a pod of the first has its gateway's address.
fn masquerade(kit: &Kit) {
    let inside = bridge(kit, "masq", &own_plugin());
    let world = json!({
        "type": "windlass-bridge", "bridge": "wl1", "isGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.99.0.0/24"},
    });
    let world = bridge(kit, "world", &world);
    let pod = Pod::attach(kit, &inside, "masq-a", |_| {});
    // It has no way back to the pod's network: only an answer to the node reaches it.
    let server = Pod::attach(kit, &world, "masq-b", |_| {});
    let to = (server.ips()[0], 80).into();
    assert!(kit.lab.connects(Some(pod.namespace()), to, server.namespace(), 80).unwrap());
    let mut plain = own_plugin();
    plain["ipMasq"] = false.into();
    plain["bridge"] = "wl2".into();
    plain["ipam"] = json!({"type": "host-local", "subnet": "10.98.0.0/24"});
    let plain = bridge(kit, "plain", &plain);
    let other = Pod::attach(kit, &plain, "masq-c", |_| {});
    assert!(!kit.lab.connects(Some(other.namespace()), to, server.namespace(), 80).unwrap());
    pod.end();
    server.end();
    other.end();
}

fn wished_addresses(kit: &Kit) {
    let network = bridge(kit, "wished", &own_plugin());
    let pod = Pod::attach(kit, &network, "wished-a", |wanted| {
        wanted.wishes.addresses = vec!["10.88.0.77/24".parse().unwrap()];
        wanted.wishes.mac = Some("02:00:00:00:00:77".into());
    });
    assert_eq!(pod.ips()[0].to_string(), "10.88.0.77");
    let seen = kit.lab.interface(pod.namespace(), "eth0").unwrap().unwrap();
    assert_eq!(seen.mac, "02:00:00:00:00:77");
    let mut late = kit.attachment("wished-b");
    late.wishes.addresses.clone_from(&pod.wanted.wishes.addresses);
    let error = kit.machine.block_on(network.attach(&late)).unwrap_err();
    assert!(error.is(ErrorKind::Unavailable) && error.message().contains("10.88.0.77"), "{error}");
    late.wishes.addresses = vec!["192.168.7.7/24".parse().unwrap()];
    let error = kit.machine.block_on(network.attach(&late)).unwrap_err();
    assert!(error.message().contains("in no range"), "{error}");
    pod.end();
}

fn port_of_an_address(kit: &Kit) {
    let network = bridge(kit, "port", &own_plugin());
    let pod = Pod::attach(kit, &network, "port-a", |wanted| {
        let port = |host_ip: &str, host_port| PortMapping {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_port,
            host_ip: host_ip.into(),
        };
        wanted.wishes.ports = vec![port("127.0.0.1", 18_090), port("fd00:88::1", 18_091), port("", 0)];
    });
    let reached =
        |ip: &str, port| kit.lab.connects(None, (ip.parse::<IpAddr>().unwrap(), port).into(), pod.namespace(), 80);
    assert!(reached("127.0.0.1", 18_090).unwrap());
    assert!(!reached("10.88.0.1", 18_090).unwrap(), "the port is of another address");
    assert!(reached("fd00:88::1", 18_091).unwrap());
    pod.end();
}

/// The client goes on with one socket, so that the kernel knows its packets.
fn udp_port(kit: &Kit) {
    let network = bridge(kit, "udp", &own_plugin());
    let client = Pod::attach(kit, &network, "udp-client", |_| {});
    let with_port = |name: &str, host_port| {
        Pod::attach(kit, &network, name, |wanted| {
            let port = PortMapping { protocol: Protocol::Udp, container_port: 53, host_port, host_ip: String::new() };
            wanted.wishes.ports = vec![port];
        })
    };
    let socket = |pod: &Pod<'_>, at: SocketAddr| {
        let bind = || Ok(UdpSocket::bind(at).unwrap());
        let socket = kit.lab.inside(pod.namespace(), bind).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    };
    for (node, any) in [("10.88.0.1", "0.0.0.0"), ("fd00:88::1", "::")] {
        let (node, any): (IpAddr, IpAddr) = (node.parse().unwrap(), any.parse().unwrap());
        let sender = socket(&client, (any, 0).into());
        let arrives = |server: &UdpSocket, port: u16| {
            sender.send_to(b"?", (node, port)).unwrap();
            server.recv(&mut [0; 8]).is_ok()
        };
        let [first, other] = [with_port("udp-a", 18_053), with_port("udp-b", 18_054)];
        let [at_first, at_other] = [&first, &other].map(|pod| socket(pod, (any, 53).into()));
        assert!(arrives(&at_first, 18_053) && arrives(&at_other, 18_054));
        first.end();
        let next = with_port("udp-c", 18_053);
        let at_next = socket(&next, (any, 53).into());
        assert!(arrives(&at_next, 18_053), "packets still go where the first pod was");
        assert!(arrives(&at_other, 18_054));
        next.end();
        other.end();
    }
    client.end();
}

fn delegated(kit: &Kit) {
    if crate::debian::missing().is_some() {
        println!("not tried: Debian's plugins are not there");
        return;
    }
    let mut plugin = own_plugin();
    plugin["ipam"] = json!({"type": "static", "addresses": [{"address": "10.97.0.7/24", "gateway": "10.97.0.1"}]});
    plugin["bridge"] = "wl3".into();
    // Debian's plugins speak no later version.
    plugin["cniVersion"] = "1.0.0".into();
    let network = bridge(kit, "delegated", &plugin);
    let pod = Pod::attach(kit, &network, "delegated-a", |_| {});
    assert_eq!(pod.ips()[0].to_string(), "10.97.0.7");
    assert!(kit.lab.connects(None, (pod.ips()[0], 80).into(), pod.namespace(), 80).unwrap());
    pod.end();
    plugin["ipam"] = json!({"type": "no-such-plugin"});
    let network = bridge(kit, "delegated", &plugin);
    let error = kit.machine.block_on(network.attach(&kit.attachment("delegated-b"))).unwrap_err();
    assert!(error.message().contains("no-such-plugin"), "{error}");
}

fn exhausted(kit: &Kit) {
    let mut plugin = own_plugin();
    plugin["ipam"] = json!({"type": "host-local", "subnet": "10.96.0.0/24", "rangeEnd": "10.96.0.3"});
    plugin["bridge"] = "wl4".into();
    let network = bridge(kit, "exhausted", &plugin);
    let pods = ["exhausted-a", "exhausted-b"].map(|name| Pod::attach(kit, &network, name, |_| {}));
    let why = kit.machine.block_on(network.ready()).unwrap_err();
    assert!(why.is(ErrorKind::Unavailable) && why.message().contains("10.96.0.0/24"), "{why}");
    let late = kit.attachment("exhausted-c");
    assert!(kit.machine.block_on(network.attach(&late)).unwrap_err().is(ErrorKind::Unavailable));
    for pod in pods {
        pod.end();
    }
    kit.machine.block_on(network.ready()).unwrap();
    kit.machine.block_on(network.attach(&late)).unwrap();
    kit.machine.block_on(network.detach(&late)).unwrap();
}

fn lost_record(kit: &Kit) {
    let network = bridge(kit, "lost", &own_plugin());
    let before = kit.lab.inventory().unwrap();
    let pod = Pod::attach(kit, &network, "lost-a", |_| {});
    std::fs::remove_file("/var/lib/cni/windlass-bridge/lost/lost-a,eth0").unwrap();
    let error = kit.machine.block_on(network.attach(&pod.wanted)).unwrap_err();
    assert!(error.is(ErrorKind::AlreadyExists), "{error}");
    assert!(kit.lab.connects(None, (pod.ips()[0], 80).into(), pod.namespace(), 80).unwrap());
    pod.end();
    let left: Vec<_> = kit.lab.inventory().unwrap().difference(&before).cloned().collect();
    // The first pod of a network has it make what its pods share.
    assert!(!left.iter().any(|item| item.contains("lost-a") || item.starts_with("link veth")), "{left:?}");
}

/// Debian's plugin gives the next address, not one that the bridge gave.
fn shared_reservations(kit: &Kit) {
    if crate::debian::missing().is_some() {
        println!("not tried: Debian's plugins are not there");
        return;
    }
    let ipam = json!({"type": "host-local", "subnet": "10.95.0.0/24"});
    let mut plugin = own_plugin();
    plugin["ipam"] = ipam.clone();
    plugin["bridge"] = "wl5".into();
    let network = bridge(kit, "shared", &plugin);
    let pod = Pod::attach(kit, &network, "shared-a", |_| {});
    let theirs = json!({"cniVersion": "1.0.0", "name": "shared", "plugins": [
        {"type": "bridge", "bridge": "wl5", "isGateway": true, "ipam": ipam},
    ]});
    let theirs: CniNetwork = kit.host("shared", &theirs, Duration::from_secs(60));
    let other = kit.attachment("shared-b");
    let attached = kit.machine.block_on(theirs.attach(&other)).unwrap();
    assert_eq!(attached.ips().map(|ip| ip.to_string()).collect::<Vec<_>>(), ["10.95.0.3"]);
    let third = Pod::attach(kit, &network, "shared-c", |_| {});
    assert_eq!(third.ips()[0].to_string(), "10.95.0.4");
    kit.machine.block_on(theirs.detach(&other)).unwrap();
    pod.end();
    third.end();
}

fn refused(kit: &Kit) {
    let before = kit.lab.inventory().unwrap();
    let mut plugin = own_plugin();
    plugin["name"] = "refused".into();
    plugin["cniVersion"] = "1.1.0".into();
    plugin["mode"] = "ipip".into();
    let config: PluginConfig = serde_json::from_value(plugin).unwrap();
    let error = Bridge::new(&Setup::of(config, kit.machine.clone()).unwrap()).unwrap_err();
    assert!(error.is(ErrorKind::NotSupported) && error.message().contains("ipip"), "{error}");
    assert_eq!(kit.lab.inventory().unwrap(), before);
}

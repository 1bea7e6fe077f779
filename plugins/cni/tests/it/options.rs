//! Options of the bridge that are off by default: hardware addresses that are checked, pods apart from each other, and more.

use std::{fs, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use serde_json::{Value, json};
use windlass_cni::host::{CniNetwork, Settings};
use windlass_kernel::{ErrorKind, PodNetwork, network::Bandwidth};

use crate::{
    Test,
    bridge::{Pod, bridge},
    kit::{Kit, own_plugin},
};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("a_pod_with_another_hardware_address_sends_nothing", spoofed),
    ("what_checks_hardware_addresses_goes_with_the_pod", unspoofed),
    ("isolated_pods_reach_the_node_and_not_each_other", isolated),
    ("a_bridge_takes_all_packets_where_it_is_to", promiscuous),
    ("an_address_in_place_of_the_gateways_goes_where_it_is_to", forced),
    ("an_interface_is_left_down_where_it_is_to_be", down),
    ("the_host_brings_lo_up_where_no_plugin_does", loopback),
];

fn with(own: &str, net: u8, fields: &Value) -> Value {
    let mut plugin = own_plugin();
    plugin["bridge"] = own.into();
    plugin["ipam"] = json!({"type": "host-local", "subnet": format!("10.90.{net}.0/24")});
    for (name, value) in fields.as_object().unwrap() {
        plugin[name] = value.clone();
    }
    plugin
}

fn ip(words: &str) -> String {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn spoofed(kit: &Kit) {
    let network = bridge(kit, "spoof", &with("sp0", 1, &json!({"macspoofchk": true})));
    let [a, b] = ["spoof-a", "spoof-b"].map(|name| Pod::attach(kit, &network, name, |_| {}));
    let reaches = || kit.lab.connects(Some(a.namespace()), (b.ips()[0], 80).into(), b.namespace(), 80).unwrap();
    assert!(reaches());
    kit.machine.block_on(network.check(&a.wanted)).unwrap();
    kit.lab.inside(a.namespace(), || Ok(ip("link set eth0 address 02:00:00:00:00:99"))).unwrap();
    assert!(!reaches());
    kit.lab
        .inside(a.namespace(), || Ok(ip(&format!("link set eth0 address {}", a.attached.interfaces[2].mac))))
        .unwrap();
    assert!(reaches());
    a.end();
    b.end();
}

fn unspoofed(kit: &Kit) {
    let network = bridge(kit, "unspoof", &with("sp1", 2, &json!({"macspoofchk": true})));
    let rules = || {
        let all = kit.lab.inventory().unwrap();
        all.into_iter().filter(|item| item.contains("table bridge") && item.contains("veth")).count()
    };
    let before = rules();
    let pods = ["unspoof-a", "unspoof-b", "unspoof-c"].map(|name| Pod::attach(kit, &network, name, |_| {}));
    assert_eq!(rules(), before + 6, "two sets for each");
    let [a, b, c] = pods;
    a.end();
    assert_eq!(rules(), before + 4);
    // One whose links were taken away is collected, and the one that is wanted is not.
    kit.lab.cut(b.namespace(), "eth0").unwrap();
    kit.machine.block_on(network.collect(std::slice::from_ref(&c.wanted.key))).unwrap();
    assert_eq!(rules(), before + 2);
    kit.machine.block_on(network.check(&c.wanted)).unwrap();
    let flushed = Command::new("nft").args(["flush", "set", "bridge", "windlass_cni", "checked"]).status().unwrap();
    assert!(flushed.success());
    let error = kit.machine.block_on(network.check(&c.wanted)).unwrap_err();
    assert!(error.is(ErrorKind::Conflict) && error.message().contains("hardware address"), "{error}");
    b.end();
    c.end();
    assert_eq!(rules(), before);
}

fn isolated(kit: &Kit) {
    let network = bridge(kit, "isolated", &with("is0", 3, &json!({"portIsolation": true})));
    let [a, b] = ["isolated-a", "isolated-b"].map(|name| Pod::attach(kit, &network, name, |_| {}));
    let to = (b.ips()[0], 80).into();
    assert!(kit.lab.connects(None, to, b.namespace(), 80).unwrap());
    assert!(!kit.lab.connects(Some(a.namespace()), to, b.namespace(), 80).unwrap());
    a.end();
    b.end();
}

fn promiscuous(kit: &Kit) {
    let network = bridge(kit, "promisc", &with("pr0", 4, &json!({"promiscMode": true, "hairpinMode": false})));
    let pod = Pod::attach(kit, &network, "promisc-a", |_| {});
    assert!(ip("link show pr0").contains("PROMISC"));
    pod.end();
}

fn forced(kit: &Kit) {
    ip("link add fo0 type bridge");
    ip("addr add 10.90.200.1/24 dev fo0");
    let addresses = || ip("-o -4 addr show dev fo0").lines().count();
    let kept = bridge(kit, "kept", &with("fo0", 5, &json!({})));
    Pod::attach(kit, &kept, "kept-a", |_| {}).end();
    assert_eq!(addresses(), 2, "nobody said that the other address may go");
    let forced = bridge(kit, "forced", &with("fo0", 6, &json!({"forceAddress": true})));
    let pod = Pod::attach(kit, &forced, "forced-a", |_| {});
    assert_eq!(addresses(), 1);
    assert!(kit.lab.connects(None, (pod.ips()[0], 80).into(), pod.namespace(), 80).unwrap());
    pod.end();
}

fn down(kit: &Kit) {
    let mut plugin = with("dn0", 7, &json!({"disableContainerInterface": true, "isDefaultGateway": false}));
    plugin.as_object_mut().unwrap().remove("ipam");
    let network = bridge(kit, "down", &plugin);
    let pod = Pod::attach(kit, &network, "down-a", |wanted| wanted.wishes.bandwidth = Bandwidth::default());
    assert!(!kit.lab.interface(pod.namespace(), "eth0").unwrap().unwrap().up);
    kit.machine.block_on(network.check(&pod.wanted)).unwrap();
    pod.end();
}

/// The plugins make nothing, so that whatever is up the host has brought up.
fn loopback(kit: &Kit) {
    let folder = kit.lab.folder("loopback").unwrap();
    for name in ["nothing", "loopback"] {
        let script = "#!/bin/sh\n[ $CNI_COMMAND != ADD ] || echo '{\"cniVersion\":\"1.1.0\"}'\n";
        fs::write(folder.join(name), script).unwrap();
        fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let up = |chain: &[&str]| {
        let plugins: Vec<_> = chain.iter().map(|name| json!({"type": name})).collect();
        let list = json!({"cniVersion": "1.1.0", "name": "lo", "plugins": plugins});
        fs::write(folder.join("10-lo.conflist"), list.to_string()).unwrap();
        let settings = Settings {
            config_dir: folder.clone(),
            network: None,
            plugin_dirs: vec![folder.clone()],
            cache_dir: folder.join("cache"),
            deadline: Duration::from_secs(60),
        };
        let network = CniNetwork::new(settings, kit.machine.clone(), kit.machine.clone());
        let wanted = kit.attachment(&format!("lo-{}", chain.join("-")));
        kit.machine.block_on(network.attach(&wanted)).unwrap();
        let up = kit.lab.interface(wanted.namespace.as_deref().unwrap(), "lo").unwrap().unwrap().up;
        kit.machine.block_on(network.detach(&wanted)).unwrap();
        kit.lab.remove_pod(wanted.namespace.as_deref().unwrap()).unwrap();
        up
    };
    assert!(up(&["nothing"]));
    // This one is for that, and its business is its own.
    assert!(!up(&["nothing", "loopback"]));
}

//! Nodes as network namespaces, with a switch or a router between them, and pods on each that talk to those of the others.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use futures::{StreamExt, executor::block_on};
use serde_json::{Value, json};
use windlass_cni::{
    bridge::Bridge,
    routes::{Mode, NodeRoutes, Settings},
    skel::{Inline, Setup},
};
use windlass_conformance::network::{Fixture, Offers};
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, PodNetwork, PodRoutes,
    network::{Attached, Attachment},
    routes::{Disturbances, RoutedNode, RoutesChange, Unreached},
};

use crate::{Test, bridge::OFFERS, kit::Kit};

pub(crate) const TESTS: &[(&str, Test)] = &[
    ("pods_of_two_nodes_reach_each_other_by_routes", by_routes),
    ("pods_of_nodes_behind_routers_reach_each_other_by_vxlan", by_vxlan),
    ("vxlan_carries_both_families_over_ipv6", over_ipv6),
    ("a_node_that_goes_takes_its_routes_along", a_node_goes),
    ("what_an_earlier_process_left_is_found_and_only_that", restart),
    ("a_node_that_cannot_be_reached_does_not_hold_up_others", unreached),
    ("a_range_moves_from_one_node_to_another_in_one_change", moved),
    ("what_somebody_takes_away_is_told_of_and_what_we_do_is_not", taken_away),
    ("a_link_that_comes_back_is_told_of", comes_back),
    ("a_vxlan_device_is_made_as_it_should_be_or_refused", device),
    ("a_bridge_waits_for_the_routes_of_its_node", waits),
    ("thousands_of_nodes_are_led_to_and_one_of_them_changes", thousands),
];

/// Why this machine cannot run them, if it cannot.
pub(crate) fn missing() -> Option<String> {
    let lacks = |tool: &&&str| Command::new(**tool).arg("-V").output().is_err();
    ["ip", "bridge"].iter().find(lacks).map(|tool| format!("needs {tool}: install iproute2"))
}

/// Far more than one packet.
const BYTES: usize = 200_000;

/// The ranges of which all nodes have theirs.
const CLUSTER: [&str; 2] = ["10.144.0.0/16", "fd00:144::/48"];

/// A node: a namespace with a cable to this one, which is the switch or the router between them.
struct Node<'a> {
    kit: &'a Kit,
    space: PathBuf,
    what: RoutedNode,
    settings: Settings,
    routes: NodeRoutes,
}

/// A pod on a node.
struct Pod {
    wanted: Attachment,
    attached: Attached,
    network: Bridge,
}

impl Pod {
    fn space(&self) -> &Path {
        self.wanted.namespace.as_deref().unwrap()
    }

    fn ip(&self, four: bool) -> IpAddr {
        self.attached.ips().find(|ip| ip.is_ipv4() == four).unwrap()
    }
}

fn ip(words: &str) -> String {
    tool("ip", words)
}

fn tool(tool: &str, words: &str) -> String {
    let done = Command::new(tool).args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "{tool} {words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

impl<'a> Node<'a> {
    /// A node in the subnet `10.55.NET.0/24` and `2001:db8:NET::/64`, whose other end of the cable is in this namespace.
    fn new(kit: &'a Kit, test: &str, at: u8, net: u8, mode: &Mode) -> Self {
        let name = format!("{test}{at}");
        let space = kit.lab.pod(&format!("node-{name}")).unwrap();
        let cable = format!("u{name}");
        ip(&format!("link add {cable} type veth peer name up0"));
        kit.lab.inside(&space, || Ok(ip("link set lo up"))).unwrap();
        // A name without slashes would have to be one of `ip netns`.
        ip(&format!("link set up0 netns {}", space.display()));
        let four = format!("10.55.{net}.{at}");
        let six = format!("2001:db8:{net}::{at}");
        let inside = || {
            ip(&format!("addr add {four}/24 dev up0"));
            ip(&format!("addr add {six}/64 dev up0 nodad"));
            ip("link set up0 up");
            ip(&format!("route add default via 10.55.{net}.254"));
            ip(&format!("route add default via 2001:db8:{net}::254"));
            Ok(())
        };
        kit.lab.inside(&space, inside).unwrap();
        let what = RoutedNode {
            addresses: vec![four.parse().unwrap(), six.parse().unwrap()],
            ranges: vec![
                format!("10.144.{at}.0/24").parse().unwrap(),
                format!("fd00:144:0:{at}::/64").parse().unwrap(),
            ],
            name: name.clone(),
        };
        let settings = Settings {
            node_file: kit.lab.folder(&format!("router-{name}")).unwrap().join("pod-network.json"),
            namespace: Some(space.clone()),
            ..Settings::new(mode.clone(), CLUSTER.map(|range| range.parse().unwrap()).to_vec())
        };
        let routes = NodeRoutes::new(settings.clone(), kit.machine.clone());
        Self { kit, space, what, settings, routes }
    }

    fn cable(&self) -> String {
        format!("u{}", self.what.name)
    }

    fn replace(&self, others: &[&Node<'_>]) -> Vec<Unreached> {
        let others = others.iter().map(|node| node.what.clone()).collect();
        self.kit.machine.block_on(self.routes.replace(self.what.clone(), others)).unwrap()
    }

    fn change(&self, put: Vec<RoutedNode>, gone: &[&str]) -> Vec<Unreached> {
        let gone = gone.iter().map(ToString::to_string).collect();
        self.kit.machine.block_on(self.routes.change(RoutesChange { put, gone })).unwrap()
    }

    fn network(&self) -> Bridge {
        let config: Value = json!({
            "cniVersion": "1.1.0", "name": format!("of-{}", self.what.name), "type": "windlass-bridge",
            "mode": self.settings.mode.name(), "bridge": "cni0", "ipMasq": true, "nodeFile": self.settings.node_file,
        });
        let setup = Setup::of(serde_json::from_value(config).unwrap(), Arc::new(Inline)).unwrap();
        Bridge::new(&setup).unwrap()
    }

    /// A new pod on the node.
    fn pod(&self, name: &str) -> Pod {
        let network = self.network();
        let wanted = self.kit.attachment(&format!("{}-{name}", self.what.name));
        let attached = self.kit.lab.inside(&self.space, || block_on(network.attach(&wanted))).unwrap();
        Pod { wanted, attached, network }
    }

    fn end(&self, pod: &Pod) {
        self.kit.lab.inside(&self.space, || block_on(pod.network.detach(&pod.wanted))).unwrap();
        self.kit.lab.remove_pod(pod.space()).unwrap();
    }

    fn run(&self, tool_and_words: &str) -> String {
        let (name, words) = tool_and_words.split_once(' ').unwrap();
        self.kit.lab.inside(&self.space, || Ok(tool(name, words))).unwrap()
    }

    /// Whatever a router may make.
    fn made(&self) -> Vec<String> {
        let mut all = Vec::new();
        for words in
            ["ip -4 route show", "ip -6 route show", "ip neigh show nud permanent", "bridge fdb show", "ip -o link"]
        {
            all.extend(self.run(words).lines().map(|line| line.trim().to_owned()));
        }
        // What the kernel makes by itself, some of it a moment after a cable is plugged in.
        all.retain(|line| !["33:33:", "01:00:5e", "link/", "proto kernel"].iter().any(|word| line.contains(word)));
        for line in &mut all {
            *line = line.replace(" linkdown", "");
        }
        all
    }

    fn ours(&self) -> Vec<String> {
        let lines = ["ip -4 route show proto 87", "ip -6 route show proto 87"].map(|words| self.run(words));
        lines.iter().flat_map(|text| text.lines()).map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.cable()]).output();
        let _ = self.kit.lab.remove_pod(&self.space);
    }
}

/// This namespace is a switch between the nodes.
struct Switch;

impl Switch {
    fn new(nodes: &[&Node<'_>]) -> Self {
        ip("link add under0 type bridge");
        ip("link set under0 up");
        for node in nodes {
            ip(&format!("link set {} master under0 up", node.cable()));
        }
        Self
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", "under0"]).output();
    }
}

/// This namespace is a router between the nodes, each of which is in a subnet of its own.
fn router(nodes: &[(&Node<'_>, u8)]) {
    for (node, net) in nodes {
        let cable = node.cable();
        ip(&format!("addr add 10.55.{net}.254/24 dev {cable}"));
        ip(&format!("addr add 2001:db8:{net}::254/64 dev {cable} nodad"));
        ip(&format!("link set {cable} up"));
    }
    for knob in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{knob}"), "1").unwrap();
    }
}

/// Sends many bytes from one namespace to an address of another; the answer is whom the server saw.
fn talk(kit: &Kit, from: &Path, to: IpAddr, server: &Path) -> Option<IpAddr> {
    let patience = Duration::from_secs(5);
    let listen = || Ok(TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)).unwrap());
    let listener = kit.lab.inside(server, listen).unwrap();
    let address = SocketAddr::from((to, 80));
    let stream = kit.lab.inside(from, || Ok(TcpStream::connect_timeout(&address, patience).ok())).unwrap();
    let mut stream = stream?;
    let (mut other, peer) = listener.accept().unwrap();
    other.set_read_timeout(Some(patience)).unwrap();
    let sent = thread::Builder::new().spawn(move || stream.write_all(&vec![7; BYTES])).unwrap();
    let mut got = Vec::new();
    let arrived = other.read_to_end(&mut got).is_ok();
    drop(other);
    let _ = sent.join().unwrap();
    (arrived && got.len() == BYTES).then(|| peer.ip().to_canonical())
}

/// Pods of both reach each other and the other's node, with addresses of their own.
fn reach_each_other(kit: &Kit, a: &Node<'_>, b: &Node<'_>) {
    let (one, other) = (a.pod("p"), b.pod("p"));
    for four in [true, false] {
        for (from, to) in [(&one, &other), (&other, &one)] {
            let saw = talk(kit, from.space(), to.ip(four), to.space());
            assert_eq!(saw, Some(from.ip(four)), "to {}", to.ip(four));
        }
        // Also from the node itself, which the other one answers.
        assert!(talk(kit, &a.space, other.ip(four), other.space()).is_some(), "from the node to {}", other.ip(four));
    }
    a.end(&one);
    b.end(&other);
}

fn by_routes(kit: &Kit) {
    let [a, b] = [1, 2].map(|at| Node::new(kit, "rt", at, 7, &Mode::Routed));
    let _switch = Switch::new(&[&a, &b]);
    assert!(a.replace(&[&b]).is_empty());
    assert!(b.replace(&[&a]).is_empty());
    assert_eq!(a.ours(), ["10.144.2.0/24", "fd00:144:0:2::/64"]);
    reach_each_other(kit, &a, &b);
}

fn by_vxlan(kit: &Kit) {
    let [a, b] = [1, 2].map(|at| Node::new(kit, "vx", at, 10 + at, &Mode::VXLAN));
    router(&[(&a, 11), (&b, 12)]);
    assert!(a.replace(&[&b]).is_empty());
    assert!(b.replace(&[&a]).is_empty());
    let pod = a.pod("mtu");
    assert!(pod.attached.interfaces.iter().all(|link| link.mtu == Some(1450)), "{:?}", pod.attached.interfaces);
    a.end(&pod);
    reach_each_other(kit, &a, &b);
}

fn over_ipv6(kit: &Kit) {
    let [mut a, mut b] = [1, 2].map(|at| Node::new(kit, "v6", at, 20 + at, &Mode::VXLAN));
    for node in [&mut a, &mut b] {
        node.what.addresses.remove(0);
    }
    router(&[(&a, 21), (&b, 22)]);
    assert!(a.replace(&[&b]).is_empty());
    assert!(b.replace(&[&a]).is_empty());
    reach_each_other(kit, &a, &b);
}

fn a_node_goes(kit: &Kit) {
    for mode in [Mode::Routed, Mode::VXLAN] {
        let [a, b, c] = [1, 2, 3].map(|at| Node::new(kit, "go", at, 8, &mode));
        let _switch = Switch::new(&[&a, &b, &c]);
        let nothing = a.made();
        assert!(a.replace(&[]).is_empty());
        let alone = a.made();
        assert!(a.change(vec![b.what.clone()], &[]).is_empty());
        let with_b = a.made();
        assert!(a.change(vec![c.what.clone()], &[]).is_empty());
        assert!(a.made().len() > with_b.len() && with_b.len() > alone.len());
        assert!(a.change(vec![], &["go3"]).is_empty());
        assert_eq!(a.made(), with_b);
        assert!(a.change(vec![], &["go2", "never"]).is_empty());
        assert_eq!(a.made(), alone);
        assert!(a.change(vec![b.what.clone(), c.what.clone()], &[]).is_empty());
        for _ in 0..2 {
            kit.machine.block_on(a.routes.clear()).unwrap();
            assert_eq!(a.made(), nothing);
            assert!(!a.settings.node_file.exists());
        }
    }
}

fn restart(kit: &Kit) {
    for mode in [Mode::Routed, Mode::VXLAN] {
        let [mut a, b, c] = [1, 2, 3].map(|at| Node::new(kit, "re", at, 9, &mode));
        let _switch = Switch::new(&[&a, &b, &c]);
        assert!(a.replace(&[&b]).is_empty());
        let with_b = a.made();
        a.run("ip route add 10.99.0.0/24 via 10.55.9.77");
        let others = a.made();
        assert!(a.change(vec![c.what.clone()], &[]).is_empty());
        // Another process: it knows nothing, and half of something is there.
        a.run("ip route del 10.144.2.0/24");
        a.run("ip route add 10.144.77.0/24 via 10.55.9.77 proto 87");
        a.routes = NodeRoutes::new(a.settings.clone(), kit.machine.clone());
        let error = kit.machine.block_on(a.routes.change(RoutesChange::default())).unwrap_err();
        assert!(error.is(ErrorKind::Conflict), "{error}");
        assert!(a.replace(&[&b]).is_empty());
        let mut now = a.made();
        let mut expect = others;
        now.sort();
        expect.sort();
        assert_eq!(now, expect);
        assert_eq!(now.len(), with_b.len() + 1);
    }
}

/// What a node's routes say of disturbances.
struct Told<'a> {
    kit: &'a Kit,
    items: Disturbances,
}

impl<'a> Told<'a> {
    fn new(kit: &'a Kit, node: &Node<'_>) -> Self {
        let mut told = Self { kit, items: node.routes.disturbances().unwrap() };
        assert!(told.comes(), "nobody follows");
        told
    }

    /// Whether there is news within a while.
    fn comes(&mut self) -> bool {
        self.within(Duration::from_secs(5))
    }

    fn within(&mut self, span: Duration) -> bool {
        let next = self.kit.machine.within(span, self.items.next());
        self.kit.machine.block_on(next).is_some_and(|item| item.is_some())
    }

    /// Forgets what is on its way still.
    fn settle(&mut self) {
        while self.within(Duration::from_millis(200)) {}
    }
}

fn taken_away(kit: &Kit) {
    for mode in [Mode::Routed, Mode::VXLAN] {
        let [a, b, c] = [1, 2, 3].map(|at| Node::new(kit, "ta", at, 14, &mode));
        let _switch = Switch::new(&[&a, &b, &c]);
        let mut told = Told::new(kit, &a);
        assert!(a.replace(&[&b]).is_empty());
        // The kernel tells late of new links: addresses of IPv6 are tentative for up to two seconds.
        while told.within(Duration::from_secs(3)) {}
        // Our own changes are none of theirs, and neither are others' that are not about ours.
        let quiet = Duration::from_millis(300);
        assert!(a.change(vec![c.what.clone()], &[]).is_empty());
        assert!(!told.within(quiet), "{mode:?}: an addition of ours");
        assert!(a.change(vec![], &["ta3"]).is_empty());
        assert!(!told.within(quiet), "{mode:?}: a removal of ours");
        a.run("ip route add 10.99.0.0/24 via 10.55.14.77");
        a.run("ip route del 10.99.0.0/24 via 10.55.14.77");
        assert!(!told.within(quiet), "{mode:?}: a route of somebody else's");
        let whole = a.made();
        let device = "wlvx1";
        let mut acts = vec![
            "ip route del 10.144.2.0/24".to_owned(),
            "ip route del fd00:144:0:2::/64".to_owned(),
            "ip -4 route flush proto 87".to_owned(),
        ];
        if mode == Mode::VXLAN {
            let mac = "0a:58:0a:90:02:00";
            acts.push(format!("ip neigh del 10.144.2.0 dev {device}"));
            acts.push(format!("ip neigh replace 10.144.2.0 lladdr 02:00:00:00:00:07 dev {device} nud permanent"));
            acts.push(format!("bridge fdb del {mac} dev {device} dst 10.55.14.2"));
            acts.push(format!("ip link set {device} down"));
            acts.push(format!("ip addr del 10.144.1.0/32 dev {device}"));
        }
        for act in &acts {
            a.run(act);
            assert!(told.comes(), "{mode:?}: {act}");
            assert!(a.replace(&[&b]).is_empty());
            assert_eq!(a.made(), whole, "{mode:?}: {act}");
            told.settle();
        }
        if mode == Mode::VXLAN {
            a.run(&format!("ip link del {device}"));
            assert!(told.comes(), "the device went");
            assert!(a.replace(&[&b]).is_empty());
            assert_eq!(a.ours(), ["10.144.2.0/24", "fd00:144:0:2::/64"]);
        }
    }
}

fn comes_back(kit: &Kit) {
    let [a, b] = [1, 2].map(|at| Node::new(kit, "cb", at, 15, &Mode::Routed));
    let _switch = Switch::new(&[&a, &b]);
    let mut told = Told::new(kit, &a);
    assert!(a.replace(&[&b]).is_empty());
    told.settle();
    // The kernel takes its routes along without a word about each.
    a.run("ip link set up0 down");
    assert!(told.comes());
    told.settle();
    let failed = kit.machine.block_on(a.routes.replace(a.what.clone(), vec![b.what.clone()]));
    assert!(failed.map_or(true, |unreached| unreached.len() == 1), "a link that is down leads nowhere");
    assert!(a.ours().is_empty());
    told.settle();
    a.run("ip link set up0 up");
    assert!(told.comes());
    // IPv6 takes its time, and its addresses went with the link.
    a.run("ip addr replace 2001:db8:15::1/64 dev up0 nodad");
    told.settle();
    assert!(a.replace(&[&b]).is_empty());
    assert_eq!(a.ours(), ["10.144.2.0/24", "fd00:144:0:2::/64"]);
}

fn unreached(kit: &Kit) {
    let [a, b] = [1, 2].map(|at| Node::new(kit, "un", at, 13, &Mode::Routed));
    let _switch = Switch::new(&[&a, &b]);
    let told =
        |found: Vec<Unreached>| found.iter().map(|one| (one.node.clone(), one.why.to_string())).collect::<Vec<_>>();
    let far = RoutedNode {
        name: "far".into(),
        addresses: vec!["10.66.0.9".parse().unwrap()],
        ranges: vec!["10.144.9.0/24".parse().unwrap()],
    };
    // Somebody else leads this one elsewhere.
    a.run("ip route add 10.144.5.0/24 via 10.55.13.5");
    let taken = RoutedNode {
        name: "taken".into(),
        addresses: b.what.addresses.clone(),
        ranges: vec!["10.144.5.0/24".parse().unwrap(), "10.144.6.0/24".parse().unwrap()],
    };
    let others = vec![far.clone(), taken.clone(), b.what.clone()];
    let found = told(kit.machine.block_on(a.routes.replace(a.what.clone(), others)).unwrap());
    let [one, two] = &found[..] else { panic!("{found:?}") };
    assert!(one.0 == "far" && one.1.contains("behind the router 10.55.13.254") && one.1.contains("vxlan"), "{one:?}");
    assert!(two.0 == "taken" && two.1.contains("has not our mark"), "{two:?}");
    assert_eq!(a.ours(), ["10.144.2.0/24", "fd00:144:0:2::/64"], "a node is led to whole or not at all");
    a.run("ip route del 10.144.5.0/24");
    assert_eq!(told(a.change(vec![far.clone(), taken], &[])).len(), 1);
    assert_eq!(a.ours().len(), 4);
    let near = RoutedNode { addresses: vec!["10.55.13.9".parse().unwrap()], ..far };
    assert!(a.change(vec![near], &[]).is_empty());
    assert_eq!(a.ours().len(), 5);
}

fn moved(kit: &Kit) {
    for mode in [Mode::Routed, Mode::VXLAN] {
        let [a, b, c] = [1, 2, 3].map(|at| Node::new(kit, "mv", at, 14, &mode));
        let _switch = Switch::new(&[&a, &b, &c]);
        assert!(a.replace(&[&b]).is_empty());
        assert_eq!(a.change(vec![RoutedNode { ranges: b.what.ranges.clone(), ..c.what.clone() }], &[]).len(), 1);
        let moved = RoutedNode { ranges: b.what.ranges.clone(), ..c.what.clone() };
        let left = RoutedNode { ranges: c.what.ranges.clone(), ..b.what.clone() };
        assert!(a.change(vec![moved, left], &[]).is_empty());
        let made = a.made().join("\n");
        let leads = match mode {
            Mode::Routed => {
                made.contains("10.144.2.0/24 via 10.55.14.3") && made.contains("10.144.3.0/24 via 10.55.14.2")
            }
            Mode::Vxlan { .. } => made.contains("0a:58:0a:90:02:00 dev wlvx1 dst 10.55.14.3"),
        };
        assert!(leads, "{made}");
        assert_eq!(a.ours().len(), 4);
    }
}

fn device(kit: &Kit) {
    let mut a = Node::new(kit, "dv", 1, 15, &Mode::VXLAN);
    let _switch = Switch::new(&[&a]);
    let replace = |a: &Node<'_>| kit.machine.block_on(a.routes.replace(a.what.clone(), vec![]));
    a.run("ip link add other type vxlan id 1 dstport 8472 nolearning dev up0");
    let error: Error = replace(&a).unwrap_err();
    assert!(error.is(ErrorKind::Conflict) && error.message().contains("VNI 1 at port 8472"), "{error}");
    assert!(!a.settings.node_file.exists());
    a.run("ip link del other");
    // One of our name with other settings is not taken as it is.
    a.run("ip link add wlvx1 type vxlan id 1 dstport 4789 dev up0");
    replace(&a).unwrap();
    let made = a.run("ip -d link show wlvx1");
    assert!(made.contains("dstport 8472") && made.contains("nolearning") && made.contains("mtu 1450"), "{made}");
    let index = made.split(':').next().unwrap().to_owned();
    replace(&a).unwrap();
    assert!(a.run("ip -d link show wlvx1").starts_with(&index), "what is as it should be stays");
    // The node got another range.
    a.what.ranges = vec!["10.144.40.0/24".parse().unwrap()];
    replace(&a).unwrap();
    let addresses = a.run("ip -o addr show dev wlvx1 scope global");
    assert!(addresses.contains("10.144.40.0/32") && addresses.lines().count() == 1, "{addresses}");
    a.what.addresses = vec!["10.55.15.99".parse().unwrap()];
    let error = replace(&a).unwrap_err();
    assert!(error.is(ErrorKind::Unavailable) && error.message().contains("10.55.15.99"), "{error}");
}

/// What it took is shown and not asserted. A netlink message for each entry is what a change must cost.
fn thousands(kit: &Kit) {
    const NODES: u16 = 5000;
    for mode in [Mode::Routed, Mode::VXLAN] {
        let a = Node::new(kit, "th", 1, 17, &mode);
        let _switch = Switch::new(&[&a]);
        let other = |at: u16, low: u8| {
            let [high, byte] = at.to_be_bytes();
            RoutedNode {
                name: format!("n{at}"),
                addresses: vec![[10, 55, 17, low].into(), format!("2001:db8:17::{low}").parse().unwrap()],
                ranges: vec![
                    format!("10.{}.{byte}.0/24", 150 + high).parse().unwrap(),
                    format!("fd00:145:0:{at:x}::/64").parse().unwrap(),
                ],
            }
        };
        let others = (0..NODES).map(|at| other(at, 2)).collect();
        let begin = kit.machine.uptime();
        assert!(kit.machine.block_on(a.routes.replace(a.what.clone(), others)).unwrap().is_empty());
        let whole = kit.machine.uptime() - begin;
        assert_eq!(a.ours().len(), 2 * usize::from(NODES));
        let begin = kit.machine.uptime();
        assert!(a.change(vec![other(7, 3)], &["n8"]).is_empty());
        let one = kit.machine.uptime() - begin;
        assert_eq!(a.ours().len(), 2 * usize::from(NODES) - 2);
        println!("{}: {NODES} nodes in {whole:?}, one more and one less in {one:?}", mode.name());
        kit.machine.block_on(a.routes.clear()).unwrap();
    }
}

/// The bridge in a network of the node's, for the suite: the node is this namespace.
pub(crate) fn fixture(kit: &Kit, prefix: String) -> Fixture {
    let settings = Settings {
        node_file: kit.lab.folder("suite").unwrap().join("pod-network.json"),
        ..Settings::new(Mode::Routed, CLUSTER.map(|range| range.parse().unwrap()).to_vec())
    };
    let own = RoutedNode {
        name: "suite".into(),
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        ranges: vec!["10.144.99.0/24".parse().unwrap(), "fd00:144:0:99::/64".parse().unwrap()],
    };
    let routes = NodeRoutes::new(settings.clone(), kit.machine.clone());
    assert!(kit.machine.block_on(routes.replace(own, vec![])).unwrap().is_empty());
    let plugin = json!({
        "type": "windlass-bridge", "mode": "routed", "bridge": "wl9", "ipMasq": true, "hairpinMode": true,
        "macspoofchk": true, "mtu": 1400, "nodeFile": settings.node_file,
    });
    Fixture {
        network: Arc::new(crate::bridge::bridge(kit, "routed", &plugin)),
        offers: Offers { ports: Some([10, 144, 99, 1].into()), ..OFFERS },
        ..crate::bridge::direct(kit, prefix)
    }
}

fn waits(kit: &Kit) {
    let a = Node::new(kit, "wt", 1, 16, &Mode::Routed);
    let _switch = Switch::new(&[&a]);
    let network = a.network();
    let wanted = kit.attachment("wt1-early");
    let attach = || kit.lab.inside(&a.space, || block_on(network.attach(&wanted)));
    for error in [attach().unwrap_err(), kit.lab.inside(&a.space, || block_on(network.ready())).unwrap_err()] {
        assert!(error.is(ErrorKind::Unavailable) && error.message().contains("podCIDRs"), "{error}");
    }
    assert!(a.replace(&[]).is_empty());
    kit.lab.inside(&a.space, || block_on(network.ready())).unwrap();
    let attached = attach().unwrap();
    assert_eq!(attached.ips().map(|ip| ip.to_string()).collect::<Vec<_>>(), ["10.144.1.2", "fd00:144:0:1::2"]);
    // What is attached is detached whether or not the routes are there.
    kit.machine.block_on(a.routes.clear()).unwrap();
    kit.lab.inside(&a.space, || block_on(network.detach(&wanted))).unwrap();
    kit.lab.remove_pod(wanted.namespace.as_deref().unwrap()).unwrap();
    std::fs::write(&a.settings.node_file, r#"{"mode": "vxlan", "ranges": [], "mtu": 1450}"#).unwrap();
    let error = kit.lab.inside(&a.space, || block_on(network.ready())).unwrap_err();
    assert!(error.is(ErrorKind::Conflict) && error.message().contains("must be the same"), "{error}");
}

//! The nftables backend on a real kernel, in network namespaces of its own: pods on a bridge, a node, connections.
//!
//! Where the machine cannot do that (no root, no nft), every test is listed as ignored with the reason.

mod figures;
mod net;
mod routes;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use futures::{executor::block_on, future::BoxFuture};
use libtest_mimic::{Arguments, Failed, Trial};
use windlass_cni::flows::KernelFlows;
use windlass_kernel::{
    ServiceRules, Spawn,
    controller::ObjectKey,
    rules::{Endpoint, PortKey, Protocol, Reach, RulesChange, ServicePort},
};
use windlass_proxy::NftRules;

use self::net::{Lab, Outcome};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 7, 7));

/// Runs everything inline: the tests have nothing else to do meanwhile.
#[derive(Debug)]
struct Inline;

impl Spawn for Inline {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        block_on(task);
    }

    fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

type Test = fn(&Lab);

fn main() {
    let arguments = Arguments::from_args();
    let missing = net::missing();
    let tests: &[(&str, Test)] = &[
        ("a_cluster_ip_reaches_every_endpoint", a_cluster_ip_reaches_every_endpoint),
        ("a_port_without_endpoints_refuses_at_once", a_port_without_endpoints_refuses_at_once),
        ("a_node_port_is_reached_from_the_node_and_from_pods", a_node_port_is_reached_from_the_node_and_from_pods),
        ("a_node_port_comes_and_goes_with_what_is_wanted", a_node_port_comes_and_goes_with_what_is_wanted),
        ("a_pod_reaches_itself_through_its_service", a_pod_reaches_itself_through_its_service),
        ("a_sticky_client_stays_with_one_endpoint", a_sticky_client_stays_with_one_endpoint),
        ("a_local_policy_leaves_out_other_nodes", a_local_policy_leaves_out_other_nodes),
        ("a_change_touches_only_what_it_names", a_change_touches_only_what_it_names),
        ("an_address_that_two_services_want_is_the_first_ones", an_address_that_two_services_want_is_the_first_ones),
        ("many_endpoints_are_drawn_too", many_endpoints_are_drawn_too),
        ("a_udp_client_follows_when_its_endpoint_is_replaced", a_udp_client_follows_when_its_endpoint_is_replaced),
        ("clear_leaves_nothing", clear_leaves_nothing),
        ("what_the_rules_of_many_services_cost_is_told", figures::told),
        ("routes_of_two_nodes_follow_the_node_objects", routes::follow),
    ];
    let trials = tests.iter().map(|&(name, test)| {
        let kind = missing.clone().unwrap_or_default();
        let run = move || {
            let lab = Lab::new(name).map_err(|error| Failed::from(error.to_string()))?;
            test(&lab);
            Ok(())
        };
        Trial::test(name, run).with_kind(kind).with_ignored_flag(missing.is_some())
    });
    let trials = trials.collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn rules(lab: &Lab) -> NftRules {
    NftRules::new(Arc::new(Inline)).through(lab.node_command("nft"))
}

fn service(name: &str, endpoints: &[(IpAddr, bool)]) -> ServicePort {
    ServicePort {
        key: PortKey { service: ObjectKey::new("default", name), port: 80, protocol: Protocol::Tcp },
        cluster_ips: vec![VIP],
        external_ips: vec![],
        node_port: Some(30080),
        affinity: None,
        internal: Reach::Cluster,
        external: Reach::Cluster,
        endpoints: endpoints.iter().map(|&(ip, local)| Endpoint { ip, port: net::PORT, local }).collect(),
    }
}

fn a_cluster_ip_reaches_every_endpoint(lab: &Lab) {
    let rules = rules(lab);
    block_on(rules.replace(vec![service("web", &[(lab.pod(0), true), (lab.pod(1), true)])])).unwrap();
    let mut seen = [0, 0];
    for _ in 0..40 {
        match lab.pod_connects(2, VIP, 80) {
            Outcome::Answered { server, client } => {
                seen[server] += 1;
                assert_eq!(client, lab.pod(2), "a pod's address is kept inside the cluster");
            }
            other => panic!("no answer: {other:?}"),
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "both endpoints serve: {seen:?}");
    assert!(matches!(lab.node_connects(VIP, 80), Outcome::Answered { .. }));
}

fn a_port_without_endpoints_refuses_at_once(lab: &Lab) {
    let rules = rules(lab);
    block_on(rules.replace(vec![service("web", &[])])).unwrap();
    assert_eq!(lab.pod_connects(2, VIP, 80), Outcome::Refused);
    assert_eq!(lab.node_connects(VIP, 80), Outcome::Refused);
    let change = RulesChange { put: vec![service("web", &[(lab.pod(0), true)])], gone: vec![] };
    block_on(rules.change(change)).unwrap();
    assert!(matches!(lab.pod_connects(2, VIP, 80), Outcome::Answered { server: 0, .. }));
}

fn a_node_port_is_reached_from_the_node_and_from_pods(lab: &Lab) {
    let rules = rules(lab);
    block_on(rules.replace(vec![service("web", &[(lab.pod(0), true)])])).unwrap();
    assert!(matches!(lab.pod_connects(2, lab.node(), 30080), Outcome::Answered { server: 0, .. }));
    assert!(matches!(lab.node_connects(lab.node(), 30080), Outcome::Answered { server: 0, .. }));
    assert!(matches!(lab.node_connects(Ipv4Addr::LOCALHOST.into(), 30080), Outcome::Answered { server: 0, .. }));
}

fn a_node_port_comes_and_goes_with_what_is_wanted(lab: &Lab) {
    let rules = rules(lab);
    let inside = ServicePort { node_port: None, ..service("web", &[(lab.pod(0), true)]) };
    let outside = service("web", &[(lab.pod(1), true)]);
    let put = |port: &ServicePort| {
        block_on(rules.change(RulesChange { put: vec![port.clone()], gone: vec![] })).unwrap();
    };
    let answers = |ip, port| match lab.pod_connects(2, ip, port) {
        Outcome::Answered { server, .. } => Some(server),
        _ => None,
    };
    block_on(rules.replace(vec![inside.clone()])).unwrap();
    for _ in 0..2 {
        assert_eq!((answers(VIP, 80), answers(lab.node(), 30080)), (Some(0), None));
        put(&outside);
        assert_eq!((answers(VIP, 80), answers(lab.node(), 30080)), (Some(1), Some(1)));
        put(&inside);
    }
}

fn a_pod_reaches_itself_through_its_service(lab: &Lab) {
    let rules = rules(lab);
    block_on(rules.replace(vec![service("web", &[(lab.pod(0), true)])])).unwrap();
    assert!(matches!(lab.pod_connects(0, VIP, 80), Outcome::Answered { server: 0, .. }));
}

fn a_sticky_client_stays_with_one_endpoint(lab: &Lab) {
    let rules = rules(lab);
    let mut web = service("web", &[(lab.pod(0), true), (lab.pod(1), true)]);
    web.affinity = Some(Duration::from_secs(60));
    block_on(rules.replace(vec![web.clone()])).unwrap();
    let first = lab.pod_connects(2, VIP, 80);
    assert!(matches!(first, Outcome::Answered { .. }), "{first:?}");
    assert!((0..10).all(|_| lab.pod_connects(2, VIP, 80) == first));
    web.affinity = None;
    block_on(rules.change(RulesChange { put: vec![web], gone: vec![] })).unwrap();
    assert!((0..40).any(|_| lab.pod_connects(2, VIP, 80) != first));
}

fn a_local_policy_leaves_out_other_nodes(lab: &Lab) {
    let rules = rules(lab);
    let mut web = service("web", &[(lab.pod(0), true), (lab.pod(1), false)]);
    web.internal = Reach::Local;
    web.external = Reach::Local;
    block_on(rules.replace(vec![web.clone()])).unwrap();
    assert!((0..10).all(|_| matches!(lab.pod_connects(2, VIP, 80), Outcome::Answered { server: 0, .. })));
    web.endpoints.remove(0);
    block_on(rules.change(RulesChange { put: vec![web], gone: vec![] })).unwrap();
    assert_eq!(lab.pod_connects(2, VIP, 80), Outcome::Refused);
    assert_eq!(lab.node_connects(lab.node(), 30080), Outcome::Refused);
}

fn a_change_touches_only_what_it_names(lab: &Lab) {
    let rules = rules(lab);
    let other_vip = IpAddr::V4(Ipv4Addr::new(10, 96, 7, 8));
    let mut other = service("other", &[(lab.pod(1), true)]);
    other.cluster_ips = vec![other_vip];
    other.node_port = None;
    let web = service("web", &[(lab.pod(0), true)]);
    block_on(rules.replace(vec![web.clone(), other.clone()])).unwrap();
    block_on(rules.change(RulesChange { put: vec![], gone: vec![web.key.clone()] })).unwrap();
    assert_ne!(lab.pod_connects(2, VIP, 80), Outcome::Refused, "nobody answers for an address that is not wanted");
    assert!(matches!(lab.pod_connects(2, other_vip, 80), Outcome::Answered { server: 1, .. }));
    let broken = ServicePort { cluster_ips: vec![VIP, VIP], ..web.clone() };
    let named = ObjectKey::new("default", "no such } name");
    let broken = ServicePort {
        key: PortKey { service: named, ..web.key.clone() },
        affinity: Some(Duration::from_secs(1)),
        ..broken
    };
    let refused = RulesChange { put: vec![broken, ServicePort { endpoints: vec![], ..other.clone() }], gone: vec![] };
    assert!(block_on(rules.change(refused)).is_err(), "a batch is applied as a whole or not at all");
    assert!(matches!(lab.pod_connects(2, other_vip, 80), Outcome::Answered { server: 1, .. }));
    block_on(rules.change(RulesChange { put: vec![web], gone: vec![other.key] })).unwrap();
    assert!(matches!(lab.pod_connects(2, VIP, 80), Outcome::Answered { server: 0, .. }));
}

fn an_address_that_two_services_want_is_the_first_ones(lab: &Lab) {
    let rules = rules(lab);
    let answers = |ip, port| match lab.pod_connects(2, ip, port) {
        Outcome::Answered { server, .. } => Some(server),
        _ => None,
    };
    let owner = service("web", &[(lab.pod(0), true)]);
    let mut thief = service("a-thief", &[(lab.pod(1), true)]);
    (thief.cluster_ips, thief.external_ips) = (vec![[10, 96, 7, 9].into()], vec![VIP]);
    block_on(rules.replace(vec![thief.clone(), owner.clone()])).unwrap();
    // A cluster address comes before one from outside; of two node ports, the first by name has it.
    assert_eq!(
        (answers(VIP, 80), answers(lab.node(), 30080), answers([10, 96, 7, 9].into(), 80)),
        (Some(0), Some(1), Some(1))
    );
    block_on(rules.change(RulesChange { put: vec![], gone: vec![owner.key.clone()] })).unwrap();
    assert_eq!((answers(VIP, 80), answers(lab.node(), 30080)), (Some(1), Some(1)));
    block_on(rules.change(RulesChange { put: vec![owner], gone: vec![] })).unwrap();
    assert_eq!(answers(VIP, 80), Some(0));
    block_on(rules.change(RulesChange { put: vec![], gone: vec![thief.key] })).unwrap();
    assert_eq!((answers(VIP, 80), answers(lab.node(), 30080)), (Some(0), Some(0)));
}

fn many_endpoints_are_drawn_too(lab: &Lab) {
    let rules = rules(lab);
    let vip = |port: u16| {
        // The last of many is a pod, the others are nobody.
        let mut endpoints: Vec<_> = (0..40).map(|at| ([10, 201, 1, at].into(), true)).collect();
        endpoints.truncate(port.into());
        service("web", &[endpoints, vec![(lab.pod(0), true), (lab.pod(1), true)]].concat())
    };
    let seen = || -> Vec<_> {
        let one = |_| match lab.pod_connects(2, VIP, 80) {
            Outcome::Answered { server, .. } => Some(server),
            _ => None,
        };
        (0..40).filter_map(one).collect()
    };
    let put = |count| block_on(rules.change(RulesChange { put: vec![vip(count)], gone: vec![] })).unwrap();
    let shown = || lab.node_output("nft", &["list", "ruleset"]);
    block_on(rules.replace(vec![vip(0)])).unwrap();
    assert_eq!(BTreeSet::from_iter(seen()).len(), 2);
    put(40);
    assert!(shown().contains("numgen random mod 42 map"));
    put(0);
    assert_eq!(BTreeSet::from_iter(seen()).len(), 2);
    assert!(!shown().contains("default/web"), "no chain of its own is left");
}

fn a_udp_client_follows_when_its_endpoint_is_replaced(lab: &Lab) {
    let rules = rules(lab).forgetting(Arc::new(KernelFlows::new(Arc::new(Inline)).inside(lab.node_space())));
    let udp = |name: &str, vip: u8, endpoints: &[IpAddr]| {
        let endpoints: Vec<_> = endpoints.iter().map(|ip| (*ip, true)).collect();
        let mut port = service(name, &endpoints);
        port.key.protocol = Protocol::Udp;
        (port.cluster_ips, port.node_port) = (vec![[10, 96, 7, vip].into()], (vip == 7).then_some(30080));
        port
    };
    let other = udp("other", 8, &[lab.pod(0)]);
    block_on(rules.replace(vec![udp("web", 7, &[lab.pod(0)]), other.clone()])).unwrap();
    let (socket, at_node) = (lab.pod_socket(2), lab.pod_socket(2));
    let asked = |vip: u8| net::ask(&socket, [10, 96, 7, vip].into(), 80);
    let node = || net::ask(&at_node, lab.node(), 30080);
    assert_eq!((asked(7), asked(8), node()), (Some(0), Some(0), Some(0)));
    let put = |port| block_on(rules.change(RulesChange { put: vec![port], gone: vec![] })).unwrap();
    put(udp("web", 7, &[lab.pod(1)]));
    assert_eq!((asked(7), asked(8), node()), (Some(1), Some(0), Some(1)));
    // Those that may go on where they are do; else half of them would change, for one of several clients at least.
    put(udp("web", 7, &[lab.pod(0), lab.pod(1)]));
    assert!((0..10).all(|_| asked(7) == Some(1)));
    // A process that was not there when the endpoint changed finds what is stale.
    let changed = vec![udp("web", 7, &[lab.pod(0)]), other];
    block_on(rules.replace(changed)).unwrap();
    assert_eq!((asked(7), asked(8), node()), (Some(0), Some(0), Some(0)));
}

fn clear_leaves_nothing(lab: &Lab) {
    let rules = rules(lab);
    block_on(rules.replace(vec![service("web", &[(lab.pod(0), true)])])).unwrap();
    block_on(rules.clear()).unwrap();
    block_on(rules.clear()).unwrap();
    assert_eq!(lab.node_output("nft", &["list", "ruleset"]), "");
}

//! What is wished for beyond an address.

use std::collections::BTreeSet;

use futures::FutureExt;
use windlass_kernel::{
    network::{Bandwidth, Rate, Wishes},
    runtime::{PortMapping, Protocol},
};

use super::{Check, Fixture, PORT};

/// A port of the node that nothing else in the lab uses.
const NODE_PORT: u16 = 18_080;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_port_of_the_node_leads_to_the_pod",
        clause: "Conventions, portMappings: a list of mappings from ports of the host to ports of the container",
        needs: without_ports,
        run: |f| ports(f).boxed(),
    },
    Check {
        name: "a_port_that_is_taken_is_refused",
        clause: "Conventions, portMappings; ADD: an error if the requested modifications cannot be applied",
        needs: without_ports,
        run: |f| taken(f).boxed(),
    },
    Check {
        name: "bandwidth_is_limited_both_ways",
        clause: "Conventions, bandwidth: ingressRate, ingressBurst, egressRate, egressBurst",
        needs: |f| (!f.offers.bandwidth).then_some("the network limits no bandwidth"),
        run: |f| bandwidth(f).boxed(),
    },
];

fn without_ports(fixture: &Fixture) -> Option<&'static str> {
    fixture.offers.ports.is_none().then_some("the network maps no ports")
}

fn mapping(host_port: u16) -> PortMapping {
    PortMapping { protocol: Protocol::Tcp, container_port: PORT, host_port, host_ip: String::new() }
}

/// Everything on the node once a pod has had a port of it.
async fn before(fixture: &Fixture) -> BTreeSet<String> {
    let ports = vec![mapping(NODE_PORT - 1)];
    fixture.before_wishing(Wishes { ports, ..Wishes::default() }).await
}

/// Contract 10: from the node, from another pod, from the pod itself; and no longer afterwards.
async fn ports(fixture: Fixture) {
    let before = before(&fixture).await;
    let (mut pod, other) = (fixture.pod("a"), fixture.pod("b"));
    pod.wanted.wishes.ports.push(mapping(NODE_PORT));
    pod.attach().await;
    other.attach().await;
    let node = fixture.offers.ports.expect("the check needs it");
    let to = (node, NODE_PORT).into();
    let connects = |from| fixture.surroundings.connects(from, to, &pod.namespace, PORT);
    assert!(connects(None), "the node does not reach the pod at {to}");
    assert!(connects(Some(&other.namespace)), "another pod does not reach it at {to}");
    assert!(connects(Some(&pod.namespace)), "the pod does not reach itself at {to}");
    if fixture.offers.check {
        fixture.network.check(&pod.wanted).await.expect("it is as it was made");
    }
    pod.detach().await;
    let still = fixture.surroundings.connects(None, to, &other.namespace, PORT);
    assert!(!still, "the node's port leads to another pod now");
    other.detach().await;
    fixture.end(&before, &[&pod, &other]);
}

/// Contract 10: the second one is refused, and the first keeps the port.
async fn taken(fixture: Fixture) {
    let before = before(&fixture).await;
    let (mut pod, mut late) = (fixture.pod("a"), fixture.pod("b"));
    pod.wanted.wishes.ports.push(mapping(NODE_PORT));
    late.wanted.wishes.ports.push(mapping(NODE_PORT));
    pod.attach().await;
    let held = fixture.surroundings.inventory();
    fixture.network.attach(&late.wanted).await.expect_err("the node's port is taken");
    late.detach().await;
    assert_eq!(fixture.beyond(&held), Vec::<String>::new(), "the refused attach left something");
    let to = (fixture.offers.ports.expect("the check needs it"), NODE_PORT).into();
    assert!(fixture.surroundings.connects(None, to, &pod.namespace, PORT), "the first pod lost its port");
    pod.detach().await;
    fixture.end(&before, &[&pod, &late]);
}

/// Contract 10: a limit for each direction, and the pod is still reached.
async fn bandwidth(fixture: Fixture) {
    let before = fixture.before().await;
    let mut pod = fixture.pod("a");
    let rate = Some(Rate { bits: 8_000_000, burst: 8_000_000 });
    pod.wanted.wishes.bandwidth = Bandwidth { ingress: rate, egress: rate };
    let attached = pod.attach().await;
    let limits = fixture.beyond(&before).into_iter().filter(|item| item.starts_with("limit ")).count();
    assert!(limits >= 2, "{limits} limits are there for two directions");
    assert!(pod.reached(None, &attached), "the limits let nothing through");
    pod.detach().await;
    fixture.end(&before, &[&pod]);
}

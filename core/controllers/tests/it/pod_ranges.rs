//! Nodes get ranges of addresses for their pods.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use windlass_api::core::v1::{Event, Node};
use windlass_client::{Cache, Select};
use windlass_controllers::{Config, node_ipam::PodRanges};
use windlass_kernel::controller::ObjectKey;

use crate::{cluster::Cluster, laws};

/// Two families with four blocks each.
fn told() -> Config {
    let ranges = ["10.244.0.0/22", "fd00:10::/62"].map(|range| range.parse().unwrap()).to_vec();
    Config { pod_ranges: Some(PodRanges::new(ranges, (24, 64)).unwrap()), ..Config::default() }
}

fn node(name: &str, ranges: &[&str]) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDRs": ranges}})
}

fn ranges(nodes: &Cache<Arc<Node>>) -> BTreeMap<String, Vec<String>> {
    let of = |(key, node): (ObjectKey, Arc<Node>)| (key.name, node.spec.pod_cidrs.clone());
    nodes.list().into_iter().map(of).collect()
}

/// How many of the nodes have a range; none may have another's.
fn served(nodes: &Cache<Arc<Node>>) -> usize {
    let mut all: Vec<String> = ranges(nodes).into_values().flatten().collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "two nodes have one range: {:?}", ranges(nodes));
    count / 2
}

#[test]
fn each_node_has_ranges_of_its_own() {
    laws::hold_with(&told(), "node-controller", |cluster| {
        let nodes: Cache<Arc<Node>> = cluster.informers.typed(Select::all());
        cluster.until(&nodes, |nodes| served(nodes) == 2);
        for (name, at) in [("n3", 3), ("n4", 4)] {
            cluster.add_node(name, at);
            cluster.until(&nodes, |nodes| served(nodes) == usize::from(at));
        }
        let first = nodes.get(&ObjectKey::new("", "n3")).unwrap();
        assert_eq!(first.spec.pod_cidr.as_ref(), first.spec.pod_cidrs.first());
        cluster.settle();
        served(&nodes)
    });
}

#[test]
fn a_node_waits_for_a_range_that_another_leaves() {
    let mut cluster = Cluster::without_controllers(1);
    cluster.config = told();
    let nodes: Cache<Arc<Node>> = cluster.informers.typed(Select::all());
    let events: Cache<Arc<Event>> = cluster.informers.typed(Select::all());
    // What somebody else gave is not given again.
    cluster.create("nodes", node("own", &["10.244.0.0/24", "fd00:10::/64"]));
    cluster.until(&nodes, |nodes| nodes.len() == 3);
    cluster.run_controllers(crate::cluster::Watches::Prompt, crate::cluster::Reconciles::Once);
    cluster.create("nodes", node("n3", &[]));
    cluster.until(&nodes, |nodes| served(nodes) == 4);
    cluster.create("nodes", node("n4", &[]));
    let told = |events: &Cache<Arc<Event>>| {
        let about = |event: &Arc<Event>| event.reason.as_deref() == Some("CIDRNotAvailable");
        let found = events.values().into_iter().find(about);
        found.is_some_and(|event| event.message.as_deref() == Some("Node n4 status is now: CIDRNotAvailable"))
    };
    cluster.until(&events, told);
    let of = |nodes: &Cache<Arc<Node>>, name: &str| ranges(nodes).remove(name);
    let left = of(&nodes, "n3");
    cluster.executor.run_until(cluster.admin.delete::<Node>("", "n3")).unwrap();
    cluster.until(&nodes, |nodes| of(nodes, "n4") == left);
}

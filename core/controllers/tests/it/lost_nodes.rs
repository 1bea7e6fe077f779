//! Nodes come, fall silent and come back; their pods are let stay for a while and then evicted.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use windlass_api::core::v1::{Event, Node, Pod};
use windlass_client::{Cache, Informers, Select, informer::Parts};
use windlass_kernel::{SpawnExt, Stop, controller::ObjectKey};
use windlass_node::host::{Host, Registration};
use windlass_testkit::{FakeAgent, FakeNode, sim::Process};

use crate::{cluster::Cluster, laws};

/// Adds a node that can be killed.
pub(crate) fn mortal(cluster: &Cluster, name: &str, at: u16) -> Process {
    let process = cluster.executor.process();
    let handle = process.handle();
    let agent = FakeAgent::new(FakeNode::new(name, at), Arc::clone(&handle) as _, Arc::clone(&handle) as _);
    start(cluster, &process, name, Arc::new(agent));
    process
}

fn start(cluster: &Cluster, process: &Process, name: &str, agent: Arc<FakeAgent>) {
    let handle = process.handle();
    let (client, entropy) = (cluster.admin.clone(), Arc::clone(&handle) as _);
    let parts = Parts { client, spawn: Arc::clone(&handle) as _, clock: Arc::clone(&handle) as _, entropy };
    let host = Host::new(Registration::named(name), &Informers::new(parts), agent);
    handle.spawn("mortal", async move { host.run(Stop::new()).await }).detach();
}

fn nodes(cluster: &Cluster) -> Cache<Arc<Node>> {
    cluster.informers.typed(Select::all())
}

fn pods(cluster: &Cluster) -> Cache<Arc<Pod>> {
    cluster.informers.typed(Select::all())
}

fn node(nodes: &Cache<Arc<Node>>, name: &str) -> Option<Arc<Node>> {
    nodes.get(&ObjectKey::new("", name))
}

fn pod(pods: &Cache<Arc<Pod>>, name: &str) -> Option<Arc<Pod>> {
    pods.get(&ObjectKey::new("default", name))
}

/// A node as it is now.
fn read(cluster: &Cluster, name: &str) -> Arc<Node> {
    cluster.executor.run_until(cluster.admin.get("", name)).unwrap()
}

/// A pod as it is now.
fn read_pod(cluster: &Cluster, name: &str) -> Arc<Pod> {
    cluster.executor.run_until(cluster.admin.get("default", name)).unwrap()
}

fn condition(node: &Node, of: &str) -> String {
    let found = node.status.conditions.iter().find(|own| own.type_ == of);
    found.map(|own| format!("{} {}", own.status, own.reason.as_deref().unwrap_or_default())).unwrap_or_default()
}

fn pod_condition(pod: &Pod, of: &str) -> String {
    let found = pod.status.conditions.iter().find(|own| own.type_ == of);
    found.map(|own| own.status.clone()).unwrap_or_default()
}

/// A node's taints as `key:effect`, without the well-known prefix.
fn taints(node: &Node) -> Vec<String> {
    let own = node.spec.taints.iter();
    let mut taints: Vec<String> =
        own.map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)).collect();
    taints.sort();
    taints
}

fn run(cluster: &Cluster, name: &str, node: &str, tolerations: &Value) {
    let spec = json!({
        "nodeName": node, "tolerations": tolerations, "containers": [{"name": "main", "image": "main"}],
        "terminationGracePeriodSeconds": 0,
    });
    let metadata = json!({"name": name, "namespace": "default"});
    cluster.create("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    cluster.until(&pods(cluster), |pods| pod(pods, name).is_some_and(|pod| pod_condition(&pod, "Ready") == "True"));
}

fn schedulable(cluster: &Cluster, name: &str) {
    cluster.until(&nodes(cluster), |nodes| {
        node(nodes, name).is_some_and(|node| condition(&node, "Ready").starts_with("True") && taints(&node).is_empty())
    });
}

/// Waits until this is told.
fn happened(cluster: &Cluster, reason: &str, about: &str) {
    let events: Cache<Arc<Event>> = cluster.informers.typed(Select::all());
    let of = |event: &Arc<Event>| {
        event.reason.as_deref() == Some(reason) && event.involved_object.name.as_deref() == Some(about)
    };
    cluster.until(&events, |events| events.values().iter().any(of));
}

#[test]
fn a_new_node_becomes_schedulable_once_it_is_ready() {
    let cluster = Cluster::new(1);
    schedulable(&cluster, "n1");
    let bare = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "bare"}});
    cluster.create("nodes", bare);
    cluster.settle();
    assert_eq!(taints(&read(&cluster, "bare")), ["not-ready:NoSchedule"]);
    cluster.executor.run_for(Duration::from_secs(31));
    let bare = read(&cluster, "bare");
    assert_eq!(condition(&bare, "Ready"), "Unknown NodeStatusNeverUpdated");
    assert_eq!(taints(&bare), ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    happened(&cluster, "RegisteredNode", "n1");
}

#[test]
fn a_node_that_lives_costs_no_write() {
    let cluster = Cluster::new(2);
    schedulable(&cluster, "n1");
    schedulable(&cluster, "n2");
    cluster.settle();
    let before = cluster.gate.log().len();
    cluster.executor.run_for(Duration::from_secs(600));
    assert_eq!(cluster.gate.log()[before..], [] as [String; 0]);
}

#[test]
fn the_pods_of_a_silent_node_are_evicted_after_their_time() {
    let cluster = Cluster::new(3);
    let process = mortal(&cluster, "n3", 3);
    schedulable(&cluster, "n3");
    schedulable(&cluster, "n1");
    let forever = json!([{"operator": "Exists"}]);
    let short = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 20}]);
    run(&cluster, "usual", "n3", &json!([]));
    run(&cluster, "daemon", "n3", &forever);
    run(&cluster, "short", "n3", &short);
    run(&cluster, "elsewhere", "n1", &json!([]));
    process.kill();

    let (nodes, pods) = (nodes(&cluster), pods(&cluster));
    cluster.executor.run_for(Duration::from_secs(29));
    assert_eq!(condition(&node(&nodes, "n3").unwrap(), "Ready"), "True KubeletReady");
    cluster.executor.run_for(Duration::from_secs(12));
    let lost = node(&nodes, "n3").unwrap();
    for of in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        assert_eq!(condition(&lost, of), "Unknown NodeStatusUnknown", "{of}");
    }
    assert_eq!(taints(&lost), ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    assert!(lost.spec.taints.iter().all(|taint| taint.time_added.is_some()));
    for name in ["usual", "daemon", "short"] {
        assert_eq!(pod_condition(&pod(&pods, name).unwrap(), "Ready"), "False", "{name}");
    }
    let going = |name: &str| pod(&pods, name).is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
    assert!(!going("short"));

    cluster.executor.run_for(Duration::from_secs(20));
    assert!(going("short"));
    cluster.executor.run_for(Duration::from_secs(265));
    assert!(!going("usual"));
    cluster.executor.run_for(Duration::from_secs(30));
    assert!(going("usual"));
    assert!(!going("daemon"));
    assert_eq!(pod_condition(&pod(&pods, "elsewhere").unwrap(), "Ready"), "True");
    cluster.settle();
    happened(&cluster, "NodeNotReady", "n3");
    happened(&cluster, "TaintManagerEviction", "usual");
    assert!(cluster.executor.panics().is_empty(), "{:?}", cluster.executor.panics());
}

#[test]
fn a_node_that_comes_back_in_time_keeps_its_pods() {
    let cluster = Cluster::new(4);
    let process = cluster.executor.process();
    // The containers outlive their host.
    let agent = FakeAgent::new(FakeNode::new("n3", 3), cluster.executor.clock(), cluster.executor.spawn());
    let agent = Arc::new(agent);
    start(&cluster, &process, "n3", Arc::clone(&agent));
    schedulable(&cluster, "n3");
    schedulable(&cluster, "n1");
    run(&cluster, "usual", "n3", &json!([]));
    process.kill();
    cluster.executor.run_for(Duration::from_secs(120));
    assert_eq!(taints(&read(&cluster, "n3")), ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    start(&cluster, &cluster.executor.process(), "n3", agent);
    schedulable(&cluster, "n3");
    cluster.executor.run_for(Duration::from_secs(600));
    let kept = read_pod(&cluster, "usual");
    assert_eq!(kept.metadata.deletion_timestamp, None);
    assert_eq!(pod_condition(&kept, "Ready"), "True");
    happened(&cluster, "NodeReady", "n3");
}

#[test]
fn a_taint_that_nobody_tolerates_evicts_at_once() {
    let cluster = Cluster::new(5);
    schedulable(&cluster, "n1");
    run(&cluster, "usual", "n1", &json!([]));
    run(&cluster, "tolerant", "n1", &json!([{"key": "mine", "operator": "Exists"}]));
    let taint = |node: &mut Node| {
        let (key, effect) = ("mine".to_owned(), "NoExecute".to_owned());
        node.spec.taints.push(windlass_api::core::v1::Taint { key, effect, ..Default::default() });
    };
    cluster.executor.run_until(cluster.admin.modify::<Node>("", "n1", taint)).unwrap();
    cluster.until(&pods(&cluster), |pods| pod(pods, "usual").is_none());
    cluster.settle();
    let kept = read_pod(&cluster, "tolerant");
    assert_eq!(kept.metadata.deletion_timestamp, None);
    assert!(cluster.gate.log().iter().any(|line| line == "patch pods/status usual"), "{:#?}", cluster.gate.log());
}

#[test]
fn a_silent_node_is_told_of_and_taken_back_the_same_whatever_happens() {
    laws::hold("node-controller", |cluster| {
        let nodes = nodes(cluster);
        let (first, second) = (cluster.executor.process(), cluster.executor.process());
        let handle = first.handle();
        // Its pods outlive its host, as they do on a machine whose agent is away.
        let agent =
            Arc::new(FakeAgent::new(FakeNode::new("n3", 3), Arc::clone(&handle) as _, Arc::clone(&handle) as _));
        start(cluster, &first, "n3", Arc::clone(&agent));
        let ready =
            |nodes: &Cache<Arc<Node>>| node(nodes, "n3").map(|own| condition(&own, "Ready")).unwrap_or_default();
        let tainted = |nodes: &Cache<Arc<Node>>| node(nodes, "n3").map(|own| taints(&own)).unwrap_or_default();
        cluster.until(&nodes, |nodes| ready(nodes) == "True KubeletReady" && tainted(nodes).is_empty());
        first.kill();
        cluster.until(&nodes, |nodes| ready(nodes) == "Unknown NodeStatusUnknown");
        cluster.until(&nodes, |nodes| tainted(nodes) == ["unreachable:NoExecute", "unreachable:NoSchedule"]);
        start(cluster, &second, "n3", agent);
        cluster.until(&nodes, |nodes| ready(nodes) == "True KubeletReady" && tainted(nodes).is_empty());
        cluster.settle();
        (ready(&nodes), tainted(&nodes))
    });
}

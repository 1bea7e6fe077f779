//! A scheduler configured by upstream's file, in a cluster.

use serde_json::{Value, json};
use windlass_api::core::v1::{Node, Pod, Service};
use windlass_scheduler::Config;

use crate::rig::{Rig, run};

/// A file with these profiles.
pub(crate) fn profiles(profiles: &Value) -> Config {
    let file = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration", "profiles": profiles,
    });
    Config::read(&file.to_string()).unwrap()
}

/// A file with arguments of one plugin.
pub(crate) fn args(plugin: &str, args: &Value) -> Config {
    profiles(&json!([{"pluginConfig": [{"name": plugin, "args": args}]}]))
}

async fn label(rig: &Rig, node: &str, key: &str, value: &str) {
    let label = |node: &mut Node| drop(node.metadata.labels.insert(key.into(), value.into()));
    rig.client.modify::<Node>("", node, label).await.unwrap();
}

#[test]
fn pods_go_only_where_their_profile_sends_them() {
    run(60, |mut rig| async move {
        let terms = json!([{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["blue"]}]}]);
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let _scheduler = rig.scheduler(args("NodeAffinity", &json!({"addedAffinity": required})));
        rig.node("a", "8", &[]).await;
        rig.pod("p", "1", json!({})).await;
        let said = "0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity.";
        rig.complains("p", said).await;
        rig.complains("p", "It would fit with the smallest change: label node a with pool=blue.").await;
        rig.node("b", "2", &[]).await;
        label(&rig, "b", "pool", "blue").await;
        assert_eq!(rig.placed("p").await, "b");
    });
}

#[test]
fn pods_of_a_service_are_spread_as_their_profile_says() {
    run(61, |mut rig| async move {
        let constraint = json!({"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"});
        let list = json!({"defaultingType": "List", "defaultConstraints": [constraint]});
        rig.node("a", "8", &[]).await;
        rig.node("b", "1", &[]).await;
        for node in ["a", "b"] {
            label(&rig, node, "rack", node).await;
        }
        let service = json!({"metadata": {"namespace": "default", "name": "s"},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}});
        let service: Service = serde_json::from_value(service).unwrap();
        rig.client.create(&service).await.unwrap();
        let _scheduler = rig.scheduler(args("PodTopologySpread", &list));
        let mut nodes = Vec::new();
        for name in ["p", "q", "r"] {
            rig.pod(name, "1", json!({})).await;
            nodes.push(rig.placed(name).await);
        }
        nodes.sort_unstable();
        assert_eq!(nodes, ["a", "a", "b"]);
        rig.pod("s", "1", json!({})).await;
        let said = "1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints.";
        rig.complains("s", said).await;
        // One that says itself how it is spread is not told how.
        let own = json!([{"maxSkew": 9, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "x"}}}]);
        rig.pod("t", "1", json!({"topologySpreadConstraints": own})).await;
        assert_eq!(rig.placed("t").await, "a");
    });
}

#[test]
fn pods_with_needs_attract_as_much_as_their_profile_says() {
    run(62, |mut rig| async move {
        for name in ["a", "b"] {
            rig.node(name, "8", &[]).await;
        }
        // A pod on one of the nodes needs pods like those to come, which weighs as much as the profile says.
        let near = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]);
        let needs = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": near}});
        rig.pod("first", "4", json!({"affinity": needs, "nodeName": "a"})).await;
        rig.until("the first runs", || async { rig.get("first").await.status.phase.as_deref() == Some("Running") })
            .await;
        let scores = json!({"score": {"disabled": [{"name": "*"}],
            "enabled": [{"name": "InterPodAffinity"}, {"name": "NodeResourcesFit"}]}});
        let profile = |name: &str, weight: i32| {
            let near = json!({"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": weight}});
            json!({"schedulerName": name, "plugins": scores, "pluginConfig": [near]})
        };
        let _scheduler = rig.scheduler(profiles(&json!([profile("drawn", 100), profile("deaf", 0)])));
        rig.pod("p", "1", json!({"schedulerName": "drawn"})).await;
        assert_eq!(rig.placed("p").await, "a");
        rig.pod("q", "1", json!({"schedulerName": "deaf"})).await;
        assert_eq!(rig.placed("q").await, "b");
    });
}

#[test]
fn plugins_that_are_disabled_have_no_say() {
    run(63, |mut rig| async move {
        let off = json!({"multiPoint": {"disabled": [{"name": "NodeResourcesFit"}]}});
        let _scheduler = rig.scheduler(profiles(&json!([{"plugins": off}])));
        rig.node("a", "1", &[]).await;
        rig.pod("huge", "50", json!({})).await;
        assert_eq!(rig.placed("huge").await, "a");
        let pod = rig.client.get::<Pod>("default", "huge").await.unwrap();
        assert_eq!(pod.spec.node_name.as_deref(), Some("a"));
    });
}

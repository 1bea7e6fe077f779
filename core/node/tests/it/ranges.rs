//! Where a node's range of pod addresses comes from, over the real API server in virtual time.

use std::{sync::Arc, time::Duration};

use libtest_mimic::Trial;
use serde_json::json;
use windlass_api::core::v1::Node;
use windlass_kernel::{ClockExt, ErrorKind, Result, SpawnExt, Stop, api::PatchType};
use windlass_node::{
    Host,
    host::{Registration, pod_ranges},
};
use windlass_testkit::{FakeAgent, FakeNode};

use crate::cluster::{Cluster, Test, of};

const TESTS: &[Test] = &[
    ("a_node_waits_for_the_range_that_the_cluster_gives_it", given),
    ("a_range_that_was_asked_for_is_the_nodes_from_its_first_day", asked_for),
    ("a_range_that_another_node_has_is_refused", of_another),
    ("a_node_that_somebody_else_makes_is_waited_for", made_by_others),
    ("a_node_that_is_made_anew_keeps_its_range", made_anew),
];

pub(crate) fn trials() -> Vec<Trial> {
    of(TESTS)
}

async fn ranges(cluster: &Cluster, registration: &Registration, wanted: &[&str]) -> Result<Vec<String>> {
    let wanted: Vec<_> = wanted.iter().map(|text| text.parse().expect("a range")).collect();
    let ranges = pod_ranges(registration, &cluster.informers, &wanted).await?;
    Ok(ranges.iter().map(ToString::to_string).collect())
}

async fn node(cluster: &Cluster, name: &str) -> Arc<Node> {
    cluster.client.get::<Node>("", name).await.expect("the node is there")
}

async fn give(cluster: &Cluster, name: &str, range: &str) {
    let patch = json!({"spec": {"podCIDR": range, "podCIDRs": [range]}});
    cluster.client.patch::<Node>("", name, PatchType::Merge, patch).await.expect("the node gets a range");
}

async fn make(cluster: &Cluster, name: &str, range: Option<&str>) {
    let node = json!({"metadata": {"name": name}, "spec": {"podCIDRs": range.into_iter().collect::<Vec<_>>()}});
    let node: Node = serde_json::from_value(node).expect("a node");
    cluster.client.create(&node).await.expect("a node is made");
}

fn test(run: impl AsyncFnOnce(&Cluster)) {
    let cluster = Cluster::new();
    cluster.executor.run_until(run(&cluster));
}

fn given() {
    test(async |cluster| {
        let registration = Registration {
            labels: [("disk".to_owned(), "fast".to_owned())].into(),
            taints: vec![("gpu".into(), String::new(), "NoSchedule".into())],
            ..Registration::named("n1")
        };
        let giving = async {
            // Longer than anybody is patient.
            cluster.executor.clock().sleep(Duration::from_secs(60)).await;
            let node = node(cluster, "n1").await;
            assert_eq!((node.metadata.labels["disk"].as_str(), node.spec.taints[0].key.as_str()), ("fast", "gpu"));
            give(cluster, "n1", "10.88.7.0/24").await;
        };
        let (got, ()) = futures::join!(ranges(cluster, &registration, &[]), giving);
        assert_eq!(got.expect("a range"), ["10.88.7.0/24"]);
        assert_eq!(ranges(cluster, &registration, &[]).await.expect("the same"), ["10.88.7.0/24"]);
    });
}

fn asked_for() {
    test(async |cluster| {
        let registration = Registration::named("n1");
        assert_eq!(ranges(cluster, &registration, &["10.9.0.0/24"]).await.expect("a range"), ["10.9.0.0/24"]);
        let spec = &node(cluster, "n1").await.spec;
        assert_eq!((spec.pod_cidr.as_deref(), spec.pod_cidrs.len()), (Some("10.9.0.0/24"), 1));
        let refused = ranges(cluster, &registration, &["10.9.1.0/24"]).await.unwrap_err();
        assert!(refused.is(ErrorKind::Invalid) && refused.message().contains("10.9.0.0/24 already"), "{refused}");
        // One that is there without a range gets it.
        make(cluster, "n2", None).await;
        let second = Registration::named("n2");
        assert_eq!(ranges(cluster, &second, &["10.9.2.0/24"]).await.expect("a range"), ["10.9.2.0/24"]);
    });
}

fn of_another() {
    test(async |cluster| {
        make(cluster, "n2", Some("10.88.1.0/24")).await;
        for wanted in ["10.88.1.128/25", "10.88.0.0/16"] {
            let refused = ranges(cluster, &Registration::named("n1"), &[wanted]).await.unwrap_err();
            let says = refused.is(ErrorKind::Invalid) && refused.message().contains("10.88.1.0/24 of the node \"n2\"");
            assert!(says, "{refused}");
        }
        assert!(cluster.client.get_opt::<Node>("", "n1").await.expect("an answer").is_none());
    });
}

fn made_by_others() {
    test(async |cluster| {
        let registration = Registration { register: false, ..Registration::named("n1") };
        let making = async {
            cluster.executor.clock().sleep(Duration::from_secs(60)).await;
            assert!(cluster.client.get_opt::<Node>("", "n1").await.expect("an answer").is_none());
            make(cluster, "n1", Some("10.88.7.0/24")).await;
        };
        let (got, ()) = futures::join!(ranges(cluster, &registration, &[]), making);
        assert_eq!(got.expect("a range"), ["10.88.7.0/24"]);
    });
}

fn made_anew() {
    test(async |cluster| {
        make(cluster, "n1", Some("10.88.7.0/24")).await;
        let (clock, spawn) = (cluster.executor.clock(), cluster.executor.spawn());
        let agent = FakeAgent::new(FakeNode::new("n1", 0), clock, spawn);
        let host = Host::new(Registration::named("n1"), &cluster.informers, Arc::new(agent));
        let _task = cluster.executor.spawn().spawn("host", host.run(Stop::new()));
        let rest = || cluster.executor.clock().sleep(Duration::from_secs(30));
        rest().await;
        let before = node(cluster, "n1").await.metadata.uid.clone();
        cluster.client.delete::<Node>("", "n1").await.expect("the node is deleted");
        rest().await;
        let now = node(cluster, "n1").await;
        assert_ne!(now.metadata.uid, before);
        assert_eq!(now.spec.pod_cidrs, ["10.88.7.0/24"]);
    });
}

//! For whom room is made, and until when. Nobody runs these nodes, so that pods that are to leave stay until a story
//! has them go.

use serde_json::json;
use windlass_api::{
    core::v1::{Node, Pod},
    scheduling::v1::PriorityClass,
};
use windlass_kernel::api::Options;
use windlass_scheduler::Config;

use crate::rig::{Rig, run};

/// A node with two CPUs, one pod that takes them, and two classes of more important pods.
async fn full(rig: &Rig) {
    for (name, value) in [("high", 100), ("higher", 1000)] {
        let class = json!({"metadata": {"name": name}, "value": value});
        rig.client.create(&serde_json::from_value::<PriorityClass>(class).unwrap()).await.unwrap();
    }
    let capacity = json!({"cpu": "2", "memory": "4Gi", "pods": "10"});
    let node = json!({"metadata": {"name": "a"}, "status": {"capacity": capacity, "allocatable": capacity}});
    let node: Node = serde_json::from_value(node).unwrap();
    rig.client.create(&node).await.unwrap();
    open(rig, true).await;
    rig.pod("p", "2", json!({})).await;
    rig.placed("p").await;
}

/// Opens or closes the node.
async fn open(rig: &Rig, open: bool) {
    let set = |node: &mut Node| {
        node.spec.taints.clear();
        node.spec.unschedulable = (!open).then_some(true);
    };
    rig.client.modify::<Node>("", "a", set).await.unwrap();
}

async fn nominated(rig: &Rig, pod: &str) -> Option<String> {
    rig.get(pod).await.status.nominated_node_name.clone().filter(|node| !node.is_empty())
}

/// A pod for which the one on the node has to leave.
async fn important(rig: &Rig, name: &str, class: &str) {
    rig.pod(name, "2", json!({"priorityClassName": class})).await;
    rig.until(name, || async { nominated(rig, name).await.as_deref() == Some("a") }).await;
    let leaving = || async { rig.get("p").await.metadata.deletion_timestamp.is_some() };
    rig.until("the pod is to leave", leaving).await;
}

async fn gone(rig: &Rig, pod: &str) {
    let options = Options { grace_period: Some(0), ..Options::default() };
    rig.client.delete_with::<Pod>("default", pod, options).await.unwrap();
}

#[test]
fn a_more_important_pod_takes_the_room_that_was_made_for_another() {
    run(40, |rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        full(&rig).await;
        important(&rig, "vip", "high").await;
        important(&rig, "king", "higher").await;
        rig.until("vip has none", || async { nominated(&rig, "vip").await.is_none() }).await;
        gone(&rig, "p").await;
        assert_eq!(rig.placed("king").await, "a");
        assert_eq!(rig.node_of("vip").await, None);
    });
}

#[test]
fn room_that_leads_nowhere_is_taken_back() {
    run(41, |rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        full(&rig).await;
        important(&rig, "vip", "high").await;
        open(&rig, false).await;
        gone(&rig, "p").await;
        rig.until("vip has none", || async { nominated(&rig, "vip").await.is_none() }).await;
        open(&rig, true).await;
        assert_eq!(rig.placed("vip").await, "a");
    });
}

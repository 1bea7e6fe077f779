//! The scheduler in a cluster: the real API server, fake nodes, virtual time.

mod config;
mod explain;
mod metrics;
mod rig;
mod room;
mod volumes;
mod watchdog;

use std::time::Duration;

use serde_json::json;
use windlass_api::core::v1::Pod;
use windlass_kernel::ClockExt;
use windlass_scheduler::{Config, Framework, Profile};

use crate::rig::run;

#[test]
fn pods_get_nodes_and_run() {
    run(1, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "2", &[]).await;
        rig.node("b", "2", &[]).await;
        for name in ["p", "q", "r", "s"] {
            rig.pod(name, "1", json!({})).await;
        }
        let mut nodes = Vec::new();
        for name in ["p", "q", "r", "s"] {
            nodes.push(rig.placed(name).await);
        }
        nodes.sort_unstable();
        assert_eq!(nodes, ["a", "a", "b", "b"]);
        rig.until("running", || async { rig.get("p").await.status.phase.as_deref() == Some("Running") }).await;
        let condition =
            |pod: &Pod| pod.status.conditions.iter().any(|c| c.type_ == "PodScheduled" && c.status == "True");
        assert!(condition(&*rig.get("p").await));
        let event = rig.event("p", "Scheduled").await;
        let node = rig.placed("p").await;
        assert_eq!(event.message.as_deref(), Some(&*format!("Successfully assigned default/p to {node}")));
        assert_eq!(event.source.component.as_deref(), Some("default-scheduler"));
    });
}

#[test]
fn a_pod_that_fits_nowhere_is_told_why_and_placed_when_that_changes() {
    run(2, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "1", &[]).await;
        rig.node("b", "1", &[]).await;
        rig.node("c", "8", &[("only", "others", "NoSchedule")]).await;
        rig.pod("p", "4", json!({})).await;
        let said = rig.complaint("p").await;
        let expect = "Unschedulable: 0/3 nodes are available: 1 node(s) had untolerated taint {only: others}, \
                      2 Insufficient cpu.";
        assert!(said.starts_with(expect), "{said}");
        let event = rig.event("p", "FailedScheduling").await;
        assert_eq!(format!("Unschedulable: {}", event.message.as_deref().unwrap()), said);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        rig.node("d", "8", &[]).await;
        assert_eq!(rig.placed("p").await, "d");
    });
}

#[test]
fn a_pod_waits_for_another_to_leave() {
    run(3, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "1", &[]).await;
        rig.pod("p", "1", json!({})).await;
        rig.placed("p").await;
        rig.pod("q", "1", json!({})).await;
        assert!(rig.complaint("q").await.contains("1 Insufficient cpu"));
        rig.client.delete::<Pod>("default", "p").await.unwrap();
        assert_eq!(rig.placed("q").await, "a");
    });
}

#[test]
fn gated_pods_and_those_of_other_schedulers_are_left_alone() {
    run(4, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "4", &[]).await;
        rig.pod("gated", "1", json!({"schedulingGates": [{"name": "example.com/wait"}]})).await;
        rig.pod("other", "1", json!({"schedulerName": "mine"})).await;
        rig.pod("p", "1", json!({})).await;
        rig.placed("p").await;
        rig.handle.sleep(Duration::from_secs(30)).await;
        assert_eq!((rig.node_of("gated").await, rig.node_of("other").await), (None, None));
        rig.client.modify::<Pod>("default", "gated", |pod| pod.spec.scheduling_gates.clear()).await.unwrap();
        assert_eq!(rig.placed("gated").await, "a");
        let mine = Config { profiles: vec![Profile::new("mine", Framework::default())], ..Config::default() };
        let _mine = rig.scheduler(mine);
        assert_eq!(rig.placed("other").await, "a");
    });
}

#[test]
fn no_node_is_overbooked_while_bindings_are_under_way() {
    run(5, |mut rig| async move {
        rig.node("a", "3", &[]).await;
        rig.node("b", "3", &[]).await;
        for at in 0..8 {
            rig.pod(&format!("p{at}"), "1", json!({})).await;
        }
        let _scheduler = rig.scheduler(Config::default());
        rig.handle.sleep(Duration::from_secs(60)).await;
        let mut nodes = Vec::new();
        for at in 0..8 {
            nodes.push(rig.node_of(&format!("p{at}")).await.unwrap_or_default());
        }
        nodes.sort_unstable();
        assert_eq!(nodes, ["", "", "a", "a", "a", "b", "b", "b"]);
    });
}

#[test]
fn a_scheduler_that_was_killed_is_replaced_without_loss() {
    run(6, |mut rig| async move {
        rig.node("a", "10", &[]).await;
        let first = rig.scheduler(Config::default());
        for at in 0..5 {
            rig.pod(&format!("p{at}"), "1", json!({})).await;
        }
        drop(first);
        let _second = rig.scheduler(Config::default());
        for at in 0..5 {
            assert_eq!(rig.placed(&format!("p{at}")).await, "a");
        }
    });
}

#[test]
fn an_important_pod_makes_room_for_itself() {
    run(8, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        let class = json!({"metadata": {"name": "high"}, "value": 1000});
        let class = serde_json::from_value::<windlass_api::scheduling::v1::PriorityClass>(class).unwrap();
        rig.client.create(&class).await.unwrap();
        rig.node("a", "2", &[]).await;
        rig.pod("p", "2", json!({})).await;
        rig.placed("p").await;
        rig.pod("vip", "1", json!({"priorityClassName": "high"})).await;
        assert_eq!(rig.placed("vip").await, "a");
        let said = rig.event("vip", "FailedScheduling").await;
        assert_eq!(said.message.as_deref(), Some("0/1 nodes are available: 1 Insufficient cpu."));
        assert_eq!(rig.event("p", "Preempted").await.involved_object.name.as_deref(), Some("p"));
        rig.until("p is gone", || async { rig.client.get_opt::<Pod>("default", "p").await.unwrap().is_none() }).await;
    });
}

#[test]
fn one_seed_is_one_history() {
    let history = || {
        run(7, |mut rig| async move {
            let _scheduler = rig.scheduler(Config::default());
            for name in ["a", "b", "c"] {
                rig.node(name, "8", &[]).await;
            }
            let mut nodes = Vec::new();
            for at in 0..12 {
                rig.pod(&format!("p{at}"), "1", json!({})).await;
                nodes.push(rig.placed(&format!("p{at}")).await);
            }
            nodes
        })
    };
    assert_eq!(history(), history());
}

/// A pod of a controller that was there before, which says on which node it runs and how often it started again.
fn of_workload(name: &str, spec: &serde_json::Value) -> Pod {
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "w", "uid": "w-uid", "controller": true});
    serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": name, "ownerReferences": [owner]}, "spec": spec,
    }))
    .unwrap()
}

#[test]
fn pods_avoid_nodes_where_their_workload_crashed_even_after_a_restart_of_the_scheduler() {
    run(7, |mut rig| async move {
        let config = || {
            let framework = Framework::default().avoiding_crashes(2);
            Config { profiles: vec![Profile::new("default-scheduler", framework)], ..Config::default() }
        };
        rig.node("a", "8", &[]).await;
        rig.node("b", "1", &[]).await;
        let container = json!([{"name": "c", "image": "app", "resources": {"requests": {"cpu": "100m"}}}]);
        for name in ["x", "y"] {
            let spec = json!({"nodeName": "a", "restartPolicy": "Never", "containers": container});
            let mut failing = of_workload(name, &spec);
            let script = [("lifetime", "1s"), ("exit-code", "1")];
            failing.metadata.annotations =
                script.map(|(key, value)| (format!("fake.windlass.dev/{key}"), value.to_owned())).into();
            rig.client.create(&failing).await.unwrap();
            rig.until("failed", || async { rig.get(name).await.status.phase.as_deref() == Some("Failed") }).await;
        }
        // On its own merits the emptier and larger node would win.
        let scheduler = rig.scheduler(config());
        rig.client.create(&of_workload("next", &json!({"containers": container}))).await.unwrap();
        assert_eq!(rig.placed("next").await, "b");
        rig.pod("other", "100m", json!({})).await;
        assert_eq!(rig.placed("other").await, "a");
        drop(scheduler);
        let _again = rig.scheduler(config());
        rig.client.create(&of_workload("later", &json!({"containers": container}))).await.unwrap();
        assert_eq!(rig.placed("later").await, "b");
        // Where nothing else fits, it runs where it crashed.
        let large = json!([{"name": "c", "image": "app", "resources": {"requests": {"cpu": "4"}}}]);
        rig.client.create(&of_workload("large", &json!({"containers": large}))).await.unwrap();
        assert_eq!(rig.placed("large").await, "a");
    });
}

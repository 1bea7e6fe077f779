//! Explanations over the API, as a user asks for them.

use serde_json::{Value, json};
use windlass_api::core::v1::Event;
use windlass_client::{Client, Select};
use windlass_kernel::{
    ErrorKind, Identity, Result,
    api::{GroupVersionResource, Verb},
};
use windlass_scheduler::Config;

use crate::rig::{Rig, run};

async fn explained(client: &Client, pod: &str) -> Result<Value> {
    let pods = GroupVersionResource::of("", "v1", "pods");
    let request = client.request(Verb::Get, pods).in_namespace("default").named(pod);
    client.value(request.subresource("schedulingexplanation")).await
}

async fn told(rig: &Rig, pod: &str) -> Value {
    explained(&rig.client, pod).await.unwrap()
}

#[test]
fn a_pod_that_waits_is_explained_with_what_would_help() {
    run(20, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "2", &[]).await;
        rig.node("b", "8", &[("only", "others", "NoSchedule")]).await;
        rig.pod("big", "3", json!({})).await;
        let hint = "It would fit with the smallest change: request cpu 2 instead of 3 (node a).";
        rig.complains("big", hint).await;
        rig.until("an event says so", || async {
            let events = rig.client.list::<Event>(&Select::namespace("default")).await.unwrap();
            events.iter().any(|event| event.message.as_ref().is_some_and(|said| said.ends_with(hint)))
        })
        .await;
        let told = told(&rig, "big").await;
        assert_eq!((&told["kind"], &told["verdict"]), (&json!("SchedulingExplanation"), &json!("Unschedulable")));
        assert_eq!(told["smallestChange"]["edits"][0]["type"], "LowerRequest");
        let refused: Vec<_> = told["nodes"].as_array().unwrap().iter().map(|node| &node["refusedBy"]).collect();
        assert_eq!(refused, ["NodeResourcesFit", "TaintToleration"]);
        rig.pod("small", "2", json!({})).await;
        assert_eq!(rig.placed("small").await, "a");
    });
}

#[test]
fn a_placed_pod_is_explained_as_if_it_were_not_placed_yet() {
    run(21, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "2", &[]).await;
        rig.pod("p", "2", json!({})).await;
        rig.placed("p").await;
        let told = told(&rig, "p").await;
        assert_eq!((&told["verdict"], &told["nodeName"]), (&json!("Bound"), &json!("a")));
        assert_eq!((&told["nodes"][0]["fits"], &told["best"]["nodes"]), (&json!(true), &json!(["a"])));
        assert!(told["smallestChange"].is_null());
    });
}

#[test]
fn gates_and_schedulers_that_do_not_run_are_told() {
    run(22, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "2", &[]).await;
        rig.pod("gated", "1", json!({"schedulingGates": [{"name": "example.com/wait"}]})).await;
        rig.pod("other", "1", json!({"schedulerName": "mine"})).await;
        // What the scheduler has not seen yet is not found.
        for name in ["gated", "other"] {
            rig.until(name, || async { explained(&rig.client, name).await.is_ok() }).await;
        }
        let expect = "pod default/gated waits for its scheduling gates: example.com/wait; it would fit with the smallest \
                      change: remove the scheduling gate example.com/wait (node a)";
        rig.until(expect, || async { told(&rig, "gated").await["message"] == expect }).await;
        let other = told(&rig, "other").await;
        assert_eq!((&other["verdict"], &other["schedulerNames"]), (&json!("Unserved"), &json!(["default-scheduler"])));
        let none = explained(&rig.client, "nobody").await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn an_explanation_needs_a_permission_of_its_own() {
    run(23, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "2", &[]).await;
        rig.pod("p", "1", json!({})).await;
        rig.placed("p").await;
        let user = rig.client_as(Identity::new("user", &["system:authenticated"]));
        let role = json!({"metadata": {"name": "reader", "namespace": "default"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
        let binding = json!({"metadata": {"name": "reader", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "User", "name": "user", "apiGroup": "rbac.authorization.k8s.io"}]});
        let rbac = |plural: &'static str| {
            rig.client.dynamic(GroupVersionResource::of("rbac.authorization.k8s.io", "v1", plural))
        };
        rbac("roles").create(role.clone()).await.unwrap();
        rbac("rolebindings").create(binding).await.unwrap();
        assert_eq!(explained(&user, "p").await.unwrap_err().kind(), ErrorKind::Forbidden);
        let mut role = role;
        role["rules"][0]["resources"] = json!(["pods", "pods/schedulingexplanation"]);
        rbac("roles").update(role).await.unwrap();
        assert_eq!(explained(&user, "p").await.unwrap()["verdict"], "Bound");
    });
}

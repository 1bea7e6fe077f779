//! Disruption budgets say how many pods may go, and evictions take no more than that, however many come at once.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use serde_json::{Value, json};
use windlass_api::{apps::v1::ReplicaSet, core::v1::Pod, policy::v1::PodDisruptionBudget};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::{PatchType, Verb},
    controller::ObjectKey,
};

use crate::{cluster::Cluster, laws, rollouts::deployment};

fn budget(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    let metadata = json!({"name": "web", "namespace": "default"});
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec})
}

fn budgets(cluster: &Cluster) -> Cache<Arc<PodDisruptionBudget>> {
    cluster.informers.typed(Select::all())
}

/// Whether the budget says: so many of so many are healthy, so many must be, so many may go.
fn says(healthy: i32, expected: i32, desired: i32, allowed: i32) -> impl Fn(&Cache<Arc<PodDisruptionBudget>>) -> bool {
    move |budgets| {
        let Some(budget) = budgets.get(&ObjectKey::new("default", "web")) else { return false };
        let own = &budget.status;
        (own.current_healthy, own.expected_pods, own.desired_healthy, own.disruptions_allowed)
            == (healthy, expected, desired, allowed)
            && own.observed_generation == budget.metadata.generation
    }
}

async fn evict(client: &Client, name: &str) -> Result<()> {
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
    let request = client.request(Verb::Create, gvr::<Pod>()).in_namespace("default").named(name);
    client.call(request.subresource("eviction").body(eviction)).await.map(drop)
}

fn names(pods: &Cache<Arc<Pod>>) -> Vec<String> {
    pods.list().into_iter().map(|(key, _)| key.name).collect()
}

/// What an eviction that a budget forbids is told.
fn refusal(error: &Error) -> (ErrorKind, String) {
    let causes = &error.details().unwrap().causes;
    (error.kind(), causes.first().map(|cause| format!("{}: {}", cause.reason, cause.message)).unwrap_or_default())
}

#[test]
fn a_crowd_of_evictions_takes_what_the_budget_has() {
    let cluster = Cluster::new(1);
    let (budgets, pods) = (budgets(&cluster), cluster.informers.typed::<Pod>(Select::all()));
    cluster.create("deployments", deployment(10));
    cluster.create("poddisruptionbudgets", budget(&json!({"maxUnavailable": "30%"})));
    cluster.until(&budgets, says(10, 10, 7, 3));
    let condition = budgets.values()[0].status.conditions[0].clone();
    assert_eq!((condition.type_.as_str(), condition.reason.as_str()), ("DisruptionAllowed", "SufficientPods"));
    let names = names(&pods);
    let evictions = join_all(names.iter().map(|name| evict(&cluster.admin, name)));
    let done = cluster.executor.run_until(evictions);
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 3);
    let expect = "DisruptionBudget: The disruption budget web needs 7 healthy pods and has 10 currently";
    for error in done.iter().filter_map(|done| done.as_ref().err()) {
        assert_eq!(error.message(), "Cannot evict pod as it would violate the pod's disruption budget.");
        assert_eq!(refusal(error), (ErrorKind::TooManyRequests, expect.to_owned()));
    }
    // Their successors become healthy, and the budget is whole again.
    cluster.until(&budgets, says(10, 10, 7, 3));
    cluster.until(&budgets, |budgets| budgets.values()[0].status.disrupted_pods.is_empty());
}

#[test]
fn a_budget_that_is_not_counted_yet_allows_nothing() {
    let cluster = Cluster::new(2);
    let (budgets, pods) = (budgets(&cluster), cluster.informers.typed::<Pod>(Select::all()));
    cluster.create("deployments", deployment(2));
    cluster.create("poddisruptionbudgets", budget(&json!({"minAvailable": 1})));
    cluster.until(&budgets, says(2, 2, 1, 1));
    let patch = json!({"spec": {"minAvailable": 2}});
    let name = names(&pods).remove(0);
    let both = async {
        cluster.admin.patch::<PodDisruptionBudget>("default", "web", PatchType::Merge, patch).await?;
        evict(&cluster.admin, &name).await
    };
    let error = cluster.executor.run_until(both).unwrap_err();
    let expect = "DisruptionBudget: The disruption budget web is still being processed by the server.";
    assert_eq!(refusal(&error), (ErrorKind::TooManyRequests, expect.to_owned()));
    assert_eq!(error.details().unwrap().retry_after, Some(Duration::from_secs(10)));
    cluster.until(&budgets, says(2, 2, 2, 0));
}

#[test]
fn a_budget_follows_the_scale_of_who_controls_its_pods() {
    let cluster = Cluster::new(3);
    let budgets = budgets(&cluster);
    let mut set = deployment(4);
    set["kind"] = "ReplicaSet".into();
    cluster.create("replicasets", set);
    cluster.create("poddisruptionbudgets", budget(&json!({"minAvailable": "50%"})));
    cluster.until(&budgets, says(4, 4, 2, 2));
    let scaled =
        cluster.admin.patch::<ReplicaSet>("default", "web", PatchType::Merge, json!({"spec": {"replicas": 8}}));
    cluster.executor.run_until(scaled).unwrap();
    cluster.until(&budgets, says(8, 8, 4, 4));
}

#[test]
fn pods_that_nobody_controls_count_as_they_are() {
    let cluster = Cluster::new(4);
    let budgets = budgets(&cluster);
    for name in ["a", "b"] {
        let pods = json!({"containers": [{"name": "c", "image": "web:1"}]});
        let metadata = json!({"name": name, "namespace": "default", "labels": {"app": "web"}});
        cluster.create("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pods}));
    }
    cluster.create("poddisruptionbudgets", budget(&json!({"minAvailable": 1})));
    cluster.until(&budgets, says(2, 2, 1, 1));
    // Nobody says how many there are to be.
    let patch = json!({"spec": {"minAvailable": null, "maxUnavailable": 1}});
    let patched = cluster.admin.patch::<PodDisruptionBudget>("default", "web", PatchType::Merge, patch);
    cluster.executor.run_until(patched).unwrap();
    cluster.until(&budgets, says(2, 0, 0, 0));
}

#[test]
fn a_pod_without_a_scale_leaves_nothing_to_disrupt() {
    let cluster = Cluster::new(5);
    let budgets = budgets(&cluster);
    let mut job = crate::jobs::job(&json!({}), "0");
    job["spec"]["template"]["metadata"]["labels"] = json!({"app": "web"});
    job["spec"]["template"]["metadata"]["annotations"]["fake.windlass.dev/lifetime"] = "10h".into();
    cluster.create("jobs", job);
    cluster.create("poddisruptionbudgets", budget(&json!({"maxUnavailable": 1})));
    let failed =
        |budget: &Arc<PodDisruptionBudget>| budget.status.conditions.iter().any(|own| own.reason == "SyncFailed");
    cluster.until(&budgets, |budgets| budgets.values().iter().any(failed));
}

#[test]
fn an_eviction_leaves_its_mark_which_is_taken_back_from_who_is_spared() {
    let cluster = Cluster::new(6);
    let pods = cluster.informers.typed::<Pod>(Select::all());
    cluster.create("deployments", deployment(1));
    cluster.until(&pods, |pods| pods.values().iter().any(|pod| pod.status.phase.as_deref() == Some("Running")));
    let target = |pod: &Arc<Pod>| {
        let own = pod.status.conditions.iter().find(|own| own.type_ == "DisruptionTarget");
        own.map(|own| (own.status.clone(), own.reason.clone().unwrap_or_default()))
    };
    let seen = Arc::<parking_lot::Mutex<Vec<_>>>::default();
    let marks = Arc::clone(&seen);
    pods.on_change(move |update| marks.lock().extend(update.after.and_then(target)));
    let name = names(&pods).remove(0);
    cluster.executor.run_until(evict(&cluster.admin, &name)).unwrap();
    cluster.settle();
    assert_eq!(seen.lock().first(), Some(&("True".to_owned(), "EvictionByEvictionAPI".to_owned())));

    // Somebody said it and did not do it.
    let key = ObjectKey::new("default", names(&pods).remove(0));
    let now = cluster.executor.clock().now().to_string();
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "lastTransitionTime": now});
    let patch = json!({"status": {"conditions": [condition]}});
    let patched = cluster.admin.patch_status::<Pod>("default", &key.name, PatchType::Strategic, patch);
    cluster.executor.run_until(patched).unwrap();
    let spared = |pods: &Cache<Arc<Pod>>| pods.get(&key).as_ref().and_then(target).is_some_and(|own| own.0 == "False");
    cluster.until(&pods, spared);
}

#[test]
fn a_budget_keeps_the_law_of_controllers() {
    laws::hold("disruption-controller", |cluster| {
        let (budgets, pods) = (budgets(cluster), cluster.informers.typed::<Pod>(Select::all()));
        cluster.create("deployments", deployment(3));
        cluster.create("poddisruptionbudgets", budget(&json!({"maxUnavailable": 1})));
        cluster.until(&budgets, says(3, 3, 2, 1));
        cluster.settle();
        let done = cluster.executor.run_until(join_all(names(&pods).iter().map(|name| evict(&cluster.admin, name))));
        let evicted = done.iter().filter(|done| done.is_ok()).count();
        cluster.until(&budgets, says(3, 3, 2, 1));
        evicted
    });
}

//! DaemonSets have one pod on each node that wants one.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::{Event, Node, Pod},
    types::Resource,
};
use windlass_client::{Cache, Select};
use windlass_kernel::{api::PatchType, controller::ObjectKey};

use crate::{cluster::Cluster, laws, sets::template};

const REVISION: &str = "controller-revision-hash";

fn daemons(spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template()},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

fn all<T: Resource>(cluster: &Cluster) -> Cache<Arc<T>> {
    cluster.informers.typed(Select::all())
}

fn image(cluster: &Cluster, image: &str) {
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    let patched = cluster.admin.patch::<DaemonSet>("default", "web", PatchType::Strategic, patch);
    let wanted = cluster.executor.run_until(patched).unwrap().metadata.generation;
    // What is waited for next is not what was there before.
    cluster.until(&all::<DaemonSet>(cluster), |sets| sets.values().iter().any(|set| set.metadata.generation >= wanted));
}

fn label(cluster: &Cluster, node: &str, value: &str) {
    let patch = json!({"metadata": {"labels": {"color": value}}});
    cluster.executor.run_until(cluster.admin.patch::<Node>("", node, PatchType::Merge, patch)).unwrap();
}

/// What `kubectl rollout status` waits for.
fn rolled_out(wanted: i32) -> impl Fn(&Cache<Arc<DaemonSet>>) -> bool {
    move |sets| {
        let Some(set) = sets.get(&ObjectKey::new("default", "web")) else { return false };
        let status = &set.status;
        let counts = [status.updated_number_scheduled.unwrap_or(0), status.number_available.unwrap_or(0)];
        status.observed_generation == set.metadata.generation
            && status.desired_number_scheduled == wanted
            && status.number_misscheduled == 0
            && counts == [wanted, wanted]
    }
}

/// The images of the pods, by node.
fn images(pods: &Cache<Arc<Pod>>) -> Vec<(String, String)> {
    let of = |pod: Arc<Pod>| {
        (pod.spec.node_name.clone().unwrap_or_default(), pod.spec.containers[0].image.clone().unwrap_or_default())
    };
    let mut images: Vec<_> = pods.values().into_iter().map(of).collect();
    images.sort();
    images
}

fn on(nodes: &[&str], image: &str) -> Vec<(String, String)> {
    nodes.iter().map(|node| ((*node).to_owned(), image.to_owned())).collect()
}

fn ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The fewest ready and the most live pods that are there from now on.
fn extremes(pods: &Cache<Arc<Pod>>) -> Arc<Mutex<(usize, usize)>> {
    let seen = Arc::new(Mutex::new((usize::MAX, 0)));
    let (notes, all) = (Arc::clone(&seen), pods.clone());
    pods.on_change(move |_| {
        let pods = all.values();
        let live = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
        let mut notes = notes.lock();
        *notes = (notes.0.min(pods.iter().filter(|pod| ready(pod)).count()), notes.1.max(live));
    });
    seen
}

#[test]
fn each_node_that_fits_has_one_pod() {
    let cluster = Cluster::new(1);
    let (sets, pods, revisions) = (all(&cluster), all::<Pod>(&cluster), all::<ControllerRevision>(&cluster));
    let mut blue = daemons(&json!({}));
    blue["spec"]["template"]["spec"]["nodeSelector"] = json!({"color": "blue"});
    cluster.create("daemonsets", blue);
    cluster.until(&sets, rolled_out(0));
    label(&cluster, "n1", "blue");
    cluster.until(&sets, rolled_out(1));
    cluster.until(&pods, |pods| images(pods) == on(&["n1"], "web:1"));
    label(&cluster, "n2", "blue");
    cluster.add_node("n3", 3);
    cluster.until(&sets, rolled_out(2));
    label(&cluster, "n1", "green");
    cluster.until(&sets, rolled_out(1));
    cluster.settle();
    assert_eq!(images(&pods), on(&["n2"], "web:1"));

    let (pod, revision) = (pods.values()[0].clone(), revisions.values()[0].clone());
    let hash = revision.metadata.labels[REVISION].clone();
    assert_eq!(revision.metadata.name, Some(format!("web-{hash}")));
    let expect: BTreeMap<_, _> = [("app", "web"), (REVISION, &hash), ("pod-template-generation", "1")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    assert_eq!(pod.metadata.labels, expect);
    let tolerated = |key: &str| pod.spec.tolerations.iter().any(|own| own.key.as_deref() == Some(key));
    assert!(tolerated("node.kubernetes.io/unschedulable") && tolerated("node.kubernetes.io/not-ready"));
}

#[test]
fn a_rollout_leaves_as_many_as_it_must() {
    for (spec, expect) in [
        (json!({"maxUnavailable": 1}), (2, 3)),
        (json!({"maxUnavailable": "100%"}), (0, 3)),
        (json!({"maxUnavailable": 0, "maxSurge": 1}), (3, 4)),
    ] {
        let cluster = Cluster::new(2);
        let (sets, pods) = (all(&cluster), all::<Pod>(&cluster));
        cluster.add_node("n3", 3);
        cluster.create("daemonsets", daemons(&json!({"updateStrategy": {"rollingUpdate": spec}})));
        cluster.until(&sets, rolled_out(3));
        cluster.settle();
        let seen = extremes(&pods);
        image(&cluster, "web:2");
        cluster.until(&sets, rolled_out(3));
        cluster.settle();
        assert_eq!(*seen.lock(), expect, "{spec}");
        assert_eq!(images(&pods), on(&["n1", "n2", "n3"], "web:2"));
        assert_eq!(sets.values()[0].metadata.annotations["deprecated.daemonset.template.generation"], "2");
    }
}

#[test]
fn a_rollout_that_is_taken_back_restarts_nothing_that_still_runs() {
    let cluster = Cluster::new(3);
    let (sets, pods, revisions) = (all(&cluster), all::<Pod>(&cluster), all::<ControllerRevision>(&cluster));
    cluster.create("daemonsets", daemons(&json!({})));
    cluster.until(&sets, rolled_out(2));
    let before: BTreeMap<_, _> =
        pods.values().iter().map(|pod| (pod.spec.node_name.clone(), pod.metadata.uid.clone())).collect();
    image(&cluster, "broken");
    cluster.until(&pods, |pods| images(pods).iter().any(|(_, image)| image == "broken"));
    cluster.settle();
    image(&cluster, "web:1");
    cluster.until(&sets, rolled_out(2));
    cluster.settle();
    assert_eq!(images(&pods), on(&["n1", "n2"], "web:1"));
    let kept = pods.values().iter().filter(|pod| before[&pod.spec.node_name] == pod.metadata.uid).count();
    assert_eq!(kept, 1);
    let mut numbers: Vec<_> = revisions.values().iter().map(|own| own.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn a_pod_that_failed_is_replaced() {
    let cluster = Cluster::new(4);
    let (sets, pods) = (all(&cluster), all::<Pod>(&cluster));
    cluster.create("daemonsets", daemons(&json!({})));
    cluster.until(&sets, rolled_out(2));
    for _ in 0..2 {
        let victim = pods.list()[0].0.clone();
        let failed = json!({"status": {"phase": "Failed"}});
        let patched = cluster.admin.patch_status::<Pod>("default", &victim.name, PatchType::Merge, failed);
        cluster.executor.run_until(patched).unwrap();
        cluster
            .until(&pods, |pods| !pods.contains(&victim) && pods.values().iter().filter(|pod| ready(pod)).count() == 2);
    }
    cluster.settle();
    let events: Vec<Arc<Event>> = cluster.executor.run_until(cluster.admin.list(&Select::all())).unwrap();
    assert!(events.iter().any(|event| event.reason.as_deref() == Some("FailedDaemonPod")));
}

#[test]
fn the_history_ends_at_its_limit() {
    let cluster = Cluster::new(5);
    let (sets, revisions) = (all(&cluster), all::<ControllerRevision>(&cluster));
    cluster.create("daemonsets", daemons(&json!({"revisionHistoryLimit": 1})));
    for name in ["web:1", "web:2", "web:3"] {
        image(&cluster, name);
        cluster.until(&sets, rolled_out(2));
    }
    cluster.settle();
    let mut numbers: Vec<_> = revisions.values().iter().map(|own| own.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
}

#[test]
fn a_set_comes_out_the_same_whatever_happens() {
    laws::hold("daemon-set-controller", |cluster| {
        let (sets, pods, revisions) = (all(cluster), all::<Pod>(cluster), all::<ControllerRevision>(cluster));
        cluster.create("daemonsets", daemons(&json!({})));
        cluster.until(&sets, rolled_out(2));
        image(cluster, "web:2");
        cluster.until(&pods, |pods| images(pods) == on(&["n1", "n2"], "web:2"));
        cluster.until(&sets, rolled_out(2));
        cluster.settle();
        let mut numbers: Vec<_> = revisions.values().iter().map(|own| own.revision).collect();
        numbers.sort_unstable();
        (sets.values()[0].status.clone(), images(&pods), numbers)
    });
}

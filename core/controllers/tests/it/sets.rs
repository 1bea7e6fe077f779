//! ReplicaSets keep their numbers, whatever happens to pods and to writes.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_api::{apps::v1::ReplicaSet, core::v1::Pod};
use windlass_client::{Cache, Select};
use windlass_kernel::{api::PatchType, controller::ObjectKey};

use crate::{
    cluster::{Cluster, Fault},
    laws,
};

pub(crate) fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}})
}

fn set(replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template()},
    })
}

fn sets(cluster: &Cluster) -> Cache<Arc<ReplicaSet>> {
    cluster.informers.typed(Select::all())
}

fn pods(cluster: &Cluster) -> Cache<Arc<Pod>> {
    cluster.informers.typed(Select::all())
}

fn ready(wanted: i32) -> impl Fn(&Cache<Arc<ReplicaSet>>) -> bool {
    move |sets| {
        let Some(set) = sets.get(&ObjectKey::new("default", "web")) else { return false };
        set.status.replicas == wanted
            && set.status.available_replicas.unwrap_or(0) == wanted
            && set.status.terminating_replicas == Some(0)
            && set.status.observed_generation == set.metadata.generation
    }
}

fn scale(cluster: &Cluster, replicas: usize) {
    let patch = json!({"spec": {"replicas": replicas}});
    let patched = cluster.admin.patch::<ReplicaSet>("default", "web", PatchType::Merge, patch);
    cluster.executor.run_until(patched).unwrap();
}

#[test]
fn a_set_has_as_many_pods_as_wanted() {
    let cluster = Cluster::new(1);
    let sets = sets(&cluster);
    cluster.create("replicasets", set(5));
    cluster.until(&sets, ready(5));
    scale(&cluster, 2);
    cluster.until(&sets, ready(2));
    let pods = pods(&cluster);
    cluster.until(&pods, |pods| pods.len() == 2);
    let victim = pods.list()[0].0.clone();
    cluster.executor.run_until(cluster.admin.delete::<Pod>("default", &victim.name)).unwrap();
    cluster.until(&pods, |pods| !pods.contains(&victim) && pods.len() == 2);
    cluster.until(&sets, ready(2));
    let owner = pods.values()[0].metadata.owner_references[0].clone();
    assert_eq!(
        (owner.kind.as_str(), owner.controller, owner.block_owner_deletion),
        ("ReplicaSet", Some(true), Some(true))
    );
}

#[test]
fn a_set_at_rest_writes_nothing() {
    let cluster = Cluster::new(2);
    cluster.create("replicasets", set(3));
    cluster.until(&sets(&cluster), ready(3));
    cluster.settle();
    let before = cluster.gate.log().len();
    cluster.settle();
    assert_eq!(cluster.gate.log().len(), before, "{:?}", cluster.gate.log());
}

#[test]
fn orphans_are_adopted_and_strays_released() {
    let cluster = Cluster::new(3);
    let (sets, pods) = (sets(&cluster), pods(&cluster));
    let mut orphan = template();
    orphan["apiVersion"] = "v1".into();
    orphan["kind"] = "Pod".into();
    orphan["metadata"]["name"] = "orphan".into();
    orphan["metadata"]["namespace"] = "default".into();
    cluster.create("pods", orphan);
    cluster.create("replicasets", set(2));
    cluster.until(&sets, ready(2));
    let key = ObjectKey::new("default", "orphan");
    cluster.until(&pods, |pods| pods.len() == 2 && pods.get(&key).is_some_and(|pod| owned(&pod)));
    let stray =
        cluster.admin.patch::<Pod>("default", "orphan", PatchType::Merge, json!({"metadata": {"labels": null}}));
    cluster.executor.run_until(stray).unwrap();
    cluster.until(&pods, |pods| pods.len() == 3 && pods.get(&key).is_some_and(|pod| !owned(&pod)));
    cluster.until(&sets, ready(2));
    // With its labels back it is the set's again, and one too many.
    let back = json!({"metadata": {"labels": template()["metadata"]["labels"]}});
    let back = cluster.admin.patch::<Pod>("default", "orphan", PatchType::Merge, back);
    cluster.executor.run_until(back).unwrap();
    cluster.until(&pods, |pods| pods.len() == 2 && pods.values().iter().all(|pod| owned(pod)));
}

fn owned(pod: &Pod) -> bool {
    !pod.metadata.owner_references.is_empty()
}

#[test]
fn whichever_write_fails_the_end_is_the_same() {
    for fault in [Fault::Refused, Fault::Lost] {
        for first in 0..9 {
            let cluster = Cluster::new(4);
            let (sets, pods) = (sets(&cluster), pods(&cluster));
            // Pods that are created beyond the four would show up here, even if they were deleted at once.
            let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
            let names = Arc::clone(&seen);
            pods.on_change(move |update| {
                names.lock().insert(update.key.name.clone());
            });
            cluster.settle();
            cluster.gate.fail(first, 2, fault);
            cluster.create("replicasets", set(4));
            cluster.until(&sets, ready(4));
            cluster.settle();
            assert_eq!(pods.len(), 4, "{fault:?} {first}: {:?}", cluster.gate.log());
            assert_eq!(seen.lock().len(), 4, "{fault:?} {first}: {:?}", cluster.gate.log());
        }
    }
}

#[test]
fn a_set_comes_out_the_same_whatever_happens() {
    laws::hold("replicaset-controller", |cluster| {
        let (sets, pods) = (sets(cluster), pods(cluster));
        cluster.create("replicasets", set(3));
        cluster.until(&sets, ready(3));
        scale(cluster, 1);
        cluster.until(&sets, ready(1));
        cluster.until(&pods, |pods| pods.len() == 1);
        cluster.settle();
        (pods.len(), sets.values()[0].status.clone())
    });
}

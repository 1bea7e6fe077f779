//! StatefulSets give their pods names and volumes, and change them in order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};
use windlass_api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{Event, PersistentVolumeClaim, Pod},
    types::Resource,
};
use windlass_client::{Cache, Select};
use windlass_kernel::{api::PatchType, controller::ObjectKey};

use crate::{cluster::Cluster, laws, sets::template};

const REVISION: &str = "controller-revision-hash";

fn stateful(replicas: usize, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "serviceName": "peers", "selector": {"matchLabels": {"app": "web"}},
            "template": template()},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

fn claims() -> Value {
    json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}])
}

fn all<T: Resource>(cluster: &Cluster) -> Cache<Arc<T>> {
    cluster.informers.typed(Select::all())
}

fn patch(cluster: &Cluster, patch: Value) {
    let patched = cluster.admin.patch::<StatefulSet>("default", "web", PatchType::Strategic, patch);
    let wanted = cluster.executor.run_until(patched).unwrap().metadata.generation;
    // What is waited for next is not what was there before.
    cluster
        .until(&all::<StatefulSet>(cluster), |sets| sets.values().iter().any(|set| set.metadata.generation >= wanted));
}

fn image(cluster: &Cluster, image: &str) {
    patch(cluster, json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}));
}

/// Whether all pods that are wanted are there and available, and the status says so.
fn at_rest(wanted: i32) -> impl Fn(&Cache<Arc<StatefulSet>>) -> bool {
    move |sets| {
        let Some(set) = sets.get(&ObjectKey::new("default", "web")) else { return false };
        let status = &set.status;
        status.observed_generation == set.metadata.generation
            && [status.replicas, status.ready_replicas.unwrap_or(0), status.available_replicas]
                == [wanted, wanted, wanted]
    }
}

/// What `kubectl rollout status` waits for.
fn rolled_out(wanted: i32) -> impl Fn(&Cache<Arc<StatefulSet>>) -> bool {
    move |sets| {
        at_rest(wanted)(sets)
            && sets.values().iter().all(|set| set.status.current_revision == set.status.update_revision)
    }
}

/// The images of the pods, by name.
fn images(pods: &Cache<Arc<Pod>>) -> Vec<(String, String)> {
    let of = |(key, pod): (ObjectKey, Arc<Pod>)| (key.name, pod.spec.containers[0].image.clone().unwrap());
    pods.list().into_iter().map(of).collect()
}

fn names<T: Resource>(cache: &Cache<Arc<T>>) -> Vec<String> {
    cache.list().into_iter().map(|(key, _)| key.name).collect()
}

fn ready(pod: &Pod) -> bool {
    pod.status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Notes which pods come and go, and whether all before each was ready then.
fn follow(pods: &Cache<Arc<Pod>>) -> Arc<Mutex<Vec<String>>> {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (notes, all) = (Arc::clone(&seen), pods.clone());
    pods.on_change(move |update| {
        let name = &update.key.name;
        match (update.before, update.after) {
            (None, Some(_)) => {
                let waits = all.list().iter().any(|(key, pod)| key.name < *name && !ready(pod));
                notes.lock().push(format!("+{name}{}", if waits { " early" } else { "" }));
            }
            (Some(_), None) => notes.lock().push(format!("-{name}")),
            _ => {}
        }
    });
    seen
}

#[test]
fn pods_come_and_go_one_by_one() {
    let cluster = Cluster::new(1);
    let (sets, pods, revisions) = (all(&cluster), all::<Pod>(&cluster), all::<ControllerRevision>(&cluster));
    let seen = follow(&pods);
    cluster.create("statefulsets", stateful(3, &json!({})));
    cluster.until(&sets, rolled_out(3));
    patch(&cluster, json!({"spec": {"replicas": 1}}));
    cluster.until(&sets, rolled_out(1));
    cluster.settle();
    assert_eq!(*seen.lock(), ["+web-0", "+web-1", "+web-2", "-web-2", "-web-1"]);

    let pod = pods.values()[0].clone();
    let revision = sets.values()[0].status.update_revision.clone().unwrap();
    let expect: BTreeMap<_, _> = [
        ("app", "web"),
        ("apps.kubernetes.io/pod-index", "0"),
        ("controller-revision-hash", &revision),
        ("statefulset.kubernetes.io/pod-name", "web-0"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    assert_eq!(pod.metadata.labels, expect);
    assert_eq!((pod.spec.hostname.as_deref(), pod.spec.subdomain.as_deref()), (Some("web-0"), Some("peers")));
    assert_eq!(names(&revisions), [revision]);
    // Events are written after what they tell of.
    cluster.settle();
    let events: Vec<Arc<Event>> = cluster.executor.run_until(cluster.admin.list(&Select::all())).unwrap();
    let said = |reason: &str, message: &str| {
        events.iter().any(|own| own.reason.as_deref() == Some(reason) && own.message.as_deref() == Some(message))
    };
    assert!(said("SuccessfulCreate", "create Pod web-0 in StatefulSet web successful"));
    assert!(said("SuccessfulDelete", "delete Pod web-2 in StatefulSet web successful"));
}

#[test]
fn one_that_is_not_ready_holds_up_those_after_it() {
    let cluster = Cluster::new(2);
    let (sets, pods) = (all(&cluster), all::<Pod>(&cluster));
    let mut slow = stateful(2, &json!({}));
    slow["spec"]["template"]["spec"]["containers"][0]["image"] = "slow".into();
    cluster.create("statefulsets", slow);
    cluster.executor.run_for(Duration::from_secs(50));
    assert_eq!(names(&pods), ["web-0"]);
    // Nor does it go while it is not ready but beside others.
    cluster.until(&pods, |pods| pods.len() == 2);
    patch(&cluster, json!({"spec": {"replicas": 0}}));
    cluster.until(&sets, at_rest(0));
    cluster.until(&pods, Cache::is_empty);
}

#[test]
fn in_parallel_none_waits() {
    let cluster = Cluster::new(3);
    let (sets, pods) = (all(&cluster), all::<Pod>(&cluster));
    let mut slow = stateful(3, &json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 4}}));
    slow["spec"]["template"]["spec"]["containers"][0]["image"] = "slow".into();
    cluster.create("statefulsets", slow);
    cluster.executor.run_for(Duration::from_secs(10));
    assert_eq!(names(&pods), ["web-4", "web-5", "web-6"]);
    cluster.until(&sets, rolled_out(3));
}

#[test]
fn a_canary_stays_above_its_partition_until_it_is_let_on_or_taken_back() {
    let cluster = Cluster::new(4);
    let (sets, pods, revisions) = (all(&cluster), all::<Pod>(&cluster), all::<ControllerRevision>(&cluster));
    let partition = |partition: i32| json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}}});
    let imaged = |images: [&str; 3]| {
        images.iter().enumerate().map(|(at, image)| (format!("web-{at}"), (*image).to_owned())).collect::<Vec<_>>()
    };
    cluster.create("statefulsets", stateful(3, &json!({})));
    cluster.until(&sets, rolled_out(3));
    patch(&cluster, partition(2));
    image(&cluster, "web:2");
    cluster.until(&pods, |pods| images(pods) == imaged(["web:1", "web:1", "web:2"]));
    cluster.settle();
    let status = sets.values()[0].status.clone();
    assert_eq!((status.current_replicas, status.updated_replicas), (Some(2), Some(1)));
    assert_ne!(status.current_revision, status.update_revision);
    // One below the partition comes back as it was.
    cluster.executor.run_until(cluster.admin.delete::<Pod>("default", "web-0")).unwrap();
    cluster.settle();
    assert_eq!(images(&pods), imaged(["web:1", "web:1", "web:2"]));

    let seen = follow(&pods);
    patch(&cluster, partition(0));
    cluster.until(&sets, rolled_out(3));
    cluster.until(&pods, |pods| images(pods) == imaged(["web:2"; 3]));
    let gone = |notes: &Arc<Mutex<Vec<String>>>| {
        notes.lock().iter().filter(|note| note.starts_with('-')).cloned().collect::<Vec<_>>()
    };
    assert_eq!(gone(&seen), ["-web-1", "-web-0"]);

    let first = status.current_revision.unwrap();
    image(&cluster, "web:1");
    cluster
        .until(&sets, |sets| rolled_out(3)(sets) && sets.values()[0].status.current_revision.as_ref() == Some(&first));
    cluster.settle();
    assert_eq!(images(&pods), imaged(["web:1"; 3]));
    let mut numbers: Vec<_> = revisions.values().iter().map(|own| (own.revision, own.metadata.name.clone())).collect();
    numbers.sort();
    assert_eq!(numbers, [(2, status.update_revision), (3, Some(first))]);
}

#[test]
fn a_rollout_on_delete_waits_for_the_user() {
    let cluster = Cluster::new(5);
    let (sets, pods) = (all(&cluster), all::<Pod>(&cluster));
    cluster.create("statefulsets", stateful(2, &json!({"updateStrategy": {"type": "OnDelete"}})));
    cluster.until(&sets, at_rest(2));
    image(&cluster, "web:2");
    cluster.settle();
    assert!(images(&pods).iter().all(|(_, image)| image == "web:1"));
    cluster.executor.run_until(cluster.admin.delete::<Pod>("default", "web-0")).unwrap();
    cluster.settle();
    let found: Vec<_> = images(&pods).into_iter().map(|(_, image)| image).collect();
    assert_eq!(found, ["web:2", "web:1"]);
}

#[test]
fn a_pod_that_was_evicted_comes_back_under_its_name() {
    let cluster = Cluster::new(6);
    let (sets, pods) = (all(&cluster), all::<Pod>(&cluster));
    cluster.create("statefulsets", stateful(2, &json!({})));
    cluster.until(&sets, rolled_out(2));
    let before: Arc<Pod> = cluster.executor.run_until(cluster.admin.get("default", "web-0")).unwrap();
    let evicted = json!({"status": {"phase": "Failed", "reason": "Evicted"}});
    let patched = cluster.admin.patch_status::<Pod>("default", "web-0", PatchType::Merge, evicted);
    cluster.executor.run_until(patched).unwrap();
    cluster.until(&pods, |pods| {
        let pod = pods.get(&ObjectKey::new("default", "web-0"));
        pod.is_some_and(|pod| pod.metadata.uid != before.metadata.uid && ready(&pod))
    });
    cluster.until(&sets, rolled_out(2));
}

#[test]
fn claims_outlive_pods_unless_the_policy_says_otherwise() {
    for (when_scaled, left) in [("Retain", &["data-web-0", "data-web-1"][..]), ("Delete", &["data-web-0"])] {
        let cluster = Cluster::new(7);
        let (sets, there) = (all(&cluster), all::<PersistentVolumeClaim>(&cluster));
        let policy = json!({"whenDeleted": "Delete", "whenScaled": when_scaled});
        let spec = json!({"volumeClaimTemplates": claims(), "persistentVolumeClaimRetentionPolicy": policy});
        cluster.create("statefulsets", stateful(2, &spec));
        cluster.until(&sets, rolled_out(2));
        cluster.until(&there, |there| names(there) == ["data-web-0", "data-web-1"]);
        let claim = there.values()[0].clone();
        assert_eq!(claim.metadata.labels["app"], "web");
        assert_eq!(claim.metadata.owner_references[0].kind, "StatefulSet");
        let pod: Arc<Pod> = cluster.executor.run_until(cluster.admin.get("default", "web-0")).unwrap();
        let volume = pod.spec.volumes.iter().find(|volume| volume.name == "data").unwrap();
        assert_eq!(volume.persistent_volume_claim.as_ref().unwrap().claim_name, "data-web-0");

        patch(&cluster, json!({"spec": {"replicas": 1}}));
        cluster.until(&sets, rolled_out(1));
        cluster.settle();
        assert_eq!(names(&there), left);
        patch(&cluster, json!({"spec": {"replicas": 2}}));
        cluster.until(&sets, rolled_out(2));
        cluster.until(&there, |there| names(there) == ["data-web-0", "data-web-1"]);

        cluster.executor.run_until(cluster.admin.delete::<StatefulSet>("default", "web")).unwrap();
        cluster.until(&there, Cache::is_empty);
    }
}

#[test]
fn revisions_and_pods_of_a_former_set_are_taken_over() {
    let cluster = Cluster::new(8);
    let (sets, pods, revisions) = (all(&cluster), all::<Pod>(&cluster), all::<ControllerRevision>(&cluster));
    cluster.create("statefulsets", stateful(2, &json!({})));
    cluster.until(&sets, rolled_out(2));
    let uids = || pods.values().iter().map(|pod| pod.metadata.uid.clone()).collect::<Vec<_>>();
    let before = (uids(), names(&revisions));
    let options = windlass_kernel::api::Options {
        propagation: Some(windlass_kernel::api::Propagation::Orphan),
        ..Default::default()
    };
    cluster.executor.run_until(cluster.admin.delete_with::<StatefulSet>("default", "web", options)).unwrap();
    cluster.until(&sets, Cache::is_empty);
    cluster.settle();
    cluster.create("statefulsets", stateful(2, &json!({})));
    cluster.until(&sets, rolled_out(2));
    cluster.settle();
    assert_eq!((uids(), names(&revisions)), before);
    let owner = sets.values()[0].metadata.uid.clone().unwrap();
    assert!(pods.values().iter().all(|pod| pod.metadata.owner_references[0].uid == owner));
    assert!(revisions.values().iter().all(|own| own.metadata.owner_references[0].uid == owner));
}

#[test]
fn a_set_comes_out_the_same_whatever_happens() {
    laws::hold("statefulset-controller", |cluster| {
        let (sets, pods, revisions) = (all(cluster), all::<Pod>(cluster), all::<ControllerRevision>(cluster));
        let there = all::<PersistentVolumeClaim>(cluster);
        let policy = json!({"whenDeleted": "Retain", "whenScaled": "Delete"});
        let spec = json!({"volumeClaimTemplates": claims(), "persistentVolumeClaimRetentionPolicy": policy});
        cluster.create("statefulsets", stateful(2, &spec));
        cluster.until(&sets, rolled_out(2));
        image(cluster, "web:2");
        cluster.until(&pods, |pods| images(pods).iter().all(|(_, image)| image == "web:2"));
        cluster.until(&sets, rolled_out(2));
        patch(cluster, json!({"spec": {"replicas": 1}}));
        cluster.until(&sets, rolled_out(1));
        cluster.until(&there, |claims| claims.len() == 1);
        cluster.settle();
        let numbers: Vec<_> = revisions.values().iter().map(|own| own.revision).collect();
        let labels: Vec<_> = pods.values().iter().map(|pod| pod.metadata.labels[REVISION].clone()).collect();
        (sets.values()[0].status.clone(), images(&pods), numbers, labels, names(&there))
    });
}

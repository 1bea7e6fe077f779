//! Deployments roll out, roll back, pause, scale and remember, as `kubectl rollout` expects.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use windlass_client::{Cache, Select};
use windlass_kernel::{api::PatchType, controller::ObjectKey};

use crate::{
    cluster::{Cluster, Fault},
    laws,
    sets::template,
};

const REVISION: &str = "deployment.kubernetes.io/revision";

pub(crate) fn deployment(replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template()},
    })
}

fn deployments(cluster: &Cluster) -> Cache<Arc<Deployment>> {
    cluster.informers.typed(Select::all())
}

/// What `kubectl rollout status` waits for.
fn rolled_out(image: &'static str, wanted: i32) -> impl Fn(&Cache<Arc<Deployment>>) -> bool {
    move |deployments| {
        let Some(deployment) = deployments.get(&ObjectKey::new("default", "web")) else { return false };
        let status = &deployment.status;
        let all = [status.replicas, status.updated_replicas, status.available_replicas];
        deployment.spec.template.spec.containers[0].image.as_deref() == Some(image)
            && status.observed_generation == deployment.metadata.generation
            && all.iter().all(|count| count.unwrap_or(0) == wanted)
            && reason(&deployment, "Progressing") == "NewReplicaSetAvailable"
    }
}

fn reason(deployment: &Deployment, type_: &str) -> String {
    let condition = deployment.status.conditions.iter().find(|own| own.type_ == type_);
    condition.and_then(|own| own.reason.clone()).unwrap_or_default()
}

fn patch(cluster: &Cluster, patch: Value) {
    let patched = cluster.admin.patch::<Deployment>("default", "web", PatchType::Strategic, patch);
    cluster.executor.run_until(patched).unwrap();
}

fn set_image(cluster: &Cluster, image: &str) {
    patch(cluster, json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}));
}

#[test]
fn a_new_template_replaces_the_pods_within_its_limits() {
    let cluster = Cluster::new(1);
    let deployments = deployments(&cluster);
    cluster.create("deployments", deployment(4));
    cluster.until(&deployments, rolled_out("web:1", 4));
    let pods: Cache<Arc<Pod>> = cluster.informers.typed(Select::all());
    let sets: Cache<Arc<ReplicaSet>> = cluster.informers.typed(Select::all());
    cluster.settle();
    let worst = Arc::new(parking_lot::Mutex::new((4, 4)));
    let (least, counted) = (Arc::clone(&worst), pods.clone());
    pods.on_change(move |_| {
        let live = |pod: &Arc<Pod>| pod.metadata.deletion_timestamp.is_none();
        let running = |pod: &Arc<Pod>| live(pod) && pod.status.phase.as_deref() == Some("Running");
        let ready = counted.values().iter().filter(|pod| running(pod)).count();
        let mut worst = least.lock();
        worst.0 = worst.0.min(ready);
    });
    // What sets were told counts: one may create before another has deleted.
    let (most, counted) = (Arc::clone(&worst), sets.clone());
    sets.on_change(move |_| {
        let total: i32 = counted.values().iter().filter_map(|set| set.spec.replicas).sum();
        let mut worst = most.lock();
        worst.1 = worst.1.max(total);
    });
    set_image(&cluster, "web:2");
    cluster.until(&deployments, rolled_out("web:2", 4));
    // A quarter of four is one, both ways.
    assert_eq!(*worst.lock(), (3, 5));
    cluster.until(&pods, |pods| pods.len() == 4);
}

#[test]
fn an_undo_brings_the_former_template_back_as_a_new_revision() {
    let cluster = Cluster::new(2);
    let deployments = deployments(&cluster);
    let sets: Cache<Arc<ReplicaSet>> = cluster.informers.typed(Select::all());
    cluster.create("deployments", deployment(2));
    for (image, revision) in [("web:1", "1"), ("web:2", "2"), ("web:1", "3")] {
        set_image(&cluster, image);
        cluster.until(&deployments, rolled_out(image, 2));
        cluster.until(&deployments, |all| {
            all.values()[0].metadata.annotations.get(REVISION).map(String::as_str) == Some(revision)
        });
    }
    cluster.settle();
    let mut revisions: Vec<_> = sets.values().iter().map(|set| set.metadata.annotations[REVISION].clone()).collect();
    revisions.sort();
    assert_eq!(revisions, ["2", "3"]);
}

#[test]
fn a_recreate_never_runs_two_versions_at_once() {
    let cluster = Cluster::new(3);
    let deployments = deployments(&cluster);
    let mut object = deployment(3);
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create("deployments", object);
    cluster.until(&deployments, rolled_out("web:1", 3));
    let pods: Cache<Arc<Pod>> = cluster.informers.typed(Select::all());
    let (mixed, counted) = (Arc::new(parking_lot::Mutex::new(false)), pods.clone());
    let seen = Arc::clone(&mixed);
    pods.on_change(move |_| {
        let image = |pod: &Arc<Pod>| pod.spec.containers[0].image.clone();
        let images: std::collections::BTreeSet<_> = counted.values().iter().map(image).collect();
        *seen.lock() |= images.len() > 1;
    });
    set_image(&cluster, "web:2");
    cluster.until(&deployments, rolled_out("web:2", 3));
    assert!(!*mixed.lock());
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll_out() {
    let cluster = Cluster::new(4);
    let deployments = deployments(&cluster);
    cluster.create("deployments", deployment(2));
    cluster.until(&deployments, rolled_out("web:1", 2));
    patch(&cluster, json!({"spec": {"paused": true}}));
    set_image(&cluster, "web:2");
    patch(&cluster, json!({"spec": {"replicas": 3}}));
    let paused = |all: &Cache<Arc<Deployment>>| {
        let deployment = &all.values()[0];
        reason(deployment, "Progressing") == "DeploymentPaused" && deployment.status.available_replicas == Some(3)
    };
    cluster.until(&deployments, paused);
    assert_eq!(deployments.values()[0].status.updated_replicas, None);
    patch(&cluster, json!({"spec": {"paused": false}}));
    cluster.until(&deployments, rolled_out("web:2", 3));
}

#[test]
fn a_rollout_that_cannot_go_on_says_so() {
    let cluster = Cluster::new(5);
    let deployments = deployments(&cluster);
    let mut object = deployment(1);
    object["spec"]["progressDeadlineSeconds"] = 60.into();
    object["spec"]["minReadySeconds"] = 50.into();
    // Pods that are kept from every node, and that no collector replaces meanwhile.
    object["spec"]["template"]["spec"]["schedulingGates"] = json!([{"name": "example.com/closed"}]);
    cluster.create("deployments", object);
    let late = |own: &Arc<Deployment>| reason(own, "Progressing") == "ProgressDeadlineExceeded";
    cluster.until(&deployments, |all| all.values().iter().any(late));
    assert_eq!(reason(&deployments.values()[0], "Available"), "MinimumReplicasUnavailable");
}

#[test]
fn old_sets_beyond_the_history_are_deleted() {
    let cluster = Cluster::new(6);
    let deployments = deployments(&cluster);
    let sets: Cache<Arc<ReplicaSet>> = cluster.informers.typed(Select::all());
    let mut object = deployment(1);
    object["spec"]["revisionHistoryLimit"] = 1.into();
    cluster.create("deployments", object);
    for image in ["web:1", "web:2", "web:3"] {
        set_image(&cluster, image);
        cluster.until(&deployments, rolled_out(image, 1));
    }
    cluster.until(&sets, |sets| sets.len() == 2);
}

#[test]
fn whichever_write_fails_the_rollout_ends_the_same() {
    for fault in [Fault::Refused, Fault::Lost] {
        for first in (0..40).step_by(3) {
            let cluster = Cluster::new(7);
            let deployments = deployments(&cluster);
            let (sets, pods): (Cache<Arc<ReplicaSet>>, Cache<Arc<Pod>>) =
                (cluster.informers.typed(Select::all()), cluster.informers.typed(Select::all()));
            cluster.gate.fail(first, 2, fault);
            cluster.create("deployments", deployment(2));
            cluster.until(&deployments, rolled_out("web:1", 2));
            set_image(&cluster, "web:2");
            cluster.until(&deployments, rolled_out("web:2", 2));
            cluster.settle();
            let mut sizes: Vec<_> = sets.values().iter().map(|set| set.spec.replicas).collect();
            sizes.sort();
            assert_eq!(
                (sizes, pods.len()),
                (vec![Some(0), Some(2)], 2),
                "{fault:?} {first}: {:#?}",
                cluster.gate.log()
            );
            assert_eq!(deployments.values()[0].metadata.annotations[REVISION], "2");
        }
    }
}

#[test]
fn one_seed_is_one_history() {
    let history = || {
        let cluster = Cluster::new(8);
        let deployments = deployments(&cluster);
        cluster.create("deployments", deployment(3));
        cluster.until(&deployments, rolled_out("web:1", 3));
        (cluster.executor.trace_hash(), cluster.gate.log())
    };
    assert_eq!(history(), history());
}

#[test]
fn a_rollout_comes_out_the_same_whatever_happens() {
    laws::hold("deployment-controller", |cluster| {
        let deployments = deployments(cluster);
        let sets: Cache<Arc<ReplicaSet>> = cluster.informers.typed(Select::all());
        let pods: Cache<Arc<Pod>> = cluster.informers.typed(Select::all());
        cluster.create("deployments", deployment(2));
        cluster.until(&deployments, rolled_out("web:1", 2));
        set_image(cluster, "web:2");
        cluster.until(&deployments, rolled_out("web:2", 2));
        cluster.settle();
        let of = |set: Arc<ReplicaSet>| (set.metadata.annotations[REVISION].clone(), set.spec.replicas);
        (sets.values().into_iter().map(of).collect::<Vec<_>>(), pods.len())
    });
}

//! ReplicationControllers are ReplicaSets by another name.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::core::v1::{LimitRange, Pod, ReplicationController};
use windlass_client::{Cache, Select};
use windlass_kernel::controller::ObjectKey;

use crate::{cluster::Cluster, laws, sets::template};

fn controller(replicas: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "template": template()},
    })
}

fn controllers(cluster: &Cluster) -> Cache<Arc<ReplicationController>> {
    cluster.informers.typed(Select::all())
}

fn available(wanted: i32) -> impl Fn(&Cache<Arc<ReplicationController>>) -> bool {
    move |all| {
        let Some(own) = all.get(&ObjectKey::new("default", "web")) else { return false };
        own.status.replicas == wanted
            && own.status.available_replicas.unwrap_or(0) == wanted
            && own.status.observed_generation == own.metadata.generation
    }
}

#[test]
fn a_controller_has_as_many_pods_as_its_scale_says() {
    let cluster = Cluster::new(1);
    let controllers = controllers(&cluster);
    cluster.create("replicationcontrollers", controller(1));
    cluster.until(&controllers, available(1));
    let scaled = cluster.admin.set_scale::<ReplicationController>("default", "web", 3);
    assert_eq!(cluster.executor.run_until(scaled).unwrap(), 3);
    cluster.until(&controllers, available(3));
    let pods: Vec<Arc<Pod>> = cluster.executor.run_until(cluster.admin.list(&Select::all())).unwrap();
    assert!(pods.iter().all(|pod| pod.metadata.owner_references[0].kind == "ReplicationController"));
    cluster.settle();
    let before = cluster.gate.count("replication-controller");
    cluster.settle();
    assert_eq!(cluster.gate.count("replication-controller"), before);
}

#[test]
fn a_failure_is_a_condition_until_it_is_over() {
    let cluster = Cluster::new(2);
    let controllers = controllers(&cluster);
    let limits = json!({"limits": [{"type": "Pod", "max": {"cpu": "1"}}]});
    let metadata = json!({"name": "small", "namespace": "default"});
    cluster
        .create("limitranges", json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": limits}));
    let mut large = controller(2);
    let cpu = json!({"requests": {"cpu": "2"}, "limits": {"cpu": "2"}});
    large["spec"]["template"]["spec"]["containers"][0]["resources"] = cpu;
    cluster.create("replicationcontrollers", large);
    let reason = |all: &Cache<Arc<ReplicationController>>| {
        let conditions = all.values().first().map(|own| own.status.conditions.clone()).unwrap_or_default();
        conditions
            .iter()
            .map(|own| format!("{}={}", own.type_, own.reason.clone().unwrap_or_default()))
            .collect::<String>()
    };
    cluster.until(&controllers, |all| reason(all) == "ReplicaFailure=FailedCreate");
    cluster.executor.run_until(cluster.admin.delete::<LimitRange>("default", "small")).unwrap();
    cluster.until(&controllers, available(2));
    cluster.until(&controllers, |all| reason(all).is_empty());
}

#[test]
fn a_controller_comes_out_the_same_whatever_happens() {
    laws::hold("replication-controller", |cluster| {
        let (controllers, pods) = (controllers(cluster), cluster.informers.typed::<Pod>(Select::all()));
        cluster.create("replicationcontrollers", controller(3));
        cluster.until(&controllers, available(3));
        let scaled = cluster.admin.set_scale::<ReplicationController>("default", "web", 1);
        cluster.executor.run_until(scaled).unwrap();
        cluster.until(&controllers, available(1));
        cluster.until(&pods, |pods| pods.len() == 1);
        cluster.settle();
        (pods.len(), controllers.values()[0].status.clone())
    });
}

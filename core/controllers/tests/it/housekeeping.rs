//! Controllers that keep the cluster in order come out the same whatever happens.

use std::sync::Arc;

use serde_json::json;
use windlass_api::{
    core::v1::{ConfigMap, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccount},
    types::Resource,
};
use windlass_client::{Cache, Select};
use windlass_controllers::Config;
use windlass_kernel::{api::PatchType, controller::ObjectKey};

use crate::{cluster::Cluster, laws};

fn cache<T: Resource>(cluster: &Cluster) -> Cache<Arc<T>> {
    cluster.informers.typed(Select::all())
}

fn delete<T: Resource>(cluster: &Cluster, namespace: &str, name: &str) {
    cluster.executor.run_until(cluster.admin.delete::<T>(namespace, name)).unwrap();
}

/// A pod that is on a node already, and tolerates nothing.
fn pod(name: &str, node: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}]}})
}

#[test]
fn pods_that_no_node_will_end_are_removed() {
    laws::hold("pod-garbage-collector", |cluster| {
        let (nodes, pods) = (cache::<Node>(cluster), cache::<Pod>(cluster));
        cluster.until(&nodes, |nodes| nodes.len() == 2);
        cluster.create("pods", pod("stays", "n1"));
        cluster.create("pods", pod("lost", "gone"));
        cluster.until(&pods, |pods| pods.len() == 2);
        cluster.until(&pods, |pods| !pods.contains(&ObjectKey::new("default", "lost")));
        cluster.settle();
        pods.list().into_iter().map(|(key, _)| key.name).collect::<Vec<_>>()
    });
}

#[test]
fn each_namespace_has_its_account() {
    laws::hold("service-account-controller", |cluster| {
        let accounts = cache::<ServiceAccount>(cluster);
        cluster.create("namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
        let key = ObjectKey::new("shop", "default");
        cluster.until(&accounts, |all| all.contains(&key));
        let uid = |all: &Cache<Arc<ServiceAccount>>| all.get(&key).and_then(|own| own.metadata.uid.clone());
        let first = uid(&accounts);
        delete::<ServiceAccount>(cluster, "shop", "default");
        cluster.until(&accounts, |all| uid(all).is_some() && uid(all) != first);
        cluster.settle();
        accounts.list().into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
    });
}

#[test]
fn each_namespace_has_the_certificate() {
    let told = Config { root_certificate: "PEM".into(), ..Config::default() };
    laws::hold_with(&told, "root-ca-cert-publisher", |cluster| {
        let (maps, namespaces) = (cache::<ConfigMap>(cluster), cache::<Namespace>(cluster));
        let right = |maps: &Cache<Arc<ConfigMap>>, namespace: &str| {
            let map = maps.get(&ObjectKey::new(namespace, "kube-root-ca.crt"));
            map.is_some_and(|map| map.data.get("ca.crt").map(String::as_str) == Some("PEM"))
        };
        cluster.until(&maps, |maps| right(maps, "default"));
        let other = json!({"data": {"ca.crt": "other"}});
        let patched = cluster.admin.patch::<ConfigMap>("default", "kube-root-ca.crt", PatchType::Merge, other);
        let spoilt = cluster.executor.run_until(patched).unwrap();
        let revision = |map: &ConfigMap| map.metadata.resource_version.as_ref().and_then(|own| own.parse::<u64>().ok());
        cluster.until(&maps, |maps| {
            let map = maps.get(&ObjectKey::new("default", "kube-root-ca.crt"));
            right(maps, "default") && map.is_some_and(|map| revision(&map) > revision(&spoilt))
        });
        cluster.until(&namespaces, |all| all.len() == 4);
        cluster.until(&maps, |maps| namespaces.list().iter().all(|(key, _)| right(maps, &key.name)));
        cluster.settle();
        maps.len()
    });
}

#[test]
fn expired_tokens_are_removed() {
    laws::hold("token-cleaner", |cluster| {
        let secrets = cache::<Secret>(cluster);
        for (name, year) in [("bootstrap-token-old123", "1970"), ("bootstrap-token-new123", "2970")] {
            let metadata = json!({"name": name, "namespace": "kube-system"});
            let data = json!({"expiration": format!("{year}-01-01T00:00:00Z")});
            cluster.create(
                "secrets",
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata,
                    "type": "bootstrap.kubernetes.io/token", "stringData": data}),
            );
        }
        let key = |name: &str| ObjectKey::new("kube-system", name);
        cluster.until(&secrets, |all| {
            all.contains(&key("bootstrap-token-new123")) && !all.contains(&key("bootstrap-token-old123"))
        });
        cluster.settle();
        secrets.len()
    });
}

#[test]
fn pods_leave_a_node_whose_taint_they_do_not_tolerate() {
    laws::hold("node-controller", |cluster| {
        let (nodes, pods) = (cache::<Node>(cluster), cache::<Pod>(cluster));
        cluster.until(&nodes, |nodes| nodes.len() == 2);
        cluster.create("pods", pod("evicted", "n1"));
        cluster.create("pods", pod("elsewhere", "n2"));
        let mut tolerant = pod("tolerant", "n1");
        tolerant["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        cluster.create("pods", tolerant);
        let mut patient = pod("patient", "n1");
        patient["spec"]["tolerations"] =
            json!([{"key": "out", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]);
        cluster.create("pods", patient);
        cluster.until(&pods, |pods| pods.len() == 4);
        let taint = json!({"spec": {"taints": [{"key": "out", "effect": "NoExecute"}]}});
        cluster.executor.run_until(cluster.admin.patch::<Node>("", "n1", PatchType::Strategic, taint)).unwrap();
        cluster.until(&pods, |pods| !pods.contains(&ObjectKey::new("default", "evicted")));
        cluster.until(&pods, |pods| pods.len() == 2);
        cluster.settle();
        let mut left: Vec<_> = pods.list().into_iter().map(|(key, _)| key.name).collect();
        left.sort();
        left
    });
}

#[test]
fn claims_and_volumes_go_once_nobody_needs_them() {
    let scenario = |cluster: &Cluster| {
        let (claims, volumes) = (cache::<PersistentVolumeClaim>(cluster), cache::<PersistentVolume>(cluster));
        let (spec, size) = (json!({"storage": "1Gi"}), json!(["ReadWriteOnce"]));
        cluster.create(
            "persistentvolumes",
            json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
                "spec": {"capacity": spec, "accessModes": size, "hostPath": {"path": "/data"}}}),
        );
        cluster.create(
            "persistentvolumeclaims",
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a", "namespace": "default"},
                "spec": {"resources": {"requests": spec}, "accessModes": size, "storageClassName": ""}}),
        );
        let bound = |claim: &Arc<PersistentVolumeClaim>| claim.status.phase.as_deref() == Some("Bound");
        cluster.until(&claims, |claims| claims.values().iter().any(bound));
        let mut user = pod("user", "n1");
        user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "a"}}]);
        cluster.create("pods", user);
        delete::<PersistentVolumeClaim>(cluster, "default", "a");
        delete::<PersistentVolume>(cluster, "", "v");
        cluster.settle();
        assert_eq!((claims.len(), volumes.len()), (1, 1));
        delete::<Pod>(cluster, "default", "user");
        cluster.until(&claims, Cache::is_empty);
        cluster.until(&volumes, Cache::is_empty);
        cluster.settle();
        (claims.len(), volumes.len())
    };
    laws::hold("pvc-protection-controller", scenario);
    laws::hold("pv-protection-controller", scenario);
}

//! Claims find volumes, two never get one, and neither goes while it is in use.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::core::v1::{Event, PersistentVolume, PersistentVolumeClaim, Pod};
use windlass_client::{Cache, Select};
use windlass_kernel::{
    api::{GroupVersionResource, Options},
    controller::ObjectKey,
};

use crate::{
    cluster::{Cluster, Fault},
    laws,
};

fn volume(name: &str, size: &str) -> Value {
    let spec = json!({
        "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"},
    });
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
}

fn claim(name: &str, size: &str) -> Value {
    let spec =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": ""});
    let metadata = json!({"name": name, "namespace": "default"});
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
}

struct Seen {
    volumes: Cache<Arc<PersistentVolume>>,
    claims: Cache<Arc<PersistentVolumeClaim>>,
}

impl Seen {
    fn of(cluster: &Cluster) -> Self {
        Self { volumes: cluster.informers.typed(Select::all()), claims: cluster.informers.typed(Select::all()) }
    }
}

/// The phase of a claim and the volume that it has.
fn held(claims: &Cache<Arc<PersistentVolumeClaim>>, name: &str) -> String {
    let Some(claim) = claims.get(&ObjectKey::new("default", name)) else { return "gone".into() };
    let phase = claim.status.phase.clone().unwrap_or_default();
    format!("{phase} {}", claim.spec.volume_name.as_deref().unwrap_or("-"))
}

fn phase(volumes: &Cache<Arc<PersistentVolume>>, name: &str) -> String {
    let volume = volumes.get(&ObjectKey::new("", name));
    volume.map_or("gone".into(), |volume| volume.status.phase.clone().unwrap_or_default())
}

#[test]
fn claims_get_volumes_of_their_size_and_keep_them() {
    let cluster = Cluster::new(1);
    let seen = Seen::of(&cluster);
    cluster.create("persistentvolumes", volume("large", "10Gi"));
    cluster.create("persistentvolumes", volume("small", "1Gi"));
    cluster.until(&seen.volumes, |volumes| {
        phase(volumes, "large") == "Available" && phase(volumes, "small") == "Available"
    });
    for (name, size) in [("a", "5Gi"), ("b", "1Gi"), ("c", "1Gi")] {
        cluster.create("persistentvolumeclaims", claim(name, size));
    }
    cluster.until(&seen.claims, |claims| held(claims, "a") == "Bound large");
    cluster.settle();
    // One of two gets the other volume, and one waits.
    let rest = [held(&seen.claims, "b"), held(&seen.claims, "c")];
    assert!(rest.contains(&"Bound small".to_owned()) && rest.contains(&"Pending -".to_owned()), "{rest:?}");
    assert_eq!((phase(&seen.volumes, "large"), phase(&seen.volumes, "small")), ("Bound".into(), "Bound".into()));
    let claim = seen.claims.get(&ObjectKey::new("default", "a")).unwrap();
    assert_eq!(claim.status.capacity["storage"], "10Gi".into());
    // A new volume is for the one that waits.
    cluster.create("persistentvolumes", volume("more", "2Gi"));
    let all = |claims: &Cache<Arc<PersistentVolumeClaim>>| {
        ["b", "c"].iter().all(|name| held(claims, name).starts_with("Bound"))
    };
    cluster.until(&seen.claims, all);
}

#[test]
fn a_volume_outlives_its_claim() {
    let cluster = Cluster::new(2);
    let seen = Seen::of(&cluster);
    cluster.create("persistentvolumes", volume("v", "1Gi"));
    cluster.create("persistentvolumeclaims", claim("a", "1Gi"));
    cluster.until(&seen.volumes, |volumes| phase(volumes, "v") == "Bound");
    cluster.until(&seen.claims, |claims| held(claims, "a") == "Bound v");
    // A volume that a claim has goes only after the claim.
    cluster.executor.run_until(cluster.admin.delete::<PersistentVolume>("", "v")).unwrap();
    cluster.settle();
    assert_eq!(phase(&seen.volumes, "v"), "Bound");
    cluster.executor.run_until(cluster.admin.delete::<PersistentVolumeClaim>("default", "a")).unwrap();
    cluster.until(&seen.claims, |claims| held(claims, "a") == "gone");
    cluster.until(&seen.volumes, |volumes| phase(volumes, "v") == "gone");
}

#[test]
fn a_claim_in_use_goes_with_its_last_pod() {
    let cluster = Cluster::new(3);
    let seen = Seen::of(&cluster);
    cluster.create("persistentvolumes", volume("v", "1Gi"));
    cluster.create("persistentvolumeclaims", claim("a", "1Gi"));
    let volumes = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "a"}}]);
    let spec = json!({"containers": [{"name": "c", "image": "i"}], "volumes": volumes});
    let metadata = json!({"name": "p", "namespace": "default"});
    cluster.create("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    let pods = cluster.informers.typed::<Pod>(Select::all());
    cluster.until(&pods, |pods| pods.values().iter().any(|pod| pod.status.phase.as_deref() == Some("Running")));
    cluster.executor.run_until(cluster.admin.delete::<PersistentVolumeClaim>("default", "a")).unwrap();
    cluster.settle();
    assert_eq!(held(&seen.claims, "a"), "Bound v");
    cluster.executor.run_until(cluster.admin.delete::<Pod>("default", "p")).unwrap();
    cluster.until(&seen.claims, |claims| held(claims, "a") == "gone");
    cluster.until(&seen.volumes, |volumes| phase(volumes, "v") == "Released");
}

#[test]
fn a_claim_without_a_class_gets_the_default_one() {
    let cluster = Cluster::new(4);
    let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "p.example.com",
        "metadata": {"name": "standard", "annotations": annotations}});
    cluster.create("storageclasses", class);
    let mut open = claim("a", "1Gi");
    open["spec"]["storageClassName"] = Value::Null;
    let made = cluster.create("persistentvolumeclaims", open);
    assert_eq!(made["spec"]["storageClassName"], "standard");
    let seen = Seen::of(&cluster);
    let asked = |claim: &Arc<PersistentVolumeClaim>| {
        claim.metadata.annotations.get("volume.kubernetes.io/storage-provisioner").map(String::as_str)
            == Some("p.example.com")
    };
    cluster.until(&seen.claims, |claims| claims.values().iter().any(asked));
    let resource = GroupVersionResource::of("", "v1", "persistentvolumeclaims");
    let kept = cluster.executor.run_until(cluster.admin.dynamic(resource).get("default", "a")).unwrap();
    assert_eq!(kept["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
}

#[test]
fn a_claim_that_waits_gets_a_default_class_that_comes_later() {
    let cluster = Cluster::new(6);
    let seen = Seen::of(&cluster);
    let mut open = claim("a", "1Gi");
    open["spec"]["storageClassName"] = Value::Null;
    cluster.create("persistentvolumeclaims", open);
    // This one says that it wants none.
    cluster.create("persistentvolumeclaims", claim("b", "1Gi"));
    cluster.until(&seen.claims, |claims| held(claims, "a") == "Pending -" && held(claims, "b") == "Pending -");
    let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "p.example.com",
        "metadata": {"name": "standard", "annotations": annotations}});
    cluster.create("storageclasses", class);
    let class = |claims: &Cache<Arc<PersistentVolumeClaim>>, name: &str| {
        claims.get(&ObjectKey::new("default", name)).and_then(|claim| claim.spec.storage_class_name.clone())
    };
    cluster.until(&seen.claims, |claims| class(claims, "a").as_deref() == Some("standard"));
    cluster.settle();
    assert_eq!(class(&seen.claims, "b").as_deref(), Some(""));
}

#[test]
fn whichever_write_fails_each_volume_has_one_claim() {
    for fault in [Fault::Refused, Fault::Lost] {
        for first in 0..8 {
            let cluster = Cluster::new(5);
            let seen = Seen::of(&cluster);
            cluster.settle();
            cluster.gate.fail(first, 2, fault);
            for name in ["v", "w"] {
                cluster.create("persistentvolumes", volume(name, "1Gi"));
            }
            for name in ["a", "b"] {
                cluster.create("persistentvolumeclaims", claim(name, "1Gi"));
            }
            cluster.settle();
            let mut both = [held(&seen.claims, "a"), held(&seen.claims, "b")];
            both.sort();
            assert_eq!(both, ["Bound v", "Bound w"], "{fault:?} {first}: {:#?}", cluster.gate.log());
        }
    }
}

#[test]
fn a_binding_keeps_the_law_of_controllers() {
    laws::hold("persistent-volume-binder", |cluster| {
        let seen = Seen::of(cluster);
        cluster.create("persistentvolumes", volume("v", "1Gi"));
        cluster.create("persistentvolumeclaims", claim("a", "1Gi"));
        cluster.until(&seen.claims, |claims| held(claims, "a") == "Bound v");
        cluster.until(&seen.volumes, |volumes| phase(volumes, "v") == "Bound");
        cluster.executor.run_until(cluster.admin.delete::<PersistentVolumeClaim>("default", "a")).unwrap();
        cluster.until(&seen.volumes, |volumes| phase(volumes, "v") == "Released");
        cluster.settle();
        held(&seen.claims, "a")
    });
}

#[test]
fn a_pods_own_volume_gets_a_claim_that_goes_with_it() {
    laws::hold("ephemeral-volume-controller", |cluster| {
        let claims: Cache<Arc<PersistentVolumeClaim>> = cluster.informers.typed(Select::all());
        let template = json!({"metadata": {"labels": {"of": "p"}}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}});
        let volumes = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]);
        let spec = json!({"containers": [{"name": "c", "image": "i"}], "volumes": volumes});
        let metadata = json!({"name": "p", "namespace": "default"});
        cluster.create("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
        let key = ObjectKey::new("default", "p-v");
        cluster.until(&claims, |claims| claims.get(&key).is_some());
        let claim = claims.get(&key).expect("it is there");
        let owner = claim.metadata.owner_references[0].clone();
        let seen = (owner.kind, owner.name, owner.controller, claim.metadata.labels.clone());
        let at_once = Options { grace_period: Some(0), ..Options::default() };
        cluster.executor.run_until(cluster.admin.delete_with::<Pod>("default", "p", at_once)).unwrap();
        cluster.until(&claims, |claims| claims.get(&key).is_none());
        seen
    });
}

#[test]
fn somebody_elses_claim_is_not_a_pods_own() {
    let cluster = Cluster::new(7);
    let claims: Cache<Arc<PersistentVolumeClaim>> = cluster.informers.typed(Select::all());
    cluster.create("persistentvolumeclaims", claim("p-v", "1Gi"));
    cluster.until(&claims, |claims| claims.get(&ObjectKey::new("default", "p-v")).is_some());
    let template = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let volumes = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]);
    let spec = json!({"containers": [{"name": "c", "image": "i"}], "volumes": volumes});
    let metadata = json!({"name": "p", "namespace": "default"});
    cluster.create("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}));
    cluster.settle();
    let events = cluster.executor.run_until(cluster.admin.list::<Event>(&Select::all())).unwrap();
    let why = "PVC default/p-v was not created for pod default/p (pod is not owner)";
    assert!(events.iter().any(|event| event.message.as_deref() == Some(why)));
    let claim = claims.get(&ObjectKey::new("default", "p-v")).expect("it stays");
    assert!(claim.metadata.owner_references.is_empty());
}

//! Volumes are made for claims by drivers, where they are wanted, and go with them.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use windlass_api::{
    core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim},
    types::Resource,
};
use windlass_client::{Cache, Select};
use windlass_controllers::NamedDriver;
use windlass_kernel::{ErrorKind, api::PatchType, controller::ObjectKey, volume::Topology};
use windlass_testkit::FakeDriver;

use crate::cluster::{Cluster, Fault, Reconciles, Watches};

pub(crate) const DRIVER: &str = "fake.example.com";

/// A cluster with a driver, and a class of it.
pub(crate) struct Tried {
    pub(crate) cluster: Cluster,
    pub(crate) driver: FakeDriver,
    pub(crate) volumes: Cache<Arc<PersistentVolume>>,
    claims: Cache<Arc<PersistentVolumeClaim>>,
}

impl Tried {
    fn new(seed: u64, class: &Value) -> Self {
        Self::with(seed, class, |driver| driver)
    }

    pub(crate) fn with(seed: u64, class: &Value, driver: impl FnOnce(FakeDriver) -> FakeDriver) -> Self {
        Self::told(seed, class, false, driver)
    }

    /// As [`with`](Self::with); the driver may be told of claims.
    fn told(seed: u64, class: &Value, knows_claims: bool, driver: impl FnOnce(FakeDriver) -> FakeDriver) -> Self {
        let mut cluster = Cluster::without_controllers(seed);
        let driver = driver(FakeDriver::new(DRIVER, cluster.executor.clock()));
        let named = NamedDriver { name: DRIVER.into(), driver: Arc::new(driver.clone()), knows_claims };
        cluster.config.volume_drivers = vec![named];
        cluster.run_controllers(Watches::Prompt, Reconciles::Once);
        let mut whole = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": DRIVER,
            "metadata": {"name": "fast"}});
        for (key, value) in class.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        cluster.create("storageclasses", whole);
        let (volumes, claims) = (cluster.informers.typed(Select::all()), cluster.informers.typed(Select::all()));
        Self { cluster, driver, volumes, claims }
    }

    pub(crate) fn claim(&self, name: &str, more: &Value) {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}}});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let metadata = json!({"name": name, "namespace": "default"});
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec});
        self.cluster.create("persistentvolumeclaims", claim);
    }

    /// Waits until a claim is bound, and gives its volume.
    pub(crate) fn bound(&self, name: &str) -> Arc<PersistentVolume> {
        self.cluster.until(&self.claims, |claims| {
            let claim = claims.get(&ObjectKey::new("default", name));
            claim.is_some_and(|claim| claim.status.phase.as_deref() == Some("Bound"))
        });
        let claim = self.claims.get(&ObjectKey::new("default", name)).unwrap();
        let volume = ObjectKey::new("", claim.spec.volume_name.clone().unwrap());
        self.cluster.until(&self.volumes, |volumes| volumes.get(&volume).is_some());
        self.volumes.get(&volume).unwrap()
    }

    pub(crate) fn patch<T: Resource>(&self, namespace: &str, name: &str, patch: Value) {
        let admin = &self.cluster.admin;
        self.cluster.executor.run_until(admin.patch::<T>(namespace, name, PatchType::Merge, patch)).unwrap();
    }

    pub(crate) fn delete_claim(&self, name: &str) {
        let admin = &self.cluster.admin;
        self.cluster.executor.run_until(admin.delete::<PersistentVolumeClaim>("default", name)).unwrap();
    }

    fn reasons(&self) -> Vec<String> {
        // Events are written beside what they tell of.
        self.cluster.settle();
        let all = self.cluster.executor.run_until(self.cluster.admin.list::<Event>(&Select::all())).unwrap();
        all.iter().filter_map(|event| event.reason.clone()).collect()
    }
}

#[test]
fn a_claim_gets_a_volume_that_goes_with_it() {
    let tried = Tried::new(1, &json!({"parameters": {"kind": "ssd"}}));
    tried.claim("a", &json!({}));
    let volume = tried.bound("a");
    let csi = volume.spec.csi.clone().unwrap();
    let made = tried.driver.volumes();
    assert_eq!(made.len(), 1, "{made:?}");
    let (asked, held) = &made[0];
    assert_eq!((csi.driver.as_str(), csi.volume_handle.as_str()), (DRIVER, held.id.as_str()));
    assert_eq!((asked.parameters["kind"].as_str(), asked.capacity.required), ("ssd", Some(1 << 30)));
    assert_eq!(volume.spec.capacity["storage"], "1Gi".into());
    assert!(tried.reasons().contains(&"ProvisioningSucceeded".to_owned()), "{:?}", tried.reasons());
    tried.delete_claim("a");
    tried.cluster.until(&tried.volumes, |volumes| volumes.values().is_empty());
    assert_eq!(tried.driver.volumes(), [], "the driver's volume is left");
}

#[test]
fn a_volume_that_is_to_be_retained_is() {
    let tried = Tried::new(2, &json!({"reclaimPolicy": "Retain"}));
    tried.claim("a", &json!({}));
    let name = tried.bound("a").metadata.name.clone().unwrap();
    tried.delete_claim("a");
    tried.cluster.until(&tried.volumes, |volumes| {
        volumes.values().iter().any(|volume| volume.status.phase.as_deref() == Some("Released"))
    });
    tried.cluster.settle();
    tried.cluster.executor.run_until(tried.cluster.admin.delete::<PersistentVolume>("", &name)).unwrap();
    tried.cluster.until(&tried.volumes, |volumes| volumes.values().is_empty());
    assert_eq!(tried.driver.volumes().len(), 1, "what was to be retained is gone");
}

#[test]
fn a_driver_that_fails_is_asked_again_and_makes_one_volume() {
    let tried = Tried::new(3, &json!({}));
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Internal] {
        tried.driver.fail_next(kind);
    }
    tried.claim("a", &json!({}));
    tried.bound("a");
    assert_eq!(tried.driver.volumes().len(), 1);
    assert!(tried.reasons().contains(&"ProvisioningFailed".to_owned()), "{:?}", tried.reasons());
    tried.driver.fail_next(ErrorKind::Unavailable);
    tried.delete_claim("a");
    tried.cluster.until(&tried.volumes, |volumes| volumes.values().is_empty());
    assert_eq!(tried.driver.volumes(), []);
    assert!(tried.reasons().contains(&"VolumeFailedDelete".to_owned()), "{:?}", tried.reasons());
}

#[test]
fn a_volume_is_made_where_the_pod_is_to_run() {
    let zone = |name: &str| Topology(BTreeMap::from([("example.com/zone".to_owned(), name.to_owned())]));
    let class = json!({"volumeBindingMode": "WaitForFirstConsumer"});
    let tried = Tried::with(4, &class, |driver| driver.in_places([zone("z1"), zone("z2")]));
    let nodes: Cache<Arc<Node>> = tried.cluster.informers.typed(Select::all());
    for (node, name) in [("n1", "z1"), ("n2", "z2")] {
        let labels = json!({"metadata": {"labels": {"example.com/zone": name}}});
        tried.cluster.until(&nodes, |nodes| nodes.get(&ObjectKey::new("", node)).is_some());
        tried.patch::<Node>("", node, labels);
        let drivers = json!([{"name": DRIVER, "nodeID": node, "topologyKeys": ["example.com/zone"]}]);
        let on_node = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": node},
            "spec": {"drivers": drivers}});
        tried.cluster.create("csinodes", on_node);
    }
    tried.claim("a", &json!({}));
    tried.cluster.settle();
    assert_eq!(tried.driver.volumes(), [], "nobody said where the volume is wanted");
    let chosen = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n2"}}});
    tried.patch::<PersistentVolumeClaim>("default", "a", chosen);
    let volume = tried.bound("a");
    let terms = serde_json::to_value(&volume.spec.node_affinity).unwrap()["required"]["nodeSelectorTerms"].clone();
    let expect = json!([{"matchExpressions": [{"key": "example.com/zone", "operator": "In", "values": ["z2"]}]}]);
    assert_eq!(terms, expect);

    // Where there is no room, the claim goes back to the scheduler.
    tried.driver.fail_next(ErrorKind::Full);
    tried.claim("b", &json!({}));
    let chosen = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}});
    tried.patch::<PersistentVolumeClaim>("default", "b", chosen);
    let unselected = |claims: &Cache<Arc<PersistentVolumeClaim>>| {
        let claim = claims.get(&ObjectKey::new("default", "b"));
        claim.is_some_and(|own| !own.metadata.annotations.contains_key("volume.kubernetes.io/selected-node"))
    };
    tried.cluster.until(&tried.claims, unselected);
    assert!(tried.reasons().contains(&"ProvisioningFailed".to_owned()), "{:?}", tried.reasons());
}

#[test]
fn a_claim_can_be_a_copy_of_another() {
    let tried = Tried::new(5, &json!({}));
    tried.claim("a", &json!({}));
    let original = tried.bound("a");
    tried.claim("b", &json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}}));
    tried.bound("b");
    let sources: Vec<_> = tried.driver.volumes().into_iter().filter_map(|(asked, _)| asked.source).collect();
    let handle = original.spec.csi.clone().unwrap().volume_handle;
    assert_eq!(sources, [windlass_kernel::volume::Source::Volume(handle.into())]);
}

#[test]
fn a_claim_that_asks_for_more_gets_it() {
    let tried = Tried::new(6, &json!({"allowVolumeExpansion": true}));
    tried.claim("a", &json!({}));
    let volume = ObjectKey::new("", tried.bound("a").metadata.name.clone().unwrap());
    tried.driver.fail_next(ErrorKind::Unavailable);
    tried.patch::<PersistentVolumeClaim>(
        "default",
        "a",
        json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}}),
    );
    tried.cluster.until(&tried.claims, |claims| {
        let claim = claims.get(&ObjectKey::new("default", "a")).expect("the claim stays");
        claim.status.capacity.get("storage") == Some(&"3Gi".into()) && claim.status.conditions.is_empty()
    });
    tried.cluster.until(&tried.volumes, |volumes| {
        volumes.get(&volume).expect("the volume stays").spec.capacity["storage"] == "3Gi".into()
    });
    assert_eq!(tried.driver.volumes()[0].1.capacity, Some(3 << 30));
    let reasons = tried.reasons();
    for reason in ["Resizing", "VolumeResizeFailed", "VolumeResizeSuccessful"] {
        assert!(reasons.contains(&reason.to_owned()), "{reason} is not among {reasons:?}");
    }
}

#[test]
fn a_driver_that_knows_claims_is_told_of_them() {
    let tried = Tried::told(7, &json!({}), true, |driver| driver);
    tried.claim("a", &json!({}));
    let volume = tried.bound("a").metadata.name.clone().unwrap();
    let parameters = tried.driver.volumes().remove(0).0.parameters;
    let told = |name: &str| parameters[&format!("csi.storage.k8s.io/{name}")].clone();
    assert_eq!((told("pvc/name"), told("pvc/namespace"), told("pv/name")), ("a".into(), "default".into(), volume));
}

#[test]
fn nothing_is_made_twice_or_left_when_controllers_are_killed() {
    for fault in [Fault::Refused, Fault::Lost, Fault::KilledBefore, Fault::KilledAfter] {
        for at in 0..12 {
            let tried = Tried::new(10, &json!({}));
            tried.cluster.gate.fail_of("persistent-volume-binder", at, 1, fault);
            tried.claim("a", &json!({}));
            tried.bound("a");
            assert_eq!(tried.driver.volumes().len(), 1, "{fault:?} at write {at}");
            tried.delete_claim("a");
            tried.cluster.until(&tried.volumes, |volumes| volumes.values().is_empty());
            tried.cluster.settle();
            assert_eq!(tried.driver.volumes(), [], "{fault:?} at write {at}");
        }
    }
}

//! Snapshots are cut of the volumes of claims, claims are made from them, and they go when nobody wants them any more.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use windlass_api::{
    core::v1::{Event, PersistentVolumeClaim},
    meta::v1::ObjectMeta,
};
use windlass_client::{Cache, Select};
use windlass_controllers::snapshotter::{
    Rules, definitions,
    kinds::{GROUP, VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent},
};
use windlass_kernel::{
    ErrorKind,
    controller::ObjectKey,
    volume::{Secrets, Source},
};

use crate::{
    cluster::Fault,
    provisioning::{DRIVER, Tried},
};

/// How often the snapshotter writes for one snapshot from its beginning to its end, at most.
const WRITES: usize = 18;

const PROTECTED: &str = "snapshot.storage.kubernetes.io/pvc-as-source-protection";

/// A cluster with a bound claim `a` and a default class of snapshots.
struct Taken {
    tried: Tried,
    snapshots: Cache<Arc<VolumeSnapshot>>,
    contents: Cache<Arc<VolumeSnapshotContent>>,
}

impl Taken {
    fn new(seed: u64, class: &Value) -> Self {
        Self::ripening(seed, class, Duration::ZERO)
    }

    fn ripening(seed: u64, class: &Value, ripens: Duration) -> Self {
        let tried = Tried::with(seed, &json!({}), |driver| driver.cutting_snapshots(ripens));
        for definition in definitions(Rules::LeftOut) {
            tried.cluster.create("customresourcedefinitions", definition);
        }
        let mut whole = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "driver": DRIVER,
            "metadata": {"name": "snaps", "annotations": {
                "snapshot.storage.kubernetes.io/is-default-class": "true"}},
            "deletionPolicy": "Delete",
        });
        for (key, value) in class.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        tried.cluster.create("volumesnapshotclasses", whole);
        let (snapshots, contents) =
            (tried.cluster.informers.typed(Select::all()), tried.cluster.informers.typed(Select::all()));
        tried.claim("a", &json!({}));
        tried.bound("a");
        Self { tried, snapshots, contents }
    }

    fn take(&self, name: &str) {
        self.create(name, &json!({"persistentVolumeClaimName": "a"}));
    }

    fn create(&self, name: &str, source: &Value) {
        let snapshot = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": name, "namespace": "default"}, "spec": {"source": source},
        });
        self.tried.cluster.create("volumesnapshots", snapshot);
    }

    #[track_caller]
    fn until(&self, name: &str, wanted: impl Fn(&VolumeSnapshot) -> bool + Send + Sync) -> Arc<VolumeSnapshot> {
        let key = ObjectKey::new("default", name);
        self.tried.cluster.until(&self.snapshots, |all| all.get(&key).is_some_and(|own| wanted(&own)));
        self.snapshots.get(&key).unwrap()
    }

    #[track_caller]
    fn ready(&self, name: &str) -> Arc<VolumeSnapshot> {
        self.until(name, VolumeSnapshot::is_ready)
    }

    fn delete(&self, name: &str) {
        let admin = &self.tried.cluster.admin;
        self.tried.cluster.executor.run_until(admin.delete::<VolumeSnapshot>("default", name)).unwrap();
    }

    #[track_caller]
    fn gone(&self, name: &str) {
        let key = ObjectKey::new("default", name);
        self.tried.cluster.until(&self.snapshots, |all| all.get(&key).is_none());
    }

    /// The claim's finalizers, now that everything has settled.
    fn held(&self) -> bool {
        self.tried.cluster.settle();
        let admin = &self.tried.cluster.admin;
        let claim = self.tried.cluster.executor.run_until(admin.get::<PersistentVolumeClaim>("default", "a")).unwrap();
        claim.metadata.finalizers.iter().any(|own| own == PROTECTED)
    }

    fn restore(&self, name: &str, snapshot: &str, size: &str) {
        let source = json!({"apiGroup": GROUP, "kind": "VolumeSnapshot", "name": snapshot});
        self.tried.claim(name, &json!({"dataSource": source, "resources": {"requests": {"storage": size}}}));
    }

    fn events(&self) -> Vec<(String, String)> {
        self.tried.cluster.settle();
        let all =
            self.tried.cluster.executor.run_until(self.tried.cluster.admin.list::<Event>(&Select::all())).unwrap();
        all.iter()
            .map(|own| (own.reason.clone().unwrap_or_default(), own.message.clone().unwrap_or_default()))
            .collect()
    }

    #[track_caller]
    fn told(&self, reason: &str, part: &str) {
        let events = self.events();
        assert!(events.iter().any(|(own, text)| own == reason && text.contains(part)), "{reason} {part}: {events:#?}");
    }
}

#[test]
fn a_snapshot_of_a_claim_is_cut_and_goes_with_its_object() {
    let taken = Taken::ripening(1, &json!({"parameters": {"kind": "thin"}}), Duration::from_secs(60));
    taken.take("s");
    let cut = taken.until("s", |own| own.status().creation_time.is_some());
    assert_eq!(cut.status().ready_to_use, Some(false), "it ripens");
    assert!(taken.held(), "the claim may go while a snapshot is cut of it");
    let ready = taken.ready("s");
    let status = ready.status();
    let uid = ready.metadata.uid.clone().unwrap();
    assert_eq!(status.bound_volume_snapshot_content_name, Some(format!("snapcontent-{uid}")));
    assert_eq!(status.restore_size, Some("1Gi".into()));
    assert_eq!(ready.body.spec.volume_snapshot_class_name.as_deref(), Some("snaps"), "the default class");
    let (asked, made) = taken.tried.driver.snapshots().remove(0);
    assert_eq!((asked.name, asked.parameters["kind"].as_str()), (format!("snapshot-{uid}"), "thin"));
    let content = taken.contents.values().remove(0);
    assert_eq!(content.handle(), Some(made.id.to_string()));
    assert!(!taken.held(), "the claim is held for nothing");
    for reason in ["CreatingSnapshot", "SnapshotCreated", "SnapshotReady"] {
        taken.told(reason, "default/s");
    }
    taken.delete("s");
    taken.gone("s");
    taken.tried.cluster.until(&taken.contents, |all| all.values().is_empty());
    assert_eq!(taken.tried.driver.snapshots(), []);
}

#[test]
fn what_is_to_be_retained_is_and_can_be_bound_again() {
    let taken = Taken::new(2, &json!({"deletionPolicy": "Retain"}));
    taken.take("s");
    taken.ready("s");
    let handle = taken.contents.values().remove(0).handle().unwrap();
    taken.delete("s");
    taken.gone("s");
    taken.tried.cluster.settle();
    assert_eq!((taken.contents.values().len(), taken.tried.driver.snapshots().len()), (1, 1));

    let content = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": {"name": "old"},
        "spec": {"driver": DRIVER, "deletionPolicy": "Delete", "source": {"snapshotHandle": handle},
            "volumeSnapshotRef": {"name": "t", "namespace": "default"}},
    });
    taken.tried.cluster.create("volumesnapshotcontents", content);
    taken.create("t", &json!({"volumeSnapshotContentName": "old"}));
    let bound = taken.ready("t");
    assert_eq!(bound.status().bound_volume_snapshot_content_name.as_deref(), Some("old"));
    assert_eq!(bound.status().restore_size, Some("1Gi".into()), "the driver was not asked");
    taken.delete("t");
    taken.gone("t");
    assert_eq!(taken.tried.driver.snapshots(), []);
}

#[test]
fn a_claim_is_made_from_a_snapshot_that_is_kept_meanwhile() {
    let taken = Taken::ripening(3, &json!({}), Duration::from_secs(60));
    taken.take("s");
    taken.restore("b", "s", "2Gi");
    let volume = taken.tried.bound("b");
    let handle = taken.contents.values().remove(0).handle().unwrap();
    let sources: Vec<_> = taken.tried.driver.volumes().into_iter().filter_map(|(asked, _)| asked.source).collect();
    assert_eq!(sources, [Source::Snapshot(handle.into())]);
    assert_eq!(volume.spec.capacity["storage"], "2Gi".into());
    taken.told("ProvisioningFailed", "snapshot s is not ready");
    taken.restore("small", "s", "512Mi");
    taken.told("ProvisioningFailed", "requested volume size 536870912 is less than the size 1073741824");

    taken.delete("s");
    taken.told("SnapshotDeletePending", "Snapshot is being used to restore a PVC");
    assert!(taken.snapshots.get(&ObjectKey::new("default", "s")).is_some(), "a claim waits for it");
    taken.tried.delete_claim("small");
    taken.gone("s");
    assert_eq!(taken.tried.driver.snapshots(), []);
}

#[test]
fn what_fails_says_so_and_is_tried_again() {
    let taken = Taken::new(4, &json!({}));
    taken.create("early", &json!({"persistentVolumeClaimName": "b"}));
    let early = taken.until("early", |own| own.status().error.is_some());
    assert!(early.status().error.unwrap().message.unwrap().contains("\"b\" not found"));
    taken.told("SnapshotContentCreationFailed", "\"b\" not found");
    taken.tried.claim("b", &json!({}));
    assert_eq!(taken.ready("early").status().error, None);

    for kind in [ErrorKind::Internal, ErrorKind::Unavailable] {
        taken.tried.driver.fail_next(kind);
    }
    taken.take("s");
    let failed = taken.until("s", |own| own.status().error.is_some());
    assert_eq!(failed.status().ready_to_use, Some(false));
    assert_eq!(taken.ready("s").status().error, None);
    taken.told("SnapshotCreationFailed", "Failed to create snapshot: the driver was told to fail");
    taken.tried.driver.fail_next(ErrorKind::Unavailable);
    taken.delete("s");
    taken.gone("s");
    taken.told("SnapshotDeleteError", "Failed to delete snapshot: the driver was told to fail");
    assert_eq!(taken.tried.driver.snapshots().len(), 1);
}

#[test]
fn a_snapshot_whose_answer_was_lost_is_not_left() {
    let taken = Taken::new(5, &json!({}));
    // The driver answers nothing until the snapshot is to go; then it cuts one and its answer is lost, too.
    taken.tried.driver.lose_next(ErrorKind::Timeout);
    for _ in 0..12 {
        taken.tried.driver.fail_next(ErrorKind::Unavailable);
    }
    taken.take("s");
    taken.until("s", |own| own.status().error.is_some());
    taken.delete("s");
    taken.gone("s");
    taken.tried.cluster.settle();
    assert_eq!(taken.tried.driver.snapshots(), []);
}

#[test]
fn a_snapshot_whose_answer_was_lost_waits_for_a_class_that_is_missing() {
    let taken = Taken::new(10, &json!({}));
    let admin = &taken.tried.cluster.admin;
    taken.tried.driver.lose_next(ErrorKind::Timeout);
    taken.take("s");
    taken.until("s", |own| own.status().error.is_some());
    let class: Arc<VolumeSnapshotClass> =
        taken.tried.cluster.executor.run_until(admin.get::<VolumeSnapshotClass>("", "snaps")).unwrap();
    taken.tried.cluster.executor.run_until(admin.delete::<VolumeSnapshotClass>("", "snaps")).unwrap();
    taken.delete("s");
    taken.told("SnapshotDeleteError", "volumesnapshotclass \"snaps\" not found");
    assert_eq!(taken.contents.list().len(), 1, "what the driver has is forgotten");
    assert_eq!(taken.tried.driver.snapshots().len(), 1);

    let mut again = VolumeSnapshotClass::clone(&class);
    again.metadata = ObjectMeta { name: Some("snaps".into()), ..ObjectMeta::default() };
    taken.tried.cluster.executor.run_until(admin.create(&again)).unwrap();
    taken.gone("s");
    taken.tried.cluster.settle();
    assert_eq!(taken.tried.driver.snapshots(), []);
}

#[test]
fn definitions_say_what_cannot_be() {
    let taken = Taken::new(6, &json!({}));
    let refused = |plural: &'static str, object: Value, part: &str| {
        let resource = windlass_kernel::api::GroupVersionResource::of(GROUP, "v1", plural);
        let resource = taken.tried.cluster.admin.dynamic(resource);
        let error = taken.tried.cluster.executor.run_until(resource.create(object)).unwrap_err();
        assert!(error.is(ErrorKind::Invalid) && error.to_string().contains(part), "{error}");
    };
    let snapshot = |source: Value| {
        json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {"name": "x", "namespace": "default"}, "spec": {"source": source}})
    };
    refused("volumesnapshots", snapshot(json!({})), "spec.source");
    let both = json!({"persistentVolumeClaimName": "a", "volumeSnapshotContentName": "b"});
    refused("volumesnapshots", snapshot(both), "spec.source");
    let content = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": {"name": "x"}, "spec": {"driver": DRIVER, "deletionPolicy": "Recycle",
            "source": {"snapshotHandle": "h"}, "volumeSnapshotRef": {"name": "t"}}});
    refused("volumesnapshotcontents", content.clone(), "Recycle");
    let mut content = content;
    content["spec"]["deletionPolicy"] = json!("Delete");
    refused("volumesnapshotcontents", content, "volumeSnapshotRef.namespace");
}

#[test]
fn secrets_of_classes_reach_the_driver() {
    let named = |purpose: &str, name: &str| {
        [
            (format!("csi.storage.k8s.io/{purpose}-secret-name"), json!(name)),
            (format!("csi.storage.k8s.io/{purpose}-secret-namespace"), json!("keys")),
        ]
    };
    let parameters: serde_json::Map<_, _> = named("snapshotter", "of-${volumesnapshot.name}")
        .into_iter()
        .chain(named("snapshotter-list", "lists"))
        .collect();
    let taken = Taken::new(7, &json!({"parameters": parameters}));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keys"}});
    taken.tried.cluster.create("namespaces", namespace);
    taken.take("s");
    taken.until("s", |own| own.status().error.is_some());
    taken.told("SnapshotCreationFailed", "of-s");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "of-s", "namespace": "keys"},
        "stringData": {"password": "hunter2"}});
    taken.tried.cluster.create("secrets", secret);
    taken.ready("s");
    assert!(taken.tried.driver.snapshots()[0].0.parameters.is_empty(), "the driver is told what is not its own");
    taken.delete("s");
    taken.gone("s");
    let secrets = Secrets([("password".to_owned(), "hunter2".to_owned())].into());
    let calls = taken.tried.driver.secrets();
    for call in ["CreateSnapshot", "DeleteSnapshot"] {
        assert!(calls.contains(&(call, secrets.clone())), "{call} is not among {calls:?}");
    }
}

#[test]
fn nothing_is_cut_twice_or_left_when_controllers_are_killed() {
    for fault in [Fault::Refused, Fault::Lost, Fault::KilledBefore, Fault::KilledAfter] {
        for at in 0..WRITES {
            let taken = Taken::new(10, &json!({}));
            taken.tried.cluster.gate.fail_of("snapshot-controller", at, 1, fault);
            taken.take("s");
            taken.ready("s");
            assert_eq!(taken.tried.driver.snapshots().len(), 1, "{fault:?} at write {at}");
            taken.restore("b", "s", "1Gi");
            taken.tried.bound("b");
            taken.delete("s");
            taken.gone("s");
            taken.tried.cluster.until(&taken.contents, |all| all.values().is_empty());
            assert!(!taken.held(), "{fault:?} at write {at}");
            assert_eq!(taken.tried.driver.snapshots(), [], "{fault:?} at write {at}");
        }
    }
}

/// The test above reaches every write of the snapshotter for one snapshot.
#[test]
fn a_whole_life_of_a_snapshot_has_so_many_writes_at_most() {
    let taken = Taken::new(10, &json!({}));
    taken.take("s");
    taken.ready("s");
    assert!(!taken.held());
    taken.delete("s");
    taken.gone("s");
    taken.tried.cluster.settle();
    let writes = taken.tried.cluster.gate.count("snapshot-controller");
    assert!((8..=WRITES).contains(&writes), "{writes}: {:#?}", taken.tried.cluster.gate.log());
}

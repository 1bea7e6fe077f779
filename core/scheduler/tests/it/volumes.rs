//! Pods with claims, with the binder of the controllers played by the test.

use serde_json::{Value, json};
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass},
    types::Resource,
};
use windlass_scheduler::Config;

use crate::{
    config,
    rig::{Rig, run},
};

async fn create<T: Resource>(rig: &Rig, object: Value) {
    rig.client.create::<T>(&serde_json::from_value(object).unwrap()).await.unwrap();
}

async fn class(rig: &Rig, name: &str, mode: &str) {
    let class = json!({"metadata": {"name": name}, "provisioner": "disks.example.org", "volumeBindingMode": mode});
    create::<StorageClass>(rig, class).await;
}

async fn claim(rig: &Rig, name: &str, class: &str) {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": class});
    create::<PersistentVolumeClaim>(rig, json!({"metadata": {"namespace": "default", "name": name}, "spec": spec}))
        .await;
}

/// A volume that only one node reaches.
async fn volume(rig: &Rig, name: &str, class: &str, node: &str) {
    let asked = json!([{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]);
    let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": class,
        "hostPath": {"path": "/tmp"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": asked}]}}});
    create::<PersistentVolume>(rig, json!({"metadata": {"name": name}, "spec": spec})).await;
    let mut volume = (*rig.client.get::<PersistentVolume>("", name).await.unwrap()).clone();
    volume.status.phase = Some("Available".into());
    rig.client.update_status(&volume).await.unwrap();
}

fn using(claim: &str) -> Value {
    json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]})
}

/// What the binder does in the end: the claim names its volume.
async fn bound(rig: &Rig, claim: &str, volume: &str) {
    rig.client
        .modify::<PersistentVolumeClaim>("default", claim, |own| {
            own.spec.volume_name = Some(volume.into());
            own.metadata.annotations.insert("pv.kubernetes.io/bind-completed".into(), "yes".into());
        })
        .await
        .unwrap();
}

#[test]
fn a_claim_that_waits_is_given_a_volume_where_the_pod_goes() {
    run(40, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "8", &[]).await;
        rig.node("b", "8", &[]).await;
        // Nobody makes volumes of this class: else any node would do.
        let nobody = json!({"metadata": {"name": "late"}, "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer"});
        create::<StorageClass>(&rig, nobody).await;
        volume(&rig, "v", "late", "b").await;
        claim(&rig, "c", "late").await;
        rig.seen().await;
        rig.pod("p", "1", using("c")).await;
        rig.until("the volume is given away", || async {
            let volume = rig.client.get::<PersistentVolume>("", "v").await.unwrap();
            volume.spec.claim_ref.as_ref().and_then(|own| own.name.as_deref()) == Some("c")
        })
        .await;
        assert_eq!(rig.node_of("p").await, None);
        bound(&rig, "c", "v").await;
        assert_eq!(rig.placed("p").await, "b");
    });
}

#[test]
fn a_volume_that_is_to_be_made_is_made_where_the_pod_goes() {
    run(41, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "8", &[]).await;
        class(&rig, "made", "WaitForFirstConsumer").await;
        claim(&rig, "c", "made").await;
        rig.seen().await;
        rig.pod("p", "1", using("c")).await;
        rig.until("the claim says where", || async {
            let claim = rig.client.get::<PersistentVolumeClaim>("default", "c").await.unwrap();
            claim.metadata.annotations.get("volume.kubernetes.io/selected-node").map(String::as_str) == Some("a")
        })
        .await;
        volume(&rig, "made-for-c", "made", "a").await;
        bound(&rig, "c", "made-for-c").await;
        assert_eq!(rig.placed("p").await, "a");
    });
}

#[test]
fn a_provisioner_that_cannot_do_it_sends_the_pod_back() {
    run(42, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "8", &[]).await;
        class(&rig, "made", "WaitForFirstConsumer").await;
        claim(&rig, "c", "made").await;
        rig.seen().await;
        rig.pod("p", "1", using("c")).await;
        let selected = || async {
            let claim = rig.client.get::<PersistentVolumeClaim>("default", "c").await.unwrap();
            claim.metadata.annotations.contains_key("volume.kubernetes.io/selected-node")
        };
        rig.until("the claim says where", selected).await;
        rig.client
            .modify::<PersistentVolumeClaim>("default", "c", |claim| {
                claim.metadata.annotations.remove("volume.kubernetes.io/selected-node");
            })
            .await
            .unwrap();
        rig.complains("p", "the selected node of claim default/c was reset").await;
        rig.until("the claim says where, again", selected).await;
    });
}

#[test]
fn a_pod_waits_for_its_claims() {
    run(43, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "8", &[]).await;
        class(&rig, "now", "Immediate").await;
        rig.pod("p", "1", using("c")).await;
        let expect = "Unschedulable: 0/1 nodes are available: persistentvolumeclaim \"c\" not found.";
        rig.complains("p", expect).await;
        claim(&rig, "c", "now").await;
        rig.complains("p", "pod has unbound immediate PersistentVolumeClaims").await;
        volume(&rig, "v", "now", "a").await;
        bound(&rig, "c", "v").await;
        assert_eq!(rig.placed("p").await, "a");
    });
}

#[test]
fn claims_may_take_as_long_as_the_profile_says() {
    run(44, |mut rig| async move {
        let _scheduler = rig.scheduler(config::args("VolumeBinding", &json!({"bindTimeoutSeconds": 5})));
        rig.node("a", "8", &[]).await;
        class(&rig, "made", "WaitForFirstConsumer").await;
        claim(&rig, "c", "made").await;
        rig.seen().await;
        rig.pod("p", "1", using("c")).await;
        rig.complains("p", "binding volumes of pod default/p: timed out").await;
        volume(&rig, "made-for-c", "made", "a").await;
        bound(&rig, "c", "made-for-c").await;
        assert_eq!(rig.placed("p").await, "a");
    });
}

#[test]
fn a_profile_without_volume_binding_leaves_claims_alone() {
    run(45, |mut rig| async move {
        let off = json!({"multiPoint": {"disabled": [{"name": "VolumeBinding"}]}});
        let _scheduler = rig.scheduler(config::profiles(&json!([{"plugins": off}])));
        rig.node("a", "8", &[]).await;
        class(&rig, "made", "WaitForFirstConsumer").await;
        claim(&rig, "c", "made").await;
        rig.seen().await;
        rig.pod("p", "1", using("c")).await;
        assert_eq!(rig.placed("p").await, "a");
        let claim = rig.client.get::<PersistentVolumeClaim>("default", "c").await.unwrap();
        assert!(!claim.metadata.annotations.contains_key("volume.kubernetes.io/selected-node"));
    });
}

#[test]
fn a_volume_is_made_where_its_driver_has_room() {
    run(46, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "1", &[]).await;
        rig.node("b", "8", &[]).await;
        class(&rig, "made", "WaitForFirstConsumer").await;
        let driver = json!({"metadata": {"name": "disks.example.org"}, "spec": {"storageCapacity": true}});
        create::<CSIDriver>(&rig, driver).await;
        claim(&rig, "c", "made").await;
        rig.seen().await;
        rig.pod("p", "1", using("c")).await;
        let said = "0/2 nodes are available: 2 node(s) did not have enough free storage.";
        rig.complains("p", said).await;
        let room = |node: &str, size: &str| {
            json!({
                "metadata": {"namespace": "default", "name": node}, "storageClassName": "made", "capacity": size,
                "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": node}},
            })
        };
        create::<CSIStorageCapacity>(&rig, room("b", "500Mi")).await;
        create::<CSIStorageCapacity>(&rig, room("a", "1Gi")).await;
        rig.until("the claim says where", || async {
            let claim = rig.client.get::<PersistentVolumeClaim>("default", "c").await.unwrap();
            claim.metadata.annotations.get("volume.kubernetes.io/selected-node").map(String::as_str) == Some("a")
        })
        .await;
    });
}

#[test]
fn a_pod_waits_until_its_node_takes_one_more_volume() {
    run(47, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        rig.node("a", "8", &[]).await;
        class(&rig, "now", "Immediate").await;
        let drivers = json!([{"name": "disks.example.org", "nodeID": "a", "allocatable": {"count": 1}}]);
        create::<CSINode>(&rig, json!({"metadata": {"name": "a"}, "spec": {"drivers": drivers}})).await;
        for name in ["c", "d"] {
            claim(&rig, name, "now").await;
            let csi = json!({"driver": "disks.example.org", "volumeHandle": name});
            let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "storageClassName": "now", "csi": csi});
            create::<PersistentVolume>(&rig, json!({"metadata": {"name": name}, "spec": spec})).await;
            bound(&rig, name, name).await;
        }
        rig.seen().await;
        rig.pod("p", "1", using("c")).await;
        assert_eq!(rig.placed("p").await, "a");
        rig.pod("q", "1", using("d")).await;
        rig.complains("q", "0/1 nodes are available: 1 node(s) exceed max volume count.").await;
        rig.client.delete::<windlass_api::core::v1::Pod>("default", "p").await.unwrap();
        assert_eq!(rig.placed("q").await, "a");
    });
}

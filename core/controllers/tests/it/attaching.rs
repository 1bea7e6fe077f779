//! Volumes are attached to the nodes whose pods want them, and detached when nobody does and the node has let go of them.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use windlass_api::{
    core::v1::{Event, Node, PersistentVolume, Pod},
    storage::v1::VolumeAttachment,
};
use windlass_client::{Cache, Select};
use windlass_kernel::{
    ErrorKind,
    api::{Options, PatchType},
    controller::ObjectKey,
};

use crate::{
    cluster::Fault,
    provisioning::{DRIVER, Tried},
};

/// A driver whose volumes are attached, on both nodes, and the claim `a` of it.
struct Attached {
    tried: Tried,
    nodes: Cache<Arc<Node>>,
    attachments: Cache<Arc<VolumeAttachment>>,
}

impl Attached {
    fn new(seed: u64) -> Self {
        let tried = Tried::with(seed, &json!({}), |driver| driver.attaching_volumes());
        let informers = &tried.cluster.informers;
        let (nodes, attachments) = (informers.typed::<Node>(Select::all()), informers.typed(Select::all()));
        for node in ["n1", "n2"] {
            tried.cluster.until(&nodes, |nodes| nodes.get(&ObjectKey::new("", node)).is_some());
            let drivers = json!([{"name": DRIVER, "nodeID": format!("id-of-{node}"), "topologyKeys": []}]);
            let on_node = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": node},
                "spec": {"drivers": drivers}});
            tried.cluster.create("csinodes", on_node);
        }
        tried.claim("a", &json!({}));
        tried.bound("a");
        Self { tried, nodes, attachments }
    }

    /// A pod with the claim, on a node.
    fn pod(&self, name: &str, node: &str) {
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "a"}});
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}], "volumes": [volume]});
        let metadata = json!({"name": name, "namespace": "default"});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        self.tried.cluster.create("pods", pod);
    }

    fn delete_pod(&self, name: &str) {
        let at_once = Options { grace_period: Some(0), ..Options::default() };
        let cluster = &self.tried.cluster;
        cluster.executor.run_until(cluster.admin.delete_with::<Pod>("default", name, at_once)).unwrap();
    }

    fn node(&self, name: &str) -> Arc<Node> {
        let cluster = &self.tried.cluster;
        cluster.executor.run_until(cluster.admin.get("", name)).unwrap()
    }

    /// The names in a node's status of what is attached to it.
    fn until_attached(&self, node: &str, count: usize) {
        self.tried.cluster.until(&self.nodes, |nodes| {
            nodes.get(&ObjectKey::new("", node)).is_some_and(|node| node.status.volumes_attached.len() == count)
        });
    }

    fn until_detached(&self) {
        self.tried.cluster.until(&self.attachments, |all| all.is_empty());
        assert_eq!(self.tried.driver.attached(), [], "the driver has it attached");
    }

    /// What the node says to use.
    fn uses(&self, node: &str, volumes: &[String]) {
        let patch = json!({"status": {"volumesInUse": volumes}});
        let cluster = &self.tried.cluster;
        let done = cluster.admin.patch_status::<Node>("", node, PatchType::Merge, patch);
        cluster.executor.run_until(done).unwrap();
    }

    fn told(&self, reason: &str) -> Vec<String> {
        self.tried.cluster.settle();
        let cluster = &self.tried.cluster;
        let all = cluster.executor.run_until(cluster.admin.list::<Event>(&Select::all())).unwrap();
        let of = all.iter().filter(|event| event.reason.as_deref() == Some(reason));
        of.filter_map(|event| event.message.clone()).collect()
    }
}

#[test]
fn a_volume_is_attached_for_its_pod_and_detached_after_it() {
    let attached = Attached::new(1);
    attached.pod("p", "n1");
    attached.until_attached("n1", 1);
    let volume = attached.tried.bound("a");
    let handle = volume.spec.csi.clone().unwrap().volume_handle;
    let told = attached.node("n1").status.volumes_attached[0].clone();
    assert_eq!(told.name, format!("kubernetes.io/csi/{DRIVER}^{handle}"));
    let own = attached.attachments.get(&ObjectKey::new("", &told.device_path)).expect("an attachment of that name");
    assert_eq!((own.spec.attacher.as_str(), own.spec.node_name.as_str()), (DRIVER, "n1"));
    assert_eq!(own.status.attachment_metadata["device"], format!("{handle} at id-of-n1"));
    let held = "external-attacher/fake-example-com".to_owned();
    assert!(own.metadata.finalizers.contains(&held) && volume.metadata.finalizers.contains(&held));
    let name = volume.metadata.name.clone().unwrap();
    assert_eq!(
        attached.told("SuccessfulAttachVolume"),
        [format!("AttachVolume.Attach succeeded for volume \"{name}\"")]
    );
    // It cannot be deleted while it is attached.
    attached.delete_pod("p");
    attached.tried.delete_claim("a");
    attached.until_detached();
    attached.until_attached("n1", 0);
    attached.tried.cluster.until(&attached.tried.volumes, |volumes| volumes.values().is_empty());
    assert_eq!(attached.tried.driver.volumes(), []);
}

#[test]
fn a_driver_that_needs_no_attaching_gets_none() {
    let attached = Attached::new(2);
    let object = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER},
        "spec": {"attachRequired": false}});
    attached.tried.cluster.create("csidrivers", object);
    attached.pod("p", "n1");
    attached.tried.cluster.settle();
    assert!(attached.attachments.is_empty() && attached.tried.driver.attached().is_empty());
}

#[test]
fn a_volume_that_its_node_uses_is_not_detached() {
    let attached = Attached::new(3);
    attached.pod("p", "n1");
    attached.until_attached("n1", 1);
    let name = attached.node("n1").status.volumes_attached[0].name.clone();
    attached.uses("n1", std::slice::from_ref(&name));
    attached.delete_pod("p");
    attached.tried.cluster.executor.run_for(Duration::from_secs(1000));
    assert_eq!(attached.tried.driver.attached().len(), 1, "it was taken from a node that is well");
    attached.uses("n1", &[]);
    attached.until_detached();
}

#[test]
fn a_pod_that_comes_back_in_time_keeps_the_volume() {
    let attached = Attached::new(4);
    attached.pod("p", "n1");
    attached.until_attached("n1", 1);
    let name = attached.node("n1").status.volumes_attached[0].name.clone();
    attached.uses("n1", std::slice::from_ref(&name));
    attached.delete_pod("p");
    attached.tried.cluster.settle();
    attached.pod("q", "n1");
    attached.uses("n1", &[]);
    attached.tried.cluster.settle();
    attached.until_attached("n1", 1);
    assert_eq!(attached.tried.driver.attached().len(), 1);
}

#[test]
fn a_node_that_is_lost_has_its_volumes_taken_after_its_time() {
    let attached = Attached::new(5);
    attached.pod("p", "n1");
    attached.until_attached("n1", 1);
    let name = attached.node("n1").status.volumes_attached[0].name.clone();
    attached.uses("n1", std::slice::from_ref(&name));
    // Somebody who knows that it is shut down says so.
    let lost = json!({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown",
        "effect": "NoExecute"}]}});
    attached.delete_pod("p");
    attached.tried.cluster.settle();
    assert_eq!(attached.tried.driver.attached().len(), 1);
    attached.tried.patch::<Node>("", "n1", lost);
    attached.until_detached();
}

#[test]
fn a_volume_of_one_writer_moves_when_its_first_node_has_let_go() {
    let attached = Attached::new(6);
    attached.pod("p", "n1");
    attached.until_attached("n1", 1);
    attached.pod("q", "n2");
    let volume = attached.tried.bound("a").metadata.name.clone().unwrap();
    let why = format!("Multi-Attach error for volume \"{volume}\" Volume is already used by pod(s) p");
    assert_eq!(attached.told("FailedAttachVolume"), [why]);
    assert!(attached.node("n2").status.volumes_attached.is_empty());
    attached.delete_pod("p");
    attached.until_attached("n2", 1);
    attached.until_attached("n1", 0);
    let there: Vec<_> = attached.tried.driver.attached().into_iter().map(|(_, node)| node.to_string()).collect();
    assert_eq!(there, ["id-of-n2"]);
}

#[test]
fn a_driver_that_fails_is_told_and_asked_again() {
    let attached = Attached::new(7);
    attached.tried.driver.fail_next(ErrorKind::Internal);
    attached.pod("p", "n1");
    attached.until_attached("n1", 1);
    let volume = attached.tried.bound("a").metadata.name.clone().unwrap();
    let why = format!("AttachVolume.Attach failed for volume \"{volume}\" : the driver was told to fail");
    assert_eq!(attached.told("FailedAttachVolume"), [why]);
    let own = attached.attachments.values().remove(0);
    assert_eq!((own.status.attached, own.status.attach_error.is_none()), (true, true));
    attached.tried.driver.fail_next(ErrorKind::Unavailable);
    attached.delete_pod("p");
    attached.until_detached();
}

#[test]
fn nothing_is_left_attached_when_controllers_are_killed() {
    for fault in [Fault::Refused, Fault::Lost, Fault::KilledBefore, Fault::KilledAfter] {
        for who in ["attachdetach-controller", "csi-attacher"] {
            for at in 0..6 {
                let attached = Attached::new(10);
                attached.tried.cluster.gate.fail_of(who, at, 1, fault);
                attached.pod("p", "n1");
                attached.until_attached("n1", 1);
                assert_eq!(attached.tried.driver.attached().len(), 1, "{fault:?} at write {at} of {who}");
                attached.delete_pod("p");
                attached.tried.delete_claim("a");
                attached.until_detached();
                let volumes: &Cache<Arc<PersistentVolume>> = &attached.tried.volumes;
                attached.tried.cluster.until(volumes, |volumes| volumes.values().is_empty());
                attached.until_attached("n1", 0);
            }
        }
    }
}

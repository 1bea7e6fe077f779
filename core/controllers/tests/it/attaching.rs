//! Volumes are attached to the nodes whose pods want them, and detached when nobody does and the node has let go of them.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use windlass_api::{
    core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::VolumeAttachment,
};
use windlass_client::{Cache, Select};
use windlass_kernel::{
    ErrorKind,
    api::{Options, PatchType},
    controller::ObjectKey,
    volume::Secrets,
};

use crate::{
    cluster::Fault,
    lost_nodes,
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
        let attached = Self::without_claims(seed, &json!({}));
        attached.tried.claim("a", &json!({}));
        attached.tried.bound("a");
        attached
    }

    fn without_claims(seed: u64, class: &Value) -> Self {
        let tried = Tried::with(seed, class, |driver| driver.attaching_volumes());
        let informers = &tried.cluster.informers;
        let (nodes, attachments) = (informers.typed::<Node>(Select::all()), informers.typed(Select::all()));
        let attached = Self { tried, nodes, attachments };
        ["n1", "n2"].iter().for_each(|node| attached.on_node(node));
        attached
    }

    /// The driver is on a node, which comes.
    fn on_node(&self, node: &str) {
        self.tried.cluster.until(&self.nodes, |nodes| nodes.get(&ObjectKey::new("", node)).is_some());
        let drivers = json!([{"name": DRIVER, "nodeID": format!("id-of-{node}"), "topologyKeys": []}]);
        let on_node = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": node},
            "spec": {"drivers": drivers}});
        self.tried.cluster.create("csinodes", on_node);
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
fn a_node_that_does_not_answer_keeps_its_volumes_for_six_minutes() {
    let attached = Attached::new(8);
    let cluster = &attached.tried.cluster;
    let process = lost_nodes::mortal(cluster, "n3", 3);
    attached.on_node("n3");
    attached.pod("p", "n3");
    attached.until_attached("n3", 1);
    let name = attached.node("n3").status.volumes_attached[0].name.clone();
    attached.uses("n3", std::slice::from_ref(&name));
    process.kill();
    cluster.until(&attached.nodes, |nodes| {
        let node = nodes.get(&ObjectKey::new("", "n3")).expect("the node stays");
        node.status.conditions.iter().any(|own| own.type_ == "Ready" && own.status != "True")
    });
    // While its pod is there nobody takes the volume, however long that is.
    cluster.executor.run_for(Duration::from_secs(1000));
    assert_eq!(attached.tried.driver.attached().len(), 1, "the volume was taken from a pod");
    attached.delete_pod("p");
    cluster.executor.run_for(Duration::from_secs(340));
    assert_eq!(attached.tried.driver.attached().len(), 1, "the volume was taken before its time");
    cluster.executor.run_for(Duration::from_secs(40));
    assert_eq!(attached.tried.driver.attached(), [], "the node keeps it for ever");
    attached.until_detached();
    attached.until_attached("n3", 0);
}

#[test]
fn secrets_that_a_class_names_come_with_every_call() {
    let named = |purpose: &str| {
        [
            (format!("csi.storage.k8s.io/{purpose}-secret-name"), json!(format!("{purpose}-of-${{pvc.name}}"))),
            (format!("csi.storage.k8s.io/{purpose}-secret-namespace"), json!("${pvc.namespace}")),
        ]
    };
    let purposes =
        ["provisioner", "controller-publish", "controller-expand", "node-stage", "node-publish", "node-expand"];
    let parameters: serde_json::Map<_, _> = purposes.iter().flat_map(|purpose| named(purpose)).collect();
    let class = json!({"parameters": parameters, "allowVolumeExpansion": true});
    let attached = Attached::without_claims(9, &class);
    attached.tried.claim("a", &json!({}));
    let why = attached.told("ProvisioningFailed");
    assert!(why.iter().any(|why| why.contains("provisioner-of-a")), "{why:?}");
    for purpose in purposes {
        let metadata = json!({"name": format!("{purpose}-of-a"), "namespace": "default"});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"for": purpose}});
        attached.tried.cluster.create("secrets", secret);
    }
    let volume = attached.tried.bound("a");
    let csi = volume.spec.csi.clone().unwrap();
    let refs = [
        &csi.controller_publish_secret_ref,
        &csi.node_stage_secret_ref,
        &csi.node_publish_secret_ref,
        &csi.controller_expand_secret_ref,
        &csi.node_expand_secret_ref,
    ];
    let refs: Vec<_> = refs.iter().filter_map(|own| own.as_ref()?.name.as_deref()).collect();
    let expect = [
        "controller-publish-of-a",
        "node-stage-of-a",
        "node-publish-of-a",
        "controller-expand-of-a",
        "node-expand-of-a",
    ];
    assert_eq!(refs, expect);

    attached.pod("p", "n1");
    attached.until_attached("n1", 1);
    let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    attached.tried.patch::<PersistentVolumeClaim>("default", "a", more);
    attached.tried.cluster.until(&attached.tried.volumes, |all| {
        all.values().iter().any(|own| own.spec.capacity["storage"] == "2Gi".into())
    });
    attached.delete_pod("p");
    attached.tried.delete_claim("a");
    attached.until_detached();
    attached.tried.cluster.until(&attached.tried.volumes, |volumes| volumes.values().is_empty());
    let calls = attached.tried.driver.secrets();
    for (call, purpose) in [
        ("CreateVolume", "provisioner"),
        ("ControllerPublishVolume", "controller-publish"),
        ("ControllerExpandVolume", "controller-expand"),
        ("ControllerUnpublishVolume", "controller-publish"),
        ("DeleteVolume", "provisioner"),
    ] {
        let secrets = Secrets([("for".to_owned(), purpose.to_owned())].into());
        let of: Vec<_> = calls.iter().filter(|(own, _)| *own == call).collect();
        assert!(!of.is_empty() && of.iter().all(|(_, own)| own.0 == secrets.0), "{call}: {of:?}");
    }
}

#[test]
fn an_attachment_may_say_its_volume_itself() {
    let attached = Attached::new(11);
    let handle = attached.tried.bound("a").spec.csi.clone().unwrap().volume_handle;
    let inline = json!({"accessModes": ["ReadWriteOnce"], "csi": {"driver": DRIVER, "volumeHandle": handle}});
    let spec = json!({"attacher": DRIVER, "nodeName": "n1", "source": {"inlineVolumeSpec": inline}});
    let own = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": "own"},
        "spec": spec});
    attached.tried.cluster.create("volumeattachments", own);
    attached.tried.cluster.until(&attached.attachments, |all| all.values().iter().any(|own| own.status.attached));
    attached.tried.cluster.settle();
    assert_eq!(attached.tried.driver.attached().len(), 1, "somebody else's attachment was taken away");
    let cluster = &attached.tried.cluster;
    cluster.executor.run_until(cluster.admin.delete::<VolumeAttachment>("", "own")).unwrap();
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

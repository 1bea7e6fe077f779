//! Built-in plugins that are about one kind each.

use serde_json::{Value, json};
use windlass_kernel::api::{PatchType, Verb};

use crate::rig::Rig;

const CLASSES: &str = "networking.k8s.io/v1/ingressclasses";
const INGRESSES: &str = "networking.k8s.io/v1/ingresses";

#[test]
fn an_ingress_without_a_class_gets_the_default_one() {
    let rig = Rig::new();
    let ingress = |name: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}})
    };
    let none = rig.create(INGRESSES, ingress("a")).unwrap();
    assert_eq!(none["spec"]["ingressClassName"], Value::Null);
    for (name, default) in [("other", "false"), ("own", "true")] {
        let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": default}},
            "spec": {"controller": "example.com/c"}});
        rig.create(CLASSES, class).unwrap();
    }
    assert_eq!(rig.create(INGRESSES, ingress("b")).unwrap()["spec"]["ingressClassName"], "own");
    let mut named = ingress("c");
    named["spec"]["ingressClassName"] = "other".into();
    assert_eq!(rig.create(INGRESSES, named).unwrap()["spec"]["ingressClassName"], "other");
}

#[test]
fn a_claim_grows_where_its_class_lets_it() {
    let rig = Rig::new();
    for (name, grows) in [("fixed", false), ("wide", true)] {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": "example.com/p", "allowVolumeExpansion": grows});
        rig.create("storage.k8s.io/v1/storageclasses", class).unwrap();
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"storageClassName": name, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        rig.create("persistentvolumeclaims", claim).unwrap();
    }
    let patch = |resource: &str, name: &str, body: Value| {
        rig.call(rig.request(Verb::Patch(PatchType::Merge), resource).named(name).body(body))
    };
    let grown = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    for name in ["fixed", "wide"] {
        let early = patch("persistentvolumeclaims", name, grown.clone()).unwrap_err();
        assert!(early.message().contains("bound"), "{}", early.message());
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        patch("persistentvolumeclaims:status", name, bound).unwrap();
    }
    let refused = patch("persistentvolumeclaims", "fixed", grown.clone()).unwrap_err();
    assert_eq!(
        refused.message(),
        "persistentvolumeclaims \"fixed\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass \
         that provisions the pvc must support resize"
    );
    patch("persistentvolumeclaims", "wide", grown).unwrap();
}

//! Which objects the pods of each node use, as indexes that follow the store. Pure.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;
use windlass_kernel::{
    Document,
    store::{Entry, Key},
};

use crate::{
    followed::Index,
    kinds::field::{items, text},
    object,
};

const MIRROR: &str = "kubernetes.io/config.mirror";

/// A kind of object that pods use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Used {
    Pod,
    Secret,
    ConfigMap,
    Claim,
    ResourceClaim,
    Account,
}

/// An object that a pod uses, in the pod's namespace.
type Use = (Used, String);

/// A pod on a node, and what it uses.
#[derive(Debug)]
struct Placed {
    node: String,
    namespace: String,
    uses: Vec<Use>,
}

/// What the pods of nodes use.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pods: BTreeMap<Key, Placed>,
    /// How many pods of a node use an object.
    counts: BTreeMap<(String, Used, String, String), usize>,
}

impl Uses {
    /// Whether a pod on the node uses the object.
    pub(super) fn has(&self, node: &str, kind: Used, namespace: &str, name: &str) -> bool {
        self.counts.contains_key(&(node.to_owned(), kind, namespace.to_owned(), name.to_owned()))
    }
}

impl Index for Uses {
    fn put(&mut self, entry: &Arc<Entry>) {
        self.remove(&entry.key);
        let Some(placed) = read(entry).and_then(|pod| placed(&pod)) else { return };
        for (kind, name) in &placed.uses {
            let key = (placed.node.clone(), *kind, placed.namespace.clone(), name.clone());
            *self.counts.entry(key).or_default() += 1;
        }
        self.pods.insert(entry.key.clone(), placed);
    }

    fn remove(&mut self, key: &Key) {
        let Some(placed) = self.pods.remove(key) else { return };
        for (kind, name) in placed.uses {
            let key = (placed.node.clone(), kind, placed.namespace.clone(), name);
            if let Some(count) = self.counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&key);
                }
            }
        }
    }
}

fn read(entry: &Arc<Entry>) -> Option<Value> {
    let object = Document::stored(Arc::clone(entry)).and_then(|document| document.value());
    object.inspect_err(|error| tracing::warn!(key = ?entry.key, %error, "unreadable object")).ok()
}

/// The pod with what it uses; `None` where it is on no node, or says itself what it uses: a mirror of a static pod.
fn placed(pod: &Value) -> Option<Placed> {
    let node = text(pod, &["spec", "nodeName"]);
    if node.is_empty() {
        return None;
    }
    let mut uses = vec![(Used::Pod, object::name(pod).to_owned())];
    if object::meta(pod, "annotations")[MIRROR].is_null() {
        uses.extend(used(pod));
    }
    uses.retain(|(_, name)| !name.is_empty());
    uses.sort();
    uses.dedup();
    Some(Placed { node: node.to_owned(), namespace: object::meta_text(pod, "namespace").to_owned(), uses })
}

fn used(pod: &Value) -> Vec<Use> {
    let spec = &pod["spec"];
    let mut uses = vec![(Used::Account, text(spec, &["serviceAccountName"]).to_owned())];
    let mut add = |kind: Used, name: &str| uses.push((kind, name.to_owned()));
    for secret in items(spec, &["imagePullSecrets"]) {
        add(Used::Secret, text(secret, &["name"]));
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, &[list]) {
            for from in items(container, &["envFrom"]) {
                add(Used::Secret, text(from, &["secretRef", "name"]));
                add(Used::ConfigMap, text(from, &["configMapRef", "name"]));
            }
            for variable in items(container, &["env"]) {
                add(Used::Secret, text(variable, &["valueFrom", "secretKeyRef", "name"]));
                add(Used::ConfigMap, text(variable, &["valueFrom", "configMapKeyRef", "name"]));
            }
        }
    }
    for volume in items(spec, &["volumes"]) {
        add(Used::ConfigMap, text(volume, &["configMap", "name"]));
        add(Used::Claim, text(volume, &["persistentVolumeClaim", "claimName"]));
        if volume["ephemeral"].is_object() {
            add(Used::Claim, &format!("{}-{}", object::name(pod), text(volume, &["name"])));
        }
        for source in items(volume, &["projected", "sources"]) {
            add(Used::Secret, text(source, &["secret", "name"]));
            add(Used::ConfigMap, text(source, &["configMap", "name"]));
        }
        for (_, source) in volume.as_object().into_iter().flatten() {
            add(Used::Secret, text(source, &["secretName"]));
            for reference in ["secretRef", "nodePublishSecretRef"] {
                add(Used::Secret, text(source, &[reference, "name"]));
            }
        }
    }
    for claim in items(spec, &["resourceClaims"]) {
        add(Used::ResourceClaim, text(claim, &["resourceClaimName"]));
    }
    for claim in items(pod, &["status", "resourceClaimStatuses"]) {
        add(Used::ResourceClaim, text(claim, &["resourceClaimName"]));
    }
    uses
}

/// A namespace and a name.
type Name = (String, String);

/// Which claim has which volume, and which secrets volumes use.
#[derive(Debug, Default)]
pub(super) struct Volumes(BTreeMap<Key, (Option<Name>, Vec<Name>)>);

impl Volumes {
    /// The claim that has a volume.
    pub(super) fn claim_of(&self, volume: &str) -> Option<Name> {
        let key = Key::from(format!("/registry/core/persistentvolumes/{volume}"));
        self.0.get(&key)?.0.clone()
    }

    /// The claims whose volumes use a secret.
    pub(super) fn claims_with_secret(&self, namespace: &str, name: &str) -> Vec<Name> {
        let uses = |secrets: &[Name]| secrets.iter().any(|own| own.0 == namespace && own.1 == name);
        self.0.values().filter(|(_, secrets)| uses(secrets)).filter_map(|(claim, _)| claim.clone()).collect()
    }
}

impl Index for Volumes {
    fn put(&mut self, entry: &Arc<Entry>) {
        let Some(volume) = read(entry) else { return };
        let named = |reference: &Value, namespace: &str| -> Option<Name> {
            let own = text(reference, &["namespace"]);
            let namespace = if own.is_empty() { namespace } else { own };
            let name = text(reference, &["name"]);
            (!name.is_empty()).then(|| (namespace.to_owned(), name.to_owned()))
        };
        let claim = named(&volume["spec"]["claimRef"], "");
        let home = claim.as_ref().map(|claim| claim.0.clone()).unwrap_or_default();
        let mut secrets = Vec::new();
        for (_, source) in volume["spec"].as_object().into_iter().flatten() {
            for reference in ["secretRef", "nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"] {
                secrets.extend(named(&source[reference], &home));
            }
        }
        self.0.insert(entry.key.clone(), (claim, secrets));
    }

    fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

/// Objects that say which node they are of (`spec.nodeName`).
#[derive(Debug, Default)]
pub(super) struct Owned(BTreeMap<Key, (String, String)>);

impl Owned {
    /// Whether the object of this name is the node's.
    pub(super) fn is_of(&self, name: &str, node: &str) -> bool {
        self.0.values().any(|own| own.0 == name && own.1 == node)
    }
}

impl Index for Owned {
    fn put(&mut self, entry: &Arc<Entry>) {
        let Some(object) = read(entry) else { return };
        let node = text(&object, &["spec", "nodeName"]).to_owned();
        self.0.insert(entry.key.clone(), (object::name(&object).to_owned(), node));
    }

    fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_uses_what_it_names() {
        let pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {
            "nodeName": "n", "serviceAccountName": "sa", "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"envFrom": [{"configMapRef": {"name": "env"}}],
                "env": [{"valueFrom": {"secretKeyRef": {"name": "key"}}}]}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "vol"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "root"}}, {"secret": {"name": "proj"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "d", "ephemeral": {"volumeClaimTemplate": {}}},
                {"name": "e", "csi": {"nodePublishSecretRef": {"name": "csi"}}}]}});
        let placed = placed(&pod).unwrap();
        let shown: Vec<String> = placed.uses.iter().map(|(kind, name)| format!("{kind:?} {name}")).collect();
        assert_eq!(
            shown,
            [
                "Pod p",
                "Secret csi",
                "Secret key",
                "Secret proj",
                "Secret pull",
                "Secret vol",
                "ConfigMap env",
                "ConfigMap root",
                "Claim claim",
                "Claim p-d",
                "Account sa"
            ]
        );
    }

    #[test]
    fn a_mirror_of_a_static_pod_opens_nothing() {
        let pod = json!({"metadata": {"name": "p", "annotations": {MIRROR: "x"}},
            "spec": {"nodeName": "n", "serviceAccountName": "sa"}});
        assert_eq!(placed(&pod).unwrap().uses, [(Used::Pod, "p".to_owned())]);
        assert!(placed(&json!({"metadata": {"name": "p"}})).is_none());
    }
}

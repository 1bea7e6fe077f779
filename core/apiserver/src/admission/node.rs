//! What nodes may write: their own objects, and pods that are theirs (`NodeRestriction`).
//!
//! Which objects they may name at all is the authorizer's business (`access::NodeAuthorizer`).

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    error::{Error, Result},
};

use super::{Reader, list};
use crate::{
    access::node_of,
    errors,
    kinds::field::{items, text},
    object,
};

const MIRROR: &str = "kubernetes.io/config.mirror";
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Labels of Kubernetes that a node sets itself.
const OWN_LABELS: [&str; 13] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/windows-build",
    "node.kubernetes.io/exclude-from-external-load-balancers",
];
const OWN_PREFIXES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

#[derive(Debug)]
pub(super) struct NodeRestriction {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        node_of(&request.identity).is_some()
            && !matches!(request.verb, Verb::Get | Verb::List | Verb::Watch | Verb::Connect)
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let request = admitting.request;
        let (old, new) = (admitting.old, admitting.new.as_deref());
        let refuse = |why: String| -> Result<(), Error> {
            let name = [new, old].into_iter().flatten().map(object::name).next().unwrap_or_default();
            let name = if request.name.is_empty() { name } else { &request.name };
            Err(errors::forbidden(&request.resource, name, &why))
        };
        let node = node_of(&request.identity).unwrap_or_default();
        if node.is_empty() {
            return refuse(format!("could not determine node from user {:?}", request.identity.name));
        }
        let said = match (&*request.resource.group, &*request.resource.resource, request.subresource.as_str()) {
            ("", "pods", "" | "eviction") => match (old, new) {
                (None, Some(pod)) => match created(node, pod) {
                    Ok(()) => self.owner(node, pod).await?,
                    refused => refused,
                },
                (Some(pod), _) if text(pod, &["spec", "nodeName"]) != node => {
                    Err(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
                }
                _ => Ok(()),
            },
            ("", "pods", "status") => pod_status(node, old, new),
            ("", "nodes", "" | "status") => node_written(node, old, new),
            ("", "serviceaccounts", "token") => match new {
                Some(token) => self.token(node, &request.namespace, token).await?,
                None => Ok(()),
            },
            ("coordination.k8s.io", "leases", _) => {
                named(node, request, new, "can only access node lease with the same name as the requesting node")
            }
            ("storage.k8s.io", "csinodes", _) => {
                named(node, request, new, "can only access CSINode with the same name as the requesting node")
            }
            ("resource.k8s.io", "resourceslices", _) => {
                let of = [old, new].into_iter().flatten().any(|slice| text(slice, &["spec", "nodeName"]) != node);
                if of {
                    Err("can only create ResourceSlice with the same NodeName as the requesting node".into())
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        };
        said.or_else(refuse)
    }
}

type Said = Result<(), String>;

impl NodeRestriction {
    /// A mirror pod belongs to its node.
    async fn owner(&self, node: &str, pod: &Value) -> Result<Said> {
        let owners: Vec<&Value> = list(&pod["metadata"], "ownerReferences").collect();
        let [owner] = owners[..] else {
            let what = if owners.is_empty() { "an owner reference" } else { "a single owner reference" };
            return Ok(Err(format!("node {node:?} can only create pods with {what} set to itself")));
        };
        let itself = owner["apiVersion"] == "v1" && owner["kind"] == "Node" && owner["name"] == node;
        if !itself {
            return Ok(Err(format!("node {node:?} can only create pods with an owner reference set to itself")));
        }
        if owner["controller"] != true && !owner["controller"].is_null() || owner["blockOwnerDeletion"] == true {
            return Ok(Err(format!("node {node:?} must not set blockOwnerDeletion on an owner reference")));
        }
        let found = self.reader.get("core/nodes", "", node).await?;
        let same = found.is_some_and(|found| owner["uid"] == found.uid());
        Ok(if same {
            Ok(())
        } else {
            Err(format!("node {node:?} UID mismatch: the owner reference is to another node"))
        })
    }

    /// A node asks only for tokens of pods that it runs.
    async fn token(&self, node: &str, namespace: &str, token: &Value) -> Result<Said> {
        let bound = &token["spec"]["boundObjectRef"];
        if !(bound["kind"] == "Pod" && matches!(bound["apiVersion"].as_str(), Some("v1"))) {
            return Ok(Err("node requested token not bound to a pod".into()));
        }
        let (name, uid) = (text(bound, &["name"]), text(bound, &["uid"]));
        if uid.is_empty() {
            return Ok(Err("node requested token with a pod binding without a uid".into()));
        }
        let Some(pod) = self.reader.get("core/pods", namespace, name).await? else {
            return Ok(Err(format!("pod {name:?} not found")));
        };
        if pod.uid() != uid {
            let found = pod.uid();
            return Ok(Err(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record ({found}). \
                 The object might have been deleted and then recreated"
            )));
        }
        if text(&pod.value()?, &["spec", "nodeName"]) != node {
            return Ok(Err("node requested token bound to a pod scheduled on a different node".into()));
        }
        Ok(Ok(()))
    }
}

/// A node creates nothing but mirrors of the static pods that it runs.
fn created(node: &str, pod: &Value) -> Said {
    if object::meta(pod, "annotations")[MIRROR].is_null() {
        return Err(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    let spec = &pod["spec"];
    if spec["nodeName"] != node {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    if !object::is_empty(&spec["serviceAccountName"]) {
        return Err(format!("node {node:?} can not create pods that reference a service account"));
    }
    let named = |what: &str| Err(format!("node {node:?} can not create pods that reference {what}"));
    let secret = |value: &Value| ["secret", "secretRef", "secretKeyRef"].iter().any(|field| !value[*field].is_null());
    let map =
        |value: &Value| ["configMap", "configMapRef", "configMapKeyRef"].iter().any(|field| !value[*field].is_null());
    let mut parts: Vec<&Value> = items(spec, &["volumes"]).collect();
    for volume in items(spec, &["volumes"]) {
        parts.extend(items(volume, &["projected", "sources"]));
    }
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, &[field]) {
            parts.extend(items(container, &["envFrom"]));
            parts.extend(items(container, &["env"]).map(|variable| &variable["valueFrom"]));
        }
    }
    match () {
        () if parts.iter().any(|part| secret(part)) || !object::is_empty(&spec["imagePullSecrets"]) => named("secrets"),
        () if parts.iter().any(|part| map(part)) => named("configmaps"),
        () if parts.iter().any(|part| !part["persistentVolumeClaim"].is_null()) => named("persistentvolumeclaims"),
        () if parts.iter().any(|part| !part["clusterTrustBundle"].is_null()) => named("clustertrustbundles"),
        () if !object::is_empty(&spec["resourceClaims"]) => named("resourceclaims"),
        () => Ok(()),
    }
}

fn pod_status(node: &str, old: Option<&Value>, new: Option<&Value>) -> Said {
    let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
    if text(old, &["spec", "nodeName"]) != node {
        return Err(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    let same = |a: &Value, b: &Value| a == b || object::is_empty(a) && object::is_empty(b);
    if !same(object::meta(old, "labels"), object::meta(new, "labels")) {
        return Err(format!("node {node:?} cannot update labels through pod status"));
    }
    let claims = |pod: &'_ Value| pod["status"]["resourceClaimStatuses"].clone();
    if !same(&claims(old), &claims(new)) {
        return Err(format!("node {node:?} cannot update resource claim statuses"));
    }
    Ok(())
}

fn node_written(node: &str, old: Option<&Value>, new: Option<&Value>) -> Said {
    let name = [new, old].into_iter().flatten().map(object::name).next().unwrap_or_default();
    if name != node {
        return Err(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    let Some(new) = new else { return Ok(()) };
    if !object::is_empty(object::meta(new, "ownerReferences"))
        && old.is_none_or(|old| object::meta(old, "ownerReferences") != object::meta(new, "ownerReferences"))
    {
        return Err(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let labels = |object: Option<&Value>| -> BTreeMap<String, Value> {
        let labels = object.map(|object| object::meta(object, "labels")).and_then(Value::as_object);
        labels.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let (before, now) = (labels(old), labels(Some(new)));
    let changed = before.keys().chain(now.keys()).filter(|name| before.get(*name) != now.get(*name));
    let mut forbidden: Vec<&str> = changed.map(String::as_str).filter(|name| !may_label(name)).collect();
    forbidden.sort_unstable();
    forbidden.dedup();
    if !forbidden.is_empty() {
        let what = if old.is_some() { "modify labels" } else { "set the following labels" };
        return Err(format!("is not allowed to {what}: {}", forbidden.join(", ")));
    }
    let taints = |node: &Value| node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    if old.is_some_and(|old| taints(old) != taints(new)) {
        return Err(format!("node {node:?} is not allowed to modify taints"));
    }
    Ok(())
}

/// Whether a node may give itself this label, as far as Kubernetes' own names are concerned (`NodeRestriction`).
#[must_use]
pub fn may_label(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return true };
    let below = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if below(RESTRICTED) {
        return false;
    }
    let of_kubernetes = below("kubernetes.io") || below("k8s.io");
    !of_kubernetes || OWN_LABELS.contains(&label) || OWN_PREFIXES.iter().any(|prefix| below(prefix))
}

fn named(node: &str, request: &Request, new: Option<&Value>, why: &str) -> Said {
    let name = if request.name.is_empty() { new.map(object::name).unwrap_or_default() } else { &request.name };
    if name == node { Ok(()) } else { Err(why.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_labels_itself_within_its_own_names() {
        for (label, expect) in [
            ("plain", true),
            ("example.com/a", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/x", true),
            ("foo.kubelet.kubernetes.io/x", true),
            ("kubernetes.io/x", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("node-restriction.kubernetes.io/x", false),
            ("a.node-restriction.kubernetes.io/x", false),
            ("x.k8s.io/y", false),
        ] {
            assert_eq!(may_label(label), expect, "{label}");
        }
    }

    #[test]
    fn a_node_creates_mirrors_that_use_nothing() {
        let mirror = |spec: Value| json!({"metadata": {"annotations": {MIRROR: "x"}}, "spec": spec});
        let check = |pod: &Value, expect: &str| assert_eq!(created("n", pod).err().unwrap_or_default(), expect);
        check(&mirror(json!({"nodeName": "n"})), "");
        check(
            &json!({"metadata": {}}),
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n\" can only create mirror pods",
        );
        check(&mirror(json!({"nodeName": "m"})), "node \"n\" can only create pods with spec.nodeName set to itself");
        check(
            &mirror(json!({"nodeName": "n", "volumes": [{"secret": {}}]})),
            "node \"n\" can not create pods that reference secrets",
        );
        check(
            &mirror(json!({"nodeName": "n", "containers": [{"envFrom": [{"configMapRef": {}}]}]})),
            "node \"n\" can not create pods that reference configmaps",
        );
    }
}

//! What whoever writes an object should hear about it, though it is taken: fields that do nothing any more, names that
//! surprise, entries that hide each other. The sentences are those that clients show.

mod network;
mod pod;
mod volumes;

use serde_json::Value;
use windlass_api::names;

use super::field::{Field, lookup, same, text};
use super::meta;

/// Labels of nodes that have other names since.
const LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
];
/// An answer has no room for more sentences than this, and nobody reads so many.
const MOST: usize = 128;
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const CLASS_SINCE: &str = "deprecated since v1.8; use \"storageClassName\" attribute instead";

/// Warnings about an object that is written, over one where there was one.
pub(crate) fn of(group: &str, kind: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut told = Vec::new();
    match (group, kind) {
        ("", "Pod") if old.is_none() => {
            hostname(new, "the Pod's hostname", &mut told);
            pod::of(&Field::top(new, "spec"), &meta::of(new), &mut told);
        }
        ("", "PodTemplate") => template(&Field::top(new, "template"), &mut told),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("", "ReplicationController")
        | ("batch", "Job" | "CronJob") => workload(kind, new, old, &mut told),
        ("", "Service") => network::service(new, &mut told),
        ("networking.k8s.io", "NetworkPolicy") => network::policy(new, &mut told),
        ("networking.k8s.io", "Ingress") if old.is_none() => network::ingress(new, &mut told),
        ("discovery.k8s.io", "EndpointSlice") => network::slice(new, &mut told),
        ("", "PersistentVolumeClaim") => {
            annotation(new, CLASS, CLASS_SINCE, &mut told);
            claim(&Field::top(new, "spec"), &mut told);
        }
        ("", "PersistentVolume") => volumes::stored(new, &mut told),
        ("", "Secret") => secret(new, &mut told),
        ("", "ServiceAccount") => {
            let since = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
            annotation(new, "kubernetes.io/enforce-mountable-secrets", since, &mut told);
        }
        _ => {}
    }
    told
}

/// Says what is wrong with a place.
fn tell(told: &mut Vec<String>, place: &Field<'_, '_>, what: &str) {
    if told.len() < MOST {
        told.push(format!("{}: {what}", place.path()));
    }
}

/// Warns of an annotation, where it is there.
fn annotation(object: &Value, name: &str, what: &str, told: &mut Vec<String>) {
    let meta = meta::of(object);
    let annotations = meta.get("annotations");
    if annotations.key(name).present() {
        tell(told, &annotations.key(name), what);
    }
}

/// Warns of a name that is no label, where it becomes a part of others' names.
fn hostname(object: &Value, of: &str, told: &mut Vec<String>) {
    let complaints = names::dns_1123_label(text(object, &["metadata", "name"]));
    if !complaints.is_empty() {
        let advice = "which can result in surprising behavior; a DNS label is recommended";
        told.push(format!("metadata.name: this is used in {of}, {advice}: [{}]", complaints.join(" ")));
    }
}

/// Warnings about workloads: on updates only where their template may have changed.
fn workload(kind: &str, new: &Value, old: Option<&Value>, told: &mut Vec<String>) {
    if old.is_none() && !matches!(kind, "DaemonSet" | "StatefulSet") {
        hostname(new, "Pod names and hostnames", told);
    }
    if old.is_some_and(|old| same(lookup(old, "spec"), lookup(new, "spec"))) {
        return;
    }
    let spec = Field::top(new, "spec");
    if kind == "CronJob" {
        let job = spec.get("jobTemplate");
        let job = job.get("spec");
        template(&job.get("template"), told);
        return;
    }
    template(&spec.get("template"), told);
    if kind == "StatefulSet" {
        for one in spec.get("volumeClaimTemplates").items() {
            claim(&one.get("spec"), told);
        }
        let limit = spec.get("revisionHistoryLimit");
        if limit.int().is_some_and(|limit| limit < 0) {
            tell(told, &limit, "a negative value retains all historical revisions; a value >= 0 is recommended");
        }
    }
}

fn template(template: &Field<'_, '_>, told: &mut Vec<String>) {
    pod::of(&template.get("spec"), &template.get("metadata"), told);
}

/// Warnings about what a claim asks for.
fn claim(spec: &Field<'_, '_>, told: &mut Vec<String>) {
    let resources = spec.get("resources");
    for list in ["requests", "limits"] {
        whole_bytes(&resources.get(list), &["storage"], told);
    }
}

/// Warns of parts of bytes.
fn whole_bytes(list: &Field<'_, '_>, names: &[&str], told: &mut Vec<String>) {
    for name in names {
        let amount = list.key(name);
        if let Some(value) = amount.amount().filter(|value| value.milli_value() % 1000 != 0) {
            let what = format!("fractional byte value {:?} is invalid, must be an integer", value.to_string());
            tell(told, &amount, &what);
        }
    }
}

/// Warns of certificates and keys that are none.
fn secret(new: &Value, told: &mut Vec<String>) {
    if text(new, &["type"]) != "kubernetes.io/tls" {
        return;
    }
    for (name, what, marks) in [("tls.crt", "certificate", "CERTIFICATE"), ("tls.key", "key", "PRIVATE KEY")] {
        let data = super::core::config::decoded(lookup(lookup(new, "data"), name)).unwrap_or_default();
        let data = String::from_utf8_lossy(&data).into_owned();
        if !data.contains("-----BEGIN ") {
            told.push(format!("tls: failed to find any PEM data in {what} input"));
            return;
        }
        if !data.contains(marks) && what == "certificate" && data.contains("PRIVATE KEY") {
            told.push("tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into());
            return;
        }
    }
}

/// What is said of a label of nodes, where it has another name since.
fn renamed(label: &str) -> Option<&'static str> {
    LABELS.iter().find(|(name, _)| *name == label).map(|(_, since)| *since)
}

/// Warns of old labels of nodes in a term that selects some.
fn node_term(term: &Field<'_, '_>, told: &mut Vec<String>) {
    for expression in term.get("matchExpressions").items() {
        let key = expression.get("key");
        if let Some(since) = renamed(key.text()) {
            tell(told, &key, &format!("{} is {since}", key.text()));
        }
    }
}

#[cfg(test)]
mod tests;

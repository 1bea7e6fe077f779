//! Warnings about pods and templates of pods.

use std::collections::{BTreeMap, BTreeSet};

use super::{MOST, node_term, renamed, tell, volumes, whole_bytes};
use crate::kinds::field::Field;

const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF: &str = "container.seccomp.security.alpha.kubernetes.io/";
const SECCOMP_SINCE: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const ARMOR_OF: &str = "container.apparmor.security.beta.kubernetes.io/";
const ARMOR_SINCE: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
const ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
const NO_POD: &str = "a null labelSelector results in matching no pod";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Warnings about a pod's spec and metadata, in upstream's order.
pub(super) fn of(spec: &Field<'_, '_>, meta: &Field<'_, '_>, told: &mut Vec<String>) {
    if !spec.present() {
        return;
    }
    nodes(spec, told);
    let annotations = meta.get("annotations");
    for (name, since) in ANNOTATIONS {
        if annotations.key(name).present() {
            tell(told, &annotations.key(name), since);
        }
    }
    volumes::of_pod(&spec.get("volumes"), told);
    twice(&spec.get("hostAliases"), "ip", told);
    twice(&spec.get("imagePullSecrets"), "name", told);
    for secret in spec.get("imagePullSecrets").items() {
        if secret.get("name").is_empty() {
            tell(told, &secret.get("name"), "invalid empty name \"\"");
        }
    }
    whole_bytes(&spec.get("overhead"), &["memory", "ephemeral-storage"], told);
    let security = spec.get("securityContext");
    if !security.get("seccompProfile").present() && annotations.key(SECCOMP).present() {
        tell(told, &annotations.key(SECCOMP), SECCOMP_SINCE);
    }
    let armored = security.get("appArmorProfile").present();
    let lists = ["initContainers", "containers", "ephemeralContainers"].map(|list| spec.get(list));
    for container in lists.iter().flat_map(|list| list.items()) {
        self::container(&container, &annotations, armored, told);
    }
    ports(&lists, told);
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        tell(told, &grace, "must be >= 0; negative values are invalid and will be treated as 1");
    }
    let affinity = spec.get("affinity");
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = affinity.get(kind);
        for term in affinity.get(REQUIRED).items().filter(|term| !term.get("labelSelector").present()) {
            tell(told, &term.get("labelSelector"), NO_POD);
        }
        for term in affinity.get(PREFERRED).items() {
            let term = term.get("podAffinityTerm");
            if !term.get("labelSelector").present() {
                tell(told, &term.get("labelSelector"), NO_POD);
            }
        }
    }
}

/// Old labels of nodes, and spreads over no pods.
fn nodes(spec: &Field<'_, '_>, told: &mut Vec<String>) {
    let selector = spec.get("nodeSelector");
    for (label, _) in selector.entries() {
        if let Some(since) = renamed(label) {
            tell(told, &selector.key(label), since);
        }
    }
    let affinity = spec.get("affinity");
    let affinity = affinity.get("nodeAffinity");
    let required = affinity.get(REQUIRED);
    for term in required.get("nodeSelectorTerms").items() {
        node_term(&term, told);
    }
    for term in affinity.get(PREFERRED).items() {
        node_term(&term.get("preference"), told);
    }
    for spread in spec.get("topologySpreadConstraints").items() {
        let key = spread.get("topologyKey");
        if let Some(since) = renamed(key.text()) {
            tell(told, &key, &format!("{} is {since}", key.text()));
        }
        if !spread.get("labelSelector").present() {
            tell(told, &spread.get("labelSelector"), NO_POD);
        }
    }
}

/// Entries that have the same key.
fn twice(list: &Field<'_, '_>, key: &str, told: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for item in list.items() {
        let value = item.get(key);
        if !seen.insert(value.text()) {
            tell(told, &value, &format!("duplicate {key} {:?}", value.text()));
        }
    }
}

fn container(container: &Field<'_, '_>, annotations: &Field<'_, '_>, armored: bool, told: &mut Vec<String>) {
    let (name, security) = (container.get("name").text(), container.get("securityContext"));
    let of = |prefix: &str| format!("{prefix}{name}");
    if !security.get("seccompProfile").present() && annotations.key(&of(SECCOMP_OF)).present() {
        tell(told, &annotations.key(&of(SECCOMP_OF)), SECCOMP_SINCE);
    }
    if !armored && !security.get("appArmorProfile").present() && annotations.key(&of(ARMOR_OF)).present() {
        tell(told, &annotations.key(&of(ARMOR_OF)), ARMOR_SINCE);
    }
    let resources = container.get("resources");
    for name in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            whole_bytes(&resources.get(list), &[name], told);
        }
    }
    let mut seen = BTreeSet::new();
    for variable in container.get("env").items() {
        let (name, value) = (variable.get("name").text(), variable.get("value").text());
        let reference = format!("$({name})");
        // It is no hiding where the new value is made of the old one.
        let made_of = value.contains(&reference) && value != reference && !variable.get("valueFrom").present();
        if !seen.insert(name) && !made_of {
            tell(
                told,
                &variable,
                &format!("hides previous definition of {name:?}, which may be dropped when using apply"),
            );
        }
    }
}

/// Where a port is said, with the address and the port of the node that lead there.
type Said = (String, String, i64);

/// Ports of all containers that are said twice, or nearly.
fn ports(lists: &[Field<'_, '_>], told: &mut Vec<String>) {
    // Of those with one number only the first are compared: there may be ten thousands.
    let mut known: BTreeMap<(i64, String), Vec<Said>> = BTreeMap::new();
    for container in lists.iter().flat_map(|list| list.items()) {
        for port in container.get("ports").items() {
            let (ip, host) = (port.get("hostIP").text().to_owned(), port.get("hostPort").number());
            let (number, protocol) = (port.get("containerPort").number(), port.get("protocol").text().to_owned());
            if !ip.is_empty() && host == 0 {
                let name = port.get("name").text();
                let shown =
                    format!("{{Name:{name} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{ip}}}");
                tell(told, &port, &format!("hostIP set without hostPort: {shown}"));
            }
            let others = known.entry((number, protocol)).or_default();
            for (place, other_ip, other_host) in others.iter().take(MOST) {
                let what = if ip == *other_ip && host == *other_host {
                    "duplicate port definition"
                } else if host == 0 || *other_host == 0 {
                    "overlapping port definition"
                } else if host == *other_host && ip.is_empty() != other_ip.is_empty() {
                    "dangerously ambiguous port definition"
                } else {
                    continue;
                };
                tell(told, &port, &format!("{what} with {place}"));
            }
            others.push((port.path().to_string(), ip, host));
        }
    }
}

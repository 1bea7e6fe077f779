//! Warnings about volumes, of pods and stored ones.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{CLASS, CLASS_SINCE, annotation, claim, node_term, tell};
use crate::kinds::field::Field;

/// Sources that nothing serves any more, as pods name them, with the words in which that is said.
const OF_PODS: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings about the volumes of a pod.
pub(super) fn of_pod(volumes: &Field<'_, '_>, told: &mut Vec<String>) {
    for volume in volumes.items() {
        for (source, place, since) in OF_PODS {
            if volume.get(source).present() {
                tell(told, &volume.get(place), since);
            }
        }
        let template = volume.get("ephemeral");
        let template = template.get("volumeClaimTemplate");
        claim(&template.get("spec"), told);
    }
    for volume in volumes.items() {
        let name = volume.get("name").text();
        for (source, kind, key) in [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")] {
            let source = volume.get(source);
            let paths: Vec<&str> = source.get("items").strings_of("path").collect();
            overlap(&paths, &format!("volume {name:?} ({kind} {:?})", source.get(key).text()), told);
        }
        let paths: Vec<&str> = volume.get("downwardAPI").get("items").strings_of("path").collect();
        overlap(&paths, &format!("volume {name:?} (DownwardAPI)"), told);
        projected(name, &volume.get("projected").get("sources"), told);
    }
}

/// Warnings about what a projected volume is made of.
fn projected(name: &str, sources: &Field<'_, '_>, told: &mut Vec<String>) {
    let mut all: BTreeSet<&str> = BTreeSet::new();
    for source in sources.items() {
        if source.is_empty() {
            told.push(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        }
        let of = |kind: &str| source.value().get(kind).cloned().unwrap_or_default();
        let words = |kind: &str, title: &str| {
            let own = of(kind);
            let named = own["name"].as_str().or(own["signerName"].as_str()).unwrap_or_default().to_owned();
            format!("volume {name:?} (Projected {title} {named:?})")
        };
        let place = if source.get("configMap").present() {
            words("configMap", "ConfigMap")
        } else if source.get("secret").present() {
            words("secret", "Secret")
        } else if source.get("downwardAPI").present() {
            format!("volume {name:?} (Projected DownwardAPI)")
        } else if source.get("serviceAccountToken").present() {
            format!("volume {name:?} (Projected ServiceAccountToken)")
        } else {
            words("clusterTrustBundle", "ClusterTrustBundle")
        };
        let mut paths: Vec<&str> = Vec::new();
        for kind in ["configMap", "secret", "downwardAPI"] {
            paths.extend(source.get(kind).get("items").strings_of("path"));
        }
        for kind in ["serviceAccountToken", "clusterTrustBundle"] {
            paths.extend(source.get(kind).get("path").value().as_str());
        }
        overlap(&paths, &place, told);
        let own: BTreeSet<&str> = paths.into_iter().collect();
        let mut both: Vec<&str> = own.iter().chain(&all).copied().collect();
        both.sort_unstable();
        overlap(&both, &place, told);
        all.extend(own);
    }
}

/// Warns of files that would lie in each other's place.
fn overlap(paths: &[&str], place: &str, told: &mut Vec<String>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for path in paths {
        let path = path.trim_end_matches('/');
        let collides = |other: &&&str| {
            !other.is_empty()
                && !path.is_empty()
                && (format!("{other}/").starts_with(path) || format!("{path}/").starts_with(**other))
        };
        if let Some(other) = seen.iter().find(collides) {
            told.push(format!("{place}: overlapping paths: {path:?} with {other:?}"));
        }
        seen.insert(path);
    }
}

/// Warnings about a stored volume.
pub(super) fn stored(new: &Value, told: &mut Vec<String>) {
    annotation(new, CLASS, CLASS_SINCE, told);
    let since = "deprecated since v1.31; use \"mountOptions\" attribute instead";
    annotation(new, "volume.beta.kubernetes.io/mount-options", since, told);
    let spec = Field::top(new, "spec");
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if policy.text() == "Recycle" {
        let what = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        tell(told, &policy, what);
    }
    let affinity = spec.get("nodeAffinity");
    let required = affinity.get("required");
    for term in required.get("nodeSelectorTerms").items() {
        node_term(&term, told);
    }
    for (source, place, since) in OF_PODS.iter().filter(|(source, ..)| *source != "gitRepo") {
        if spec.get(source).present() {
            tell(told, &spec.get(place), since);
        }
    }
}

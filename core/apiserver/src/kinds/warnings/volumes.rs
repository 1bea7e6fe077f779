//! Warnings about volumes, of pods and stored ones.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Included, Unbounded},
};

use serde_json::Value;

use super::{CLASS, CLASS_SINCE, MOST, annotation, claim, node_term, tell};
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
    let trimmed = paths.iter().map(|path| path.trim_end_matches('/')).filter(|path| !path.is_empty());
    for path in trimmed {
        if told.len() < MOST
            && let Some(other) = collides(&seen, path)
        {
            told.push(format!("{place}: overlapping paths: {path:?} with {other:?}"));
        }
        seen.insert(path);
    }
}

/// The first path that begins as `path` does as far as both go. In an ordered set those that `path` begins with come right
/// before it, and those that begin with it right after.
fn collides<'a>(seen: &BTreeSet<&'a str>, path: &str) -> Option<&'a str> {
    let mut first =
        seen.range::<str, _>((Included(path), Unbounded)).next().copied().filter(|next| next.starts_with(path));
    let mut upto = path;
    while let Some(before) = seen.range::<str, _>((Unbounded, Excluded(upto))).next_back() {
        // Whatever `path` begins with is as long as both are the same, or shorter.
        let same = before.bytes().zip(upto.bytes()).take_while(|(a, b)| a == b).count();
        upto = &path[..path.floor_char_boundary(same)];
        if upto.is_empty() {
            break;
        }
        first = seen.get(upto).copied().or(first);
    }
    first
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_path_that_is_in_the_way_is_named() {
        let check = |seen: &[&str], path: &str, expect: Option<&str>| {
            assert_eq!(collides(&seen.iter().copied().collect(), path), expect, "{path} among {seen:?}");
        };
        check(&[], "a", None);
        check(&["b", "ab"], "a", Some("ab"));
        check(&["a", "a/b", "a/c"], "a/b/c", Some("a"));
        check(&["a/b"], "a/b", Some("a/b"));
        check(&["a/c", "a/b1", "é"], "a/b/c", None);
        check(&["a/b", "a/b/a", "a/b/b"], "a/b/c", Some("a/b"));
        check(&["è/x"], "é/x", None);
    }

    #[test]
    fn many_paths_are_looked_through_at_once() {
        let paths: Vec<String> = (0..100_000).map(|at| format!("{at:06}")).collect();
        let mut told = Vec::new();
        overlap(&paths.iter().map(String::as_str).collect::<Vec<_>>(), "volume", &mut told);
        assert!(told.is_empty(), "{told:?}");
        let nested: Vec<String> = (1..2000).map(|at| "a".repeat(at)).collect();
        overlap(&nested.iter().map(String::as_str).collect::<Vec<_>>(), "volume", &mut told);
        assert_eq!(told.len(), MOST);
    }
}

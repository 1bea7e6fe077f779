//! When two pods are of one class. Everything tells them apart that a plugin may look at; names, times and what the
//! pods were told do not. A pod with claims is like no other: which volumes they get is not of the nodes.

use std::hash::{DefaultHasher, Hash, Hasher};

use windlass_kernel::scheduler::PodView;

/// Whether no plugin can tell two waiting pods apart.
pub(super) fn alike(one: &PodView, other: &PodView) -> bool {
    // Every field is named, so that a new one is decided about.
    let PodView {
        uid: _,
        key,
        generation: _,
        scheduler: _,
        node,
        nominated: _,
        priority,
        preempts,
        labels,
        owner,
        created: _,
        started: _,
        terminating,
        requests,
        estimated,
        ports,
        tolerations,
        node_selector,
        node_terms,
        node_preferences,
        affinity,
        spread,
        gates,
        images,
        claims,
        complaint: _,
    } = one;
    key.namespace == other.key.namespace
        && *priority == other.priority
        && *preempts == other.preempts
        && *terminating == other.terminating
        && *node == other.node
        && *owner == other.owner
        && *requests == other.requests
        && *estimated == other.estimated
        && *labels == other.labels
        && *ports == other.ports
        && *tolerations == other.tolerations
        && *node_selector == other.node_selector
        && *node_terms == other.node_terms
        && *node_preferences == other.node_preferences
        && *affinity == other.affinity
        && *spread == other.spread
        && *gates == other.gates
        && *images == other.images
        && claims.is_empty()
        && other.claims.is_empty()
}

/// A number that alike pods share, and others rarely.
pub(super) fn mark(pod: &PodView) -> u64 {
    // Unkeyed, so the same in every run.
    let mut hasher = DefaultHasher::new();
    (&pod.key.namespace, pod.priority, &pod.labels, pod.requests.cpu, pod.requests.memory, &pod.images)
        .hash(&mut hasher);
    pod.owner.as_ref().map(|owner| &owner.uid).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{labelled, named, pod};

    #[track_caller]
    fn check(one: &PodView, other: &PodView, expect: bool) {
        assert_eq!(alike(one, other), expect);
        assert!(!expect || mark(one) == mark(other));
    }

    #[test]
    fn only_what_a_plugin_sees_tells_pods_apart() {
        let plain = pod(json!({}));
        check(&plain, &named("other", plain.clone()), true);
        let told = PodView { complaint: Some(("Unschedulable".into(), "why".into())), generation: 3, ..plain.clone() };
        check(&plain, &told, true);
        check(&plain, &pod(json!({"priority": 1})), false);
        check(&plain, &pod(json!({"nodeSelector": {"a": "b"}})), false);
        check(&plain, &pod(json!({"tolerations": [{"operator": "Exists"}]})), false);
        let claiming = pod(json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}));
        check(&claiming, &claiming, false);
        check(&plain, &labelled(&[("app", "x")], json!({})), false);
    }
}

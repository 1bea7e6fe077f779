//! The volume claims of a StatefulSet's pods: what they are called, and who owns them (KEP-1847). Pure.

use windlass_api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
    meta::v1::OwnerReference,
    types::Resource,
};

use super::identity;
use crate::{claim, pods::PodView};

/// The facts of a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ClaimView {
    pub(super) deleting: bool,
    pub(super) owners: Vec<OwnerReference>,
}

impl ClaimView {
    pub(super) fn of(claim: &PersistentVolumeClaim) -> Self {
        let meta = &claim.metadata;
        Self { deleting: meta.deletion_timestamp.is_some(), owners: meta.owner_references.clone() }
    }
}

/// The names of the volumes of an ordinal's pod that have claims, and of those.
pub(super) fn names(set: &StatefulSet, ordinal: i32) -> impl Iterator<Item = (&str, String)> {
    let pod = identity::pod_name(set, ordinal);
    set.spec.volume_claim_templates.iter().map(move |template| {
        let volume = template.metadata.name.as_deref().unwrap_or_default();
        (volume, format!("{volume}-{pod}"))
    })
}

/// The claims of an ordinal, as they are created.
pub(super) fn wanted(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let named = set.spec.volume_claim_templates.iter().zip(names(set, ordinal));
    let claim = |(template, (_, name)): (&PersistentVolumeClaim, (&str, String))| {
        let mut claim = template.clone();
        claim.metadata.name = Some(name);
        claim.metadata.namespace.clone_from(&set.metadata.namespace);
        claim.metadata.labels.extend(set.spec.selector.match_labels.clone());
        claim.status = Default::default();
        claim.metadata.owner_references = owners(set, ordinal, None, &[]).unwrap_or_default();
        claim
    };
    named.map(claim).collect()
}

/// What is amiss with the claims of an ordinal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amiss {
    /// One is not there.
    pub(super) missing: bool,
    /// One goes away with a former pod: the next must not get it.
    pub(super) stale: bool,
    /// One has other owners than the set's policy wants.
    pub(super) misowned: bool,
}

/// Looks at the claims of an ordinal, whose pod may be there.
pub(super) fn amiss(
    set: &StatefulSet,
    ordinal: i32,
    pod: Option<&PodView>,
    look: &dyn Fn(&str) -> Option<ClaimView>,
) -> Amiss {
    let mut amiss = Amiss::default();
    let own_name = identity::pod_name(set, ordinal);
    for (_, name) in names(set, ordinal) {
        let Some(claim) = look(&name) else {
            amiss.missing = true;
            continue;
        };
        let uid = pod.map(|pod| pod.uid.as_str());
        let former = |owner: &OwnerReference| {
            owner.kind == Pod::KIND && owner.name == own_name && Some(owner.uid.as_str()) != uid
        };
        amiss.stale |= claim.deleting || claim.owners.iter().any(former);
        amiss.misowned |= owners(set, ordinal, pod, &claim.owners).is_some_and(|wanted| wanted != claim.owners);
    }
    amiss
}

/// The owners that a claim is to have: the set or its pod own it as the policy says, on top of who else does. `None`
/// where somebody else controls it, who decides then.
pub(super) fn owners(
    set: &StatefulSet,
    ordinal: i32,
    pod: Option<&PodView>,
    present: &[OwnerReference],
) -> Option<Vec<OwnerReference>> {
    let by_set = claim::reference(set);
    let by_pod = pod.map(|pod| OwnerReference {
        api_version: Pod::api_version(),
        kind: Pod::KIND.into(),
        name: pod.key.name.clone(),
        uid: pod.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    });
    let ours =
        |owner: &OwnerReference| owner.uid == by_set.uid || by_pod.as_ref().is_some_and(|pod| owner.uid == pod.uid);
    if present.iter().any(|owner| owner.controller == Some(true) && !ours(owner)) {
        return None;
    }
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    let deletes = |when: Option<&String>| when.is_some_and(|word| word == "Delete");
    let when_deleted = deletes(policy.and_then(|policy| policy.when_deleted.as_ref()));
    let when_scaled = deletes(policy.and_then(|policy| policy.when_scaled.as_ref()));
    let condemned = !identity::ordinals(set).contains(&ordinal);
    let wanted = if when_scaled && condemned { by_pod.clone() } else { when_deleted.then(|| by_set.clone()) };
    // A reference that is as it should be stays where it is.
    let mut owners: Vec<_> =
        present.iter().filter(|owner| !ours(owner) || Some(*owner) == wanted.as_ref()).cloned().collect();
    owners.extend(wanted.filter(|wanted| !owners.contains(wanted)));
    Some(owners)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_kernel::controller::ObjectKey;

    use super::*;

    fn set(when_deleted: &str, when_scaled: &str) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "set"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": {"own": "label"}}}],
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted, "whenScaled": when_scaled}},
        }))
        .unwrap()
    }

    fn pod() -> PodView {
        PodView { uid: "pod".into(), key: ObjectKey::new("default", "web-0"), ..PodView::default() }
    }

    #[track_caller]
    fn check(policy: (&str, &str), ordinal: i32, expect: &[&str]) {
        let owners = owners(&set(policy.0, policy.1), ordinal, Some(&pod()), &[]).unwrap();
        assert_eq!(owners.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>(), expect, "{policy:?} {ordinal}");
    }

    #[test]
    fn the_policy_says_who_owns_a_claim() {
        for (policy, kept, condemned) in [
            (("Retain", "Retain"), &[][..], &[][..]),
            (("Delete", "Retain"), &["set"], &["set"]),
            (("Retain", "Delete"), &[], &["pod"]),
            (("Delete", "Delete"), &["set"], &["pod"]),
        ] {
            check(policy, 0, kept);
            check(policy, 1, condemned);
        }
    }

    #[test]
    fn owners_of_others_stay_and_another_controller_decides() {
        let other = |controller| OwnerReference { uid: "x".into(), controller, ..OwnerReference::default() };
        let mine = claim::reference(&set("Delete", "Retain"));
        let both = owners(&set("Delete", "Retain"), 0, None, &[other(None)]).unwrap();
        assert_eq!(both, [other(None), mine.clone()]);
        assert_eq!(owners(&set("Retain", "Retain"), 0, None, &both), Some(vec![other(None)]));
        assert_eq!(owners(&set("Delete", "Retain"), 0, None, &[other(Some(true))]), None);
        let there = [mine.clone(), other(None)];
        assert_eq!(owners(&set("Delete", "Retain"), 0, None, &there), Some(there.to_vec()));
    }

    #[test]
    fn a_claim_of_a_former_pod_is_stale() {
        let of_pod = owners(&set("Retain", "Delete"), 1, Some(&pod()), &[]).unwrap();
        let look = |_: &str| Some(ClaimView { deleting: false, owners: of_pod.clone() });
        let seen = |pod: Option<&PodView>, ordinal| amiss(&set("Retain", "Delete"), ordinal, pod, &look);
        assert!(seen(None, 0).stale && !seen(Some(&pod()), 0).stale);
        assert!(seen(Some(&pod()), 0).misowned && !seen(Some(&pod()), 1).misowned);
        assert!(amiss(&set("Retain", "Retain"), 0, None, &|_| None).missing);
    }

    #[test]
    fn a_claim_is_named_after_its_pod_and_labelled_by_the_selector() {
        let claim = &wanted(&set("Delete", "Retain"), 0)[0].metadata;
        assert_eq!(claim.name.as_deref(), Some("data-web-0"));
        assert_eq!((claim.labels["app"].as_str(), claim.labels["own"].as_str()), ("web", "label"));
        assert_eq!(claim.owner_references[0].kind, "StatefulSet");
    }
}

//! ReplicaSets while a plan is made: as they are, and as they are to be.

use std::sync::Arc;

use windlass_api::apps::v1::{Deployment, ReplicaSet};

use super::REVISION;
use crate::{
    claim,
    template::{self, HASH},
};

const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// The annotations of a Deployment that are its own and not its ReplicaSets'.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];
/// How many characters the numbers of former revisions may take.
const HISTORY_LENGTH: usize = 2000;

/// A ReplicaSet in a plan.
#[derive(Clone, Debug)]
pub(super) struct Working {
    /// As it is; `None` where it is to be created.
    pub(super) was: Option<Arc<ReplicaSet>>,
    /// As it is to be.
    pub(super) set: ReplicaSet,
    /// Whether it is to be deleted.
    pub(super) gone: bool,
}

impl Working {
    pub(super) fn of(set: &Arc<ReplicaSet>) -> Self {
        Self { was: Some(Arc::clone(set)), set: ReplicaSet::clone(set), gone: false }
    }

    /// The set that a Deployment's template is to get. It has no size yet.
    pub(super) fn create(deployment: &Deployment) -> Self {
        let mut set = ReplicaSet::default();
        let hash = template::hash(&deployment.spec.template, deployment.status.collision_count);
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        set.spec.template = deployment.spec.template.clone();
        set.spec.template.metadata.labels.insert(HASH.into(), hash.clone());
        set.spec.selector = deployment.spec.selector.clone();
        set.spec.selector.match_labels.insert(HASH.into(), hash.clone());
        set.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
        set.spec.replicas = Some(0);
        set.metadata.name = Some(format!("{name}-{hash}"));
        set.metadata.namespace.clone_from(&deployment.metadata.namespace);
        set.metadata.labels = set.spec.template.metadata.labels.clone();
        set.metadata.owner_references = vec![claim::reference(deployment)];
        Self { was: None, set, gone: false }
    }

    pub(super) fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or_default()
    }

    /// How many pods it is to have.
    pub(super) fn size(&self) -> i32 {
        self.set.spec.replicas.unwrap_or(1)
    }

    pub(super) fn available(&self) -> i32 {
        self.set.status.available_replicas.unwrap_or(0)
    }

    /// How many pods it really has, those on their way out included.
    pub(super) fn pods(&self) -> i32 {
        self.set.status.replicas + self.set.status.terminating_replicas.unwrap_or(0)
    }

    /// Whether its status is about its spec as it is.
    pub(super) fn observed(&self) -> bool {
        self.set.metadata.generation.unwrap_or(0) <= self.set.status.observed_generation.unwrap_or(0)
    }

    pub(super) fn revision(&self) -> i64 {
        self.set.metadata.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// How many replicas its Deployment wanted when it was last scaled.
    pub(super) fn desired(&self) -> Option<i32> {
        self.set.metadata.annotations.get(DESIRED).and_then(|text| text.parse().ok())
    }

    /// How many pods its Deployment allowed when it was last scaled.
    pub(super) fn maximum(&self) -> Option<i32> {
        self.set.metadata.annotations.get(MAXIMUM).and_then(|text| text.parse().ok())
    }

    /// The order of creation; what is to be created comes last.
    pub(super) fn age(&self) -> impl Ord + use<> {
        let created = self.set.metadata.creation_timestamp;
        (created.is_none(), created, self.name().to_owned())
    }

    /// Gives it a size, and notes what its Deployment wants.
    pub(super) fn scale(&mut self, size: i32, desired: i32, surge: i32) {
        self.set.spec.replicas = Some(size);
        self.note(DESIRED, desired.to_string());
        self.note(MAXIMUM, desired.saturating_add(surge).to_string());
    }

    /// Makes it the set of the Deployment's present revision, which is at least `revision`.
    pub(super) fn make_current(&mut self, deployment: &Deployment, revision: i64) {
        self.set.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
        for (key, value) in deployment.metadata.annotations.iter().filter(|(key, _)| !OWN.contains(&key.as_str())) {
            self.note(key, value.clone());
        }
        let before = self.set.metadata.annotations.get(REVISION).cloned();
        let number: Option<i64> = before.as_ref().map_or(Some(0), |text| text.parse().ok());
        if number.is_none_or(|number| number >= revision) {
            return;
        }
        if let Some(before) = before {
            let former = self.set.metadata.annotations.get(HISTORY).cloned().unwrap_or_default();
            self.note(HISTORY, lengthen(&former, &before));
        }
        self.note(REVISION, revision.to_string());
    }

    fn note(&mut self, key: &str, value: String) {
        self.set.metadata.annotations.insert(key.into(), value);
    }
}

/// Adds a number to a list of former revisions, dropping the first ones where it grows too long.
fn lengthen(former: &str, number: &str) -> String {
    if former.is_empty() {
        return number.into();
    }
    let mut kept = former;
    while kept.len() + 1 + number.len() > HISTORY_LENGTH {
        let Some((_, rest)) = kept.split_once(',') else { return number.into() };
        kept = rest;
    }
    format!("{kept},{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(annotations: &[(&str, &str)], revision: i64, expect: &[(&str, &str)]) {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let mut set = Working::create(&Deployment::default());
        set.set.metadata.annotations.extend(map(annotations));
        set.make_current(&Deployment::default(), revision);
        assert_eq!(set.set.metadata.annotations.into_iter().collect::<Vec<_>>(), map(expect));
    }

    #[test]
    fn a_revision_only_grows_and_former_ones_are_remembered() {
        check(&[], 1, &[(REVISION, "1")]);
        check(&[(REVISION, "3")], 2, &[(REVISION, "3")]);
        check(&[(REVISION, "1")], 3, &[(REVISION, "3"), (HISTORY, "1")]);
        check(&[(REVISION, "4"), (HISTORY, "1,2")], 7, &[(REVISION, "7"), (HISTORY, "1,2,4")]);
        check(&[(REVISION, "odd")], 7, &[(REVISION, "odd")]);
    }

    #[test]
    fn a_long_history_loses_its_beginning() {
        let former = "1".repeat(HISTORY_LENGTH - 4) + ",22";
        assert_eq!(lengthen(&former, "333"), "22,333");
    }
}

//! What a StatefulSet's status says of its pods.

use std::sync::Arc;

use jiff::Timestamp;
use windlass_api::apps::v1::{StatefulSet, StatefulSetStatus};

use super::plan::{available, ready, revision};
use crate::{
    amount::{number, some},
    pods::PodView,
};

/// The status that the pods make, of which some are of the revision that the set comes from and some of the one that it
/// goes to.
pub(super) fn of(
    set: &StatefulSet,
    pods: &[Arc<PodView>],
    (current, update): (&str, &str),
    now: Timestamp,
) -> StatefulSetStatus {
    let count = |of: &dyn Fn(&PodView) -> bool| number(pods.iter().filter(|pod| of(pod)).count());
    let live = |of: &str| count(&|pod| !pod.deleting && revision(pod) == of);
    let (replicas, readies, updated) = (number(pods.len()), count(&ready), live(update));
    let wanted = set.spec.replicas.unwrap_or(1);
    // Once all that is wanted is of the new revision and serves, that is where the set comes from.
    let rolls = set.spec.update_strategy.type_.as_deref() != Some("OnDelete");
    let complete = rolls && [updated, readies, wanted].iter().all(|count| *count == replicas);
    let current = if complete { update } else { current };
    StatefulSetStatus {
        replicas,
        ready_replicas: some(readies),
        available_replicas: count(&|pod| available(set, pod, now)),
        current_replicas: some(live(current)),
        updated_replicas: some(updated),
        current_revision: Some(current.into()),
        update_revision: Some(update.into()),
        collision_count: Some(set.status.collision_count.unwrap_or(0)),
        observed_generation: set.metadata.generation,
        conditions: set.status.conditions.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{history::REVISION, pods::Phase};

    /// Pods are `revision` with marks: `!` not ready, `-` being deleted. Answers replicas, ready, current, updated and
    /// the current revision.
    #[track_caller]
    fn check(strategy: &str, pods: &str, expect: (i32, i32, i32, i32, &str)) {
        let pod = |word: &str| {
            Arc::new(PodView {
                labels: [(REVISION.to_owned(), word.trim_end_matches(['!', '-']).to_owned())].into(),
                phase: Phase::Running,
                ready: !word.ends_with('!'),
                deleting: word.ends_with('-'),
                ..PodView::default()
            })
        };
        let pods: Vec<_> = pods.split_whitespace().map(pod).collect();
        let mut set = StatefulSet::default();
        set.spec.replicas = Some(2);
        set.spec.update_strategy.type_ = Some(strategy.into());
        let status = of(&set, &pods, ("old", "new"), Timestamp::UNIX_EPOCH);
        let or = |count: Option<i32>| count.unwrap_or(0);
        let counts = (or(status.ready_replicas), or(status.current_replicas), or(status.updated_replicas));
        let current = status.current_revision.unwrap();
        assert_eq!((status.replicas, counts.0, counts.1, counts.2, current.as_str()), expect, "{pods:?}");
    }

    #[test]
    fn pods_are_counted_by_revision_until_all_are_new() {
        check("RollingUpdate", "", (0, 0, 0, 0, "old"));
        check("RollingUpdate", "old old-", (2, 2, 1, 0, "old"));
        check("RollingUpdate", "old new!", (2, 1, 1, 1, "old"));
        check("RollingUpdate", "new", (1, 1, 0, 1, "old"));
        check("RollingUpdate", "new new", (2, 2, 2, 2, "new"));
        check("OnDelete", "new new", (2, 2, 0, 2, "old"));
    }
}

//! What a ReplicaSet's status says of its pods.

use std::sync::Arc;

use jiff::Timestamp;
use windlass_api::{
    apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
    types::Time,
};

use crate::{
    amount::{number, seconds, some},
    pods::PodView,
};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// What could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Create,
    Delete,
}

/// What was found and done in a reconcile.
#[derive(Clone, Debug)]
pub(super) struct Observed<'a> {
    /// The pods that the set controls, also those that ended or end.
    pub(super) pods: &'a [Arc<PodView>],
    /// What failed, and how.
    pub(super) failure: Option<(Failure, String)>,
}

/// The status that `observed` makes. Equal to the present one where nothing changed.
pub(super) fn of(set: &ReplicaSet, observed: &Observed<'_>, now: Timestamp) -> ReplicaSetStatus {
    let min_ready = seconds(set.spec.min_ready_seconds);
    let labels = &set.spec.template.metadata.labels;
    let active: Vec<_> = observed.pods.iter().filter(|pod| pod.active()).collect();
    let count = |which: &dyn Fn(&PodView) -> bool| number(active.iter().filter(|pod| which(pod)).count());
    let labeled = count(&|pod| labels.iter().all(|(key, value)| pod.labels.get(key) == Some(value)));
    let ready = count(&|pod| pod.ready);
    let available = count(&|pod| pod.available_in(min_ready, now).is_some_and(|wait| wait.is_zero()));
    let terminating = observed.pods.iter().filter(|pod| pod.deleting && !pod.ended()).count();
    ReplicaSetStatus {
        replicas: number(active.len()),
        fully_labeled_replicas: some(labeled),
        ready_replicas: some(ready),
        available_replicas: some(available),
        terminating_replicas: Some(number(terminating)),
        observed_generation: set.metadata.generation.or(set.status.observed_generation),
        conditions: conditions(&set.status.conditions, observed.failure.as_ref(), now),
    }
}

fn conditions(
    before: &[ReplicaSetCondition],
    failure: Option<&(Failure, String)>,
    now: Timestamp,
) -> Vec<ReplicaSetCondition> {
    let mut after: Vec<_> = before.iter().filter(|own| own.type_ != REPLICA_FAILURE).cloned().collect();
    let Some((failure, message)) = failure else { return after };
    let reason = match failure {
        Failure::Create => "FailedCreate",
        Failure::Delete => "FailedDelete",
    };
    let known = before.iter().find(|own| own.type_ == REPLICA_FAILURE && own.status == "True");
    after.push(match known {
        Some(known) if known.reason.as_deref() == Some(reason) => known.clone(),
        _ => ReplicaSetCondition {
            type_: REPLICA_FAILURE.into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message.clone()),
            last_transition_time: Some(Time(now)),
        },
    });
    after
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pods::{Phase, available_next};

    fn set() -> ReplicaSet {
        let mut set = ReplicaSet::default();
        set.metadata.generation = Some(3);
        set.spec.min_ready_seconds = Some(10);
        set.spec.template.metadata.labels = [("app".to_owned(), "web".to_owned())].into();
        set
    }

    fn pods(text: &str) -> Vec<Arc<PodView>> {
        let pod = |words: &str| {
            let mut pod = PodView { phase: Phase::Running, ..PodView::default() };
            for word in words.split(' ') {
                match word {
                    "labeled" => pod.labels = [("app".to_owned(), "web".to_owned())].into(),
                    "ready" => pod.ready = true,
                    "failed" => pod.phase = Phase::Failed,
                    "deleting" => pod.deleting = true,
                    since => pod.ready_since = Timestamp::from_second(since.parse().unwrap()).ok(),
                }
            }
            Arc::new(pod)
        };
        text.split(", ").map(pod).collect()
    }

    fn check(text: &str, expect: [i32; 5], next: Option<u64>) {
        let (pods, now) = (pods(text), Timestamp::from_second(100).unwrap());
        let status = of(&set(), &Observed { pods: &pods, failure: None }, now);
        let counts = [
            status.replicas,
            status.fully_labeled_replicas.unwrap_or(0),
            status.ready_replicas.unwrap_or(0),
            status.available_replicas.unwrap_or(0),
            status.terminating_replicas.unwrap_or(0),
        ];
        assert_eq!((counts, status.observed_generation), (expect, Some(3)), "{text}");
        assert_eq!(
            available_next(&pods, seconds(set().spec.min_ready_seconds), now),
            next.map(Duration::from_secs),
            "{text}"
        );
    }

    #[test]
    fn pods_are_counted_by_what_they_are() {
        check("labeled ready 80, labeled ready 95, ready 99, labeled", [4, 3, 3, 1, 0], Some(5));
        check("labeled ready 90, failed, ready deleting, failed deleting", [1, 1, 1, 1, 1], None);
    }

    #[test]
    fn a_failure_is_a_condition_until_it_is_over() {
        let now = |seconds| Timestamp::from_second(seconds).unwrap();
        let failed = |failure| Observed { pods: &[], failure: Some((failure, "no".into())) };
        let mut set = set();
        set.status = of(&set, &failed(Failure::Create), now(1));
        assert_eq!(set.status.conditions[0].reason.as_deref(), Some("FailedCreate"));
        assert_eq!(of(&set, &failed(Failure::Create), now(2)), set.status);
        set.status = of(&set, &failed(Failure::Delete), now(3));
        assert_eq!(set.status.conditions[0].last_transition_time, Some(Time(now(3))));
        assert_eq!(of(&set, &Observed { pods: &[], failure: None }, now(4)).conditions, []);
    }
}

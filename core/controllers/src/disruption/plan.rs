//! What a budget's status says of its pods: how many are healthy, how many must be, and how many may go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use windlass_api::{
    meta::v1::Condition,
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
    types::Time,
};

use super::SPARED;
use crate::{
    amount::{Round, number, share},
    pods::PodView,
};

const ALLOWED: &str = "DisruptionAllowed";

/// How many pods there are to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) total: i32,
    /// Of those, how many must be healthy.
    pub(super) healthy: i32,
    /// Whether nobody controls some of the pods.
    pub(super) unmanaged: bool,
}

/// What a budget asks of so many pods.
pub(super) fn of_scale(spec: &PodDisruptionBudgetSpec, scale: usize, unmanaged: bool) -> Expected {
    let total = number(scale);
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let healthy = (total - share(most, total, Round::Up)).max(0);
            Expected { total, healthy, unmanaged }
        }
        (None, Some(least)) => Expected { total, healthy: share(least, total, Round::Up), unmanaged },
        (None, None) => Expected::default(),
    }
}

/// A budget's status, and what follows from it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) status: PodDisruptionBudgetStatus,
    /// Pods that were to go and did not.
    pub(super) spared: Vec<Arc<PodView>>,
    pub(super) next: Option<Duration>,
}

/// Counts a budget's pods.
pub(super) fn plan(budget: &PodDisruptionBudget, pods: &[Arc<PodView>], expected: Expected, now: Timestamp) -> Plan {
    let mut plan = Plan { status: budget.status.clone(), spared: Vec::new(), next: None };
    // Whoever was let go of and is not gone yet counts as gone, for some time.
    let mut going = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.deleting) {
        let Some(since) = budget.status.disrupted_pods.get(&pod.key.name) else { continue };
        let passed = Duration::try_from(now.duration_since(since.0)).unwrap_or_default();
        if passed >= SPARED {
            plan.spared.push(Arc::clone(pod));
            continue;
        }
        going.insert(pod.key.name.clone(), *since);
        let left = SPARED - passed;
        plan.next = Some(plan.next.map_or(left, |other| other.min(left)));
    }
    let healthy = pods.iter().filter(|pod| pod.ready && !pod.deleting && !going.contains_key(&pod.key.name)).count();
    let healthy = number(healthy);
    let allowed = if expected.total <= 0 { 0 } else { (healthy - expected.healthy).max(0) };
    let status = &mut plan.status;
    status.current_healthy = healthy;
    status.desired_healthy = expected.healthy;
    status.expected_pods = expected.total;
    status.disruptions_allowed = allowed;
    status.disrupted_pods = going;
    status.observed_generation = budget.metadata.generation;
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    say(status, (value, reason, String::new()), now);
    plan
}

/// The status of a budget whose pods are not known: nothing may go.
pub(super) fn unknown(budget: &PodDisruptionBudget, why: String, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = PodDisruptionBudgetStatus {
        disruptions_allowed: 0,
        observed_generation: budget.metadata.generation,
        ..budget.status.clone()
    };
    say(&mut status, ("False", "SyncFailed", why), now);
    status
}

fn say(status: &mut PodDisruptionBudgetStatus, (value, reason, message): (&str, &str, String), now: Timestamp) {
    let before = status.conditions.iter().find(|own| own.type_ == ALLOWED).filter(|own| own.status == value);
    let since = before.and_then(|own| own.last_transition_time).or(Some(Time(now)));
    let condition = Condition {
        type_: ALLOWED.into(),
        status: value.into(),
        reason: reason.into(),
        message,
        observed_generation: status.observed_generation,
        last_transition_time: since,
    };
    match status.conditions.iter_mut().find(|own| own.type_ == ALLOWED) {
        Some(own) => *own = condition,
        None => status.conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use windlass_kernel::controller::ObjectKey;

    use super::*;

    const NOW: i64 = 1000;

    fn check_scale(spec: &Value, scale: usize, expect: (i32, i32)) {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        let expected = of_scale(&spec, scale, false);
        assert_eq!((expected.total, expected.healthy), expect);
    }

    #[test]
    fn numbers_and_percentages_say_how_many_must_be_healthy() {
        check_scale(&json!({"minAvailable": 2}), 5, (5, 2));
        check_scale(&json!({"minAvailable": "50%"}), 5, (5, 3));
        check_scale(&json!({"maxUnavailable": 1}), 5, (5, 4));
        check_scale(&json!({"maxUnavailable": "30%"}), 5, (5, 3));
        check_scale(&json!({"maxUnavailable": 9}), 5, (5, 0));
        check_scale(&json!({}), 5, (0, 0));
    }

    /// Reads pods such as `a ready going=990`, which was let go of then.
    fn check(text: &str, healthy: i32, expect: &str) {
        let mut budget = PodDisruptionBudget::default();
        let mut pods = Vec::new();
        for line in text.split(", ") {
            let mut words = line.split(' ');
            let key = ObjectKey::new("ns", words.next().unwrap());
            let mut pod = PodView { key, ..PodView::default() };
            for word in words {
                match word {
                    "ready" => pod.ready = true,
                    "deleting" => pod.deleting = true,
                    going => {
                        let since = going.strip_prefix("going=").unwrap().parse().unwrap();
                        let since = Time(Timestamp::from_second(since).unwrap());
                        budget.status.disrupted_pods.insert(pod.key.name.clone(), since);
                    }
                }
            }
            pods.push(Arc::new(pod));
        }
        let expected = Expected { total: i32::try_from(pods.len()).unwrap(), healthy, unmanaged: false };
        let plan = plan(&budget, &pods, expected, Timestamp::from_second(NOW).unwrap());
        let status = &plan.status;
        let mut said =
            format!("{} of {} allowed {}", status.current_healthy, status.expected_pods, status.disruptions_allowed);
        for name in status.disrupted_pods.keys() {
            said.push_str(&format!(" going {name}"));
        }
        for pod in &plan.spared {
            said.push_str(&format!(" spared {}", pod.key.name));
        }
        if let Some(next) = plan.next {
            said.push_str(&format!(" next {}", next.as_secs()));
        }
        said.push_str(&format!(" {}", status.conditions[0].reason));
        assert_eq!(said, expect);
    }

    #[test]
    fn ready_pods_that_stay_are_healthy() {
        check("a ready, b ready, c", 1, "2 of 3 allowed 1 SufficientPods");
        check("a ready, b ready deleting, c", 1, "1 of 3 allowed 0 InsufficientPods");
    }

    #[test]
    fn a_pod_that_was_let_go_of_is_gone_until_it_was_spared() {
        check("a ready, b ready going=990", 1, "1 of 2 allowed 0 going b next 110 InsufficientPods");
        check("a ready, b ready going=880", 1, "2 of 2 allowed 1 spared b SufficientPods");
        check("a ready, b ready deleting going=990", 1, "1 of 2 allowed 0 InsufficientPods");
    }

    #[test]
    fn a_condition_keeps_its_time_while_it_holds() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut budget = PodDisruptionBudget::default();
        budget.status = plan(&budget, &[], Expected::default(), at(1)).status;
        let status = unknown(&budget, "why".into(), at(2));
        let condition = &status.conditions[0];
        assert_eq!((condition.reason.as_str(), condition.last_transition_time), ("SyncFailed", Some(Time(at(1)))));
        assert_eq!(plan(&budget, &[], Expected::default(), at(3)).status, budget.status);
    }
}

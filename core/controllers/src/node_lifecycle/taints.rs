//! Which taints a node's conditions call for, and putting them on. Writes nothing.

use jiff::Timestamp;
use windlass_api::{
    core::v1::{NodeCondition, NodeSpec, Taint},
    types::Time,
};

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub(super) const NO_SCHEDULE: &str = "NoSchedule";
pub(crate) const NO_EXECUTE: &str = "NoExecute";

/// Conditions of a type and status, and the keys of their taints (`core/v1 well_known_taints`).
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// Makes the `NoSchedule` taints those that the conditions call for, and leaves everybody else's alone.
///
/// While nothing is known of readiness, the taint that a node is born with stays.
pub(super) fn by_condition(conditions: &[NodeCondition], spec: &mut NodeSpec, now: Timestamp) {
    let known = conditions.iter().any(|condition| condition.type_ == "Ready");
    let held = |of: &str, status: &str| conditions.iter().any(|own| own.type_ == of && own.status == status);
    let calls = BY_CONDITION.iter().map(|(of, status, key)| (*key, held(of, status)));
    let unschedulable = (UNSCHEDULABLE, spec.unschedulable == Some(true));
    for (key, wanted) in calls.chain([unschedulable]) {
        let keep = wanted || (key == NOT_READY && !known);
        set(&mut spec.taints, key, NO_SCHEDULE, if keep { Some(wanted) } else { None }, now);
    }
}

/// Makes the `NoExecute` taints of an ailing node the one with `key`, or none.
pub(super) fn ailing(taints: &mut Vec<Taint>, key: Option<&str>, now: Timestamp) {
    for own in [NOT_READY, UNREACHABLE] {
        set(taints, own, NO_EXECUTE, (key == Some(own)).then_some(true), now);
    }
}

/// Adds a taint that is missing (`Some(true)`), lets it be (`Some(false)`), or removes it.
fn set(taints: &mut Vec<Taint>, key: &str, effect: &str, wanted: Option<bool>, now: Timestamp) {
    let same = |taint: &Taint| taint.key == key && taint.effect == effect;
    match wanted {
        None => taints.retain(|taint| !same(taint)),
        Some(true) if !taints.iter().any(same) => {
            taints.push(Taint { key: key.into(), effect: effect.into(), time_added: Some(Time(now)), value: None });
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Conditions are `Type=Status` words, taints `key:effect` words with short keys; `cordoned` is the spec's.
    #[track_caller]
    fn check(before: &str, conditions: &str, expect: &str) {
        let conditions: Vec<NodeCondition> = conditions
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .map(|(of, status)| NodeCondition { type_: of.into(), status: status.into(), ..Default::default() })
            .collect();
        let taint = |word: &str| {
            let (key, effect) = word.split_once(':').unwrap();
            let key = if key == "mine" { key.to_owned() } else { format!("node.kubernetes.io/{key}") };
            Taint { key, effect: effect.into(), ..Default::default() }
        };
        let (cordoned, words): (Vec<&str>, _) = before.split_whitespace().partition(|word| *word == "cordoned");
        let mut spec = NodeSpec { unschedulable: Some(!cordoned.is_empty()), ..Default::default() };
        spec.taints = words.into_iter().map(taint).collect();
        by_condition(&conditions, &mut spec, Timestamp::UNIX_EPOCH);
        let after: Vec<String> = spec
            .taints
            .iter()
            .map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect))
            .collect();
        assert_eq!(after.join(" "), expect);
    }

    #[test]
    fn a_new_node_keeps_its_taint_until_it_is_ready() {
        check("not-ready:NoSchedule", "", "not-ready:NoSchedule");
        check("not-ready:NoSchedule", "Ready=False", "not-ready:NoSchedule");
        check("not-ready:NoSchedule", "Ready=True", "");
    }

    #[test]
    fn conditions_call_for_taints() {
        check("", "Ready=Unknown MemoryPressure=Unknown", "unreachable:NoSchedule");
        check("not-ready:NoSchedule", "Ready=Unknown", "unreachable:NoSchedule");
        check("", "Ready=True PIDPressure=True", "pid-pressure:NoSchedule");
        check("cordoned", "Ready=True", "unschedulable:NoSchedule");
        check("unschedulable:NoSchedule", "Ready=True", "");
    }

    #[test]
    fn taints_of_others_stay() {
        check("mine:NoSchedule not-ready:NoExecute", "Ready=True", "mine:NoSchedule not-ready:NoExecute");
    }

    #[test]
    fn an_ailing_node_has_one_taint_that_evicts() {
        let mut taints = Vec::new();
        ailing(&mut taints, Some(NOT_READY), Timestamp::UNIX_EPOCH);
        ailing(&mut taints, Some(UNREACHABLE), Timestamp::UNIX_EPOCH);
        assert_eq!(taints.iter().map(|taint| taint.key.as_str()).collect::<Vec<_>>(), [UNREACHABLE]);
        ailing(&mut taints, None, Timestamp::UNIX_EPOCH);
        assert!(taints.is_empty());
    }
}

use serde_json::{Value, json};
use windlass_kernel::controller::ObjectKey;

use super::*;

/// Reads pods such as `0=new 1=old! 2=old- 3=old~ 4=old#`: by ordinal, of which revision, and whether it is not ready (`!`),
/// being deleted (`-`), not available for long enough (`~`) or ended (`#`).
fn pods(text: &str) -> Vec<Arc<PodView>> {
    let pod = |word: &str| {
        let (ordinal, of) = word.split_once('=').unwrap();
        let key = ObjectKey::new("default", format!("web-{ordinal}"));
        let marked = |mark: char| of.ends_with(mark);
        let revision = of.trim_end_matches(['!', '-', '~', '#']);
        let set = StatefulSet { metadata: set(&json!({})).metadata, ..StatefulSet::default() };
        let mut labels: BTreeMap<String, String> =
            identity::labels(&set, ordinal.parse().unwrap()).map(|(key, value)| (key.to_owned(), value)).into();
        labels.insert(REVISION.into(), revision.into());
        Arc::new(PodView {
            uid: word.into(),
            key,
            labels,
            phase: if marked('#') { Phase::Failed } else { Phase::Running },
            ready: !marked('!') && !marked('#'),
            ready_since: Timestamp::from_second(if marked('~') { 95 } else { 0 }).ok(),
            deleting: marked('-'),
            ..PodView::default()
        })
    };
    text.split_whitespace().map(pod).collect()
}

fn set(spec: &Value) -> StatefulSet {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "set"},
        "spec": {"replicas": 3, "minReadySeconds": 10, "updateStrategy": {"type": "RollingUpdate",
            "rollingUpdate": {"partition": 0}}},
    });
    for (key, value) in spec.as_object().cloned().unwrap_or_default() {
        object["spec"][key] = value;
    }
    serde_json::from_value(object).unwrap()
}

#[track_caller]
fn check(spec: Value, there: &str, expect: &str) {
    let look = |name: &str| (!name.starts_with("lost-")).then(ClaimView::default);
    let (set, pods) = (set(&spec), pods(there));
    let now = Timestamp::from_second(100).unwrap();
    let steps = plan(&Seen { set: &set, pods: &pods, update: "new", claims: &look, now });
    let said = steps.iter().map(|step| match step {
        Step::Create(ordinal, Of::Current) => format!("+{ordinal}=old"),
        Step::Create(ordinal, Of::Update) => format!("+{ordinal}=new"),
        Step::Delete(pod) => format!("-{}", pod.key.name.trim_start_matches("web-")),
        Step::Identify(ordinal, _) => format!("label {ordinal}"),
        Step::Claims(ordinal, _) => format!("claims {ordinal}"),
    });
    assert_eq!(said.collect::<Vec<_>>().join(" "), expect, "{there}");
}

fn parallel() -> Value {
    json!({"podManagementPolicy": "Parallel"})
}

#[test]
fn pods_come_one_by_one_once_those_before_are_available() {
    check(json!({}), "", "+0=new");
    check(json!({}), "0=new", "+1=new");
    check(json!({}), "0=new!", "");
    check(json!({}), "0=new~", "");
    check(json!({}), "0=new 2=new", "+1=new");
    check(json!({}), "0=new 1=new 2=new", "");
    check(json!({"ordinals": {"start": 5}}), "5=new", "+6=new");
}

#[test]
fn in_parallel_they_all_come_at_once() {
    check(parallel(), "", "+0=new +1=new +2=new");
    check(parallel(), "0=new! 2=new!", "+1=new");
}

#[test]
fn the_highest_goes_first_and_nothing_goes_beside_an_ill_one() {
    check(json!({"replicas": 1}), "0=new 1=new 2=new", "-2");
    check(json!({"replicas": 1}), "0=new 1=new 2=new-", "");
    check(json!({"replicas": 1}), "0=new! 1=new 2=new", "");
    check(json!({"replicas": 0}), "0=new! 1=new! 2=new!", "");
    check(json!({"replicas": 0}), "0=new 1=new! 2=new", "-2");
    check(json!({"replicas": 0}), "0=new 1=new 2=new!", "-2");
    check(json!({"replicas": 1, "podManagementPolicy": "Parallel"}), "0=new! 1=new! 2=new- 3=new", "-3 -1");
    check(json!({"ordinals": {"start": 1}, "replicas": 2}), "0=new 1=new 2=new", "-0");
}

#[test]
fn what_ended_makes_room_for_its_successor() {
    check(json!({}), "0=new 1=new# 2=new", "-1");
    check(parallel(), "0=new# 2=new#", "-0 +1=new -2");
}

#[test]
fn a_rollout_replaces_one_after_the_other_from_the_highest() {
    check(json!({}), "0=old 1=old 2=old", "-2");
    check(json!({}), "0=old 1=old 2=new", "-1");
    check(json!({}), "0=old 1=old 2=new~", "");
    check(json!({}), "0=old 1=old 2=old-", "");
    check(json!({}), "0=old 1=old", "+2=new");
}

#[test]
fn below_the_partition_nothing_changes() {
    let canary = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    check(canary.clone(), "0=old 1=old 2=old", "-2");
    check(canary.clone(), "0=old 1=old 2=new", "");
    check(canary.clone(), "0=old 2=new", "+1=old");
    check(canary, "0=old 1=old", "+2=new");
    check(json!({"updateStrategy": {"type": "OnDelete"}}), "0=old 1=old 2=old", "");
    check(json!({"updateStrategy": {"type": "OnDelete"}}), "0=old 1=old", "+2=new");
}

#[test]
fn a_rollout_may_take_several_and_takes_the_ill_first() {
    let with = |most: Value, policy: &str| {
        json!({"replicas": 4, "podManagementPolicy": policy,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": most}}})
    };
    check(with(json!(2), "OrderedReady"), "0=old 1=old 2=old 3=old", "-3 -2");
    check(with(json!("50%"), "OrderedReady"), "0=old 1=old 2=old 3=old", "-3 -2");
    check(with(json!("10%"), "OrderedReady"), "0=old 1=old 2=old 3=old", "-3");
    check(with(json!(2), "Parallel"), "0=old! 1=old 2=old 3=new!", "-0");
    check(with(json!(1), "Parallel"), "0=old! 1=old! 2=old 3=old", "-1");
    check(with(json!(1), "Parallel"), "0=old! 1=old- 2=old 3=old", "");
    check(with(json!(3), "Parallel"), "0=old 1=old! 2=old 3=old", "-1 -3 -2");
}

#[test]
fn claims_are_made_for_those_that_wait_for_them() {
    let lost = json!({"volumeClaimTemplates": [{"metadata": {"name": "lost"}}], "replicas": 1});
    check(lost.clone(), "", "+0=new");
    check(lost, "0=new", "");
    let owned = json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}], "replicas": 1,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Delete"}});
    check(owned, "0=new 1=new", "claims 1 -1");
}

use serde_json::{Value, json};
use windlass_kernel::controller::ObjectKey;

use super::*;
use crate::{history::REVISION, pods::Phase};

/// Reads pods such as `n1=old n1=new! n2=old-`: on which node, of which template, and whether it is not ready (`!`), being
/// deleted (`-`), not available for long enough (`~`), ended (`#`) or still waiting for its node (`?`).
fn pods(text: &str) -> Vec<Arc<PodView>> {
    let pod = |(at, word): (usize, &str)| {
        let (node, of) = word.split_once('=').unwrap();
        let marked = |mark: char| of.ends_with(mark);
        let placed = if marked('?') { "" } else { node };
        let hash = of.trim_end_matches(['!', '-', '~', '#', '?']).to_owned();
        Arc::new(PodView {
            uid: word.into(),
            key: ObjectKey::new("default", word),
            labels: [(REVISION.to_owned(), hash)].into(),
            created: Timestamp::from_second(i64::try_from(at).unwrap()).ok(),
            node: placed.into(),
            meant_for: if placed.is_empty() { node.into() } else { String::new() },
            phase: if marked('#') { Phase::Failed } else { Phase::Running },
            ready: !['!', '#', '?'].iter().any(|mark| marked(*mark)),
            ready_since: Timestamp::from_second(if marked('~') { 95 } else { 0 }).ok(),
            deleting: marked('-'),
            ..PodView::default()
        })
    };
    text.split_whitespace().enumerate().map(pod).collect()
}

fn set(rolling: &Value) -> DaemonSet {
    let strategy = if rolling.is_null() { json!({"type": "OnDelete"}) } else { json!({"rollingUpdate": rolling}) };
    serde_json::from_value(json!({
        "metadata": {"name": "agent"}, "spec": {"minReadySeconds": 10, "updateStrategy": strategy},
    }))
    .unwrap()
}

/// Nodes are names; `n2~` keeps its pods and gets none, `n2!` has them deleted. `n9` has failed before.
#[track_caller]
fn check(rolling: Value, nodes: &str, there: &str, expect: &str) {
    let fit = |word: &str| {
        let fit = if word.ends_with('~') {
            Fit::Stay
        } else if word.ends_with('!') {
            Fit::No
        } else {
            Fit::Run
        };
        (word.trim_end_matches(['~', '!']).to_owned(), fit)
    };
    let nodes: BTreeMap<_, _> = nodes.split_whitespace().map(fit).collect();
    let (set, pods) = (set(&rolling), pods(there));
    let hashes = ["new".to_owned(), "also".to_owned()].into();
    let pause = |node: &str| (node == "n9").then_some(Duration::from_secs(8));
    let now = Timestamp::from_second(100).unwrap();
    let plan = plan(&Seen { set: &set, nodes: &nodes, pods: &pods, hashes: &hashes, pause: &pause, now });
    let mut said: Vec<String> = plan.create.iter().map(|node| format!("+{node}")).collect();
    said.extend(plan.delete.iter().map(|pod| format!("-{}", pod.key.name)));
    said.extend(plan.next.map(|next| format!("wait {}", next.as_secs())));
    assert_eq!(said.join(" "), expect, "{there}");
}

fn unavailable(most: impl Into<Value>) -> Value {
    json!({"maxUnavailable": most.into(), "maxSurge": 0})
}

fn surging(most: impl Into<Value>) -> Value {
    json!({"maxUnavailable": 0, "maxSurge": most.into()})
}

#[test]
fn each_node_has_one_pod() {
    check(unavailable(1), "n1 n2 n3~ n4!", "", "+n1 +n2");
    check(unavailable(1), "n1 n2", "n1=new n2=new- n3=new", "");
    check(unavailable(1), "n1", "n1=new n1=new", "-n1=new");
    check(unavailable(1), "n1~ n2!", "n1=new n2=new", "-n2=new");
    check(unavailable(1), "n1", "n1=new n2=new?", "-n2=new?");
}

#[test]
fn ended_pods_are_replaced_with_pauses_that_grow() {
    check(unavailable(1), "n1", "n1=new#", "-n1=new#");
    check(unavailable(1), "n9", "n9=new#", "wait 8");
}

#[test]
fn a_rollout_replaces_as_many_as_may_be_missing() {
    check(unavailable(1), "n1 n2 n3", "n1=old n2=old n3=old", "-n1=old");
    check(unavailable("50%"), "n1 n2 n3", "n1=old n2=old n3=old", "-n1=old -n2=old");
    check(unavailable(1), "n1 n2", "n1=new~ n2=old", "");
    check(unavailable(1), "n1 n2", "n1=new- n2=old", "");
    check(unavailable(1), "n1 n2", "n1=also n2=old", "-n2=old");
    check(Value::Null, "n1 n2", "n1=old n2=old", "");
}

#[test]
fn pods_that_are_no_good_go_first_and_count() {
    check(unavailable(1), "n1 n2 n3", "n1=old n2=old! n3=old!", "-n2=old! -n3=old!");
    check(unavailable(2), "n1 n2 n3", "n1=old n2=old! n3=old", "-n2=old! -n1=old");
}

#[test]
fn with_a_surge_the_new_pod_comes_before_the_old_one_goes() {
    check(surging(1), "n1 n2", "n1=old n2=old", "+n1");
    check(surging("100%"), "n1 n2", "n1=old n2=old", "+n1 +n2");
    check(surging(1), "n1 n2", "n1=old n1=new! n2=old", "");
    check(surging(1), "n1 n2", "n1=old n1=new~ n2=old", "");
    check(surging(1), "n1 n2", "n1=old n1=new n2=old", "-n1=old");
    check(surging(1), "n1 n2", "n1=old! n1=new! n2=old", "-n1=old!");
    check(surging(1), "n1 n2 n3", "n1=old! n2=old n3=old", "+n1 +n2");
    check(surging(1), "n1", "n1=old n1=old n1=new n1=new", "-n1=new -n1=old -n1=old");
}

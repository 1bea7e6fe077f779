use serde_json::json;

use super::*;
use crate::plugins::fixture::{named, pod};

fn important(name: &str, priority: i32) -> Arc<PodView> {
    Arc::new(named(name, pod(json!({"priority": priority}))))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Pops everything there is at a time.
#[track_caller]
fn check(queue: &mut Queue, at: u64, expect: &str) {
    queue.tick(seconds(at));
    let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|pod| pod.key.name.clone()).collect();
    assert_eq!(popped.join(" "), expect, "at {at} s");
}

fn with(pods: &[Arc<PodView>]) -> Queue {
    let mut queue = Queue::new(Patience::default());
    pods.iter().for_each(|pod| queue.put(pod, Duration::ZERO));
    queue
}

#[test]
fn the_important_go_first_then_the_oldest() {
    let pods = [("a", 0), ("b", 5), ("c", 0), ("d", 5)].map(|(name, priority)| important(name, priority));
    check(&mut with(&pods), 0, "b d a c");
}

#[test]
fn failures_double_the_wait_up_to_ten_seconds() {
    let mut queue = with(&[important("a", 0)]);
    let mut now = 0;
    for wait in [1, 2, 4, 8, 10, 10] {
        check(&mut queue, now, "a");
        queue.failed(&ObjectKey::new("ns", "a"), seconds(now));
        assert_eq!(queue.due(), Some(seconds(now + wait)));
        check(&mut queue, now + wait - 1, "");
        now += wait;
    }
}

#[test]
fn a_parked_pod_wakes_on_a_change_that_helps_once_it_has_rested() {
    let mut queue = with(&[important("a", 0), important("b", 0)]);
    check(&mut queue, 0, "a b");
    queue.refused(&ObjectKey::new("ns", "a"), vec!["Fit"], seconds(0));
    queue.refused(&ObjectKey::new("ns", "b"), vec!["Taint"], seconds(0));
    queue.changed(seconds(0), |_, by| by == ["Fit"]);
    check(&mut queue, 0, "");
    check(&mut queue, 1, "a");
    check(&mut queue, 60, "");
    queue.changed(seconds(60), |_, by| by == ["Taint"]);
    check(&mut queue, 60, "b");
}

#[test]
fn nobody_is_parked_for_more_than_five_minutes() {
    let mut queue = with(&[important("a", 0)]);
    check(&mut queue, 0, "a");
    queue.refused(&ObjectKey::new("ns", "a"), vec!["Fit"], seconds(0));
    assert_eq!(queue.due(), Some(seconds(300)));
    check(&mut queue, 299, "");
    check(&mut queue, 300, "a");
}

#[test]
fn gated_pods_wait_until_the_last_gate_is_gone() {
    let gated = Arc::new(named("a", pod(json!({"schedulingGates": [{"name": "g"}]}))));
    let mut queue = with(&[gated]);
    queue.changed(seconds(0), |_, _| true);
    check(&mut queue, 1000, "");
    queue.put(&important("a", 0), seconds(1000));
    check(&mut queue, 1000, "a");
}

#[test]
fn a_change_of_the_pod_itself_wakes_it_but_what_is_said_about_it_does_not() {
    let mut queue = with(&[important("a", 0)]);
    check(&mut queue, 0, "a");
    queue.refused(&ObjectKey::new("ns", "a"), vec!["Fit"], seconds(0));
    let mut said = PodView::clone(&important("a", 0));
    said.complaint = Some(("Unschedulable".into(), "no".into()));
    queue.put(&Arc::new(said), seconds(10));
    check(&mut queue, 10, "");
    queue.put(&important("a", 3), seconds(20));
    check(&mut queue, 20, "a");
}

#[test]
fn a_new_pod_of_the_same_name_begins_anew() {
    let mut queue = with(&[important("a", 0)]);
    check(&mut queue, 0, "a");
    queue.failed(&ObjectKey::new("ns", "a"), seconds(0));
    let mut other = PodView::clone(&important("a", 0));
    other.uid = "other".into();
    queue.put(&Arc::new(other), seconds(0));
    check(&mut queue, 0, "a");
    queue.remove(&ObjectKey::new("ns", "a"));
    queue.failed(&ObjectKey::new("ns", "a"), seconds(0));
    assert_eq!(queue.due(), None);
}

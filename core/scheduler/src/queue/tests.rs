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
    let popped: Vec<_> = std::iter::from_fn(|| queue.pop(seconds(at))).map(|pod| pod.key.name.clone()).collect();
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
    queue.changed(seconds(0), "NodeAdd", |_, by| by == ["Fit"]);
    check(&mut queue, 0, "");
    check(&mut queue, 1, "a");
    check(&mut queue, 60, "");
    queue.changed(seconds(60), "NodeAdd", |_, by| by == ["Taint"]);
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
    queue.changed(seconds(0), "NodeAdd", |_, _| true);
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

#[test]
fn it_is_counted_how_many_wait_for_what_and_what_brought_them_there() {
    let gate = json!({"schedulingGates": [{"name": "wait"}]});
    let mut queue = with(&[important("a", 0), important("b", 0), Arc::new(named("c", pod(gate)))]);
    let entered = |queue: &mut Queue| -> Vec<(&str, &str, u64)> {
        let mut all: Vec<_> = queue.entered().map(|own| (own.queue, own.event, own.count)).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(entered(&mut queue), [("active", "UnscheduledPodAdd", 2), ("unschedulable", "UnscheduledPodAdd", 1)]);
    assert_eq!(queue.sizes(), [2, 0, 0, 1]);
    check(&mut queue, 0, "a b");
    queue.refused(&ObjectKey::new("ns", "a"), vec!["Fit"], seconds(0));
    queue.failed(&ObjectKey::new("ns", "b"), seconds(0));
    assert_eq!(queue.sizes(), [0, 1, 1, 1]);
    queue.changed(seconds(0), "NodeAdd", |_, _| true);
    queue.tick(seconds(1));
    assert_eq!(queue.sizes(), [2, 0, 0, 1]);
    let expect = [
        ("active", "BackoffComplete", 2),
        ("backoff", "NodeAdd", 1),
        ("backoff", "ScheduleAttemptFailure", 1),
        ("unschedulable", "ScheduleAttemptFailure", 1),
    ];
    assert_eq!(entered(&mut queue), expect);
    queue.put(&important("c", 0), seconds(1));
    assert_eq!((queue.sizes(), entered(&mut queue)), ([3, 0, 0, 0], vec![("active", "UnscheduledPodUpdate", 1)]));
    check(&mut queue, 3, "a b c");
    assert_eq!(queue.tries(&ObjectKey::new("ns", "a")), (2, Some(seconds(0))));
    assert_eq!(queue.tries(&ObjectKey::new("ns", "c")), (1, Some(seconds(3))));
}

#[test]
fn an_idle_scheduler_looks_again_before_a_back_off_is_over() {
    let soon = Duration::from_millis(100);
    let popped = |queue: &mut Queue| queue.pop(soon).map(|pod| pod.key.name.clone());
    for busy in [false, true] {
        let mut queue = with(&[important("a", 0), important("b", 0)]);
        check(&mut queue, 0, "a b");
        queue.refused(&ObjectKey::new("ns", "a"), vec!["Fit"], seconds(0));
        queue.failed(&ObjectKey::new("ns", "b"), seconds(0));
        queue.changed(seconds(0), "NodeAdd", |_, _| true);
        assert_eq!(queue.due(), Some(soon));
        if busy {
            queue.put(&important("c", 0), soon);
        }
        queue.tick(soon);
        assert_eq!(popped(&mut queue).as_deref(), Some(if busy { "c" } else { "a" }));
        queue.tick(seconds(0));
        assert_eq!(popped(&mut queue), None, "what failed rests to the end");
        check(&mut queue, 1, if busy { "a b" } else { "b" });
    }
}

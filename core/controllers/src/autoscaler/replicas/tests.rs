use serde_json::json;

use super::*;

const NOW: i64 = 10_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A pod as words: its name, what each container requests, and how it is: `ready`, `unready`, `pending`, `failed`,
/// `deleting`, `young`, `never-ready`.
fn pod(words: &str) -> Arc<Pod> {
    let mut words = words.split(' ');
    let name = words.next().unwrap();
    let has: Vec<&str> = words.collect();
    let is = |word: &str| has.contains(&word);
    let containers: Vec<_> = has
        .iter()
        .filter_map(|word| word.split_once('='))
        .map(|(name, cpu)| {
            let requests = if cpu.is_empty() { json!({}) } else { json!({"cpu": cpu}) };
            json!({"name": name, "resources": {"requests": requests}})
        })
        .collect();
    let start = if is("young") { NOW - 60 } else { NOW - 3600 };
    let changed = if is("never-ready") { start + 10 } else { start + 40 };
    let phase = if is("pending") {
        "Pending"
    } else if is("failed") {
        "Failed"
    } else {
        "Running"
    };
    let ready = if is("unready") || is("never-ready") { "False" } else { "True" };
    let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": at(changed).to_string()});
    let mut metadata = json!({"name": name});
    if is("deleting") {
        metadata["deletionTimestamp"] = at(NOW).to_string().into();
    }
    let status = json!({"phase": phase, "startTime": at(start).to_string(), "conditions": [condition]});
    let pod = json!({"metadata": metadata, "spec": {"containers": containers}, "status": status});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn samples(values: &[(&str, i64)]) -> Samples {
    let sample = |value| Sample { at: at(NOW), window: Duration::from_secs(10), value };
    values.iter().map(|(name, value)| ((*name).to_owned(), sample(*value))).collect()
}

/// What is asked for: the replicas, the utilization and the mean.
fn ask(metric: Metric<'_>, current: i32, pods: &[&str], values: &[(&str, i64)]) -> String {
    let pods: Vec<_> = pods.iter().map(|words| pod(words)).collect();
    match of_pods(&pods, samples(values), metric, (current, Tolerance::of(None)), at(NOW)) {
        Ok(Proposal { replicas, utilization: Some(percent), average }) => format!("{replicas} {percent}% {average}"),
        Ok(Proposal { replicas, utilization: None, average }) => format!("{replicas} {average}"),
        Err(why) => why,
    }
}

fn utilization(percent: i32) -> Metric<'static> {
    Metric { resource: "cpu", container: "", target: Target::Utilization(percent) }
}

#[track_caller]
fn check(percent: i32, current: i32, pods: &[&str], values: &[(&str, i64)], expect: &str) {
    assert_eq!(ask(utilization(percent), current, pods, values), expect);
}

#[test]
fn utilization_is_of_what_is_requested() {
    let pods = ["a c=1 ready", "b c=500m d=500m ready"];
    check(50, 2, &pods, &[("a", 900), ("b", 900)], "4 90% 900");
    check(50, 2, &pods, &[("a", 500), ("b", 520)], "2 51% 510");
    check(50, 2, &pods, &[("a", 100), ("b", 120)], "1 11% 110");
    check(
        50,
        2,
        &["a c= ready", "b c=1 ready"],
        &[("a", 1), ("b", 1)],
        "missing request for cpu in container c of Pod a",
    );
    check(50, 2, &[], &[("a", 1)], "no pods returned by selector while calculating replica count");
    check(50, 2, &pods, &[], "did not receive metrics for targeted pods (pods might be unready)");
}

#[test]
fn a_container_can_be_what_counts() {
    let metric = Metric { container: "d", ..utilization(50) };
    assert_eq!(ask(metric, 1, &["a c=1 d=500m ready"], &[("a", 500)]), "2 100% 500");
    assert_eq!(ask(metric, 1, &["a c=1 ready"], &[("a", 500)]), "container d not found in Pod a");
}

#[test]
fn a_mean_is_compared_with_its_target() {
    let metric = |target| Metric { resource: "memory", container: "", target: Target::Average(target) };
    assert_eq!(ask(metric(100), 2, &["a ready", "b ready"], &[("a", 200), ("b", 400)]), "6 300");
    assert_eq!(ask(metric(100), 2, &["a ready", "b ready"], &[("a", 100), ("b", 110)]), "2 105");
}

#[test]
fn pods_that_are_not_measured_stand_in_the_way() {
    let pods = ["a c=1 ready", "b c=1 ready", "c c=1 ready"];
    // Above: as if the third used nothing. Below: as if it used all that it requests.
    check(50, 3, &pods, &[("a", 1000), ("b", 1000)], "4 100% 1000");
    check(50, 3, &pods, &[("a", 100), ("b", 100)], "3 10% 100");
    check(90, 3, &pods, &[("a", 100), ("b", 100)], "2 10% 100");
    check(50, 3, &pods, &[("a", 600), ("b", 700)], "3 65% 650");
}

#[test]
fn pods_that_are_not_ready_count_as_idle_when_there_is_to_be_more() {
    let pods = ["a c=1 ready", "b c=1 ready", "c c=1 pending"];
    check(50, 3, &pods, &[("a", 1000), ("b", 1000), ("c", 1000)], "4 100% 1000");
    check(50, 3, &pods, &[("a", 100), ("b", 100)], "1 10% 100");
    check(50, 2, &["a c=1 ready", "b c=1 young unready"], &[("a", 1000), ("b", 1000)], "2 100% 1000");
    check(50, 2, &["a c=1 ready", "b c=1 never-ready"], &[("a", 1000), ("b", 1000)], "2 100% 1000");
    // One that was ready before counts although it is not ready now.
    check(50, 2, &["a c=1 ready", "b c=1 unready"], &[("a", 1000), ("b", 1000)], "4 100% 1000");
    check(50, 2, &["a c=1 ready", "b c=1 failed", "c c=1 deleting"], &[("a", 1000), ("c", 1000)], "2 100% 1000");
}

#[test]
fn single_values_are_compared_with_the_whole_or_with_each() {
    let tolerance = Tolerance::of(None);
    let value = |value, target, ready, current| of_value(value, target, ready, (current, tolerance));
    assert_eq!([value(300, 100, 2, 2), value(105, 100, 2, 2), value(300, 100, 0, 0)], [6, 2, 3]);
    let share = |value, target, current| of_share(value, target, (current, tolerance));
    assert_eq!([share(600, 100, 2), share(210, 100, 2)], [(6, 300), (2, 105)]);
}

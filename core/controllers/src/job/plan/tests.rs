use serde_json::{Value, json};
use windlass_kernel::controller::ObjectKey;

use super::*;
use crate::pods::{Phase, PodView};

const NOW: i64 = 1000;

/// Reads pods such as `a failed exit=1 index=0 at=990 free`, one per line: a `free` one waits for nobody.
fn pods(text: &str) -> Vec<Arc<JobPod>> {
    let pod = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let mut view =
            PodView { key: ObjectKey::new("ns", name), uid: name.into(), phase: Phase::Running, ..PodView::default() };
        let finished = Timestamp::from_second(NOW - 1000).ok();
        let mut pod = JobPod { tracked: true, finished, ..JobPod::default() };
        for word in words {
            let (what, value) = word.split_once('=').unwrap_or((word, ""));
            match what {
                "pending" => view.phase = Phase::Pending,
                "succeeded" => view.phase = Phase::Succeeded,
                "failed" => view.phase = Phase::Failed,
                "deleting" => view.deleting = true,
                "ready" => view.ready = true,
                "free" => pod.tracked = false,
                "index" => pod.index = value.parse().ok(),
                "tries" => pod.failures.0 = value.parse().unwrap(),
                "exit" => pod.exits.push(("main".into(), value.parse().unwrap())),
                "restarts" => pod.restarts = value.parse().unwrap(),
                "at" => pod.finished = Timestamp::from_second(value.parse().unwrap()).ok(),
                other => panic!("{other}"),
            }
        }
        pod.view = view.into();
        Arc::new(pod)
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(pod).collect()
}

/// A plan as text: what happens to pods, then what the status says.
fn told(plan: &Plan) -> String {
    let names = |pods: &[Arc<JobPod>]| pods.iter().map(|pod| pod.view.uid.clone()).collect::<Vec<_>>().join(",");
    let mut said = Vec::new();
    if !plan.delete.is_empty() {
        said.push(format!("delete {}", names(&plan.delete)));
    }
    let new = |new: &New| match (new.index, new.failures) {
        (None, _) => "-".to_owned(),
        (Some(index), None | Some((0, _))) => index.to_string(),
        (Some(index), Some((failures, _))) => format!("{index}:{failures}"),
    };
    if !plan.create.is_empty() {
        said.push(format!("create {}", plan.create.iter().map(new).collect::<Vec<_>>().join(",")));
    }
    if !plan.release.is_empty() {
        said.push(format!("release {}", names(&plan.release)));
    }
    if let Some(next) = plan.next {
        said.push(format!("wait {}", next.as_secs()));
    }
    let status = &plan.status;
    let count = |number: Option<i32>| number.unwrap_or(0);
    said.push(format!(
        "active {} terminating {} succeeded {} failed {}",
        count(status.active),
        count(status.terminating),
        count(status.succeeded),
        count(status.failed)
    ));
    for (name, indexes) in [("done", &status.completed_indexes), ("lost", &status.failed_indexes)] {
        said.extend(indexes.as_ref().filter(|text| !text.is_empty()).map(|text| format!("{name} {text}")));
    }
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    for (name, uids) in [("good", uncounted.succeeded), ("bad", uncounted.failed)] {
        if !uids.is_empty() {
            said.push(format!("{name} {}", uids.join(",")));
        }
    }
    for own in &status.conditions {
        let sign = if own.status == "True" { "" } else { "not " };
        said.push(format!("{sign}{} {}", own.type_, own.reason.as_deref().unwrap_or_default()));
    }
    said.join("; ")
}

/// Plans for a Job that runs for ten seconds already.
#[track_caller]
fn check(spec: &Value, status: &Value, text: &str, expect: &str) {
    let mut spec = spec.clone();
    spec["template"] =
        json!({"spec": {"restartPolicy": spec["restart"].as_str().unwrap_or("Never"), "containers": []}});
    let mut job = Job { spec: serde_json::from_value(spec).unwrap(), ..Job::default() };
    job.status = serde_json::from_value(status.clone()).unwrap();
    job.status.start_time = job.status.start_time.or(Timestamp::from_second(NOW - 10).ok().map(Time));
    let (pods, now) = (pods(text), Timestamp::from_second(NOW).unwrap());
    let mut record = Record::default();
    record.observe(pods.iter().map(|pod| &**pod), !super::super::sync::waits_for_end(&job.spec));
    assert_eq!(told(&plan(&job, &pods, &record, now)), expect, "{text}");
}

fn target(reason: &str) -> Value {
    let type_ = if reason == "CompletionsReached" { "SuccessCriteriaMet" } else { "FailureTarget" };
    json!([{"type": type_, "status": "True", "reason": reason}])
}

#[test]
fn as_many_pods_run_as_are_left_to_do() {
    let spec = json!({"completions": 5, "parallelism": 3});
    check(&spec, &json!({}), "", "create -,-,-; active 3 terminating 0 succeeded 0 failed 0");
    check(&spec, &json!({"succeeded": 3}), "a", "create -; active 2 terminating 0 succeeded 3 failed 0");
    check(&spec, &json!({}), "a pending\n b\n c\n d", "delete a; active 3 terminating 1 succeeded 0 failed 0");
    check(&json!({"parallelism": 0, "completions": 1}), &json!({}), "", "active 0 terminating 0 succeeded 0 failed 0");
}

#[test]
fn a_pod_is_recorded_then_let_go_of_then_counted() {
    let spec = json!({"completions": 2, "parallelism": 1});
    check(&spec, &json!({}), "a succeeded", "create -; release a; active 1 terminating 0 succeeded 0 failed 0; good a");
    let recorded = json!({"uncountedTerminatedPods": {"succeeded": ["a"]}});
    // The pod still waits: it is let go of again, and counts nothing yet.
    check(&spec, &recorded, "a succeeded\n b", "release a; active 1 terminating 0 succeeded 0 failed 0; good a");
    check(&spec, &recorded, "a succeeded free\n b", "active 1 terminating 0 succeeded 1 failed 0");
    check(&spec, &recorded, "b", "active 1 terminating 0 succeeded 1 failed 0");
}

#[test]
fn a_job_ends_once_nothing_of_it_is_left() {
    let spec = json!({"completions": 1, "parallelism": 1});
    let met = "SuccessCriteriaMet CompletionsReached";
    check(
        &spec,
        &json!({}),
        "a succeeded",
        &format!("release a; active 0 terminating 0 succeeded 0 failed 0; good a; {met}"),
    );
    let mut status =
        json!({"uncountedTerminatedPods": {"succeeded": ["a"]}, "conditions": target("CompletionsReached")});
    let ended = format!("active 0 terminating 0 succeeded 1 failed 0; {met}; Complete CompletionsReached");
    check(&spec, &status, "a succeeded free", &ended);
    status["succeeded"] = 1.into();
    status["uncountedTerminatedPods"] = json!({});
    let waits = format!("active 0 terminating 1 succeeded 1 failed 0; {met}");
    check(&spec, &status, "b deleting free", &waits);
}

#[test]
fn a_work_queue_ends_with_its_last_worker() {
    let spec = json!({"parallelism": 3});
    check(&spec, &json!({}), "a", "create -,-; active 3 terminating 0 succeeded 0 failed 0");
    check(&spec, &json!({"succeeded": 1}), "a", "active 1 terminating 0 succeeded 1 failed 0");
    let met = "SuccessCriteriaMet CompletionsReached";
    check(&spec, &json!({"succeeded": 3}), "", &format!("active 0 terminating 0 succeeded 3 failed 0; {met}"));
}

#[test]
fn failures_are_waited_out_and_at_last_end_the_job() {
    let spec = json!({"completions": 1, "parallelism": 1, "backoffLimit": 1});
    check(
        &spec,
        &json!({}),
        "a failed at=995",
        "release a; wait 5; active 0 terminating 0 succeeded 0 failed 0; bad a",
    );
    let once = json!({"failed": 1});
    check(&spec, &once, "a failed free at=980", "create -; active 1 terminating 0 succeeded 0 failed 1");
    let limit = "FailureTarget BackoffLimitExceeded";
    check(
        &spec,
        &once,
        "a failed free at=980\n b failed at=999\n c",
        &format!("delete c; release b,c; active 0 terminating 1 succeeded 0 failed 1; bad b,c; {limit}"),
    );
    let spec = json!({"completions": 1, "parallelism": 1, "backoffLimit": 2, "restart": "OnFailure"});
    check(
        &spec,
        &json!({}),
        "a restarts=2",
        &format!("delete a; release a; active 0 terminating 1 succeeded 0 failed 0; bad a; {limit}"),
    );
}

#[test]
fn a_job_ends_at_its_deadline() {
    let spec = |deadline: i64| json!({"completions": 1, "parallelism": 1, "activeDeadlineSeconds": deadline});
    check(&spec(30), &json!({}), "a", "wait 20; active 1 terminating 0 succeeded 0 failed 0");
    let late =
        "delete a; release a; active 0 terminating 1 succeeded 0 failed 0; bad a; FailureTarget DeadlineExceeded";
    check(&spec(10), &json!({}), "a", late);
    let status = json!({"failed": 1, "conditions": target("DeadlineExceeded")});
    let ended = "active 0 terminating 0 succeeded 0 failed 1; FailureTarget DeadlineExceeded; Failed DeadlineExceeded";
    check(&spec(10), &status, "a failed free", ended);
}

#[test]
fn each_index_has_one_pod() {
    let spec = json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed"});
    check(
        &spec,
        &json!({"completedIndexes": "1"}),
        "a index=2",
        "create 0,3; active 3 terminating 0 succeeded 1 failed 0; done 1",
    );
    check(
        &spec,
        &json!({}),
        "a index=0 succeeded\n b index=1 ready\n c index=1\n d index=7",
        "delete d,c; release a; active 1 terminating 2 succeeded 1 failed 0; done 0",
    );
    let fewer = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed"});
    let met = "SuccessCriteriaMet CompletionsReached";
    let shrunk = format!("active 0 terminating 0 succeeded 2 failed 0; done 0,1; {met}");
    check(&fewer, &json!({"completedIndexes": "0,1,3", "succeeded": 3}), "", &shrunk);
}

#[test]
fn indexes_fail_apart() {
    let spec = json!({
        "completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimit": 100, "backoffLimitPerIndex": 1,
    });
    // The last failure of an index is kept until its next try knows of it.
    check(
        &spec,
        &json!({}),
        "a index=0 failed at=980\n b index=1 failed at=995\n c index=2",
        "create 0:1; wait 5; active 2 terminating 0 succeeded 0 failed 0",
    );
    check(
        &spec,
        &json!({}),
        "a index=0 failed at=980\n b index=0 tries=1\n c index=1 tries=1 failed at=990\n d index=2",
        "release a,c; active 2 terminating 0 succeeded 0 failed 0; lost 1; bad a,c",
    );
    let rest = json!({"failed": 2, "failedIndexes": "0", "completedIndexes": "1,2", "succeeded": 2});
    let lost = "active 0 terminating 0 succeeded 2 failed 2; done 1,2; lost 0; FailureTarget FailedIndexes";
    check(&spec, &rest, "", lost);
    let mut few = spec.clone();
    few["maxFailedIndexes"] = 0.into();
    let status = json!({"failed": 2, "failedIndexes": "0"});
    let most = "delete a; release a; active 0 terminating 1 succeeded 0 failed 2; lost 0; bad a; FailureTarget MaxFailedIndexesExceeded";
    check(&few, &status, "a index=1", most);
}

#[test]
fn a_policy_says_what_a_failure_means() {
    let rules = json!([
        {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [5]}},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]);
    let spec = json!({"completions": 1, "parallelism": 1, "backoffLimit": 0, "podFailurePolicy": {"rules": rules}});
    check(
        &spec,
        &json!({}),
        "a failed exit=5 at=980",
        "create -; release a; active 1 terminating 0 succeeded 0 failed 0",
    );
    let fail =
        "delete b; release a,b; active 0 terminating 1 succeeded 0 failed 0; bad a,b; FailureTarget PodFailurePolicy";
    check(&spec, &json!({}), "a failed exit=42\n b", fail);
    // With a policy, a pod that is going has not failed yet, and is not replaced yet.
    check(&spec, &json!({}), "a deleting", "active 0 terminating 1 succeeded 0 failed 0");
}

#[test]
fn a_pod_that_is_going_is_replaced_when_the_job_says_so() {
    let spec = |when: &str| json!({"completions": 1, "parallelism": 1, "podReplacementPolicy": when});
    check(&spec("Failed"), &json!({}), "a deleting", "active 0 terminating 1 succeeded 0 failed 0");
    check(
        &spec("TerminatingOrFailed"),
        &json!({}),
        "a deleting at=980",
        "create -; release a; active 1 terminating 1 succeeded 0 failed 0; bad a",
    );
}

#[test]
fn a_success_policy_ends_the_job_early() {
    let spec = json!({
        "completions": 3, "parallelism": 3, "completionMode": "Indexed", "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
    });
    check(
        &spec,
        &json!({}),
        "a index=0 succeeded\n b index=1\n c index=2",
        "delete b,c; release a,b,c; active 0 terminating 2 succeeded 1 failed 0; done 0; SuccessCriteriaMet SuccessPolicy",
    );
}

#[test]
fn a_suspended_job_has_no_pods_and_begins_anew() {
    let spec = |suspend: bool| json!({"completions": 1, "parallelism": 1, "suspend": suspend});
    let suspended = "active 0 terminating 1 succeeded 0 failed 0; Suspended JobSuspended";
    check(&spec(true), &json!({}), "a", &format!("delete a; {suspended}"));
    let status = json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]});
    let resumed = "create -; active 1 terminating 0 succeeded 0 failed 0; not Suspended JobResumed";
    check(&spec(false), &status, "", resumed);
}

#[test]
fn what_could_not_be_done_is_not_said() {
    let mut job = Job::default();
    job.spec.completions = Some(5);
    job.spec.parallelism = Some(5);
    let mut plan = plan(&job, &pods("a"), &Record::default(), Timestamp::UNIX_EPOCH);
    assert_eq!((plan.create.len(), plan.status.active), (4, Some(5)));
    plan.fall_short();
    assert_eq!(plan.status.active, Some(1));
}

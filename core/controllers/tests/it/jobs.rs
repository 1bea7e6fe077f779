//! Jobs run until enough succeeded or too much failed, count each pod once, and clean up after themselves.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{
    batch::v1::Job,
    core::v1::{Event, Pod},
};
use windlass_client::{Cache, Select};
use windlass_kernel::{api::PatchType, controller::ObjectKey};

use crate::{
    cluster::{Cluster, Fault},
    laws,
};

/// A job whose pods end after a second with the exit codes of a script (`0 3=42`).
pub(crate) fn job(spec: &Value, codes: &str) -> Value {
    let annotations = json!({"fake.windlass.dev/lifetime": "1s", "fake.windlass.dev/exit-code": codes});
    let pods = json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]});
    let mut spec = spec.clone();
    spec["template"] = json!({"metadata": {"annotations": annotations}, "spec": pods});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work", "namespace": "default"}, "spec": spec})
}

fn jobs(cluster: &Cluster) -> Cache<Arc<Job>> {
    cluster.informers.typed(Select::all())
}

fn pods(cluster: &Cluster) -> Cache<Arc<Pod>> {
    cluster.informers.typed(Select::all())
}

fn the(jobs: &Cache<Arc<Job>>) -> Option<Arc<Job>> {
    jobs.get(&ObjectKey::new("default", "work"))
}

/// The conditions that hold, with their reasons.
fn conditions(job: &Job) -> Vec<String> {
    let held = job.status.conditions.iter().filter(|own| own.status == "True");
    held.map(|own| format!("{} {}", own.type_, own.reason.as_deref().unwrap_or_default())).collect()
}

fn ended(type_: &'static str) -> impl Fn(&Cache<Arc<Job>>) -> bool {
    move |jobs| the(jobs).is_some_and(|job| conditions(&job).iter().any(|own| own.starts_with(type_)))
}

fn counts(job: &Job) -> (i32, i32, i32) {
    let count = |number: Option<i32>| number.unwrap_or(0);
    (count(job.status.active), count(job.status.succeeded), count(job.status.failed))
}

fn patch(cluster: &Cluster, patch: Value) {
    let patched = cluster.admin.patch::<Job>("default", "work", PatchType::Merge, patch);
    cluster.executor.run_until(patched).unwrap();
}

/// What was told about the job, each reason once.
fn reasons(cluster: &Cluster) -> std::collections::BTreeSet<String> {
    // Events are written after what they tell of.
    cluster.settle();
    let events = cluster.executor.run_until(cluster.admin.list::<Event>(&Select::namespace("default"))).unwrap();
    let about = |event: &&Arc<Event>| event.involved_object.kind.as_deref() == Some("Job");
    events.iter().filter(about).filter_map(|event| event.reason.clone()).collect()
}

#[test]
fn a_job_completes_and_keeps_its_pods() {
    let cluster = Cluster::new(1);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    cluster.create("jobs", job(&json!({"completions": 5, "parallelism": 2}), "0"));
    cluster.until(&jobs, ended("Complete"));
    cluster.settle();
    let job = the(&jobs).unwrap();
    assert_eq!(conditions(&job), ["SuccessCriteriaMet CompletionsReached", "Complete CompletionsReached"]);
    assert_eq!((counts(&job), job.status.ready, job.status.terminating), ((0, 5, 0), Some(0), Some(0)));
    assert!(job.status.start_time.is_some() && job.status.completion_time > job.status.start_time);
    assert_eq!(pods.len(), 5);
    assert!(pods.values().iter().all(|pod| pod.metadata.finalizers.is_empty()));
    let told = reasons(&cluster);
    assert!(["Completed", "SuccessfulCreate"].iter().all(|reason| told.contains(*reason)), "{told:?}");
}

#[test]
fn a_job_that_ended_writes_nothing() {
    let cluster = Cluster::new(2);
    cluster.create("jobs", job(&json!({"completions": 2}), "0"));
    cluster.until(&jobs(&cluster), ended("Complete"));
    cluster.settle();
    let before = cluster.gate.log().len();
    cluster.settle();
    assert_eq!(cluster.gate.log().len(), before, "{:?}", cluster.gate.log());
}

#[test]
fn failures_are_tried_again_ever_later_until_the_limit() {
    let cluster = Cluster::new(3);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    cluster.create("jobs", job(&json!({"backoffLimit": 3}), "1"));
    cluster.until(&jobs, ended("Failed"));
    let job = the(&jobs).unwrap();
    assert_eq!(conditions(&job), ["FailureTarget BackoffLimitExceeded", "Failed BackoffLimitExceeded"]);
    assert_eq!(counts(&job), (0, 0, 4));
    let mut begun: Vec<_> = pods.values().iter().filter_map(|pod| pod.metadata.creation_timestamp).collect();
    begun.sort();
    let gaps: Vec<_> = begun.windows(2).map(|two| two[1].0.duration_since(two[0].0).as_secs()).collect();
    // A second of life, then ten, twenty and forty seconds of waiting.
    assert_eq!(gaps, [11, 21, 41]);
    // The event is written beside the status.
    cluster.settle();
    assert!(reasons(&cluster).contains("BackoffLimitExceeded"));
}

#[test]
fn indexes_fail_apart_and_the_others_complete() {
    let cluster = Cluster::new(4);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    let spec = json!({"completions": 6, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1});
    cluster.create("jobs", job(&spec, "0 2=1 4=1"));
    cluster.until(&jobs, ended("Failed"));
    let job = the(&jobs).unwrap();
    assert_eq!(conditions(&job), ["FailureTarget FailedIndexes", "Failed FailedIndexes"]);
    assert_eq!(job.status.completed_indexes.as_deref(), Some("0,1,3,5"));
    assert_eq!((job.status.failed_indexes.as_deref(), counts(&job)), (Some("2,4"), (0, 4, 4)));
    let hosts: std::collections::BTreeSet<_> =
        pods.values().iter().filter_map(|pod| pod.spec.hostname.clone()).collect();
    assert_eq!(hosts.len(), 6);
    assert!(pods.values().iter().all(|pod| pod.metadata.finalizers.is_empty()));
}

#[test]
fn a_success_policy_ends_the_pods_that_are_left() {
    let cluster = Cluster::new(5);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    let rules = json!([{"succeededIndexes": "0"}]);
    let mut object = job(
        &json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "successPolicy": {"rules": rules}}),
        "0",
    );
    cluster.create("jobs", object.take());
    cluster.until(&jobs, ended("Complete"));
    let job = the(&jobs).unwrap();
    assert_eq!(conditions(&job)[1], "Complete SuccessPolicy");
    assert_eq!(counts(&job).2, 0);
    cluster.until(&pods, |pods| pods.values().iter().all(|pod| pod.metadata.finalizers.is_empty()));
}

#[test]
fn a_suspended_job_stops_and_goes_on() {
    let cluster = Cluster::new(6);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    let mut object = job(&json!({"completions": 2, "parallelism": 2}), "0");
    object["spec"]["template"]["metadata"]["annotations"]["fake.windlass.dev/lifetime"] = "1h".into();
    cluster.create("jobs", object);
    cluster.until(&jobs, |jobs| the(jobs).is_some_and(|job| job.status.ready == Some(2)));
    patch(&cluster, json!({"spec": {"suspend": true}}));
    cluster.until(&pods, Cache::is_empty);
    cluster.until(&jobs, |jobs| the(jobs).is_some_and(|job| job.status.terminating == Some(0)));
    let job = the(&jobs).unwrap();
    assert_eq!((counts(&job), job.status.start_time), ((0, 0, 0), None));
    assert_eq!(conditions(&job), ["Suspended JobSuspended"]);
    patch(&cluster, json!({"spec": {"suspend": false}}));
    cluster.until(&jobs, |jobs| the(jobs).is_some_and(|job| job.status.ready == Some(2)));
    let job = the(&jobs).unwrap();
    assert!(job.status.start_time.is_some() && conditions(&job).is_empty());
    let expect = ["Resumed", "SuccessfulCreate", "SuccessfulDelete", "Suspended"].map(str::to_owned);
    cluster.settle();
    assert_eq!(reasons(&cluster), expect.into());
}

#[test]
fn an_elastic_job_grows_and_shrinks() {
    let cluster = Cluster::new(7);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    let mut object = job(&json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed"}), "0");
    object["spec"]["template"]["metadata"]["annotations"]["fake.windlass.dev/lifetime"] = "1h".into();
    cluster.create("jobs", object);
    cluster.until(&pods, |pods| pods.len() == 2);
    patch(&cluster, json!({"spec": {"completions": 4, "parallelism": 4}}));
    cluster.until(&pods, |pods| pods.len() == 4);
    patch(&cluster, json!({"spec": {"completions": 1, "parallelism": 1}}));
    cluster.until(&pods, |pods| pods.len() == 1);
    assert_eq!(pods.values()[0].metadata.annotations["batch.kubernetes.io/job-completion-index"], "0");
    cluster.until(&jobs, |jobs| the(jobs).is_some_and(|job| counts(&job) == (1, 0, 0)));
}

#[test]
fn a_job_past_its_deadline_ends_its_pods() {
    let cluster = Cluster::new(8);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    let mut object = job(&json!({"activeDeadlineSeconds": 30, "parallelism": 2, "completions": 2}), "0");
    object["spec"]["template"]["metadata"]["annotations"]["fake.windlass.dev/lifetime"] = "1h".into();
    cluster.create("jobs", object);
    cluster.until(&jobs, ended("Failed"));
    let job = the(&jobs).unwrap();
    assert_eq!((conditions(&job)[1].as_str(), counts(&job)), ("Failed DeadlineExceeded", (0, 0, 2)));
    cluster.until(&pods, Cache::is_empty);
}

#[test]
fn pods_are_adopted_with_the_mark_and_released_without_it() {
    let cluster = Cluster::new(9);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    let mut object = job(&json!({"completions": 2, "parallelism": 2, "manualSelector": true}), "0");
    object["spec"]["selector"] = json!({"matchLabels": {"own": "yes"}});
    object["spec"]["template"]["metadata"]["labels"] = json!({"own": "yes"});
    object["spec"]["template"]["metadata"]["annotations"]["fake.windlass.dev/lifetime"] = "1h".into();
    let mut orphan = object["spec"]["template"].clone();
    orphan["apiVersion"] = "v1".into();
    orphan["kind"] = "Pod".into();
    orphan["metadata"]["name"] = "orphan".into();
    orphan["metadata"]["namespace"] = "default".into();
    cluster.create("pods", orphan);
    cluster.create("jobs", object);
    let key = ObjectKey::new("default", "orphan");
    let marked = |pod: &Pod| (pod.metadata.owner_references.len(), pod.metadata.finalizers.len());
    cluster.until(&pods, |pods| pods.len() == 2 && pods.get(&key).is_some_and(|pod| marked(&pod) == (1, 1)));
    cluster.until(&jobs, |jobs| the(jobs).is_some_and(|job| counts(&job).0 == 2));
    // A pod that loses its owner is adopted again, and keeps the mark.
    let orphaned = cluster.admin.patch::<Pod>(
        "default",
        "orphan",
        PatchType::Merge,
        json!({"metadata": {"ownerReferences": null}}),
    );
    cluster.executor.run_until(orphaned).unwrap();
    cluster.settle();
    assert!(pods.get(&key).is_some_and(|pod| marked(&pod) == (1, 1)));
    let stray =
        cluster.admin.patch::<Pod>("default", "orphan", PatchType::Merge, json!({"metadata": {"labels": null}}));
    cluster.executor.run_until(stray).unwrap();
    cluster.until(&pods, |pods| pods.len() == 3 && pods.get(&key).is_some_and(|pod| marked(&pod) == (0, 0)));
}

#[test]
fn a_deleted_job_takes_its_pods_along() {
    let cluster = Cluster::new(10);
    let (jobs, pods) = (jobs(&cluster), pods(&cluster));
    let mut object = job(&json!({"completions": 3, "parallelism": 3}), "0");
    object["spec"]["template"]["metadata"]["annotations"]["fake.windlass.dev/lifetime"] = "1h".into();
    cluster.create("jobs", object);
    cluster.until(&jobs, |jobs| the(jobs).is_some_and(|job| job.status.ready == Some(3)));
    cluster.executor.run_until(cluster.admin.delete::<Job>("default", "work")).unwrap();
    cluster.until(&pods, Cache::is_empty);
    assert!(jobs.is_empty());
}

#[test]
fn whichever_write_fails_each_pod_counts_once() {
    for fault in [Fault::Refused, Fault::Lost] {
        for first in 0..16 {
            let cluster = Cluster::new(11);
            let (jobs, pods) = (jobs(&cluster), pods(&cluster));
            cluster.settle();
            cluster.gate.fail(first, 2, fault);
            let spec = json!({"completions": 4, "parallelism": 2, "backoffLimit": 9});
            cluster.create("jobs", job(&spec, "0"));
            cluster.until(&jobs, ended("Complete"));
            cluster.settle();
            let (log, job) = (cluster.gate.log(), the(&jobs).unwrap());
            assert_eq!((counts(&job), pods.len()), ((0, 4, 0), 4), "{fault:?} {first}: {log:#?}");
        }
    }
}

#[test]
fn a_job_keeps_the_law_of_controllers() {
    laws::hold("job-controller", |cluster| {
        let (jobs, pods) = (jobs(cluster), pods(cluster));
        let spec = json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed"});
        cluster.create("jobs", job(&spec, "0"));
        cluster.until(&jobs, ended("Complete"));
        cluster.settle();
        let job = the(&jobs).unwrap();
        let held = pods.values().iter().filter(|pod| !pod.metadata.finalizers.is_empty()).count();
        (job.status.completed_indexes.clone(), counts(&job), conditions(&job), held)
    });
}

#[test]
fn a_failing_job_keeps_the_law_of_controllers() {
    laws::hold("job-controller", |cluster| {
        let (jobs, pods) = (jobs(cluster), pods(cluster));
        cluster.create("jobs", job(&json!({"backoffLimit": 0}), "1"));
        cluster.until(&jobs, ended("Failed"));
        cluster.settle();
        let held = pods.values().iter().filter(|pod| !pod.metadata.finalizers.is_empty()).count();
        (conditions(&the(&jobs).unwrap()), held)
    });
}

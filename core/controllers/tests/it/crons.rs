//! CronJobs make a Job each time that their schedule names, keep some of them, and let none get in another's way.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_api::{
    batch::v1::{CronJob, Job},
    core::v1::Event,
};
use windlass_client::{Cache, Select, run_controllers};
use windlass_controllers::Config;
use windlass_kernel::{SpawnExt, Stop, api::PatchType, controller::ObjectKey};

use crate::{
    cluster::{Cluster, Fault},
    jobs::job,
    laws,
};

const HOUR: Duration = Duration::from_secs(3600);
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

fn cron(spec: &Value, lifetime: &str) -> Value {
    let mut job = job(&json!({}), "0");
    job["spec"]["template"]["metadata"]["annotations"]["fake.windlass.dev/lifetime"] = lifetime.into();
    let mut spec = spec.clone();
    spec["jobTemplate"] = json!({"spec": job["spec"]});
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick", "namespace": "default"}, "spec": spec})
}

fn jobs(cluster: &Cluster) -> Cache<Arc<Job>> {
    cluster.informers.typed(Select::all())
}

fn the(cluster: &Cluster) -> Arc<CronJob> {
    cluster.executor.run_until(cluster.admin.get("default", "tick")).unwrap()
}

/// The times that Jobs were ever made for, in order.
fn times(jobs: &Cache<Arc<Job>>) -> Arc<parking_lot::Mutex<BTreeSet<String>>> {
    let seen = Arc::<parking_lot::Mutex<BTreeSet<String>>>::default();
    let noted = Arc::clone(&seen);
    jobs.on_change(move |update| {
        let job = update.after.or(update.before).unwrap();
        noted.lock().extend(job.metadata.annotations.get(SCHEDULED).cloned());
    });
    seen
}

fn reasons(cluster: &Cluster) -> BTreeSet<String> {
    // Events are written after what they tell of.
    cluster.settle();
    let events = cluster.executor.run_until(cluster.admin.list::<Event>(&Select::namespace("default"))).unwrap();
    let about = |event: &&Arc<Event>| event.involved_object.kind.as_deref() == Some("CronJob");
    events.iter().filter(about).filter_map(|event| event.reason.clone()).collect()
}

/// Runs the controller of CronJobs alone: a day without nodes and their heartbeats is short.
fn alone(seed: u64) -> Cluster {
    let cluster = Cluster::idle(seed);
    let informers = cluster.informers.clone();
    let run = async move {
        let all = windlass_controllers::all(&informers, &Config::default()).into_iter();
        let own = all.filter(|controller| controller.name() == "cronjob-controller").collect();
        run_controllers(own, &informers, Stop::new()).await;
    };
    cluster.executor.spawn().spawn("crons", run).detach();
    cluster
}

#[test]
fn a_day_has_a_job_for_each_quarter_of_an_hour() {
    let cluster = alone(1);
    let jobs = jobs(&cluster);
    let times = times(&jobs);
    cluster.create("cronjobs", cron(&json!({"schedule": "*/15 * * * *"}), "30s"));
    cluster.executor.run_for(24 * HOUR + Duration::from_secs(60));
    let times = times.lock();
    assert_eq!(times.len(), 96, "{times:?}");
    assert!(times.iter().all(|time| ["00:00Z", "15:00Z", "30:00Z", "45:00Z"].iter().any(|end| time.ends_with(end))));
    // Nobody runs them.
    assert_eq!(the(&cluster).status.active.len(), 96);
}

#[test]
fn three_jobs_that_succeeded_are_kept() {
    let cluster = Cluster::new(1);
    let jobs = jobs(&cluster);
    cluster.create("cronjobs", cron(&json!({"schedule": "*/15 * * * *"}), "30s"));
    cluster.executor.run_for(2 * HOUR + Duration::from_secs(300));
    let cron = the(&cluster);
    let last = cron.status.last_schedule_time.unwrap();
    assert_eq!((jobs.len(), cron.status.active.len()), (3, 0));
    assert!(cron.status.last_successful_time > Some(last));
    let names: Vec<_> = jobs.list().into_iter().map(|(key, _)| key.name).collect();
    assert_eq!(names.last(), Some(&format!("tick-{}", last.0.as_second() / 60)));
    let expect = ["SawCompletedJob", "SuccessfulCreate", "SuccessfulDelete"].map(str::to_owned);
    assert_eq!(reasons(&cluster), expect.into());
}

#[test]
fn a_schedule_is_read_in_its_time_zone() {
    let cluster = alone(2);
    let jobs = jobs(&cluster);
    let times = times(&jobs);
    cluster.create("cronjobs", cron(&json!({"schedule": "30 9 * * *", "timeZone": "Asia/Kolkata"}), "1s"));
    cluster.executor.run_for(24 * HOUR);
    let times: Vec<_> = times.lock().iter().cloned().collect();
    assert!(times.len() == 1 && times[0].ends_with("T09:30:00+05:30"), "{times:?}");
    let time: Timestamp = times[0].parse().unwrap();
    assert_eq!(time.strftime("%H:%M").to_string(), "04:00");
}

#[test]
fn a_job_that_takes_long_is_joined_waited_for_or_replaced() {
    for (policy, active, made) in [("Allow", 3, 6), ("Forbid", 1, 3), ("Replace", 1, 6)] {
        let cluster = Cluster::new(3);
        let jobs = jobs(&cluster);
        let times = times(&jobs);
        let spec = json!({"schedule": "0 * * * *", "concurrencyPolicy": policy});
        cluster.create("cronjobs", cron(&spec, "150m"));
        cluster.executor.run_for(6 * HOUR + Duration::from_secs(300));
        assert_eq!((the(&cluster).status.active.len(), times.lock().len()), (active, made), "{policy}");
    }
}

#[test]
fn a_suspended_schedule_is_not_made_up_for() {
    let cluster = Cluster::new(4);
    let jobs = jobs(&cluster);
    let times = times(&jobs);
    let spec = json!({"schedule": "0 * * * *", "suspend": true, "startingDeadlineSeconds": 600});
    cluster.create("cronjobs", cron(&spec, "1s"));
    cluster.executor.run_for(5 * HOUR + HOUR / 2);
    assert!(times.lock().is_empty());
    let resume =
        cluster.admin.patch::<CronJob>("default", "tick", PatchType::Merge, json!({"spec": {"suspend": false}}));
    cluster.executor.run_until(resume).unwrap();
    cluster.executor.run_for(HOUR);
    assert_eq!(times.lock().len(), 1);
}

#[test]
fn too_many_missed_times_are_told_of_and_the_last_is_made_up_for() {
    let cluster = Cluster::new(5);
    let jobs = jobs(&cluster);
    let times = times(&jobs);
    cluster.create("cronjobs", cron(&json!({"schedule": "* * * * *", "suspend": true}), "1s"));
    cluster.executor.run_for(3 * HOUR);
    let resume =
        cluster.admin.patch::<CronJob>("default", "tick", PatchType::Merge, json!({"spec": {"suspend": false}}));
    cluster.executor.run_until(resume).unwrap();
    cluster.executor.run_for(Duration::from_secs(10));
    assert_eq!(times.lock().len(), 1);
    assert!(reasons(&cluster).contains("TooManyMissedTimes"));
}

#[test]
fn a_deleted_cron_job_takes_its_jobs_along() {
    let cluster = Cluster::new(6);
    let jobs = jobs(&cluster);
    cluster.create("cronjobs", cron(&json!({"schedule": "* * * * *"}), "1h"));
    cluster.until(&jobs, |jobs| jobs.len() == 2);
    cluster.executor.run_until(cluster.admin.delete::<CronJob>("default", "tick")).unwrap();
    cluster.until(&jobs, Cache::is_empty);
}

#[test]
fn whichever_write_fails_each_time_has_one_job() {
    for fault in [Fault::Refused, Fault::Lost] {
        for first in 0..12 {
            let cluster = Cluster::new(7);
            let jobs = jobs(&cluster);
            let (times, names) = (times(&jobs), Arc::<parking_lot::Mutex<BTreeSet<String>>>::default());
            let noted = Arc::clone(&names);
            jobs.on_change(move |update| _ = noted.lock().insert(update.key.name.clone()));
            cluster.settle();
            cluster.gate.fail(first, 2, fault);
            cluster.create("cronjobs", cron(&json!({"schedule": "*/5 * * * *", "concurrencyPolicy": "Forbid"}), "1s"));
            cluster.executor.run_for(HOUR + Duration::from_secs(60));
            let (times, log) = (times.lock(), cluster.gate.log());
            assert!((12..=13).contains(&times.len()), "{fault:?} {first}: {times:?} {log:#?}");
            assert_eq!(names.lock().len(), times.len());
            assert_eq!((jobs.len(), the(&cluster).status.active.len()), (3, 0), "{fault:?} {first}: {log:#?}");
        }
    }
}

#[test]
fn an_ended_job_goes_when_its_time_is_up() {
    let cluster = Cluster::new(8);
    let jobs = jobs(&cluster);
    cluster.create("jobs", job(&json!({"ttlSecondsAfterFinished": 100}), "0"));
    let key = ObjectKey::new("default", "work");
    cluster.until(&jobs, |jobs| jobs.get(&key).is_some_and(|job| job.status.completion_time.is_some()));
    cluster.executor.run_for(Duration::from_secs(90));
    assert!(jobs.contains(&key));
    cluster.executor.run_for(Duration::from_secs(20));
    assert!(!jobs.contains(&key));
    let pods: Cache<Arc<windlass_api::core::v1::Pod>> = cluster.informers.typed(Select::all());
    cluster.until(&pods, Cache::is_empty);
}

#[test]
fn an_expired_bootstrap_token_is_removed() {
    let cluster = Cluster::new(9);
    let secrets: Cache<Arc<windlass_api::core::v1::Secret>> = cluster.informers.typed(Select::all());
    let soon = cluster.executor.clock().now().checked_add(jiff::SignedDuration::from_secs(600)).unwrap();
    let data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": soon.to_string()});
    let metadata = json!({"name": "bootstrap-token-abcdef", "namespace": "kube-system"});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "metadata": metadata, "stringData": data});
    cluster.create("secrets", secret);
    let key = ObjectKey::new("kube-system", "bootstrap-token-abcdef");
    cluster.executor.run_for(Duration::from_secs(590));
    assert!(secrets.contains(&key));
    cluster.executor.run_for(Duration::from_secs(20));
    assert!(!secrets.contains(&key));
}

#[test]
fn a_schedule_keeps_the_law_of_controllers() {
    laws::hold("cronjob-controller", |cluster| {
        let jobs = jobs(cluster);
        let times = times(&jobs);
        cluster.create("cronjobs", cron(&json!({"schedule": "*/2 * * * *", "concurrencyPolicy": "Forbid"}), "1s"));
        cluster.executor.run_for(HOUR / 5 + Duration::from_secs(60));
        let stop =
            cluster.admin.patch::<CronJob>("default", "tick", PatchType::Merge, json!({"spec": {"suspend": true}}));
        cluster.executor.run_until(stop).unwrap();
        // An answer that was lost is made up for once the next bookmark came.
        cluster.executor.run_for(Duration::from_secs(120));
        let times = times.lock().clone();
        (times, jobs.len(), the(cluster).status.active.len())
    });
}

#[test]
fn a_time_to_live_keeps_the_law_of_controllers() {
    laws::hold("ttl-after-finished-controller", |cluster| {
        let jobs = jobs(cluster);
        cluster.create("jobs", job(&json!({"ttlSecondsAfterFinished": 10}), "0"));
        cluster.executor.run_for(Duration::from_secs(120));
        jobs.len()
    });
}

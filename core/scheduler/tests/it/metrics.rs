//! What a scheduler counts of its work.

use serde_json::json;
use windlass_api::{core::v1::Pod, scheduling::v1::PriorityClass};
use windlass_scheduler::{Config, Framework, Profile};

use crate::rig::{Rig, run};

/// Waits until a figure is so much.
async fn counted(rig: &Rig, name: &str, expect: f64) {
    rig.until(&format!("{name} is {expect}"), || async { rig.figure(name) == Some(expect) }).await;
}

#[test]
fn attempts_are_counted_by_how_they_ended_and_pods_by_what_they_wait_for() {
    run(70, |mut rig| async move {
        let other = Profile::new("other", Framework::default());
        let _scheduler = rig.scheduler(Config { profiles: vec![Profile::default(), other], ..Config::default() });
        rig.node("a", "2", &[]).await;
        rig.seen().await;
        for name in ["p", "q"] {
            rig.pod(name, "1", json!({})).await;
            rig.placed(name).await;
        }
        let of = |name: &str, result: &str, profile: &str| {
            format!("scheduler_{name}{{profile=\"{profile}\",result=\"{result}\"}}")
        };
        counted(&rig, &of("schedule_attempts_total", "scheduled", "default-scheduler"), 2.0).await;
        counted(&rig, &of("scheduling_attempt_duration_seconds_count", "scheduled", "default-scheduler"), 2.0).await;
        counted(&rig, "scheduler_pod_scheduling_attempts_count", 2.0).await;
        counted(&rig, "scheduler_pod_scheduling_attempts_bucket{le=\"1.0\"}", 2.0).await;
        counted(&rig, "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"1\"}", 2.0).await;

        rig.pod("late", "1", json!({"schedulerName": "other"})).await;
        rig.complains("late", "1 Insufficient cpu").await;
        rig.pod("gated", "1", json!({"schedulingGates": [{"name": "example.com/wait"}]})).await;
        counted(&rig, &of("schedule_attempts_total", "unschedulable", "other"), 1.0).await;
        counted(&rig, &of("schedule_attempts_total", "scheduled", "other"), 0.0).await;
        counted(&rig, "scheduler_pending_pods{queue=\"gated\"}", 1.0).await;
        counted(&rig, "scheduler_pending_pods{queue=\"unschedulable\"}", 1.0).await;
        let incoming = |queue: &str, event: &str| {
            format!("scheduler_queue_incoming_pods_total{{event=\"{event}\",queue=\"{queue}\"}}")
        };
        counted(&rig, &incoming("unschedulable", "ScheduleAttemptFailure"), 1.0).await;
        counted(&rig, &incoming("active", "UnscheduledPodAdd"), 3.0).await;

        rig.client.delete::<Pod>("default", "p").await.unwrap();
        rig.placed("late").await;
        counted(&rig, "scheduler_pod_scheduling_attempts_count", 3.0).await;
        counted(&rig, "scheduler_pending_pods{queue=\"unschedulable\"}", 0.0).await;
        assert!(rig.figure(&of("schedule_attempts_total", "scheduled", "other")) == Some(1.0));
    });
}

#[test]
fn who_is_made_to_leave_is_counted() {
    run(71, |mut rig| async move {
        let _scheduler = rig.scheduler(Config::default());
        let class = json!({"metadata": {"name": "high"}, "value": 1000});
        rig.client.create(&serde_json::from_value::<PriorityClass>(class).unwrap()).await.unwrap();
        rig.node("a", "2", &[]).await;
        for name in ["p", "q"] {
            rig.pod(name, "1", json!({})).await;
            rig.placed(name).await;
        }
        let before = rig.figure("scheduler_preemption_attempts_total").unwrap_or_default();
        rig.pod("vip", "2", json!({"priorityClassName": "high"})).await;
        rig.placed("vip").await;
        counted(&rig, "scheduler_preemption_victims_count", 1.0).await;
        counted(&rig, "scheduler_preemption_victims_sum", 2.0).await;
        assert!(rig.figure("scheduler_preemption_attempts_total").unwrap() > before);
    });
}

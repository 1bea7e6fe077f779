use serde_json::{Value, json};

use super::*;

fn time(text: &str) -> Timestamp {
    format!("2026-01-{text}:00Z").parse().unwrap()
}

/// Reads Jobs such as `a-1 complete 01T10:00`, one per line; `active` ones the status knows, `new` ones it does not.
fn jobs(text: &str) -> Vec<(Arc<Job>, bool)> {
    let job = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = json!(windlass_api::types::Time(time(words[2])).to_string());
        let type_ = match words[1] {
            "complete" => "Complete",
            "failed" => "Failed",
            _ => "Suspended",
        };
        let object = json!({
            "metadata": {"name": words[0], "uid": words[0], "annotations": {SCHEDULED: at}},
            "status": {"startTime": at, "completionTime": at, "conditions": [{"type": type_, "status": "True"}]},
        });
        (Arc::new(serde_json::from_value(object).unwrap()), words[1] == "active" || words.get(3) == Some(&"known"))
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(job).collect()
}

/// Plans at half past ten on the first of January for a CronJob of every hour, made at midnight and last run at nine.
#[track_caller]
fn check(spec: &Value, text: &str, expect: &str) {
    let mut whole = json!({"schedule": "0 * * * *", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut cron = CronJob { spec: serde_json::from_value(whole).unwrap(), ..CronJob::default() };
    cron.metadata.name = Some("a".into());
    cron.metadata.creation_timestamp = Some(windlass_api::types::Time(time("01T00:00")));
    cron.status.last_schedule_time = Some(windlass_api::types::Time(time("01T09:00")));
    let jobs = jobs(text);
    let known = jobs.iter().filter(|(_, known)| *known).map(|(job, _)| windlass_client::events::reference(&**job));
    cron.status.active = known.collect();
    let jobs: Vec<_> = jobs.into_iter().map(|(job, _)| job).collect();
    let plan = plan(&cron, &jobs, time("01T10:30"));
    let mut said = Vec::new();
    said.extend(plan.start.map(|start| format!("start {}", start.at.strftime("%H:%M"))));
    said.extend(plan.remove.iter().map(|job| format!("remove {}", job.metadata.name.as_deref().unwrap())));
    said.extend(plan.status.active.iter().map(|own| format!("active {}", own.name.as_deref().unwrap())));
    said.extend(plan.status.last_successful_time.map(|time| format!("success {}", time.0.strftime("%H:%M"))));
    said.extend(plan.news.iter().map(|(_, reason, _)| (*reason).to_owned()));
    assert_eq!(said.join("; "), expect, "{spec} {text}");
    if cron.spec.suspend != Some(true) && cron::zone(cron.spec.time_zone.as_deref().unwrap_or_default()).is_some() {
        assert_eq!(plan.next, Some(Duration::from_mins(30) + LATE));
    }
}

#[test]
fn a_time_that_came_starts_a_job() {
    check(&json!({}), "", "start 10:00");
    check(&json!({"suspend": true}), "", "");
    check(&json!({"timeZone": "Mars/Base"}), "", "UnknownTimeZone");
    check(&json!({"startingDeadlineSeconds": 3600}), "", "start 10:00");
    // What came before the deadline began is forgotten.
    check(&json!({"startingDeadlineSeconds": 60}), "", "");
}

#[test]
fn a_job_that_still_runs_is_joined_waited_for_or_replaced() {
    let running = "a-1 active 01T09:00";
    check(&json!({"concurrencyPolicy": "Allow"}), running, "start 10:00; active a-1");
    check(&json!({"concurrencyPolicy": "Forbid"}), running, "active a-1; JobAlreadyActive");
    check(&json!({"concurrencyPolicy": "Replace"}), running, "start 10:00; remove a-1");
}

#[test]
fn ended_jobs_are_noted_and_the_oldest_go() {
    check(
        &json!({"suspend": true}),
        "a complete 01T07:00\n b complete 01T08:00 known\n c failed 01T08:00\n d failed 01T06:00",
        "remove a; remove d; success 08:00; SawCompletedJob",
    );
}

#[test]
fn strangers_and_missing_jobs_are_told_of() {
    check(&json!({"suspend": true}), "x running 01T05:00", "UnexpectedJob");
    // Made for a time that the status does not know yet: its maker was killed before it wrote that down.
    check(&json!({"suspend": true}), "a-29454360 running 01T10:00", "");
    check(&json!({"concurrencyPolicy": "Forbid"}), "a-29454360 running 01T10:00", "start 10:00");
}

#[test]
fn a_job_is_named_after_its_minute_and_knows_its_time() {
    let mut cron = CronJob::default();
    cron.metadata.name = Some("a".into());
    let at = time("01T10:00");
    let job = job_of(&cron, &Start { at, zone: cron::zone("Asia/Tokyo").unwrap() });
    assert_eq!(job.metadata.name.as_deref(), Some("a-29454360"));
    assert_eq!(job.metadata.annotations[SCHEDULED], "2026-01-01T19:00:00+09:00");
    let job = job_of(&cron, &Start { at, zone: TimeZone::UTC });
    assert_eq!(job.metadata.annotations[SCHEDULED], "2026-01-01T10:00:00Z");
}

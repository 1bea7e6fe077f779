//! Jobs and CronJobs.

use serde_json::{Map, Value};

use crate::kinds::edit::{copy, default_to, each, inside, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, lookup, same, text};
use crate::kinds::pod::{self, defaults};
use crate::kinds::{Kind, WITH_STATUS, meta, prepare};

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];
const CRON_NAME_MAX: usize = 52;

pub(in crate::kinds) static JOB: Kind = Kind {
    default: job_default,
    prepare_create,
    validate: job,
    validate_status: |new, _, errors| {
        let status = Field::top(new, "status");
        super::counts(&status, &["active", "succeeded", "failed", "terminating", "ready"], errors);
    },
    fields: |job| {
        let done = dig(job, &["status", "succeeded"]).as_i64().unwrap_or_default();
        vec![("status.successful", done.to_string())]
    },
    field_names: &["status.successful"],
    ..WITH_STATUS
};

pub(in crate::kinds) static CRON_JOB: Kind = Kind {
    default: |cron| {
        within(cron, "spec", |spec| {
            default_to(spec, "concurrencyPolicy", "Allow");
            default_to(spec, "suspend", false);
            default_to(spec, "successfulJobsHistoryLimit", 3);
            default_to(spec, "failedJobsHistoryLimit", 1);
            within(spec, "jobTemplate", |template| within(template, "spec", defaults::template));
        });
    },
    validate: cron_job,
    ..WITH_STATUS
};

fn job_default(job: &mut Value) {
    let labels = dig(job, &["spec", "template", "metadata", "labels"]).clone();
    within(job, "spec", |spec| {
        if lookup(spec, "completions").is_null() && lookup(spec, "parallelism").is_null() {
            default_to(spec, "completions", 1);
        }
        default_to(spec, "parallelism", 1);
        let by_index = !lookup(spec, "backoffLimitPerIndex").is_null();
        default_to(spec, "backoffLimit", if by_index { i32::MAX } else { 6 });
        default_to(spec, "completionMode", "NonIndexed");
        default_to(spec, "suspend", false);
        default_to(spec, "manualSelector", false);
        let replacement = if lookup(spec, "podFailurePolicy").is_null() { "TerminatingOrFailed" } else { "Failed" };
        default_to(spec, "podReplacementPolicy", replacement);
        inside(spec, "podFailurePolicy", |policy| {
            each(policy, "rules", |rule| {
                each(rule, "onPodConditions", |condition| default_to(condition, "status", "True"));
            });
        });
        defaults::template(spec);
    });
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        within(job, "metadata", |meta| {
            if lookup(meta, "labels").as_object().is_none_or(Map::is_empty) {
                set(meta, "labels", labels);
            }
        });
    }
}

/// Gives the job a selector of its own by its uid, which must be drawn by now.
fn prepare_create(job: &mut Value) {
    prepare::clear_status_and_count(job);
    if dig(job, &["spec", "manualSelector"]).as_bool() == Some(true) {
        return;
    }
    let (uid, name) = (text(job, &["metadata", "uid"]).to_owned(), text(job, &["metadata", "name"]).to_owned());
    inside(job, "spec", |spec| {
        within(spec, "template", |template| {
            within(template, "metadata", |meta| {
                within(meta, "labels", |labels| {
                    for (keys, value) in [(UID_LABELS, &uid), (NAME_LABELS, &name)] {
                        for key in keys {
                            default_to(labels, key, value.as_str());
                        }
                    }
                });
            });
        });
        within(spec, "selector", |selector| {
            within(selector, "matchLabels", |labels| default_to(labels, UID_LABELS[0], uid.as_str()));
        });
    });
}

fn job(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let selector = spec.get("selector");
    if selector.present() {
        meta::selector(&selector, errors);
    } else {
        errors.required(&selector, "");
    }
    job_spec(&spec, errors);
    let Some(old) = old else { return };
    let before = lookup(old, "spec");
    let completions = spec.get("completions");
    if !same(completions.value(), lookup(before, "completions")) {
        let elastic =
            spec.get("completionMode").text() == "Indexed" && completions.value() == spec.get("parallelism").value();
        if !elastic {
            errors.invalid(&completions, "field is immutable");
        }
    }
    errors.immutable(&selector, lookup(before, "selector"));
    job_template(&spec, old, errors);
    for name in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        errors.immutable(&spec.get(name), lookup(before, name));
    }
}

/// The template is fixed, but where a suspended job that never started may run can still change.
fn job_template(spec: &Field<'_, '_>, old: &Value, errors: &mut Errors) {
    let before = dig(old, &["spec", "template"]);
    let mut left = spec.get("template").value().clone();
    let suspended = dig(old, &["spec", "suspend"]).as_bool() == Some(true);
    if suspended && dig(old, &["status", "startTime"]).is_null() {
        let pods = lookup(before, "spec");
        inside(&mut left, "spec", |left| {
            for name in ["nodeSelector", "tolerations", "schedulingGates", "affinity"] {
                copy(left, pods, name);
            }
        });
        copy(&mut left, before, "metadata");
    }
    if !same(&left, before) {
        errors.invalid(&spec.get("template"), "field is immutable");
    }
}

/// Checks what a job and the template of a cron job share.
fn job_spec(spec: &Field<'_, '_>, errors: &mut Errors) {
    for name in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        errors.non_negative(&spec.get(name));
    }
    errors.non_negative(&spec.get("backoffLimitPerIndex"));
    let indexed = spec.get("completionMode").text() == "Indexed";
    errors.optional_one_of(&spec.get("completionMode"), &["Indexed", "NonIndexed"]);
    let completions = spec.get("completions");
    if indexed && !completions.present() {
        errors.required(&completions, "when completion mode is Indexed");
    }
    if !indexed && spec.get("backoffLimitPerIndex").present() {
        errors.invalid(&spec.get("backoffLimitPerIndex"), "requires indexed completion mode");
    }
    errors.optional_one_of(&spec.get("podReplacementPolicy"), &["Failed", "TerminatingOrFailed"]);
    let template = spec.get("template");
    pod::spec::template(&template, errors);
    let pods = template.get("spec");
    let restart = pods.get("restartPolicy");
    match restart.text() {
        "" | "Always" => errors.required(&restart, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.get("podFailurePolicy").present() => {
            errors.invalid(&restart, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" | "Never" => {}
        _ => errors.not_supported(&restart, &["OnFailure", "Never"]),
    }
    let policy = spec.get("podFailurePolicy");
    let rules = policy.get("rules");
    for rule in rules.items() {
        errors.one_of(&rule.get("action"), &["Count", "FailIndex", "FailJob", "Ignore"]);
        match (rule.get("onExitCodes").present(), !rule.get("onPodConditions").is_empty()) {
            (true, true) => errors.invalid(&rule, "specifying one of OnExitCodes and OnPodConditions is not supported"),
            (false, false) => {
                errors.invalid(&rule, "specifying one of OnExitCodes and OnPodConditions is required");
            }
            _ => {}
        }
    }
}

fn cron_job(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let schedule = spec.get("schedule");
    let zone = spec.get("timeZone");
    if schedule.is_empty() {
        errors.required(&schedule, "");
    } else {
        let changed = old.is_none_or(|old| text(old, &["spec", "schedule"]) != schedule.text());
        if schedule.text().contains("TZ") && changed {
            errors.invalid(&schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        } else if let Err(complaint) = cron_schedule(schedule.text()) {
            errors.invalid(&schedule, complaint);
        }
    }
    if zone.present() {
        if zone.is_empty() {
            errors.invalid(&zone, "timeZone must be nil or non-empty string");
        } else if zone.text().eq_ignore_ascii_case("local") {
            errors
                .invalid(&zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
        }
    }
    errors.non_negative(&spec.get("startingDeadlineSeconds"));
    errors.one_of(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"]);
    let template = spec.get("jobTemplate");
    let jobs = template.get("spec");
    for name in ["selector", "manualSelector"] {
        let field = jobs.get(name);
        if name == "selector" && field.present() {
            errors.invalid(&field, "`selector` will be auto-generated");
        } else if field.is_true() {
            errors.not_supported(&field, &["nil", "false"]);
        }
    }
    job_spec(&jobs, errors);
    errors.non_negative(&spec.get("successfulJobsHistoryLimit"));
    errors.non_negative(&spec.get("failedJobsHistoryLimit"));
    let meta = meta::of(new);
    let name = meta.get("name");
    if old.is_none() && name.len() > CRON_NAME_MAX {
        errors.invalid(&name, format!("must be no more than {CRON_NAME_MAX} characters"));
    }
}

/// Checks the shape of a schedule: a known word, or five fields of numbers, names, ranges and steps.
fn cron_schedule(schedule: &str) -> Result<(), String> {
    if let Some(word) = schedule.strip_prefix('@') {
        let every = word.strip_prefix("every ").is_some_and(|span| !span.is_empty());
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&word);
        return if every || known { Ok(()) } else { Err(format!("unrecognized descriptor: {schedule}")) };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    for (field, (low, high)) in fields.iter().zip(bounds) {
        for part in field.split(',') {
            cron_part(part, low, high)?;
        }
    }
    Ok(())
}

fn cron_part(part: &str, low: u32, high: u32) -> Result<(), String> {
    const NAMES: &[&str] = &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sun", "mon", "tue", "wed",
        "thu", "fri", "sat",
    ];
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let number = |text: &str| match text.parse::<u32>() {
        Ok(n) if n < low => Err(format!("beginning of range ({n}) below minimum ({low}): {part}")),
        Ok(n) if n > high => Err(format!("end of range ({n}) above maximum ({high}): {part}")),
        Ok(n) => Ok(Some(n)),
        Err(_) if high <= 12 && NAMES.contains(&text.to_lowercase().as_str()) => Ok(None),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    };
    if !matches!(range, "*" | "?") {
        match range.split_once('-') {
            Some((from, to)) => {
                if let (Some(from), Some(to)) = (number(from)?, number(to)?)
                    && from > to
                {
                    return Err(format!("beginning of range ({from}) beyond end of range ({to}): {part}"));
                }
            }
            None => _ = number(range)?,
        }
    }
    match step.map(str::parse::<u32>) {
        Some(Ok(0)) => Err(format!("step of range should be a positive number: {part}")),
        Some(Err(_)) => Err(format!("failed to parse int from {part}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schedules_have_five_fields_or_a_known_word() {
        for (schedule, valid) in [
            ("* * * * *", true),
            ("*/5 0-6 1,15 jan mon-fri", true),
            ("@hourly", true),
            ("@every 1h", true),
            ("60 * * * *", false),
            ("* * *", false),
            ("@never", false),
        ] {
            assert_eq!(cron_schedule(schedule).is_ok(), valid, "{schedule}");
        }
    }

    #[test]
    fn a_new_job_selects_its_own_pods() {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {}}}});
        prepare_create(&mut job);
        assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
        assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
    }
}

//! CronJobs: what they default to, and what a schedule, a time zone and a template may be.

use serde_json::Value;
use windlass_api::cron::{Schedule, zone};

use super::job_spec;
use crate::kinds::edit::{default_to, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, text};
use crate::kinds::pod::defaults;
use crate::kinds::{Kind, WITH_STATUS, meta};

/// The name of a Job has eleven characters more: a dash and the minutes since 1970.
const NAME_MAX: usize = 52;

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

fn cron_job(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let schedule = spec.get("schedule");
    if schedule.is_empty() {
        errors.required(&schedule, "");
    } else {
        let changed = old.is_none_or(|old| text(old, &["spec", "schedule"]) != schedule.text());
        if schedule.text().contains("TZ") && changed {
            errors.invalid(&schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        } else if let Err(complaint) = Schedule::parse(schedule.text()) {
            errors.invalid(&schedule, complaint);
        }
    }
    time_zone(&spec.get("timeZone"), errors);
    errors.non_negative(&spec.get("startingDeadlineSeconds"));
    errors.one_of(&spec.get("concurrencyPolicy"), &["Allow", "Forbid", "Replace"]);
    let template = spec.get("jobTemplate");
    let jobs = template.get("spec");
    let (selector, manual) = (jobs.get("selector"), jobs.get("manualSelector"));
    if selector.present() {
        errors.invalid(&selector, "`selector` will be auto-generated");
    }
    if manual.is_true() {
        errors.not_supported(&manual, &["nil", "false"]);
    }
    job_spec(&jobs, errors);
    errors.non_negative(&spec.get("successfulJobsHistoryLimit"));
    errors.non_negative(&spec.get("failedJobsHistoryLimit"));
    let meta = meta::of(new);
    let name = meta.get("name");
    if old.is_none() && name.len() > NAME_MAX {
        errors.invalid(&name, format!("must be no more than {NAME_MAX} characters"));
    }
}

fn time_zone(name: &Field<'_, '_>, errors: &mut Errors) {
    if !name.present() {
        return;
    }
    if name.is_empty() {
        errors.invalid(name, "timeZone must be nil or non-empty string");
    } else if name.text().eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(name, detail);
    } else if zone(name.text()).is_none() {
        errors.invalid(name, format!("unknown time zone {}", name.text()));
    }
}

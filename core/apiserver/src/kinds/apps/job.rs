//! Jobs: defaults, the selector that each draws of itself, and what may change once one exists.

mod cron;
mod policy;
mod status;

use serde_json::{Map, Value};

pub(in crate::kinds) use self::cron::CRON_JOB;
use crate::kinds::edit::{copy, default_to, each, inside, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, items, lookup, same, text};
use crate::kinds::pod::{self, defaults};
use crate::kinds::{Kind, WITH_STATUS, meta, prepare};

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];
/// More indexes than this run at once nowhere.
const MOST_AT_ONCE: i64 = 100_000;
/// Where a Job has more completions than [`MOST_AT_ONCE`] and limits per index, this many of them run or fail at most.
const MOST_OF_MANY: i64 = 10_000;

pub(in crate::kinds) static JOB: Kind = Kind {
    default: job_default,
    prepare_create,
    validate: job,
    validate_status: status::check,
    fields: |job| {
        let done = dig(job, &["status", "succeeded"]).as_i64().unwrap_or_default();
        vec![("status.successful", done.to_string())]
    },
    field_names: &["status.successful"],
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
    own_selector(new, &spec, errors);
    let selector = spec.get("selector");
    if selector.present() {
        meta::selector(&selector, errors);
    } else {
        errors.required(&selector, "");
    }
    job_spec(&spec, errors);
    if old.is_none() {
        host_names(new, &spec, errors);
    }
    let Some(old) = old else { return };
    let before = lookup(old, "spec");
    let completions = spec.get("completions");
    if !same(completions.value(), lookup(before, "completions")) {
        if spec.get("completionMode").text() != "Indexed" {
            errors.invalid(&completions, "field is immutable");
        } else if completions.value() != spec.get("parallelism").value() {
            errors.invalid(&completions, "can only be modified in tandem with spec.parallelism");
        }
    }
    errors.immutable(&selector, lookup(before, "selector"));
    job_template(&spec, old, errors);
    for name in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        errors.immutable(&spec.get(name), lookup(before, name));
    }
}

/// Checks that a selector which was not asked for is the one that the server draws.
fn own_selector(job: &Value, spec: &Field<'_, '_>, errors: &mut Errors) {
    if spec.get("manualSelector").is_true() {
        return;
    }
    let (uid, name) = (text(job, &["metadata", "uid"]), text(job, &["metadata", "name"]));
    let template = spec.get("template");
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    for (keys, value) in [(UID_LABELS, uid), (NAME_LABELS, name)] {
        for key in keys {
            let label = labels.key(key);
            if !label.present() {
                errors.required(&label, &format!("must be '{value}'"));
            } else if label.text() != value {
                errors.invalid(&label, format!("must be '{value}'"));
            }
        }
    }
    let selected = lookup(spec.get("selector").value(), "matchLabels");
    let drawn = UID_LABELS.iter().any(|key| lookup(selected, key).as_str() == Some(uid));
    if !drawn {
        errors.invalid(&spec.get("selector"), "`selector` not auto-generated");
    }
}

/// Checks that the host names of all indexes are names.
fn host_names(job: &Value, spec: &Field<'_, '_>, errors: &mut Errors) {
    let completions = spec.get("completions").number();
    if spec.get("completionMode").text() != "Indexed" || completions <= 0 {
        return;
    }
    let meta = meta::of(job);
    let name = meta.get("name");
    let last = format!("{}-{}", name.text(), completions - 1);
    for complaint in windlass_api::names::dns_1123_label(&last) {
        errors.invalid(&name, format!("will not able to create pod with invalid DNS label: {last}: {complaint}"));
    }
}

/// The template is fixed. While a job is suspended and nothing of it runs, where its pods may run can still change, and
/// what they may use (KEP-2926, KEP-5440).
fn job_template(spec: &Field<'_, '_>, old: &Value, errors: &mut Errors) {
    let before = dig(old, &["spec", "template"]);
    let mut left = spec.get("template").value().clone();
    let suspended = spec.get("suspend").is_true();
    let not_begun = dig(old, &["status", "startTime"]).is_null();
    let rests = dig(old, &["status", "active"]).as_i64().unwrap_or_default() == 0 && status::holds(old, "Suspended");
    if suspended && (not_begun || rests) {
        let pods = lookup(before, "spec");
        inside(&mut left, "spec", |left| {
            for name in ["nodeSelector", "tolerations", "schedulingGates", "affinity"] {
                copy(left, pods, name);
            }
        });
        inside(&mut left, "metadata", |left| {
            for name in ["labels", "annotations"] {
                copy(left, lookup(before, "metadata"), name);
            }
        });
    }
    if suspended && rests {
        for list in ["containers", "initContainers"] {
            let held: Vec<Value> = items(before, &["spec", list]).cloned().collect();
            let mut held = held.iter();
            inside(&mut left, "spec", |left| {
                each(left, list, |own| copy(own, held.next().unwrap_or(&Value::Null), "resources"));
            });
        }
    }
    if !same(&left, before) {
        errors.invalid(&spec.get("template"), "field is immutable");
    }
}

/// Checks what a job and the template of a cron job share.
pub(super) fn job_spec(spec: &Field<'_, '_>, errors: &mut Errors) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.non_negative(&spec.get(name));
    }
    errors.optional_one_of(&spec.get("completionMode"), &["Indexed", "NonIndexed"]);
    limits(spec, errors);
    let manager = spec.get("managedBy");
    if manager.present() {
        meta::domain_prefixed_path(&manager, errors);
        if manager.len() > 63 {
            errors.too_long(&manager, 63);
        }
    }
    let replacement = spec.get("podReplacementPolicy");
    if spec.get("podFailurePolicy").present() {
        errors.optional_one_of(&replacement, &["Failed"]);
    } else {
        errors.optional_one_of(&replacement, &["Failed", "TerminatingOrFailed"]);
    }
    let template = spec.get("template");
    pod::spec::template(&template, errors);
    let pods = template.get("spec");
    let restart = pods.get("restartPolicy");
    match restart.text() {
        "" | "Always" => errors.required(&restart, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.get("podFailurePolicy").present() => {
            errors.invalid(&restart, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        "OnFailure" if spec.get("backoffLimitPerIndex").present() => {
            errors.invalid(&restart, "only \"Never\" is supported when backoffLimitPerIndex is specified");
        }
        "OnFailure" | "Never" => {}
        _ => errors.not_supported(&restart, &["OnFailure", "Never"]),
    }
    policy::failure(spec, errors);
    policy::success(spec, errors);
}

/// Checks the numbers of an indexed job against each other, and that others do not have them.
fn limits(spec: &Field<'_, '_>, errors: &mut Errors) {
    let (completions, parallelism) = (spec.get("completions"), spec.get("parallelism"));
    let (per_index, most_failed) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    if spec.get("completionMode").text() != "Indexed" {
        if per_index.present() {
            errors.invalid(&per_index, "requires indexed completion mode");
        }
        if most_failed.present() {
            errors.invalid(&most_failed, "requires indexed completion mode");
        }
        return;
    }
    if !completions.present() {
        errors.required(&completions, "when completion mode is Indexed");
    }
    if parallelism.number() > MOST_AT_ONCE {
        let detail = format!("must be less than or equal to {MOST_AT_ONCE} when completion mode is Indexed");
        errors.invalid(&parallelism, detail);
    }
    if most_failed.present() && !per_index.present() {
        errors.required(&per_index, "when maxFailedIndexes is specified");
    }
    if completions.present() && most_failed.number() > completions.number() {
        errors.invalid(&most_failed, "must be less than or equal to completions");
    }
    if !per_index.present() || completions.number() <= MOST_AT_ONCE {
        return;
    }
    if !most_failed.present() {
        errors.required(&most_failed, &format!("must be specified when completions is above {MOST_AT_ONCE}"));
    }
    for field in [&parallelism, &most_failed] {
        if field.number() > MOST_OF_MANY {
            let detail = format!(
                "must be less than or equal to {MOST_OF_MANY} when completions are above {MOST_AT_ONCE} and used with backoff limit per index"
            );
            errors.invalid(field, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_new_job_selects_its_own_pods() {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {}}}});
        prepare_create(&mut job);
        assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
        assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
    }
}

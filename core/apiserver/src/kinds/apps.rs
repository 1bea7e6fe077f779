//! Workloads: the kinds that make pods from a template.

pub(super) mod daemonset;
pub(super) mod deployment;
pub(super) mod job;
pub(super) mod replicas;
pub(super) mod revision;
pub(super) mod statefulset;

use serde_json::Value;
use windlass_api::selector::Labels;

use super::errors::Errors;
use super::field::{Field, lookup};
use super::{meta, pod};

/// Checks a required selector; `what` names the kind of workload in the complaint about an empty one.
fn selector(selector: &Field<'_, '_>, what: &str, errors: &mut Errors) {
    if !selector.present() {
        errors.required(selector, "");
        return;
    }
    meta::selector(selector, errors);
    if selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty() {
        errors.invalid(selector, format!("empty selector is invalid for {what}"));
    }
}

/// Checks a template whose pods run forever, against the selector that must match it.
fn template(spec: &Field<'_, '_>, kind: &str, errors: &mut Errors) {
    let template = spec.get("template");
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    let selected = spec.get("selector");
    if selected.present()
        && let Ok(parsed) = Labels::from_json(Some(selected.value()))
        && !parsed.is_everything()
        && !parsed.matches_json(Some(labels.value()))
    {
        errors.invalid(&labels, "`selector` does not match template `labels`");
    }
    if kind == "StatefulSet" {
        // As upstream, what is in it is checked with its pods: they have the volumes of the set's claims, too.
        pod::spec::template_metadata(&template, errors);
    } else {
        pod::spec::template(&template, errors);
    }
    forever(&template, kind, errors);
}

/// Refuses a template whose pods may end.
fn forever(template: &Field<'_, '_>, kind: &str, errors: &mut Errors) {
    let spec = template.get("spec");
    let restart = spec.get("restartPolicy");
    if restart.text() != "Always" {
        errors.not_supported(&restart, &["Always"]);
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.present() {
        errors.forbidden(&deadline, format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

/// Checks a number or percentage that is not below zero.
pub(super) fn number_or_percent(field: &Field<'_, '_>, errors: &mut Errors) {
    match field.value() {
        Value::String(text) => {
            let digits = text.strip_suffix('%').unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                let detail = "a valid percent string must be a numeric followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                errors.invalid(field, detail);
            }
        }
        _ => errors.non_negative(field),
    }
}

/// Refuses more than a hundred percent.
pub(super) fn at_most_all(field: &Field<'_, '_>, errors: &mut Errors) {
    let percent = field.text().strip_suffix('%').and_then(|digits| digits.parse::<i64>().ok());
    if percent.is_some_and(|percent| percent > 100) {
        errors.invalid(field, "must not be greater than 100%");
    }
}

/// Whether a number or percentage is nothing.
fn is_nothing(field: &Field<'_, '_>) -> bool {
    match field.value() {
        Value::String(text) => text.trim_end_matches('%').parse::<i64>().is_ok_and(|n| n == 0),
        _ => field.number() == 0,
    }
}

/// Refuses a change of the selector.
fn fixed_selector(spec: &Field<'_, '_>, old: &Value, errors: &mut Errors) {
    errors.immutable(&spec.get("selector"), lookup(lookup(old, "spec"), "selector"));
}

/// Checks the counts of a status: none below zero.
fn counts(status: &Field<'_, '_>, names: &[&str], errors: &mut Errors) {
    for name in names {
        errors.non_negative(&status.get(name));
    }
}

/// Refuses a count that is above another.
fn not_above(status: &Field<'_, '_>, small: &str, large: &str, words: &str, errors: &mut Errors) {
    let count = status.get(small);
    if count.number() > status.get(large).number() {
        errors.invalid(&count, format!("cannot be greater than {words}"));
    }
}

/// Checks that collisions of names are only ever counted up.
fn collisions(status: &Field<'_, '_>, old: &Value, errors: &mut Errors) {
    let collisions = status.get("collisionCount");
    errors.non_negative(&collisions);
    let before = Field::top(old, "status").get("collisionCount").int();
    if before.is_some_and(|before| collisions.int().is_none_or(|now| now < before)) {
        errors.invalid(&collisions, "cannot be decremented");
    }
}

//! What a Job's status may say, whoever writes it: another controller than ours may run a Job (KEP-4368).

use serde_json::Value;

use super::policy::how_many;
use crate::kinds::apps::counts;
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, items, lookup};

/// Whether a condition of the Job is true.
pub(super) fn holds(job: &Value, type_: &str) -> bool {
    let own = |condition: &&Value| lookup(condition, "type") == type_ && lookup(condition, "status") == "True";
    items(job, &["status", "conditions"]).any(|condition| own(&condition))
}

pub(super) fn check(new: &Value, old: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    counts(&status, &["active", "succeeded", "failed", "terminating", "ready"], errors);
    let (active, ready) = (status.get("active"), status.get("ready"));
    if ready.number() > active.number() {
        errors.invalid(&ready, "cannot set more ready pods than active");
    }
    let (start, end) = (status.get("startTime"), status.get("completionTime"));
    if end.present() {
        if !start.present() {
            errors.required(&start, "startTime must be set when completionTime is set");
        } else if end.text() < start.text() {
            errors.invalid(&end, "completionTime cannot be set before startTime");
        }
    }
    conditions(new, old, &status, errors);
    indexes(new, &status, errors);
}

fn conditions(new: &Value, old: &Value, status: &Field<'_, '_>, errors: &mut Errors) {
    let (complete, failed) = (holds(new, "Complete"), holds(new, "Failed"));
    let list = status.get("conditions");
    if complete && failed {
        errors.invalid(&list, "cannot set Complete=True and Failed=true conditions");
    }
    if complete && holds(new, "FailureTarget") {
        errors.invalid(&list, "cannot set Complete=True and FailureTarget=true conditions");
    }
    if failed && holds(new, "SuccessCriteriaMet") {
        errors.invalid(&list, "cannot set Failed=True and SuccessCriteriaMet=true conditions");
    }
    if complete && !holds(new, "SuccessCriteriaMet") {
        errors.invalid(&list, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    }
    if failed && !holds(new, "FailureTarget") {
        errors.invalid(&list, "cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if (complete || failed) && status.get("active").number() > 0 {
        errors.invalid(&status.get("active"), "active>0 is invalid for finished job");
    }
    if (complete || failed) && status.get("terminating").number() > 0 {
        errors.invalid(&status.get("terminating"), "terminating>0 is invalid for finished job");
    }
    let end = status.get("completionTime");
    if complete && !end.present() {
        errors.required(&end, "completionTime is required for Complete jobs");
    }
    if end.present() && !complete {
        errors.invalid(&end, "cannot set completionTime when there is no Complete=True condition");
    }
    for type_ in ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"] {
        if holds(old, type_) && !holds(new, type_) {
            errors.invalid(&list, format!("cannot disable {type_}=True condition"));
        }
    }
}

fn indexes(job: &Value, status: &Field<'_, '_>, errors: &mut Errors) {
    let end = dig(job, &["spec", "completions"]).as_i64().unwrap_or(i64::MAX);
    let indexed = dig(job, &["spec", "completionMode"]) == "Indexed";
    for name in ["completedIndexes", "failedIndexes"] {
        let field = status.get(name);
        if field.is_empty() {
            continue;
        }
        if !indexed {
            errors.invalid(&field, format!("cannot set non-empty {name} when non-indexed completion mode"));
        } else if let Err(complaint) = how_many(field.text(), end) {
            errors.invalid(&field, format!("error parsing {name}: {complaint}"));
        }
    }
}

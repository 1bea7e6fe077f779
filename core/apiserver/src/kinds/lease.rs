//! Leases.

use serde_json::Value;

use super::errors::Errors;
use super::field::Field;
use super::{BASE, Kind};

pub(super) static LEASE: Kind = Kind { validate, create_on_update: true, unconditional_update: false, ..BASE };

fn validate(new: &Value, _: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let seconds = spec.get("leaseDurationSeconds");
    if seconds.int().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&seconds, "must be greater than 0");
    }
    let transitions = spec.get("leaseTransitions");
    if transitions.int().is_some_and(|count| count < 0) {
        errors.invalid(&transitions, "must be greater than or equal to 0");
    }
    let strategy = spec.get("strategy");
    if strategy.present() {
        errors.optional_one_of(&strategy, &["OldestEmulationVersion"]);
    } else if !spec.get("preferredHolder").is_empty() {
        errors.forbidden(&spec.get("preferredHolder"), "may only be specified when `strategy` is defined");
    }
}

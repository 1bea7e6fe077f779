//! A custom object on its way into the path of writes: brought into form, filled in and checked.

use serde_json::Value;
use windlass_kernel::error::{Cause, Result};

use super::{
    coerce::{self, Malformed, coerce},
    prune::prune,
    unique, validate,
    version::Version,
};
use crate::kinds::Errors;

/// Brings what a client sent into form; names the fields that it should not have.
pub(crate) fn receive(object: &mut Value, version: &Version) -> Result<Vec<String>> {
    let mut unknown = coerce(object, version.node(), Malformed::Refused)?;
    unknown.extend(prune(object, version.node()));
    unknown.sort();
    Ok(unknown)
}

/// Fills in the defaults.
pub(crate) fn fill(object: &mut Value, version: &Version) {
    super::fill::fill(object, version.node());
}

/// Checks a new object against its schema.
pub(crate) fn check_new(new: &Value, version: &Version, errors: &mut Errors) {
    typed(new, version, errors);
    validate::check(new, None, version.node(), errors);
    coerce::check(new, version.node(), errors);
    unique::check(new, version.node(), errors);
    scale(new, version, errors);
    rules(new, None, version, errors);
}

/// Checks an update against its schema; what did not change is taken as it is.
pub(crate) fn check_update(new: &Value, old: &Value, version: &Version, errors: &mut Errors) {
    typed(new, version, errors);
    validate::check(new, Some(old), version.node(), errors);
    coerce::check(new, version.node(), errors);
    let (mut now, mut before) = (Errors::new(), Errors::new());
    unique::check(new, version.node(), &mut now);
    unique::check(old, version.node(), &mut before);
    if before.is_empty() {
        errors.append(now);
    }
    scale(new, version, errors);
    rules(new, Some(old), version, errors);
}

/// Checks the rules in CEL, where nothing is wrong that they may rely on.
#[cfg(feature = "cel")]
fn rules(new: &Value, old: Option<&Value>, version: &Version, errors: &mut Errors) {
    const BLOCKING: [&str; 5] = [
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    ];
    if version.rules.is_empty() {
        return;
    }
    if errors.causes().iter().any(|cause| BLOCKING.contains(&cause.reason.as_str())) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to \
                   complete validation";
        let message = format!("Invalid value: null: {why}");
        errors.add(Cause { reason: "FieldValueInvalid".into(), message, field: "<nil>".into() });
        return;
    }
    version.rules.check(new, old, version.node(), errors);
}

#[cfg(not(feature = "cel"))]
fn rules(_: &Value, _: Option<&Value>, _: &Version, _: &mut Errors) {}

/// Refuses another kind than the one defined.
fn typed(object: &Value, version: &Version, errors: &mut Errors) {
    let definition = &version.definition;
    let expected = crate::body::api_version(&definition.group, &version.name);
    for (field, expected) in [("kind", &definition.names.kind), ("apiVersion", &expected)] {
        if object[field] != **expected {
            let message = format!("Invalid value: {}: must be {expected}", object[field]);
            errors.add(Cause { reason: "FieldValueInvalid".into(), message, field: field.into() });
        }
    }
}

/// Refuses numbers of replicas that no Scale can show.
fn scale(object: &Value, version: &Version, errors: &mut Errors) {
    let Some(scale) = &version.scale else { return };
    for path in [&scale.spec, &scale.status] {
        let Some(found) = path.first(object).and_then(Value::as_i64) else { continue };
        let why = match found {
            ..0 => "should be a non-negative integer".to_owned(),
            0..=0x7fff_ffff => continue,
            _ => format!("should be less than or equal to {}", i32::MAX),
        };
        let field = path.fields().unwrap_or_default().join(".");
        let message = format!("Invalid value: {found}: {why}");
        errors.add(Cause { reason: "FieldValueInvalid".into(), message, field });
    }
}

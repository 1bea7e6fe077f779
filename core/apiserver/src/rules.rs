//! What the generic path asks of a kind's own rules (`kinds`), in the terms of a served resource.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use windlass_kernel::error::Result;

use crate::{
    custom::{self, Version},
    kinds::{self, Errors, meta},
    object,
    registry::Served,
};

/// The names that `events.k8s.io` has for selectable fields of core events.
const EVENT_FIELDS: [(&str, &str); 9] = [
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource.component", "source"),
];

/// Which fields of an object a write may change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// All but the status.
    Main,
    /// The status.
    Status,
    /// What these rules say: first the fields that stay as they were, then what is wrong with the rest (new, old).
    Special(fn(&mut Value, &Value), fn(&Value, &Value, &mut Errors)),
}

impl Part {
    /// What the caller changed, and nothing else: it was made from the stored object.
    pub(crate) const CHOSEN: Self = Self::Special(|_, _| (), metadata);
}

/// Checks no more than the metadata (new, old).
pub(crate) fn metadata(new: &Value, old: &Value, errors: &mut Errors) {
    meta::updated(&meta::of(new), &meta::of(old), errors);
}

/// Yields the selectable fields of an object.
pub(crate) fn fields(served: &Served, object: &Value, each: &mut dyn FnMut(&str, &str)) {
    for (name, value) in (served.rules.fields)(object) {
        each(name, &value);
    }
    let Some(version) = served.definition() else { return };
    for (name, path) in &version.selectable {
        match path.first(object) {
            Some(Value::String(text)) => each(name, text),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => each(name, &value.to_string()),
            _ => each(name, ""),
        }
    }
    if version.name == version.definition.storage {
        each(custom::STAMP, version.definition.stamp());
    }
}

/// The name under which a field is stored, if selectors may ask for it.
pub(crate) fn stored_field<'f>(served: &Served, field: &'f str) -> Option<&'f str> {
    if served.info.group == "events.k8s.io"
        && let Some((_, core)) = EVENT_FIELDS.iter().find(|(name, _)| *name == field)
    {
        return Some(core);
    }
    let selectable = |version: &Arc<Version>| version.selectable.iter().any(|(name, _)| name == field);
    (served.rules.selectable(field) || served.definition().is_some_and(selectable)).then_some(field)
}

/// Fills in what was left out.
pub(crate) fn default(served: &Served, object: &mut Value) {
    (served.rules.default)(object);
    if let Some(version) = served.definition() {
        custom::fill(object, version);
    }
}

/// Brings an update into form: what the part may not change is as it was.
pub(crate) fn prepare(served: &Served, part: Part, new: &mut Value, old: &Value) {
    match part {
        Part::Main => (served.rules.prepare_update)(new, old),
        Part::Status => (served.rules.prepare_status)(new, old),
        Part::Special(prepare, _) => prepare(new, old),
    }
}

/// Fills in times that upstream's registry fills in: those of the conditions of certificate requests.
pub(crate) fn date(served: &Served, part: Part, new: &mut Value, old: &Value, now: Timestamp) {
    let requests = served.is("certificates.k8s.io", "certificatesigningrequests");
    if requests && !matches!(part, Part::Main) {
        kinds::date_conditions(new, old, &object::time(now));
    }
}

/// What the writer of an object should hear about it, and about what it was where it was something.
pub(crate) fn warnings(served: &Served, new: &Value, old: Option<&Value>) -> Vec<String> {
    if served.is_definitions() {
        return custom::unrecognized_formats(new);
    }
    kinds::warnings::of(&served.storage.group, &served.storage.kind, new, old)
}

/// Refuses a new object that breaks its kind's rules.
pub(crate) fn check_new(served: &Served, new: &Value) -> Result<()> {
    let mut errors = Errors::new();
    served.rules.check_create(new, Some(served.info.namespaced), &mut errors);
    match served.definition() {
        Some(version) => custom::check_new(new, version, &mut errors),
        None => meta::qualified_finalizers(new, &mut errors),
    }
    errors.into_result(&served.storage.group, &served.storage.kind, object::name(new))
}

/// Refuses an update that breaks its kind's rules.
pub(crate) fn check_update(served: &Served, part: Part, new: &Value, old: &Value) -> Result<()> {
    let (mut errors, namespaced) = (Errors::new(), Some(served.info.namespaced));
    match part {
        Part::Main => served.rules.check_update(new, old, namespaced, &mut errors),
        Part::Status => served.rules.check_status(new, old, namespaced, &mut errors),
        Part::Special(_, check) => check(new, old, &mut errors),
    }
    match (served.definition(), part) {
        (Some(version), Part::Main | Part::Status) => custom::check_update(new, old, version, &mut errors),
        (None, Part::Main) => meta::qualified_finalizers(new, &mut errors),
        _ => {}
    }
    errors.forgive(old);
    errors.into_result(&served.storage.group, &served.storage.kind, object::name(new))
}

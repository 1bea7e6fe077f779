//! What is wrong with an object, field by field, in the words that clients match on (`field.Error`, `StatusCause`).
//!
//! Collecting is all this does: which rules there are is the business of each kind.

use std::fmt::Write as _;

use serde_json::Value;
use windlass_kernel::error::{Cause, Error, ErrorKind};

use super::field::Field;
use super::ip::{self, Wrong};

/// The complaint about a field that may not change.
pub const IMMUTABLE: &str = "field is immutable";
/// The complaint about a number below zero.
pub const NEGATIVE: &str = "must be greater than or equal to 0";
/// The complaint about a number that must be above zero.
pub const NOT_POSITIVE: &str = "must be greater than zero";

/// Field errors in the order they were found.
#[derive(Debug, Default)]
pub struct Errors {
    causes: Vec<Cause>,
    /// Those of them about a text that an object may keep which has it, with the text.
    strict: Vec<(Cause, String)>,
}

impl Errors {
    /// No errors yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }

    /// How many errors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.causes.len()
    }

    /// What was found, in order.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }

    /// Appends what another check found.
    pub fn append(&mut self, mut other: Self) {
        self.causes.append(&mut other.causes);
        self.strict.append(&mut other.strict);
    }

    /// Takes back what was said about addresses that the object had before, wherever in it (KEP-4858).
    pub(crate) fn forgive(&mut self, old: &Value) {
        for (forgiven, text) in std::mem::take(&mut self.strict) {
            if says(old, &text) {
                self.causes.retain(|cause| *cause != forgiven);
            }
        }
    }

    /// The errors, ordered by what they say.
    pub(super) fn sorted(mut self) -> Self {
        self.causes.sort_by_cached_key(|cause| format!("{}: {}", cause.field, cause.message));
        self
    }

    /// Adds what was found elsewhere.
    pub fn add(&mut self, cause: Cause) {
        self.causes.push(cause);
    }

    /// A value that must be there is not.
    pub fn required(&mut self, field: &Field<'_, '_>, detail: &str) {
        self.push("FieldValueRequired", field, "Required value".into(), detail);
    }

    /// A value breaks a rule.
    pub fn invalid(&mut self, field: &Field<'_, '_>, detail: impl AsRef<str>) {
        self.push("FieldValueInvalid", field, format!("Invalid value: {}", shown(field.value())), detail.as_ref());
    }

    /// A text, shown in place of the field's value, breaks a rule.
    pub fn invalid_text(&mut self, field: &Field<'_, '_>, shown: &str, detail: impl AsRef<str>) {
        self.push("FieldValueInvalid", field, format!("Invalid value: {shown:?}"), detail.as_ref());
    }

    /// A value breaks each of these rules.
    pub fn invalid_each(&mut self, field: &Field<'_, '_>, details: impl IntoIterator<Item = String>) {
        for detail in details {
            self.invalid(field, detail);
        }
    }

    /// A value occurs twice where it must be unique.
    pub fn duplicate(&mut self, field: &Field<'_, '_>) {
        self.push("FieldValueDuplicate", field, format!("Duplicate value: {}", word(field.value())), "");
    }

    /// A text, shown in place of the field's value, occurs twice where it must be unique.
    pub fn duplicate_text(&mut self, field: &Field<'_, '_>, shown: &str) {
        self.push("FieldValueDuplicate", field, format!("Duplicate value: {shown:?}"), "");
    }

    /// A value is none of the allowed ones, which are listed as given.
    pub fn not_supported(&mut self, field: &Field<'_, '_>, supported: &[&str]) {
        let mut detail = String::new();
        for (at, value) in supported.iter().enumerate() {
            detail.push_str(if at == 0 { "supported values: " } else { ", " });
            _ = write!(detail, "{value:?}");
        }
        self.push("FieldValueNotSupported", field, format!("Unsupported value: {}", word(field.value())), &detail);
    }

    /// A value is well formed but may not be set here.
    pub fn forbidden(&mut self, field: &Field<'_, '_>, detail: impl AsRef<str>) {
        self.push("FieldValueForbidden", field, "Forbidden".into(), detail.as_ref());
    }

    /// A text has more bytes than it may.
    pub fn too_long(&mut self, field: &Field<'_, '_>, most: usize) {
        let unit = if most == 1 { "byte" } else { "bytes" };
        self.push("FieldValueTooLong", field, "Too long".into(), &format!("may not be more than {most} {unit}"));
    }

    /// A list has more items than it may.
    pub fn too_many(&mut self, field: &Field<'_, '_>, most: usize) {
        let unit = if most == 1 { "item" } else { "items" };
        let detail = format!("must have at most {most} {unit}");
        self.push("FieldValueTooMany", field, format!("Too many: {}", field.len()), &detail);
    }

    /// A value names something that does not exist.
    pub fn not_found(&mut self, field: &Field<'_, '_>) {
        self.push("FieldValueNotFound", field, format!("Not found: {}", word(field.value())), "");
    }

    /// The check itself failed.
    pub fn internal(&mut self, field: &Field<'_, '_>, detail: &str) {
        self.push("InternalError", field, "Internal error".into(), detail);
    }

    /// A value differs from what it was.
    pub fn immutable(&mut self, new: &Field<'_, '_>, old: &Value) {
        if !super::field::same(new.value(), old) {
            self.invalid(new, IMMUTABLE);
        }
    }

    /// A required text, list or map is absent or empty; says whether it was.
    pub fn require(&mut self, field: &Field<'_, '_>, detail: &str) -> bool {
        let missing = field.is_empty();
        if missing {
            self.required(field, detail);
        }
        !missing
    }

    /// A required text that can stand in the path of a URL: a kind, a resource, a name of any kind of object.
    pub fn require_segment(&mut self, field: &Field<'_, '_>) {
        if self.require(field, "") {
            self.invalid_each(field, windlass_api::names::path_segment(field.text()));
        }
    }

    /// A whole number, if there is one, must lie within bounds.
    pub fn in_range(&mut self, field: &Field<'_, '_>, low: i64, high: i64) {
        if field.int().is_some_and(|n| !(low..=high).contains(&n)) {
            self.invalid(field, format!("must be between {low} and {high}, inclusive"));
        }
    }

    /// A port given by number or by name.
    pub fn port_or_name(&mut self, field: &Field<'_, '_>) {
        match field.value() {
            Value::String(name) => self.invalid_each(field, windlass_api::names::port_name(name)),
            number => {
                let number = Value::from(number.as_i64().unwrap_or_default());
                let complaints = windlass_api::names::port_number(number.as_i64().unwrap_or_default());
                self.invalid_each(&field.with(&number), complaints);
            }
        }
    }

    /// An IP address.
    pub fn ip(&mut self, field: &Field<'_, '_>) {
        self.address(field, ip::address(field.text()));
    }

    /// An IP network.
    pub fn cidr(&mut self, field: &Field<'_, '_>) {
        self.address(field, ip::range(field.text()));
    }

    fn address(&mut self, field: &Field<'_, '_>, wrong: Option<Wrong>) {
        let Some(Wrong { complaint, once_right }) = wrong else { return };
        self.invalid_text(field, field.text(), complaint);
        if let Some(cause) = self.causes.last().filter(|_| once_right) {
            self.strict.push((cause.clone(), field.text().to_owned()));
        }
    }

    /// A number, if there is one, must not be below zero.
    pub fn non_negative(&mut self, field: &Field<'_, '_>) {
        if field.int().is_some_and(|n| n < 0) {
            self.invalid(field, NEGATIVE);
        }
    }

    /// A required choice among words.
    pub fn one_of(&mut self, field: &Field<'_, '_>, supported: &[&str]) {
        if field.text().is_empty() {
            self.required(field, "");
        } else {
            self.optional_one_of(field, supported);
        }
    }

    /// An optional choice among words.
    pub fn optional_one_of(&mut self, field: &Field<'_, '_>, supported: &[&str]) {
        if field.present() && !supported.contains(&field.text()) {
            self.not_supported(field, supported);
        }
    }

    fn push(&mut self, reason: &str, field: &Field<'_, '_>, mut message: String, detail: &str) {
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        self.causes.push(Cause { reason: reason.into(), message, field: field.path().to_string() });
    }

    /// The one sentence for people: each distinct error once, in brackets when there are several.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut said: Vec<String> = Vec::new();
        for cause in &self.causes {
            let line = format!("{}: {}", cause.field, cause.message);
            if !said.contains(&line) {
                said.push(line);
            }
        }
        match said.len() {
            1 => said.remove(0),
            _ => format!("[{}]", said.join(", ")),
        }
    }

    /// Nothing, or the error that a client gets: `Pod "x" is invalid: …` with every cause.
    pub fn into_result(self, group: &str, kind: &str, name: &str) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{qualified} {name:?} is invalid: {}", self.sentence());
        Err(Error::new(ErrorKind::Invalid, message).detailed(|details| {
            details.name = name.into();
            details.group = group.into();
            details.kind = kind.into();
            details.causes = self.causes;
        }))
    }
}

/// A value that would be a text as messages show it: what is absent is an empty one.
fn word(value: &Value) -> String {
    if value.is_null() { "\"\"".into() } else { shown(value) }
}

/// A value as messages show it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        other => other.to_string(),
    }
}

/// Whether the text is somewhere in the tree.
fn says(tree: &Value, text: &str) -> bool {
    match tree {
        Value::String(own) => own == text,
        Value::Array(items) => items.iter().any(|item| says(item, text)),
        Value::Object(fields) => fields.values().any(|field| says(field, text)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_error_stands_alone_and_several_stand_in_brackets_once_each() {
        let object = json!({"spec": {"a": "x"}});
        let spec = Field::top(&object, "spec");
        let mut errors = Errors::new();
        errors.required(&spec.get("b"), "");
        assert_eq!(errors.sentence(), "spec.b: Required value");
        errors.not_supported(&spec.get("a"), &["y", "z"]);
        errors.required(&spec.get("b"), "");
        let error = errors.into_result("apps", "Deployment", "web").unwrap_err();
        assert_eq!(
            error.message(),
            "Deployment.apps \"web\" is invalid: [spec.b: Required value, spec.a: Unsupported value: \"x\": supported values: \"y\", \"z\"]"
        );
        assert_eq!(error.details().unwrap().causes.len(), 3);
    }
}

//! One version of a definition: its schema, sub-resources, columns and selectable fields.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema;
use crate::custom::path::JsonPath;
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, lookup};

const COLUMN_TYPES: [&str; 5] = ["integer", "number", "string", "boolean", "date"];
const COLUMN_FORMATS: [&str; 9] =
    ["int32", "int64", "float", "double", "byte", "date", "date-time", "password", "name"];
const SELECTABLE_MOST: usize = 8;
const WARNING_MOST: usize = 256;

/// Checks a version.
pub(super) fn check(version: &Field<'_, '_>, errors: &mut Errors) {
    warning(version, errors);
    let own = version.get("schema");
    let own = own.get("openAPIV3Schema");
    if own.present() {
        let status = version.get("subresources");
        schema::check(&own, status.get("status").present(), errors);
    } else {
        errors.required(&own, "schemas are required");
    }
    scale(version, errors);
    columns(version, errors);
    selectable(version, own.value(), errors);
}

fn warning(version: &Field<'_, '_>, errors: &mut Errors) {
    let warning = version.get("deprecationWarning");
    if !warning.present() {
        return;
    }
    if !version.get("deprecated").is_true() {
        errors.invalid(&warning, "can only be set for deprecated versions");
    } else if warning.text().is_empty() {
        errors.invalid(&warning, "must not be empty");
    } else if warning.text().len() > WARNING_MOST {
        errors.invalid(&warning, format!("must be <= {WARNING_MOST} characters, is {}", warning.text().len()));
    } else if warning.text().chars().any(char::is_control) {
        errors.invalid(&warning, "must only contain printable UTF-8 characters");
    }
}

/// A path that begins with a dot.
fn simple(path: &Field<'_, '_>, errors: &mut Errors) -> bool {
    let sound = path.text().starts_with('.') && JsonPath::read(path.text()).is_some();
    if path.text().is_empty() {
        errors.invalid(path, "must not be empty");
    } else if !path.text().starts_with('.') {
        errors.invalid(path, "must be a simple json path starting with .");
    } else if !sound {
        errors.invalid(path, "must be a json path in the dot notation");
    }
    sound
}

fn scale(version: &Field<'_, '_>, errors: &mut Errors) {
    let subresources = version.get("subresources");
    let scale = subresources.get("scale");
    if !scale.present() {
        return;
    }
    let parts: [(&str, &[&str], &str, bool); 3] = [
        ("specReplicasPath", &[".spec."], "should be a json path under .spec", true),
        ("statusReplicasPath", &[".status."], "should be a json path under .status", true),
        ("labelSelectorPath", &[".spec.", ".status."], "should be a json path under either .spec or .status", false),
    ];
    for (name, roots, why, needed) in parts {
        let path = scale.get(name);
        if path.is_empty() {
            if needed {
                errors.required(&path, "");
            }
        } else if simple(&path, errors) && !roots.iter().any(|root| path.text().starts_with(root)) {
            errors.invalid(&path, why);
        }
    }
}

fn columns(version: &Field<'_, '_>, errors: &mut Errors) {
    for column in version.get("additionalPrinterColumns").items() {
        errors.require(&column.get("name"), "");
        let kind = column.get("type");
        let among = format!("must be one of {}", COLUMN_TYPES.join(","));
        if errors.require(&kind, &among) && !COLUMN_TYPES.contains(&kind.text()) {
            errors.invalid(&kind, &among);
        }
        let format = column.get("format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
            errors.invalid(&format, format!("must be one of {}", COLUMN_FORMATS.join(",")));
        }
        let path = column.get("jsonPath");
        if errors.require(&path, "") {
            simple(&path, errors);
        }
    }
}

fn selectable(version: &Field<'_, '_>, schema: &Value, errors: &mut Errors) {
    let fields = version.get("selectableFields");
    if fields.len() > SELECTABLE_MOST {
        errors.too_many(&fields, SELECTABLE_MOST);
    }
    let mut seen = BTreeSet::new();
    for field in fields.items() {
        let path = field.get("jsonPath");
        if !errors.require(&path, "") || !simple(&path, errors) {
            continue;
        }
        if !seen.insert(path.text()) {
            errors.duplicate(&path);
        }
        let read = JsonPath::read(path.text());
        let Some(names) = read.as_ref().and_then(JsonPath::fields) else {
            errors.invalid(&path, "is an invalid path: only field names are allowed");
            continue;
        };
        if names.first() == Some(&"metadata") {
            errors.invalid(&path, "must not point to fields in metadata");
            continue;
        }
        let found = names.iter().fold(schema, |schema, name| lookup(lookup(schema, "properties"), name));
        match found["type"].as_str() {
            Some("string" | "boolean" | "integer") => {}
            None => errors.invalid(&path, "is an invalid path: does not refer to a valid field"),
            Some(_) => errors.invalid(&path, "must point to a field of type string, boolean or integer"),
        }
    }
}

//! Namespaces: they start active, and live until what holds them lets go.

use serde_json::{Value, json};
use windlass_api::names;

use crate::kinds::edit::{copy, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, lookup, text};
use crate::kinds::{BASE, Kind, NameRule, meta, prepare};

const HOLDER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(in crate::kinds) static NAMESPACE: Kind = Kind {
    name: NameRule::Label,
    default: label,
    prepare_create: |namespace| {
        label(namespace);
        set(namespace, "status", json!({"phase": "Active"}));
        within(namespace, "spec", |spec| {
            within_list(spec, "finalizers");
        });
    },
    prepare_update: |new, old| {
        copy(new, old, "status");
        copy(new, old, "spec");
    },
    prepare_status: prepare::only_status,
    validate: |new, old, errors| {
        if old.is_none() {
            finalizers(new, false, errors);
        }
    },
    validate_status,
    fields: |namespace| vec![("status.phase", text(namespace, &["status", "phase"]).to_owned())],
    field_names: &["status.phase"],
    has_status: true,
    ..BASE
};

/// Keeps everything but the finalizers of the spec (new, old), for `/finalize`.
pub fn prepare_finalize(new: &mut Value, old: &Value) {
    copy(new, old, "status");
}

/// Checks a write to `/finalize`.
pub fn validate_finalize(new: &Value, old: &Value, errors: &mut Errors) {
    meta::updated(&meta::of(new), &meta::of(old), errors);
    finalizers(new, true, errors);
}

/// Every namespace carries its own name as a label.
fn label(namespace: &mut Value) {
    let name = text(namespace, &["metadata", "name"]).to_owned();
    if !name.is_empty() {
        within(namespace, "metadata", |meta| within(meta, "labels", |labels| set(labels, NAME_LABEL, name)));
    }
}

fn within_list(spec: &mut Value, name: &str) {
    let mut held = lookup(spec, name).as_array().cloned().unwrap_or_default();
    if !held.iter().any(|holder| holder == HOLDER) {
        held.push(HOLDER.into());
    }
    set(spec, name, held);
}

fn finalizers(new: &Value, indexed: bool, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let list = spec.get("finalizers");
    for item in list.items() {
        let field = if indexed { item } else { list.with(item.value()) };
        let name = item.text();
        errors.invalid_each(&field, names::qualified_name(name));
        if !name.contains('/') && !matches!(name, HOLDER | "orphan" | "foregroundDeletion") {
            errors.invalid(&field, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

fn validate_status(new: &Value, _: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    let phase = status.get("phase");
    let shown = json!(phase.text());
    let place = phase.with(&shown).renamed(&status.get("Phase"));
    if dig(new, &["metadata", "deletionTimestamp"]).is_null() {
        if phase.text() != "Active" {
            errors.invalid(&place, "may only be 'Active' if `deletionTimestamp` is empty");
        }
    } else if phase.text() != "Terminating" {
        errors.invalid(&place, "may only be 'Terminating' if `deletionTimestamp` is not empty");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_namespace_is_active_held_and_labelled() {
        let mut namespace = json!({"metadata": {"name": "a"}});
        (NAMESPACE.prepare_create)(&mut namespace);
        assert_eq!(
            namespace,
            json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
        );
    }
}

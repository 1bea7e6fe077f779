//! The rules of `metadata`, the same for every kind but for the form of the name.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_api::names;
use windlass_api::path::Path;

use super::errors::{Errors, IMMUTABLE};
use super::field::{Field, same};

const ANNOTATIONS_MAX: usize = 256 * 1024;
const MANAGER_MAX: usize = 128;
const SUBRESOURCE_MAX: usize = 256;

/// What the names of a kind's objects must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// An RFC 1123 subdomain, as most names are.
    Subdomain,
    /// An RFC 1123 label.
    Label,
    /// Anything that fits in a URL path.
    PathSegment,
}

impl NameRule {
    /// What is wrong with a name.
    #[must_use]
    pub fn complaints(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => names::dns_1123_subdomain(name),
            Self::Label => names::dns_1123_label(name),
            Self::PathSegment => names::path_segment(name),
        }
    }

    fn prefix_complaints(self, base: &str) -> Vec<String> {
        match self {
            Self::PathSegment => names::path_segment_prefix(base),
            _ => self.complaints(&names::mask_trailing_dash(base)),
        }
    }
}

/// Checks the metadata of a new object, at `path`; `namespaced` where the caller knows the scope.
pub fn created(meta: &Field<'_, '_>, rule: NameRule, namespaced: Option<bool>, errors: &mut Errors) {
    let (name, base) = (meta.get("name"), meta.get("generateName"));
    if !base.is_empty() {
        errors.invalid_each(&base, rule.prefix_complaints(base.text()));
    }
    if errors.require(&name, "name or generateName is required") {
        errors.invalid_each(&name, rule.complaints(name.text()));
    }
    let namespace = meta.get("namespace");
    match (namespaced, namespace.is_empty()) {
        (Some(true), true) => errors.required(&namespace, ""),
        (Some(false), false) => errors.forbidden(&namespace, "not allowed on this type"),
        (_, false) => errors.invalid_each(&namespace, names::dns_1123_label(namespace.text())),
        (_, true) => {}
    }
    errors.non_negative(&meta.get("generation"));
    shared(meta, errors);
    finalizers(&meta.get("finalizers"), errors);
    managed(&meta.get("managedFields"), errors);
}

/// Checks the metadata of an update against what was.
pub fn updated(new: &Field<'_, '_>, old: &Field<'_, '_>, errors: &mut Errors) {
    if old.get("deletionTimestamp").present() {
        let before: BTreeSet<&str> = old.get("finalizers").strings().collect();
        let now: BTreeSet<&str> = new.get("finalizers").strings().collect();
        let added: Vec<String> = now.difference(&before).map(|name| format!("{name:?}")).collect();
        if !added.is_empty() {
            let detail = "no new finalizers can be added if the object is being deleted, found new finalizers";
            errors.forbidden(&new.get("finalizers"), format!("{detail} []string{{{}}}", added.join(", ")));
        }
    }
    if new.get("resourceVersion").is_empty() {
        let empty = json!("");
        errors.invalid(&new.get("resourceVersion").with(&empty), "must be specified for an update");
    }
    let generation = new.get("generation");
    errors.non_negative(&generation);
    if generation.number() < old.get("generation").number() {
        let number = json!(generation.number());
        errors.invalid(&generation.with(&number), "must not be decremented");
    }
    for name in ["name", "namespace", "uid"] {
        let (now, before) = (new.get(name), old.get(name));
        if now.text() != before.text() {
            let text = json!(now.text());
            errors.invalid(&now.with(&text), IMMUTABLE);
        }
    }
    for name in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        errors.immutable(&new.get(name), old.get(name).value());
    }
    shared(new, errors);
    if !same(new.get("finalizers").value(), old.get("finalizers").value()) {
        finalizers(&new.get("finalizers"), errors);
    }
    managed(&new.get("managedFields"), errors);
}

fn shared(meta: &Field<'_, '_>, errors: &mut Errors) {
    labels(&meta.get("labels"), errors);
    annotations(&meta.get("annotations"), errors);
    owners(&meta.get("ownerReferences"), errors);
}

/// Checks a map of labels.
pub fn labels(labels: &Field<'_, '_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        let key = json!(key);
        errors.invalid_each(&labels.with(&key), names::qualified_name(key.as_str().unwrap_or_default()));
        errors.invalid_each(&labels.with(value), names::label_value(value.as_str().unwrap_or_default()));
    }
}

/// Checks a map of annotations.
pub fn annotations(annotations: &Field<'_, '_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        size += key.len() + value.as_str().unwrap_or_default().len();
        let shown = json!(key);
        errors.invalid_each(&annotations.with(&shown), names::qualified_name(&key.to_lowercase()));
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(annotations, ANNOTATIONS_MAX);
    }
}

fn owners(owners: &Field<'_, '_>, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in owners.items() {
        let version = owner.get("apiVersion");
        if errors.require(&version, "must not be empty")
            && (version.text().matches('/').count() > 1 || version.text().ends_with('/'))
        {
            errors.invalid(&version, "must be <group>/<version> or <version>");
        }
        for name in ["kind", "name", "uid"] {
            errors.require(&owner.get(name), "must not be empty");
        }
        if version.text() == "v1" && owner.get("kind").text() == "Event" {
            errors.invalid(&owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.get("controller").is_true() {
            let this = format!("{}/{}", owner.get("kind").text(), owner.get("name").text());
            match &controller {
                Some(first) => errors.invalid(
                    owners,
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                ),
                None => controller = Some(this),
            }
        }
    }
}

fn finalizers(finalizers: &Field<'_, '_>, errors: &mut Errors) {
    for name in finalizers.strings() {
        let shown = json!(name);
        errors.invalid_each(&finalizers.with(&shown), names::qualified_name(name));
    }
    let has = |wanted: &str| finalizers.strings().any(|name| name == wanted);
    if has("orphan") && has("foregroundDeletion") {
        errors.invalid(finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/// Finalizers of built-in kinds are domain-qualified, but for those of Kubernetes itself.
pub fn qualified_finalizers(object: &Value, errors: &mut Errors) {
    for finalizer in of(object).get("finalizers").items() {
        let name = finalizer.text();
        if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
            errors.invalid(&finalizer, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

fn managed(entries: &Field<'_, '_>, errors: &mut Errors) {
    for entry in entries.items() {
        let operation = entry.get("operation");
        if errors.require(&operation, "must not be empty") {
            errors.optional_one_of(&operation, &["Apply", "Update"]);
        }
        let kind = entry.get("fieldsType");
        if !kind.is_empty() && kind.text() != "FieldsV1" {
            errors.invalid(&kind, "must be `FieldsV1`");
        }
        if entry.get("manager").len() > MANAGER_MAX {
            errors.too_long(&entry.get("manager"), MANAGER_MAX);
        }
        if entry.get("subresource").len() > SUBRESOURCE_MAX {
            errors.too_long(&entry.get("subresource"), SUBRESOURCE_MAX);
        }
    }
}

/// The metadata of an object as a field.
#[must_use]
pub fn of(object: &Value) -> Field<'_, '_> {
    Field::top(object, "metadata")
}

/// Checks a `metav1.LabelSelector`.
pub fn selector(selector: &Field<'_, '_>, errors: &mut Errors) {
    labels(&selector.get("matchLabels"), errors);
    let expressions = selector.get("matchExpressions");
    for expression in expressions.items() {
        let (key, operator, values) = (expression.get("key"), expression.get("operator"), expression.get("values"));
        match operator.text() {
            "In" | "NotIn" => {
                errors.require(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Exists" | "DoesNotExist" => {}
            other => {
                let shown = json!(other);
                errors.invalid(&operator.with(&shown), "not a valid selector operator");
            }
        }
        let shown = json!(key.text());
        errors.invalid_each(&key.with(&shown), names::qualified_name(key.text()));
        for value in values.items() {
            errors.invalid_each(&value, names::label_value(value.text()));
        }
    }
}

/// Checks the value at a path as a name of another object.
pub fn reference(field: &Field<'_, '_>, errors: &mut Errors) {
    errors.invalid_each(field, names::dns_1123_subdomain(field.text()));
}

/// Checks a path behind a domain, such as `example.com/runner`.
pub fn domain_prefixed_path(field: &Field<'_, '_>, errors: &mut Errors) {
    if !errors.require(field, "") {
        return;
    }
    let parts = field.text().split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty());
    let Some((domain, path)) = parts else {
        errors.invalid(field, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        return;
    };
    for complaint in names::dns_1123_subdomain(domain) {
        errors.invalid_text(field, domain, complaint);
    }
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte)) {
        let detail = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
        errors.invalid_text(field, path, detail);
    }
}

/// The path that whole-object complaints have.
#[must_use]
pub fn nowhere(value: &Value) -> Field<'_, '_> {
    Field::at(Path::NOWHERE, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(new: &Value, old: Option<&Value>, expect: &str) {
        let mut errors = Errors::new();
        match old {
            None => created(&Field::at(Path::new("metadata"), new), NameRule::Subdomain, Some(true), &mut errors),
            Some(old) => {
                updated(&Field::at(Path::new("metadata"), new), &Field::at(Path::new("metadata"), old), &mut errors);
            }
        }
        assert_eq!(errors.sentence(), expect);
    }

    #[test]
    fn a_new_object_needs_a_name_and_a_namespace() {
        check(
            &json!({}),
            None,
            "[metadata.name: Required value: name or generateName is required, metadata.namespace: Required value]",
        );
        check(&json!({"name": "a", "namespace": "b", "labels": {"a/b": "c"}}), None, "[]");
    }

    #[test]
    fn an_update_needs_a_version_and_keeps_its_name() {
        check(
            &json!({"name": "b", "generation": 1}),
            Some(&json!({"name": "a", "generation": 2})),
            "[metadata.resourceVersion: Invalid value: \"\": must be specified for an update, metadata.generation: Invalid value: 1: must not be decremented, metadata.name: Invalid value: \"b\": field is immutable]",
        );
    }

    #[test]
    fn nothing_new_holds_what_is_going_away() {
        check(
            &json!({"resourceVersion": "1", "deletionTimestamp": "t", "finalizers": ["a/b", "c/d"]}),
            Some(&json!({"deletionTimestamp": "t", "finalizers": ["a/b"]})),
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"c/d\"}",
        );
    }
}

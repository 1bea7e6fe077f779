//! What happens to an object before it is validated: status kept apart from spec, and the generation counted.

use serde_json::{Value, json};

use super::edit::{copy, inside, remove, set, within};
use super::field::{lookup, same};

/// Changes nothing on create.
pub(super) fn nothing(_: &mut Value) {}

/// Changes nothing on update.
pub(super) fn nothing_new(_: &mut Value, _: &Value) {}

/// Drops the status that a creator sent.
pub(super) fn clear_status(new: &mut Value) {
    set(new, "status", json!({}));
}

/// Drops the status that a creator sent and starts counting generations.
pub(super) fn clear_status_and_count(new: &mut Value) {
    clear_status(new);
    count(new);
}

/// Starts counting generations.
pub(super) fn count(new: &mut Value) {
    within(new, "metadata", |meta| set(meta, "generation", 1));
}

/// Keeps the status on an update of the object itself.
pub(super) fn keep_status(new: &mut Value, old: &Value) {
    copy(new, old, "status");
}

/// Keeps the status and counts a change of the spec.
pub(super) fn keep_status_and_count(new: &mut Value, old: &Value) {
    keep_status(new, old);
    count_changes(new, old, &["spec"]);
}

/// Counts a change of one of the fields.
pub(super) fn count_changes(new: &mut Value, old: &Value, fields: &[&str]) {
    let changed = fields.iter().any(|field| !same(lookup(new, field), lookup(old, field)));
    let before = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    within(new, "metadata", |meta| match before + i64::from(changed) {
        0 => _ = remove(meta, "generation"),
        generation => set(meta, "generation", generation),
    });
}

/// Counts every change but those of metadata, as custom resources do.
pub(super) fn count_any_change(new: &mut Value, old: &Value) {
    let fields = new.as_object().into_iter().chain(old.as_object()).flat_map(|fields| fields.keys());
    let fields: Vec<String> = fields.filter(|field| *field != "metadata").cloned().collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    count_changes(new, old, &fields);
}

/// On a write to `/status`: everything but metadata and status is what it was.
pub(super) fn only_status(new: &mut Value, old: &Value) {
    let sent: Vec<String> = new.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect();
    let kept = old.as_object().into_iter().flat_map(|fields| fields.keys().cloned());
    let names: Vec<String> = sent.into_iter().chain(kept).collect();
    for name in names.iter().filter(|name| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status")) {
        copy(new, old, name);
    }
    let generation = old.pointer("/metadata/generation").cloned();
    inside(new, "metadata", |meta| match generation {
        Some(generation) => set(meta, "generation", generation),
        None => _ = remove(meta, "generation"),
    });
}

/// On a write to `/status`: as [`only_status`], and the labels stay too.
pub(super) fn only_status_without_labels(new: &mut Value, old: &Value) {
    only_status(new, old);
    inside(new, "metadata", |meta| copy(meta, lookup(old, "metadata"), "labels"));
}

/// On a write to `/status`: of the metadata only the managed fields and the resource version are taken.
pub(super) fn only_status_without_metadata(new: &mut Value, old: &Value) {
    only_status(new, old);
    let mut meta = lookup(old, "metadata").clone();
    for name in ["managedFields", "resourceVersion"] {
        copy(&mut meta, lookup(new, "metadata"), name);
    }
    set(new, "metadata", meta);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_counts_changes_of_the_spec_only() {
        let old = json!({"metadata": {"generation": 3}, "spec": {"a": 1}, "status": {"s": 1}});
        let mut new = json!({"metadata": {"labels": {}}, "spec": {"a": 1, "b": []}, "status": {"s": 2}});
        keep_status_and_count(&mut new, &old);
        assert_eq!(new["metadata"]["generation"], 3);
        assert_eq!(new["status"]["s"], 1);
        new["spec"]["a"] = 2.into();
        keep_status_and_count(&mut new, &old);
        assert_eq!(new["metadata"]["generation"], 4);
    }

    #[test]
    fn a_status_write_changes_no_spec() {
        let old = json!({"metadata": {"generation": 3, "labels": {"a": "b"}}, "spec": {"a": 1}});
        let mut new = json!({"metadata": {"generation": 9}, "spec": {"a": 2}, "extra": 1, "status": {"s": 2}});
        only_status_without_labels(&mut new, &old);
        assert_eq!(
            new,
            json!({"metadata": {"generation": 3, "labels": {"a": "b"}}, "spec": {"a": 1}, "status": {"s": 2}})
        );
    }
}

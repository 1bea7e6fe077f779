//! What a write other than apply does to the owners of fields.

use serde_json::Value;

use super::manager::{ManagedEntry, Operation, cap, sort};
use super::set::FieldSet;
use super::types::TypeRef;
use super::walk::{Changes, changed};

/// Who writes what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The name the client gave.
    pub manager: &'a str,
    /// The version of the request, such as `apps/v1`.
    pub api_version: &'a str,
    /// The subresource written through; empty for the object itself.
    pub subresource: &'a str,
    /// The present time, in RFC 3339 with seconds.
    pub now: &'a str,
    /// The type of the object.
    pub kind: TypeRef<'a>,
    /// Fields that a write to this resource cannot set, and therefore not own.
    pub ignored: Option<&'a FieldSet>,
}

impl Write<'_> {
    /// An entry of this writer that owns nothing yet.
    pub(super) fn entry(&self, operation: Operation) -> ManagedEntry {
        ManagedEntry {
            manager: self.manager.to_owned(),
            operation,
            api_version: self.api_version.to_owned(),
            time: None,
            subresource: self.subresource.to_owned(),
            fields: FieldSet::new(),
        }
    }

    /// What differs between two objects, as far as this write may say.
    pub(super) fn changes(&self, old: Option<&Value>, new: &Value) -> Changes {
        let mut changes = changed(old, new, self.kind);
        if let Some(ignored) = self.ignored {
            changes.changed.subtract_below(ignored);
            changes.removed.subtract_below(ignored);
        }
        changes
    }
}

/// The owners after a create, an update or a patch.
///
/// The writer takes over what it changed, from appliers too; what it removed belongs to nobody.
/// A write that changes nothing leaves every entry and its time alone.
/// An object whose entries were reset stays without until somebody applies.
#[must_use]
pub fn update(live: Option<&Value>, new: &Value, managers: Vec<ManagedEntry>, write: &Write<'_>) -> Vec<ManagedEntry> {
    if managers.is_empty() && live.is_some_and(has_uid) {
        return managers;
    }
    record(live, new, managers, write)
}

/// The same, also for an object that has no entries yet.
pub(super) fn record(
    live: Option<&Value>,
    new: &Value,
    mut managers: Vec<ManagedEntry>,
    write: &Write<'_>,
) -> Vec<ManagedEntry> {
    let Changes { changed, removed } = write.changes(live, new);
    if changed.is_empty() && removed.is_empty() {
        return managers;
    }
    let mut own = write.entry(Operation::Update);
    let mut at = None;
    for (index, entry) in managers.iter_mut().enumerate() {
        entry.fields.subtract(&removed);
        if entry.same_manager(&own) {
            at = Some(index);
        } else {
            entry.fields.subtract(&changed);
        }
    }
    if !changed.is_empty() {
        own.time = Some(write.now.to_owned());
        own.fields = changed;
        match at {
            Some(at) => {
                managers[at].fields.add(own.fields);
                managers[at].time = own.time;
            }
            None => managers.push(own),
        }
    }
    managers.retain(|entry| !entry.fields.is_empty());
    cap(&mut managers);
    sort(&mut managers);
    managers
}

/// Metadata that the server keeps and that nobody owns.
pub(super) fn is_bookkeeping(name: &str) -> bool {
    matches!(
        name,
        "name"
            | "namespace"
            | "creationTimestamp"
            | "selfLink"
            | "uid"
            | "clusterName"
            | "generation"
            | "managedFields"
            | "resourceVersion"
    )
}

/// Takes what nobody owns out of a set.
pub(super) fn strip(fields: &mut FieldSet) {
    fields.subtract(&FieldSet::of_fields(&[
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ]));
}

fn has_uid(object: &Value) -> bool {
    object.get("metadata").and_then(|m| m.get("uid")).and_then(Value::as_str).is_some_and(|uid| !uid.is_empty())
}

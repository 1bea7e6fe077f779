//! The entries of `metadata.managedFields`: who wrote, how, when and what.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::element;
use super::set::FieldSet;

/// How many managers may have written by other means than apply before the oldest are merged.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

/// One entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedEntry {
    /// The name the client gave.
    pub manager: String,
    /// How it wrote.
    pub operation: Operation,
    /// The version that its paths are of.
    pub api_version: String,
    /// When its set last changed, in RFC 3339 with seconds.
    pub time: Option<String>,
    /// The subresource it wrote through; empty for the object itself.
    pub subresource: String,
    /// What it owns.
    pub fields: FieldSet,
}

impl ManagedEntry {
    /// Whether both speak of one manager: appliers keep their entry when they change version.
    pub(super) fn same_manager(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// Reads an entry.
    pub fn from_value(entry: &Value, at: usize) -> Result<Self, String> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType").as_str() {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
        }
        Ok(Self {
            manager: text("manager"),
            operation,
            api_version,
            time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            subresource: text("subresource"),
            fields: FieldSet::from_value(entry.get("fieldsV1").unwrap_or(&Value::Null))?,
        })
    }

    /// Writes the entry.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let operation = if self.operation == Operation::Apply { "Apply" } else { "Update" };
        let mut entry = json!({
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "manager": self.manager,
            "operation": operation,
        });
        // Moved in, because the macro would copy the whole tree once more.
        entry["fieldsV1"] = self.fields.to_value();
        let optional = [("subresource", Some(&self.subresource)), ("time", self.time.as_ref())];
        for (name, value) in optional {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                entry[name] = Value::from(value.as_str());
            }
        }
        entry
    }

    /// Appends what [`to_value`](Self::to_value) is written as.
    fn write_json(&self, out: &mut String) {
        let operation = if self.operation == Operation::Apply { "Apply" } else { "Update" };
        write(out, "{\"apiVersion\":", &self.api_version);
        write(out, ",\"fieldsType\":", "FieldsV1");
        out.push_str(",\"fieldsV1\":");
        self.fields.write_sorted(false, out);
        write(out, ",\"manager\":", &self.manager);
        write(out, ",\"operation\":", operation);
        if !self.subresource.is_empty() {
            write(out, ",\"subresource\":", &self.subresource);
        }
        if let Some(time) = self.time.as_deref().filter(|time| !time.is_empty()) {
            write(out, ",\"time\":", time);
        }
        out.push('}');
    }

    fn age(&self) -> &str {
        self.time.as_deref().unwrap_or_default()
    }

    fn identity(&self) -> (&str, Operation, &str, &str) {
        (&self.manager, self.operation, &self.api_version, &self.subresource)
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |e: &Self| (e.operation, e.age().to_owned());
        let rest = |e: &Self| (e.manager.clone(), e.api_version.clone(), e.subresource.clone());
        key(self).cmp(&key(other)).then_with(|| rest(self).cmp(&rest(other)))
    }
}

/// Reads the entries of an object; an object without any has none.
pub fn decode_managers(object: &Value) -> Result<Vec<ManagedEntry>, String> {
    let entries = managed_fields(object).and_then(Value::as_array);
    entries.into_iter().flatten().enumerate().map(|(at, entry)| ManagedEntry::from_value(entry, at)).collect()
}

/// The entries that a write starts from: those it sent, unless they are missing or cannot be read.
///
/// A write that sends an empty list, or one empty entry, resets them; one through a subresource cannot set them.
#[must_use]
pub fn managers_for_update(live: Option<&Value>, new: &Value, subresource: &str) -> Vec<ManagedEntry> {
    let of_live = || live.and_then(|live| decode_managers(live).ok()).unwrap_or_default();
    if !subresource.is_empty() {
        return of_live();
    }
    if is_reset(managed_fields(new)) {
        return Vec::new();
    }
    decode_managers(new).ok().filter(|sent| !sent.is_empty()).unwrap_or_else(of_live)
}

fn is_reset(sent: Option<&Value>) -> bool {
    match sent.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(entry)]) => entry.values().all(|v| v.is_null() || v == ""),
        _ => false,
    }
}

fn write(out: &mut String, before: &str, text: &str) {
    out.push_str(before);
    element::push_string(text, out);
}

/// What [`write_managers`] leaves in an object's JSON, byte for byte, without the way through a tree.
#[must_use]
pub fn managers_to_json(managers: &[ManagedEntry]) -> String {
    let mut out = String::with_capacity(1024);
    out.push('[');
    for (at, entry) in managers.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        entry.write_json(&mut out);
    }
    out.push(']');
    out
}

/// Puts the entries into an object, or removes the field where there are none.
pub fn write_managers(object: &mut Value, managers: &[ManagedEntry]) {
    let Value::Object(object) = object else { return };
    if managers.is_empty() {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        return;
    }
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        let entries = managers.iter().map(ManagedEntry::to_value).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// Sorts the entries as objects list them: appliers first, then by time.
pub(super) fn sort(managers: &mut [ManagedEntry]) {
    managers.sort_by(ManagedEntry::order);
}

/// Merges the oldest updaters of the same version until no more than ten are left.
pub(super) fn cap(managers: &mut Vec<ManagedEntry>) {
    let count = |managers: &[ManagedEntry]| managers.iter().filter(|m| m.operation == Operation::Update).count();
    let mut surplus = count(managers).saturating_sub(MAX_UPDATERS);
    if surplus == 0 {
        return;
    }
    let (mut updaters, appliers): (Vec<_>, Vec<_>) =
        std::mem::take(managers).into_iter().partition(|m| m.operation == Operation::Update);
    updaters.sort_by(|a, b| a.age().cmp(b.age()).then_with(|| a.identity().cmp(&b.identity())));
    *managers = appliers;
    let first_new = managers.len();
    for mut entry in updaters {
        let bucket = managers[first_new..].iter_mut().find(|m| m.api_version == entry.api_version);
        match bucket {
            Some(bucket) if surplus > 0 => {
                ANCIENT.clone_into(&mut bucket.manager);
                bucket.subresource.clear();
                bucket.fields.add(std::mem::take(&mut entry.fields));
                bucket.time = entry.time;
                surplus -= 1;
            }
            _ => managers.push(entry),
        }
    }
}

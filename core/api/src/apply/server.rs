//! Server-side apply: merging a configuration into an object in the name of its applier.

use std::fmt;

use serde_json::{Map, Value};

use super::conflict::Conflicts;
use super::manager::{ManagedEntry, Operation, sort};
use super::merge::{merge, prune};
use super::set::FieldSet;
use super::update::{Write, record, strip};
use super::validate::validate;
use super::walk::{changed, fields_of};

/// Where client-side apply keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The applier that takes over from client-side apply.
const KUBECTL: &str = "kubectl";
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// What an apply leads to.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The merged object, without managed fields.
    pub object: Value,
    /// Its owners.
    pub managers: Vec<ManagedEntry>,
    /// Whether anything differs from the live object and its entries; if not, nothing need be written.
    pub changed: bool,
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Others own what it wants to change: 409.
    Conflicts(Conflicts),
    /// The request says what an apply may not say: 400.
    Forbidden(String),
    /// The configuration does not fit the type.
    Misfit(String),
}

/// Applies a configuration, complete as its applier sees it, to an object or to nothing.
///
/// Fields the applier owned and no longer mentions are removed, unless another manager owns them.
/// Without `force` a field that another manager set to another value refuses the whole apply.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    managers: Vec<ManagedEntry>,
    force: bool,
    write: &Write<'_>,
) -> Result<Applied, Refusal> {
    if config.pointer("/metadata/managedFields").is_some_and(|v| !v.is_null()) {
        return Err(Refusal::Forbidden("metadata.managedFields must be nil".to_owned()));
    }
    validate(config, write.kind)
        .map_err(|said| Refusal::Misfit(format!("failed to create typed patch object ({}): {said}", name(config))))?;
    let before = managers.clone();
    let live = live.map(without_managers);
    let managers = match &live {
        Some(live) if managers.is_empty() => {
            record(None, live, managers, &Write { manager: BEFORE_FIRST_APPLY, ..*write })
        }
        _ => managers,
    };
    let attempt = Attempt { live: live.as_ref(), config, managers: &managers, write };
    let (mut object, managers) = attempt.run(force).map_err(Refusal::Conflicts)?;
    if write.manager == KUBECTL {
        sync_last_applied(&mut object, config);
    }
    let changed = live.as_ref() != Some(&object) || managers != before;
    Ok(Applied { object, managers, changed })
}

struct Attempt<'a> {
    live: Option<&'a Value>,
    config: &'a Value,
    managers: &'a [ManagedEntry],
    write: &'a Write<'a>,
}

impl Attempt<'_> {
    fn run(&self, force: bool) -> Result<(Value, Vec<ManagedEntry>), Conflicts> {
        let kind = self.write.kind;
        let mut own = self.write.entry(Operation::Apply);
        own.fields = fields_of(self.config, kind);
        if let Some(ignored) = self.write.ignored {
            own.fields.subtract_below(ignored);
        }
        let last = self.managers.iter().find(|entry| entry.same_manager(&own));
        let object = self.merged(&own, last);
        let changes = self.write.changes(self.live, &object);
        let mut others: Vec<ManagedEntry> =
            self.managers.iter().filter(|entry| !entry.same_manager(&own)).cloned().collect();
        if !force {
            self.check(&others, &changes.changed)?;
        }
        for entry in &mut others {
            entry.fields.subtract(&changes.changed);
            entry.fields.subtract(&changes.removed);
        }
        strip(&mut own.fields);
        let same = last.filter(|last| last.fields == own.fields && last.api_version == own.api_version);
        own.time = match same {
            Some(last) if self.live == Some(&object) => last.time.clone(),
            _ => Some(self.write.now.to_owned()),
        };
        others.push(own);
        others.retain(|entry| !entry.fields.is_empty());
        sort(&mut others);
        Ok((object, others))
    }

    fn merged(&self, own: &ManagedEntry, last: Option<&ManagedEntry>) -> Value {
        let mut merged = self.live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        merge(&mut merged, self.config, self.write.kind);
        let Some(last) = last else { return merged };
        let others = self.managers.iter().filter(|entry| !entry.same_manager(own));
        let owned = others.fold(own.fields.clone(), |owned, entry| owned.union(entry.fields.clone()));
        prune(merged, &last.fields, owned, self.write.kind)
    }

    /// Finds what others own of the changes; what client-side apply owned is kubectl's own.
    fn check(&self, others: &[ManagedEntry], changed: &FieldSet) -> Result<(), Conflicts> {
        let disputed = others.iter().map(|entry| (entry, entry.fields.intersection(changed)));
        let mut disputed: Vec<_> = disputed.filter(|(_, fields)| !fields.is_empty()).collect();
        if disputed.is_empty() {
            return Ok(());
        }
        if self.write.manager == KUBECTL
            && let Some(allowed) = self.applied_by_client()
        {
            disputed.iter_mut().for_each(|(_, fields)| fields.subtract(&allowed));
            disputed.retain(|(_, fields)| !fields.is_empty());
            if disputed.is_empty() {
                return Ok(());
            }
        }
        Err(Conflicts::new(disputed))
    }

    /// The fields that client-side apply set and nobody has changed since.
    fn applied_by_client(&self) -> Option<FieldSet> {
        let live = self.live?;
        let text = annotations(live)?.get(LAST_APPLIED)?.as_str()?;
        let last: Value = serde_json::from_str(text).ok()?;
        if last.get("apiVersion")?.as_str()? != self.write.api_version {
            return None;
        }
        let mut fields = fields_of(&last, self.write.kind);
        let since = changed(Some(&last), live, self.write.kind);
        fields.subtract(&since.changed);
        fields.subtract(&since.removed);
        Some(fields)
    }
}

fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("annotations")?.as_object()
}

/// Keeps the annotation of client-side apply, where there is one, true to what was applied last.
fn sync_last_applied(object: &mut Value, config: &Value) {
    if annotations(object).and_then(|a| a.get(LAST_APPLIED)).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(Value::Object(annotations)) = config.pointer_mut("/metadata/annotations") {
        annotations.remove(LAST_APPLIED);
    }
    // Clients compare the text, and theirs escapes what HTML would.
    let text = config.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n";
    if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
        annotations.insert(LAST_APPLIED.to_owned(), Value::from(text));
        let size: usize = annotations.iter().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
        if size > MAX_ANNOTATIONS {
            annotations.remove(LAST_APPLIED);
        }
    }
}

fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    object
}

fn name(config: &Value) -> String {
    let text = |path: &str| config.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("/apiVersion"), text("/kind"));
    let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
    format!("{}/{}; {version}, Kind={kind}", text("/metadata/namespace"), text("/metadata/name"))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflicts(conflicts) => conflicts.fmt(f),
            Self::Forbidden(message) | Self::Misfit(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Refusal {}

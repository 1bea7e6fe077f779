//! Who owns which fields: the managed fields of a write, and applying a configuration.

use serde_json::Value;
use windlass_api::apply::{self, Conflicts, FieldSet, ManagedEntry, Refusal, TypeRef, Write};
use windlass_kernel::{
    api::Request,
    error::{Cause, Error, ErrorKind, Result},
};

use crate::{
    errors, object,
    registry::{Info, Schema, Served},
};

/// A write, as far as ownership is concerned.
pub(crate) struct Owner<'a> {
    manager: &'a str,
    api_version: String,
    subresource: &'a str,
    now: String,
    kind: TypeRef<'a>,
    ignored: Option<FieldSet>,
}

impl<'a> Owner<'a> {
    /// The owner that a request writes as.
    pub(crate) fn of(served: &'a Served, request: &'a Request, now: String) -> Self {
        let ignored = match request.subresource.as_str() {
            "status" if served.definition().is_some() => Some(all_but_status(served)),
            "" if served.rules.has_status => Some(FieldSet::of_fields(&["status"])),
            "status" => Some(FieldSet::of_fields(&["spec"])),
            _ => None,
        };
        Self {
            manager: manager(request),
            api_version: served.storage.api_version(),
            subresource: &request.subresource,
            now,
            kind: type_of(&served.storage),
            ignored,
        }
    }

    fn write(&self) -> Write<'_> {
        Write {
            manager: self.manager,
            api_version: &self.api_version,
            subresource: self.subresource,
            now: &self.now,
            kind: self.kind,
            ignored: self.ignored.as_ref(),
        }
    }

    /// Records what a create, update or patch owns.
    pub(crate) fn record(&self, old: Option<&Value>, new: &mut Value) {
        let managers = self.managers(old, new);
        apply::write_managers(new, &managers);
    }

    /// The owners after a create, update or patch.
    pub(crate) fn managers(&self, old: Option<&Value>, new: &Value) -> Vec<ManagedEntry> {
        let managers = apply::managers_for_update(old, new, self.subresource);
        apply::update(old, new, managers, &self.write())
    }

    /// Applies a configuration; the object comes back with its managed fields.
    pub(crate) fn apply(&self, served: &Served, live: Option<&Value>, config: &Value, force: bool) -> Result<Value> {
        let managers = live.map(apply::decode_managers).transpose();
        let managers = managers.map_err(|why| Error::new(ErrorKind::Internal, why))?.unwrap_or_default();
        let applied = apply::apply(live, config, managers, force, &self.write());
        let applied = applied.map_err(|refusal| refused(served, refusal))?;
        if let Some(live) = live.filter(|_| !applied.changed) {
            return Ok(live.clone());
        }
        let mut object = applied.object;
        apply::write_managers(&mut object, &applied.managers);
        if let Some(live) = live {
            let version = object::meta(live, "resourceVersion").clone();
            object::set_meta(&mut object, "resourceVersion", Some(version));
        }
        Ok(object)
    }
}

/// How objects of a resource are divided among owners.
pub(crate) fn type_of(info: &Info) -> TypeRef<'_> {
    match &info.schema {
        Schema::BuiltIn(message) => TypeRef::message(message),
        Schema::Custom(version) => version.type_ref(),
    }
}

/// The fields that a write to a custom object's status cannot set.
fn all_but_status(served: &Served) -> FieldSet {
    let fields = served.definition().into_iter().flat_map(|version| version.node().properties.keys());
    let mut fields: Vec<&str> = fields.map(String::as_str).filter(|name| *name != "status").collect();
    fields.extend(["metadata", "spec"]);
    FieldSet::of_fields(&fields)
}

/// The name that a request's fields are owned under.
fn manager(request: &Request) -> &str {
    if !request.options.field_manager.is_empty() {
        return &request.options.field_manager;
    }
    let agent = request.user_agent.split('/').next().unwrap_or_default();
    if agent.is_empty() { "unknown" } else { agent }
}

fn refused(served: &Served, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Conflicts(conflicts) => conflicting(&conflicts),
        Refusal::Forbidden(why) => errors::bad_request(why),
        Refusal::Misfit(why) => {
            tracing::debug!(resource = &*served.info.plural, why, "a configuration does not fit its type");
            Error::new(ErrorKind::Internal, why)
        }
    }
}

fn conflicting(conflicts: &Conflicts) -> Error {
    Error::new(ErrorKind::Conflict, conflicts.to_string()).detailed(|details| {
        let causes = conflicts.list().iter().map(|conflict| Cause {
            reason: Conflicts::REASON.into(),
            message: conflict.message(),
            field: conflict.field.clone(),
        });
        details.causes = causes.collect();
    })
}

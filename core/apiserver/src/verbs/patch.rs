//! Patching an object: the patch is made on the latest state, again where that changed meanwhile.

use std::mem;

use serde_json::Value;
use windlass_api::{decode::Decoded, patch as patches, schema::Message};
use windlass_kernel::{
    api::{FieldValidation, PatchType, Request, Response},
    error::{Cause, Error, ErrorKind, Result},
};

use crate::{
    body::{self, Refused, Wanted},
    convert, errors, object,
    owners::Owner,
    registry::{Schema, Served},
    rules::Part,
    server::ApiServer,
    write::{self, Change, Owners, Proposal},
};

/// Patches the object that the request names; an apply creates what does not exist.
pub(crate) async fn patch(
    server: &ApiServer,
    served: &Served,
    kind: PatchType,
    mut request: Request,
) -> Result<Response> {
    let patch = Patch::read(kind, &mut request, served.info.patches)?;
    let now = object::time(server.parts.clock.now());
    let change = Change { server, served, request: &request, part: Part::Main };
    if let Some(response) = write::edit(change, |old| patch.on(served, &request, Some(old), &now)).await? {
        return Ok(response);
    }
    if kind != PatchType::Apply {
        return Err(errors::not_found(&served.info, &request.name));
    }
    server.may(&request, "create", "").await?;
    let proposal = patch.on(served, &request, None, &now)?;
    let uid = object::meta_text(&proposal.object, "uid");
    if !uid.is_empty() {
        let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(errors::conflict(&served.info, &request.name, &why));
    }
    write::insert(server, served, &mut request, proposal).await
}

/// Patches a part of an object that must exist.
pub(crate) async fn patched(
    server: &ApiServer,
    served: &Served,
    kind: PatchType,
    part: Part,
    mut request: Request,
) -> Result<Response> {
    let patch = Patch::read(kind, &mut request, served.info.patches)?;
    let now = object::time(server.parts.clock.now());
    let change = Change { server, served, request: &request, part };
    let response = write::edit(change, |old| patch.on(served, &request, Some(old), &now)).await?;
    response.ok_or_else(|| errors::not_found(&served.info, &request.name))
}

/// A patch that was read but not yet made.
pub(crate) struct Patch {
    kind: PatchType,
    tree: Value,
    duplicates: Vec<String>,
    lines: Vec<String>,
}

impl Patch {
    /// Reads the patch in a request's body.
    pub(crate) fn read(kind: PatchType, request: &mut Request, accepted: &[&str]) -> Result<Self> {
        let media_type = kind.media_type();
        if !accepted.iter().any(|known| media_type.strip_prefix("application/") == Some(known)) {
            let accepted: Vec<String> = accepted.iter().map(|known| format!("application/{known}")).collect();
            return Err(body::unsupported(&accepted.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        check(kind, request)?;
        let decoded = body::tree(mem::take(&mut request.body)).map_err(|refused| match refused {
            Refused::Said(error) => error,
            Refused::Syntax(why) => errors::bad_request(format!("error decoding patch: {why}")),
        })?;
        Ok(Self { kind, tree: decoded.value, duplicates: decoded.duplicates, lines: decoded.lines })
    }

    /// The patch itself.
    pub(crate) fn tree(&self) -> &Value {
        &self.tree
    }

    /// Makes the patch on a stored object; only an apply can do without.
    fn on(&self, served: &Served, request: &Request, old: Option<&Value>, now: &str) -> Result<Proposal> {
        if self.kind == PatchType::Apply {
            return self.apply(served, request, old, now);
        }
        let mut tree = convert::from_storage(served, old.cloned().unwrap_or_default())?;
        let message = if let Schema::BuiltIn(message) = served.info.schema { Some(message) } else { None };
        self.make(&mut tree, message)?;
        let (object, warnings) = self.typed(served, tree, request.options.field_validation)?;
        Ok(Proposal { object: convert::to_storage(served, object)?, owners: Owners::Record, warnings })
    }

    /// Makes a patch that is no apply on a tree of the type; strategic ones need a built-in type.
    pub(crate) fn make(&self, tree: &mut Value, message: Option<&'static Message>) -> Result<()> {
        let made = match self.kind {
            PatchType::Json => patches::json(tree, &self.tree),
            PatchType::Merge | PatchType::Apply => patches::merge(tree, &self.tree),
            PatchType::Strategic => match message {
                Some(message) => patches::strategic(tree, &self.tree, message),
                None => patches::merge(tree, &self.tree),
            },
        };
        made.map_err(|error| inapplicable(&error))
    }

    fn apply(&self, served: &Served, request: &Request, old: Option<&Value>, now: &str) -> Result<Proposal> {
        let mut config = self.tree.clone();
        if !config.is_object() {
            return Err(errors::bad_request("error decoding YAML: the configuration is not an object"));
        }
        let expected = served.api_version();
        let (version, kind) = (config["apiVersion"].as_str(), config["kind"].as_str());
        if version != Some(&expected) || kind != Some(&*served.info.kind) {
            let shown = |text: Option<&str>| text.unwrap_or_default().to_owned();
            return Err(errors::bad_request(format!(
                "the configuration is of {}, Kind={}, and the request is for {expected}, Kind={}",
                shown(version),
                shown(kind),
                served.info.kind
            )));
        }
        if object::name(&config).is_empty() {
            object::set_meta(&mut config, "name", Some(request.name.as_str().into()));
        }
        if object::name(&config) != request.name {
            let (said, name) = (object::name(&config), &request.name);
            let message = format!("the name of the object ({said}) does not match the name on the URL ({name})");
            return Err(errors::bad_request(message));
        }
        if served.info.namespaced && object::meta_text(&config, "namespace").is_empty() {
            object::set_meta(&mut config, "namespace", Some(request.namespace.as_str().into()));
        }
        let config = convert::to_storage(served, config)?;
        let owner = Owner::of(served, request, now.to_owned());
        let merged = owner.apply(served, old, &config, request.options.force)?;
        let stored = Wanted::object_of(&served.storage);
        let decoded = Decoded { value: merged, ..Decoded::default() };
        let read = body::checked(decoded, stored, FieldValidation::Ignore, "")?;
        let mut warnings = Vec::new();
        if request.options.field_validation != FieldValidation::Ignore {
            let by_path = || self.duplicates.iter().map(|path| format!("duplicate field {path:?}")).collect();
            warnings = if self.lines.is_empty() { by_path() } else { self.lines.clone() };
            if request.options.field_validation == FieldValidation::Strict && !warnings.is_empty() {
                let odd = warnings.join("\n  ");
                let message = format!(
                    "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {odd}"
                );
                return Err(errors::bad_request(message));
            }
        }
        Ok(Proposal { object: read.object, owners: Owners::Settled, warnings })
    }

    /// Brings a patched tree into the form of its type.
    fn typed(&self, served: &Served, tree: Value, validation: FieldValidation) -> Result<(Value, Vec<String>)> {
        let decoded = Decoded { value: tree, duplicates: self.duplicates.clone(), ..Decoded::default() };
        let read = body::checked(decoded, Wanted::object_of(&served.info), validation, "").map_err(|error| {
            let Some((_, odd)) = error.message().split_once("strict decoding error: ") else { return error };
            let why = format!("strict decoding error: {odd}");
            let shown = Value::String(self.tree.to_string());
            errors::invalid("", "", "", vec![errors::bad_value("patch", shown, why)])
        })?;
        Ok((read.object, read.warnings))
    }
}

/// Refuses options that do not go with the kind of patch.
fn check(kind: PatchType, request: &Request) -> Result<()> {
    let mut causes = Vec::new();
    if kind == PatchType::Apply && request.options.field_manager.is_empty() {
        causes.push(errors::missing("fieldManager", "is required for apply patch"));
    }
    if kind != PatchType::Apply && request.options.force {
        causes.push(errors::not_allowed("force", "may not be specified for non-apply patch"));
    }
    if causes.is_empty() { Ok(()) } else { Err(errors::invalid("meta.k8s.io", "PatchOptions", "", causes)) }
}

fn inapplicable(error: &patches::Error) -> Error {
    match error.kind() {
        patches::ErrorKind::Malformed => errors::bad_request(error.to_string()),
        patches::ErrorKind::TooLarge => Error::new(ErrorKind::TooLarge, error.to_string()),
        patches::ErrorKind::Inapplicable => {
            let message = "the server rejected our request due to an error in our request";
            Error::new(ErrorKind::Invalid, message).detailed(|details| {
                details.causes = vec![Cause {
                    reason: "UnexpectedServerResponse".into(),
                    message: error.to_string(),
                    field: String::new(),
                }];
            })
        }
    }
}

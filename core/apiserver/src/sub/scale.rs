//! How many replicas a workload has, in a form (`autoscaling/v1` Scale) that is the same for all of them.

use std::mem;

use serde_json::{Value, json};
use windlass_api::{decode::Decoded, resources::Subresource, selector::Labels};
use windlass_kernel::{
    api::{Answer, FieldValidation, PatchType, Request, Response, Verb},
    error::{Error, ErrorKind, Result},
};

use crate::{
    body::{self, Wanted},
    custom::{self, Scale, path::JsonPath},
    errors, object,
    owners::Owner,
    registry::Served,
    rules::Part,
    server::ApiServer,
    verbs::{self, Patch},
    write::{self, Change, Owners, Proposal},
};

/// Reads or writes the scale of a workload.
pub(super) async fn serve(
    server: &ApiServer,
    served: &Served,
    subresource: &'static Subresource,
    mut request: Request,
) -> Result<Response> {
    let wanted = Wanted::kind(subresource.kind, subresource.message);
    let validation = request.options.field_validation;
    let response = match request.verb {
        Verb::Get => {
            let document = verbs::read(server, served, &request).await?;
            let scale = of(served, &custom::open(server, served, &document).await?)?;
            return Ok(Response { code: 200, warnings: Vec::new(), answer: Answer::Value(scale) });
        }
        Verb::Update => {
            let given = body::object(mem::take(&mut request.body), wanted, validation)?;
            let change = Change { server, served, request: &request, part: Part::Main };
            write::edit(change, |old| scaled(served, old, &given.object, given.warnings.clone())).await?
        }
        Verb::Patch(PatchType::Apply) => {
            let patch = Patch::read(PatchType::Apply, &mut request, subresource.patches)?;
            let now = object::time(server.parts.clock.now());
            let change = Change { server, served, request: &request, part: Part::Main };
            write::edit(change, |old| applied(served, &request, old, (&patch, wanted), &now)).await?
        }
        Verb::Patch(kind) => {
            let patch = Patch::read(kind, &mut request, subresource.patches)?;
            let change = Change { server, served, request: &request, part: Part::Main };
            let patched = |old: &Value| {
                let mut scale = of(served, old)?;
                patch.make(&mut scale, Some(subresource.message))?;
                let decoded = Decoded { value: scale, ..Decoded::default() };
                let read = body::checked(decoded, wanted, validation, "")?;
                scaled(served, old, &read.object, read.warnings)
            };
            write::edit(change, patched).await?
        }
        _ => return Err(errors::no_such_verb(&request)),
    };
    let Some(Response { code, warnings, answer: Answer::Object(document) }) = response else {
        return Err(errors::not_found(&served.info, &request.name));
    };
    Ok(Response { code, warnings, answer: Answer::Value(of(served, &document.value()?)?) })
}

/// The workload after a scale was applied to it: its replicas then belong to whoever applied, by way of the sub-resource.
fn applied(
    served: &Served,
    request: &Request,
    old: &Value,
    (patch, wanted): (&Patch, Wanted<'_>),
    now: &str,
) -> Result<Proposal> {
    let mut scale = patch.tree().clone();
    if (scale["apiVersion"].as_str(), scale["kind"].as_str()) != (Some("autoscaling/v1"), Some("Scale")) {
        let why = "the configuration is no Scale of autoscaling/v1, which the request is for";
        return Err(errors::bad_request(why));
    }
    if object::name(&scale).is_empty() {
        object::set_meta(&mut scale, "name", Some(request.name.as_str().into()));
    }
    let said = scale["spec"]["replicas"].clone();
    let decoded = Decoded { value: scale, ..Decoded::default() };
    let read = body::checked(decoded, wanted, request.options.field_validation, "")?;
    // What is wrong with a scale is wrong however it comes.
    scaled(served, old, &read.object, Vec::new())?;
    let mut config = json!({"apiVersion": served.storage.api_version(), "kind": &*served.storage.kind,
        "metadata": {"name": object::name(old), "namespace": object::meta(old, "namespace")}});
    if !said.is_null() {
        put(&mut config, &place(served), said);
    }
    let merged = Owner::of(served, request, now.to_owned()).apply(served, Some(old), &config, request.options.force)?;
    let decoded = Decoded { value: merged, ..Decoded::default() };
    let stored = body::checked(decoded, Wanted::object_of(&served.storage), FieldValidation::Ignore, "")?;
    Ok(Proposal { object: stored.object, owners: Owners::Settled, warnings: read.warnings })
}

/// The workload with the replicas of a scale.
fn scaled(served: &Served, old: &Value, scale: &Value, warnings: Vec<String>) -> Result<Proposal> {
    let name = object::name(old);
    let said = object::name(scale);
    if said != name {
        let message = format!("the name of the object ({said}) does not match the name on the URL ({name})");
        return Err(errors::bad_request(message));
    }
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
    if replicas < 0 {
        let cause = errors::bad_value("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(errors::invalid("autoscaling", "Scale", name, vec![cause]));
    }
    let uid = object::meta_text(scale, "uid");
    let found = object::meta_text(old, "uid");
    if !uid.is_empty() && uid != found {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(errors::conflict(&served.info, name, &why));
    }
    let mut object = old.clone();
    let version = object::meta(scale, "resourceVersion");
    if !object::is_empty(version) {
        object::set_meta(&mut object, "resourceVersion", Some(version.clone()));
    }
    rescale(served, &mut object, scale);
    Ok(Proposal { object, owners: Owners::Record, warnings })
}

/// Gives a workload the replicas of a scale.
pub(crate) fn rescale(served: &Served, workload: &mut Value, scale: &Value) {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
    put(workload, &place(served), replicas.into());
}

/// The fields that lead to the replicas of a workload.
fn place(served: &Served) -> Vec<&str> {
    match scale_of(served) {
        Some(Scale { spec, .. }) => spec.fields().unwrap_or_default(),
        None => vec!["spec", "replicas"],
    }
}

/// Where a custom resource has its replicas.
fn scale_of(served: &Served) -> Option<&Scale> {
    served.definition()?.scale.as_ref()
}

/// Sets the value at a chain of fields.
fn put(object: &mut Value, fields: &[&str], value: Value) {
    match fields {
        [] => {}
        [last] => _ = object::as_map(object).insert((*last).to_owned(), value),
        [first, rest @ ..] => {
            let inner = object::as_map(object).entry(*first).or_insert(Value::Null);
            put(inner, rest, value);
        }
    }
}

/// How many replicas are wanted, how many there are, and what selects them.
fn facts(served: &Served, workload: &Value) -> Result<(i64, i64, String)> {
    let Some(scale) = scale_of(served) else {
        let number = |part: &str| workload[part]["replicas"].as_i64().unwrap_or_default();
        return Ok((number("spec"), number("status"), selector(served, &workload["spec"]["selector"])));
    };
    let number = |path: &JsonPath| path.first(workload).and_then(Value::as_i64);
    let wanted = number(&scale.spec).ok_or_else(|| {
        let path = scale.spec.fields().unwrap_or_default().join(".");
        Error::new(ErrorKind::Internal, format!("the spec replicas field \".{path}\" does not exist"))
    })?;
    let selected = scale.selector.as_ref().and_then(|path| path.first(workload)?.as_str());
    Ok((wanted, number(&scale.status).unwrap_or_default(), selected.unwrap_or_default().to_owned()))
}

/// The scale of a workload.
pub(crate) fn of(served: &Served, workload: &Value) -> Result<Value> {
    let (replicas, there, selector) = facts(served, workload)?;
    let mut meta = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        let value = object::meta(workload, field);
        if !value.is_null() {
            meta[field] = value.clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": {},
        "status": {"replicas": there},
    });
    if replicas != 0 {
        scale["spec"]["replicas"] = replicas.into();
    }
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    Ok(scale)
}

fn selector(served: &Served, selector: &Value) -> String {
    if served.is("", "replicationcontrollers") {
        let pairs = selector.as_object().into_iter().flatten();
        let pairs = pairs.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()));
        return Labels::equal_to(pairs).to_string();
    }
    Labels::from_json(Some(selector)).map(|labels| labels.to_string()).unwrap_or_default()
}

//! How many replicas a workload has, in a form (`autoscaling/v1` Scale) that is the same for all of them.

use std::mem;

use serde_json::{Value, json};
use windlass_api::{decode::Decoded, resources::Subresource, selector::Labels};
use windlass_kernel::{
    api::{Answer, PatchType, Request, Response, Verb},
    error::{Error, ErrorKind, Result},
};

use crate::{
    body::{self, Wanted},
    custom::{self, Scale, path::JsonPath},
    errors, object,
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
        Verb::Patch(PatchType::Apply) => return Err(errors::not_supported("server-side apply to a scale")),
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
    match scale_of(served) {
        Some(Scale { spec, .. }) => put(workload, &spec.fields().unwrap_or_default(), replicas.into()),
        None => _ = object::child_mut(workload, "spec").insert("replicas".into(), replicas.into()),
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

//! May somebody do something: the authorizer is asked, nothing else.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use windlass_kernel::{
    Identity,
    access::{Attributes, Decision},
    api::Request,
    error::{Cause, Result},
};

use crate::{errors, registry::Info, server::ApiServer};

/// About the one who asks.
pub(super) async fn of_self(server: &ApiServer, request: &Request, review: &Value) -> Result<Value> {
    let spec = &review["spec"];
    let wrong = attributes_complaints(spec);
    if !wrong.is_empty() {
        return Err(errors::invalid("authorization.k8s.io", "SelfSubjectAccessReview", "", wrong));
    }
    ask(server, &request.identity, spec).await
}

/// About anybody.
pub(super) async fn of_subject(server: &ApiServer, info: &Info, review: &Value) -> Result<Value> {
    let spec = &review["spec"];
    let mut wrong = attributes_complaints(spec);
    if text(spec, "user").is_empty() && spec["groups"].as_array().is_none_or(Vec::is_empty) {
        wrong.push(errors::bad_value("spec.user", "\"\"", "at least one of user or group must be specified"));
    }
    if !wrong.is_empty() {
        return Err(errors::invalid(&info.group, &info.kind, "", wrong));
    }
    ask(server, &subject(spec), spec).await
}

/// About anybody in one namespace.
pub(super) async fn of_local(server: &ApiServer, info: &Info, request: &Request, review: &Value) -> Result<Value> {
    let namespace = text(&review["spec"]["resourceAttributes"], "namespace");
    if namespace != request.namespace {
        let why = format!("spec.resourceAttributes.namespace must match namespace: {}", request.namespace);
        return Err(errors::bad_request(why));
    }
    of_subject(server, info, review).await
}

async fn ask(server: &ApiServer, identity: &Identity, spec: &Value) -> Result<Value> {
    let decision = server.parts.authorizer.authorize(identity, &attributes(spec)).await?;
    let (allowed, denied, reason) = match decision {
        Decision::Allow(reason) => (true, false, reason),
        Decision::Deny(reason) => (false, true, reason),
        Decision::NoOpinion(reason) => (false, false, reason),
    };
    let mut status = json!({"allowed": allowed});
    if denied {
        status["denied"] = true.into();
    }
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}

fn attributes_complaints(spec: &Value) -> Vec<Cause> {
    match (spec["resourceAttributes"].is_object(), spec["nonResourceAttributes"].is_object()) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            vec![errors::bad_value("spec.nonResourceAttributes", &spec["nonResourceAttributes"], why)]
        }
        (false, false) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![errors::bad_value("spec.resourceAttributes", "null", why)]
        }
        _ => Vec::new(),
    }
}

fn attributes(spec: &Value) -> Attributes {
    let paths = &spec["nonResourceAttributes"];
    if paths.is_object() {
        return Attributes {
            verb: text(paths, "verb").into(),
            path: text(paths, "path").into(),
            ..Attributes::default()
        };
    }
    let of = &spec["resourceAttributes"];
    Attributes {
        verb: text(of, "verb").into(),
        group: text(of, "group").into(),
        version: text(of, "version").into(),
        resource: text(of, "resource").into(),
        subresource: text(of, "subresource").into(),
        namespace: text(of, "namespace").into(),
        name: text(of, "name").into(),
        ..Attributes::default()
    }
}

fn subject(spec: &Value) -> Identity {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra: BTreeMap<String, Vec<String>> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.to_lowercase(), strings(values)))
        .collect();
    Identity { name: text(spec, "user").into(), uid: text(spec, "uid").into(), groups: strings(&spec["groups"]), extra }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

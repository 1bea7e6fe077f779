//! Assigning a pod to a node, once.

use std::mem;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_kernel::{
    api::{Request, Response},
    error::{Error, ErrorKind, Result},
};

use crate::{
    body::{self, Wanted},
    errors,
    kinds::{Errors, pod as pods},
    object,
    registry::Served,
    rules::Part,
    server::ApiServer,
    write::{self, Change, Owners, Proposal},
};

/// The labels of a node that its pods get.
const TOPOLOGY: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// Assigns the pod that the binding in the request's body names.
pub(crate) async fn bind(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    let bindings = server.parts.registry.known("", "v1", "bindings")?;
    let body = mem::take(&mut request.body);
    let mut binding = body::object(body, Wanted::object_of(&bindings.info), request.options.field_validation)?.object;
    let mut wrong = Errors::new();
    pods::validate_binding(&binding, &mut wrong);
    wrong.into_result("", "Binding", object::name(&binding))?;
    let name = object::name(&binding);
    if request.name.is_empty() {
        request.name = name.to_owned();
    } else if !name.is_empty() && name != request.name {
        return Err(errors::bad_request("name in URL does not match name in Binding object"));
    }
    let mut warnings = Vec::new();
    let about = if request.subresource.is_empty() { bindings } else { served };
    write::posted(server, about, &request, &mut binding, &mut warnings).await?;
    if server.parts.plugins.run("PodTopologyLabels") {
        label(server, &mut binding).await?;
    }
    let now = server.parts.clock.now();
    let change = Change { server, served, request: &request, part: Part::CHOSEN };
    let assign = |pod: &Value| {
        let object = assigned(pod, &binding, now).map_err(|why| refuse(&request.name, &why))?;
        Ok(Proposal { object, owners: Owners::Settled, warnings: Vec::new() })
    };
    match write::edit(change, assign).await? {
        Some(_) => Ok(Response { warnings, ..super::done() }),
        None => Err(errors::not_found(&served.info, &request.name)),
    }
}

/// Gives the pod the labels that say where its node is (KEP-4742, `PodTopologyLabels`).
async fn label(server: &ApiServer, binding: &mut Value) -> Result<()> {
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    let key = server.parts.registry.known("", "v1", "nodes")?.key("", node);
    let Some(found) = server.read(&key).await? else { return Ok(()) };
    let places: Vec<(&str, String)> =
        TOPOLOGY.into_iter().filter_map(|label| Some((label, found.label(label)?.to_owned()))).collect();
    if !places.is_empty() {
        let labels = object::meta_mut(binding).entry("labels").or_insert_with(|| json!({}));
        object::as_map(labels).extend(places.into_iter().map(|(label, place)| (label.to_owned(), place.into())));
    }
    Ok(())
}

fn refuse(name: &str, why: &str) -> Error {
    let message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
    Error::new(ErrorKind::Conflict, message).detailed(|details| {
        details.name = name.into();
        details.kind = "pods/binding".into();
    })
}

/// The pod on its node, or why it does not go there.
fn assigned(pod: &Value, binding: &Value, now: Timestamp) -> Result<Value, String> {
    let name = object::name(pod);
    let uid = object::meta_text(binding, "uid");
    let found = object::meta_text(pod, "uid");
    if !uid.is_empty() && uid != found {
        return Err(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"));
    }
    if !object::is_empty(object::meta(pod, "deletionTimestamp")) {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return Err(format!("pod {name} is already assigned to node {node:?}"));
    }
    if !object::is_empty(&pod["spec"]["schedulingGates"]) {
        return Err(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut pod = pod.clone();
    let version = object::meta(binding, "resourceVersion");
    if !object::is_empty(version) {
        object::set_meta(&mut pod, "resourceVersion", Some(version.clone()));
    }
    object::child_mut(&mut pod, "spec").insert("nodeName".into(), binding["target"]["name"].clone());
    for field in ["annotations", "labels"] {
        if let Some(given) = object::meta(binding, field).as_object().filter(|given| !given.is_empty()) {
            let own = object::meta_mut(&mut pod).entry(field).or_insert_with(|| json!({}));
            object::as_map(own).extend(given.clone());
        }
    }
    scheduled(&mut pod, now);
    Ok(pod)
}

/// Says in the pod's conditions that it has a node.
fn scheduled(pod: &mut Value, now: Timestamp) {
    let generation = object::meta(pod, "generation").clone();
    let status = object::child_mut(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Value::Array(conditions) = conditions else { return };
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    let mut condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": object::time(now)});
    if !generation.is_null() {
        condition["observedGeneration"] = generation;
    }
    conditions.push(condition);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pod: &Value, expect: Result<&str, &str>) {
        let binding = json!({"target": {"name": "n1"}});
        let said = assigned(pod, &binding, Timestamp::UNIX_EPOCH);
        let node = said.as_ref().map(|pod| pod["spec"]["nodeName"].as_str().unwrap()).map_err(String::as_str);
        assert_eq!(node, expect);
    }

    #[test]
    fn a_pod_is_assigned_once_and_only_while_it_lives() {
        check(&json!({"metadata": {"name": "p"}}), Ok("n1"));
        let bound = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n2"}});
        check(&bound, Err("pod p is already assigned to node \"n2\""));
        let going = json!({"metadata": {"name": "p", "deletionTimestamp": "1970-01-01T00:00:00Z"}});
        check(&going, Err("pod p is being deleted, cannot be assigned to a host"));
    }
}

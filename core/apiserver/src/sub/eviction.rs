//! Evicting a pod: a deletion that a disruption budget may forbid for now.

use std::{mem, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_api::{
    resources::{self, GroupVersionKind},
    schema::Message,
    selector::Labels,
};
use windlass_kernel::{
    Document,
    api::{Answer, Body, Request, Response, Verb},
    error::{Cause, Error, ErrorKind, Result},
    store::{Condition, KeyRange, ListSpec, Op, ReadAt, Txn, TxnOutcome},
};

use crate::{
    body::{self, Wanted},
    errors, index, object,
    registry::Served,
    rules::Part,
    server::ApiServer,
    verbs,
    write::{self, Change, Owners, Proposal, Whom},
};

const ATTEMPTS: usize = 20;
const WAIT: Duration = Duration::from_secs(10);
const MOST_DISRUPTED: usize = 2000;
const TARGET: &str = "DisruptionTarget";

/// Deletes the pod unless its budget forbids it.
pub(super) async fn evict(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    let kind = GroupVersionKind { group: "policy", version: "v1", kind: "Eviction" };
    let message = Message::of_kind(kind.group, kind.version, kind.kind);
    let message = message.ok_or_else(|| Error::new(ErrorKind::Internal, "Eviction has no schema"))?;
    let validation = request.options.field_validation;
    let mut eviction = body::object(mem::take(&mut request.body), Wanted::kind(kind, message), validation)?.object;
    let named = object::name(&eviction);
    if !named.is_empty() && named != request.name {
        return Err(errors::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut warnings = Vec::new();
    write::posted(server, served, &request, &mut eviction, &mut warnings).await?;
    if eviction["deleteOptions"].is_object() {
        request.body = Body::Value(eviction["deleteOptions"].clone());
    }
    verbs::read_options(&mut request)?;
    request.verb = Verb::Delete;
    request.subresource.clear();
    let any_version = request.options.preconditions.resource_version.is_none();
    for _ in 0..ATTEMPTS {
        let pod = verbs::read(server, served, &request).await?;
        let value = pod.value()?;
        let unready = !is_free(&value) && spend(server, &request, &pod, &value).await? == Spent::NothingUnready;
        let mut request = request.clone();
        if unready && any_version {
            request.options.preconditions.resource_version = Some(pod.revision().to_string());
        }
        announce(server, served, &mut request, &value).await?;
        match verbs::remove(server, served, &request, Whom::Plugins, &mut warnings).await {
            // It may be ready by now, and count.
            Err(error) if error.is(ErrorKind::Conflict) && unready && any_version => {}
            done => return done.map(|_| Response { warnings, ..super::done() }),
        }
    }
    Err(refuse(None, Some(WAIT)))
}

/// What an eviction took from a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spent {
    /// One disruption.
    One,
    /// Nothing, as no budget speaks of the pod.
    Nothing,
    /// Nothing, as long as the pod is not ready.
    NothingUnready,
}

/// Says in the pod's status that it is going to be evicted (KEP-3329).
async fn announce(server: &ApiServer, served: &Served, request: &mut Request, pod: &Value) -> Result<()> {
    if request.options.dry_run || !object::is_empty(object::meta(pod, "deletionTimestamp")) {
        return Ok(());
    }
    let now = server.parts.clock.now();
    let preconditions = request.options.preconditions.clone();
    let change = Change { server, served, request: &*request, part: Part::CHOSEN };
    let announced = write::edit(change, |pod| {
        let mut pod = pod.clone();
        // What the deletion is to find, this must find too.
        for (field, wanted) in [("uid", &preconditions.uid), ("resourceVersion", &preconditions.resource_version)] {
            if let Some(wanted) = wanted {
                object::set_meta(&mut pod, field, Some(wanted.as_str().into()));
            }
        }
        targeted(&mut pod, now);
        Ok(Proposal { object: pod, owners: Owners::Settled, warnings: Vec::new() })
    });
    let announced = announced.await?;
    if let (Some(Response { answer: Answer::Object(pod), .. }), Some(version)) =
        (announced, &mut request.options.preconditions.resource_version)
    {
        *version = pod.revision().to_string();
    }
    Ok(())
}

fn targeted(pod: &mut Value, now: Timestamp) {
    let generation = object::meta(pod, "generation").clone();
    let status = object::child_mut(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Value::Array(conditions) = conditions else { return };
    let held = conditions.iter().position(|condition| condition["type"] == TARGET);
    let mut condition = json!({
        "type": TARGET, "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastProbeTime": null, "lastTransitionTime": object::time(now),
    });
    if !generation.is_null() {
        condition["observedGeneration"] = generation;
    }
    match held {
        Some(at) if conditions[at]["status"] == "True" => {}
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// Whether the pod counts for no budget: it has ended, has not begun, or is going already.
fn is_free(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending" | "")
        || !object::is_empty(object::meta(pod, "deletionTimestamp"))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Takes the pod out of its budget, if it has one.
async fn spend(server: &ApiServer, request: &Request, pod: &Document, value: &Value) -> Result<Spent> {
    let budgets = server.parts.registry.known("policy", "v1", "poddisruptionbudgets")?;
    for _ in 0..ATTEMPTS {
        let range = KeyRange::prefix(&budgets.collection(&request.namespace));
        let listing = server.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await?;
        let mut found = Vec::new();
        for entry in listing.entries {
            let document = Document::stored(entry)?;
            let budget = document.value()?;
            let selector = &budget["spec"]["selector"];
            let labels = if selector.is_null() { Ok(Labels::nothing()) } else { Labels::from_json(Some(selector)) };
            if labels.is_ok_and(|labels| labels.matches_with(|label| pod.label(label))) {
                found.push((document, budget));
            }
        }
        if found.len() > 1 {
            let message =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let Some((document, mut budget)) = found.pop() else { return Ok(Spent::Nothing) };
        let now = server.parts.clock.now();
        if !allowed(&mut budget, object::name(value), is_ready(value), now)? {
            return Ok(Spent::NothingUnready);
        }
        if request.options.dry_run {
            return Ok(Spent::One);
        }
        object::set_meta(&mut budget, "resourceVersion", None);
        let key = document.entry().key.clone();
        let encoded = index::encode(budgets, &budget)?;
        let txn = Txn {
            conditions: vec![Condition::Unchanged(key.clone(), document.entry().modified)],
            ops: vec![Op::Put { key, value: encoded, lease: None }],
            ..Txn::default()
        };
        if matches!(server.parts.store.txn(txn).await?, TxnOutcome::Applied { .. }) {
            return Ok(Spent::One);
        }
    }
    Err(refuse(None, Some(WAIT)))
}

/// Notes the disruption in the budget; says whether there was anything to note.
fn allowed(budget: &mut Value, pod: &str, ready: bool, now: Timestamp) -> Result<bool> {
    let name = object::name(budget).to_owned();
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let status = &budget["status"];
    let (healthy, desired) = (number(&status["currentHealthy"]), number(&status["desiredHealthy"]));
    if !ready {
        let always = budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
        if always || (healthy >= desired && desired > 0) {
            return Ok(false);
        }
    }
    if number(&status["observedGeneration"]) < number(object::meta(budget, "generation")) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refuse(Some(why), Some(WAIT)));
    }
    let left = number(&status["disruptionsAllowed"]);
    let info = resources::find("policy", "v1", "poddisruptionbudgets");
    let forbid = |why: &str| match info {
        Some(info) => errors::forbidden(info, &name, why),
        None => Error::new(ErrorKind::Forbidden, why),
    };
    if left < 0 {
        return Err(forbid("pdb disruptions allowed is negative"));
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > MOST_DISRUPTED) {
        return Err(forbid("DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
    }
    if left == 0 {
        let why = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return Err(refuse(Some(why), None));
    }
    let status = object::child_mut(budget, "status");
    status.insert("disruptionsAllowed".into(), (left - 1).into());
    let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
    object::as_map(disrupted).insert(pod.into(), object::time(now).into());
    Ok(true)
}

fn refuse(why: Option<String>, retry_after: Option<Duration>) -> Error {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    Error::new(ErrorKind::TooManyRequests, message).detailed(|details| {
        details.retry_after = retry_after;
        details.causes.extend(why.map(|message| Cause {
            reason: "DisruptionBudget".into(),
            message,
            field: String::new(),
        }));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &Value, ready: bool, expect: &str) {
        let mut budget = json!({"metadata": {"name": "b", "generation": 1}, "spec": {}, "status": status});
        let said = match allowed(&mut budget, "p", ready, Timestamp::UNIX_EPOCH) {
            Ok(noted) => format!("{noted} {}", budget["status"]["disruptionsAllowed"]),
            Err(error) => error.details().unwrap().causes[0].message.clone(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn a_budget_is_spent_one_pod_at_a_time() {
        check(&json!({"observedGeneration": 1, "disruptionsAllowed": 2}), true, "true 1");
        let spent = json!({"observedGeneration": 1, "disruptionsAllowed": 0, "desiredHealthy": 2, "currentHealthy": 2});
        check(&spent, true, "The disruption budget b needs 2 healthy pods and has 2 currently");
        check(&spent, false, "false 0");
        check(&json!({}), true, "The disruption budget b is still being processed by the server.");
    }
}

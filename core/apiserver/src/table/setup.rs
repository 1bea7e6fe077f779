//! The rows of what a cluster is set up with: admission, flow control, aggregated services.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, UNSET, born, cell, cell_or, count, name, number};
use super::{AGE, Column, NAME};
use crate::kinds::field::{dig, items, lookup, text};

pub(super) const API_SERVICE: &[Column] =
    &[NAME, Column::new("Service", "string"), Column::new("Available", "string"), AGE];

pub(super) fn api_service(service: &Value, now: Timestamp) -> Vec<Value> {
    let backend = dig(service, &["spec", "service"]);
    let shown = match text(backend, &["name"]) {
        "" => "Local".to_owned(),
        name => format!("{}/{name}", text(backend, &["namespace"])),
    };
    let available = items(service, &["status", "conditions"]).find(|c| text(c, &["type"]) == "Available");
    let available = available.map_or_else(
        || "Unknown".to_owned(),
        |c| match text(c, &["status"]) {
            "True" => "True".to_owned(),
            status => format!("{status} ({})", text(c, &["reason"])),
        },
    );
    vec![name(service), shown.into(), available.into(), born(service, now)]
}

pub(super) const WEBHOOKS: &[Column] = &[NAME, Column::new("Webhooks", "integer"), AGE];

pub(super) fn webhooks(config: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(config), count(config, "webhooks").into(), born(config, now)]
}

pub(super) const VALIDATIONS: &[Column] =
    &[NAME, Column::new("Validations", "integer"), Column::new("ParamKind", "string"), AGE];

pub(super) fn validations(policy: &Value, now: Timestamp) -> Vec<Value> {
    admission_policy(policy, "validations", now)
}

pub(super) const MUTATIONS: &[Column] =
    &[NAME, Column::new("Mutations", "integer"), Column::new("ParamKind", "string"), AGE];

pub(super) fn mutations(policy: &Value, now: Timestamp) -> Vec<Value> {
    admission_policy(policy, "mutations", now)
}

fn admission_policy(policy: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let (spec, kind) = (lookup(policy, "spec"), dig(policy, &["spec", "paramKind"]));
    let shown = match kind {
        Value::Null => UNSET.to_owned(),
        kind => format!("{}/{}", text(kind, &["apiVersion"]), text(kind, &["kind"])),
    };
    vec![name(policy), count(spec, rules).into(), shown.into(), born(policy, now)]
}

pub(super) const POLICY_BINDING: &[Column] =
    &[NAME, Column::new("PolicyName", "string"), Column::new("ParamRef", "string"), AGE];

pub(super) fn policy_binding(binding: &Value, now: Timestamp) -> Vec<Value> {
    let reference = dig(binding, &["spec", "paramRef"]);
    let shown = match (text(reference, &["namespace"]), text(reference, &["name"])) {
        _ if reference.is_null() => UNSET.to_owned(),
        ("", name) if !name.is_empty() => format!("*/{name}"),
        (namespace, "") => format!("{}/*", if namespace.is_empty() { "*" } else { namespace }),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![name(binding), cell(binding, &["spec", "policyName"]), shown.into(), born(binding, now)]
}

pub(super) const FLOW: &[Column] = &[
    NAME,
    Column::new("PriorityLevel", "string"),
    Column::new("MatchingPrecedence", "string"),
    Column::new("DistinguisherMethod", "string"),
    AGE,
    Column::new("MissingPL", "string"),
];

pub(super) fn flow(flow: &Value, now: Timestamp) -> Vec<Value> {
    let dangling = items(flow, &["status", "conditions"]).find(|c| text(c, &["type"]) == "Dangling");
    vec![
        name(flow),
        cell(flow, &["spec", "priorityLevelConfiguration", "name"]),
        number(flow, &["spec", "matchingPrecedence"]).into(),
        cell_or(flow, &["spec", "distinguisherMethod", "type"], NONE),
        born(flow, now),
        dangling.map_or("?", |c| text(c, &["status"])).into(),
    ]
}

pub(super) const LEVEL: &[Column] = &[
    NAME,
    Column::new("Type", "string"),
    Column::new("NominalConcurrencyShares", "string"),
    Column::new("Queues", "string"),
    Column::new("HandSize", "string"),
    Column::new("QueueLengthLimit", "string"),
    AGE,
];

pub(super) fn level(level: &Value, now: Timestamp) -> Vec<Value> {
    let limited = dig(level, &["spec", "limited"]);
    let queuing = dig(limited, &["limitResponse", "queuing"]);
    let shown = |value: &Value| value.as_i64().map_or_else(|| Value::from(NONE), Value::from);
    vec![
        name(level),
        cell(level, &["spec", "type"]),
        shown(lookup(limited, "nominalConcurrencyShares")),
        shown(lookup(queuing, "queues")),
        shown(lookup(queuing, "handSize")),
        shown(lookup(queuing, "queueLengthLimit")),
        born(level, now),
    ]
}

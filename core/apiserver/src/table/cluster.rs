//! The rows of nodes, namespaces, events, configuration, access and storage.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, UNKNOWN, UNSET, born, cell, cell_or, condition, count, joined, leaving, name, number, truth};
use super::{AGE, Column, NAME, age, human};
use crate::kinds::field::{dig, items, lookup, text};

pub(super) const NODE: &[Column] = &[
    NAME,
    Column::new("Status", "string"),
    Column::new("Roles", "string"),
    AGE,
    Column::new("Version", "string"),
    Column::wide("Internal-IP", "string"),
    Column::wide("External-IP", "string"),
    Column::wide("OS-Image", "string"),
    Column::wide("Kernel-Version", "string"),
    Column::wide("Container-Runtime", "string"),
];

pub(super) fn node(node: &Value, now: Timestamp) -> Vec<Value> {
    let known = items(node, &["status", "conditions"]).any(|c| text(c, &["type"]) == "Ready");
    let mut status = match (known, condition(node, "Ready")) {
        (false, _) => "Unknown",
        (true, true) => "Ready",
        (true, false) => "NotReady",
    }
    .to_owned();
    if dig(node, &["spec", "unschedulable"]).as_bool() == Some(true) {
        status.push_str(",SchedulingDisabled");
    }
    let address = |kind: &str| {
        let found = items(node, &["status", "addresses"]).find(|a| text(a, &["type"]) == kind);
        Value::from(found.map_or(NONE, |a| text(a, &["address"])))
    };
    let info = |field: &str| cell_or(node, &["status", "nodeInfo", field], UNKNOWN);
    vec![
        name(node),
        status.into(),
        roles(node),
        born(node, now),
        cell(node, &["status", "nodeInfo", "kubeletVersion"]),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn roles(node: &Value) -> Value {
    let mut roles: BTreeSet<&str> = BTreeSet::new();
    for (key, value) in dig(node, &["metadata", "labels"]).as_object().into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/").filter(|role| !role.is_empty()) {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.extend(value.as_str().filter(|role| !role.is_empty()));
        }
    }
    joined(roles.into_iter(), NONE)
}

pub(super) const NAMESPACE: &[Column] = &[NAME, Column::new("Status", "string"), AGE];

pub(super) fn namespace(namespace: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(namespace), cell(namespace, &["status", "phase"]), born(namespace, now)]
}

pub(super) const EVENT: &[Column] = &[
    Column::new("Last Seen", "string"),
    Column::new("Type", "string"),
    Column::new("Reason", "string"),
    Column::new("Object", "string"),
    Column::wide("Subobject", "string"),
    Column::wide("Source", "string"),
    Column::new("Message", "string"),
    Column::wide("First Seen", "string"),
    Column::wide("Count", "string"),
    Column { name: "Name", r#type: "string", format: "name", priority: 1 },
];

pub(super) fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let either = |names: [&str; 2]| names.into_iter().map(|n| text(event, &[n])).find(|t| !t.is_empty()).unwrap_or("");
    let happened = text(event, &["eventTime"]);
    let first = match either(["firstTimestamp", "deprecatedFirstTimestamp"]) {
        "" => happened,
        first => first,
    };
    let last =
        match (text(event, &["series", "lastObservedTime"]), either(["lastTimestamp", "deprecatedLastTimestamp"])) {
            ("", "") => first,
            ("", last) => last,
            (series, _) => series,
        };
    let about = if lookup(event, "regarding").is_null() { "involvedObject" } else { "regarding" };
    let times = match number(event, &["series", "count"]) {
        0 => number(event, &["count"]).max(number(event, &["deprecatedCount"])).max(1),
        series => series,
    };
    vec![
        age(last, now).into(),
        cell(event, &["type"]),
        cell(event, &["reason"]),
        format!("{}/{}", text(event, &[about, "kind"]).to_lowercase(), text(event, &[about, "name"])).into(),
        cell(event, &[about, "fieldPath"]),
        source(event),
        either(["message", "note"]).trim().into(),
        age(first, now).into(),
        times.into(),
        name(event),
    ]
}

fn source(event: &Value) -> Value {
    let of = |paths: [[&'static str; 2]; 2]| paths.map(|p| text(event, &p)).into_iter().find(|t| !t.is_empty());
    let mut component = of([["source", "component"], ["deprecatedSource", "component"]]).unwrap_or_default();
    let mut host = of([["source", "host"], ["deprecatedSource", "host"]]).unwrap_or_default();
    if component.is_empty() {
        let names = ["reportingComponent", "reportingController"].map(|name| text(event, &[name]));
        component = names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        host = text(event, &["reportingInstance"]);
    }
    if host.is_empty() { component.into() } else { format!("{component}, {host}").into() }
}

pub(super) const SECRET: &[Column] = &[NAME, Column::new("Type", "string"), Column::new("Data", "integer"), AGE];

pub(super) fn secret(secret: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(secret), cell(secret, &["type"]), count(secret, "data").into(), born(secret, now)]
}

pub(super) const CONFIG: &[Column] = &[NAME, Column::new("Data", "integer"), AGE];

pub(super) fn config(config: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(config), (count(config, "data") + count(config, "binaryData")).into(), born(config, now)]
}

pub(super) const ACCOUNT: &[Column] = &[NAME, Column::new("Secrets", "integer"), AGE];

pub(super) fn account(account: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(account), count(account, "secrets").into(), born(account, now)]
}

pub(super) const QUOTA: &[Column] = &[NAME, Column::new("Request", "string"), Column::new("Limit", "string"), AGE];

pub(super) fn quota(quota: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in dig(quota, &["status", "hard"]).as_object().into_iter().flatten() {
        let used = match text(quota, &["status", "used", resource]) {
            "" => "0",
            used => used,
        };
        let shown = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
        if resource.starts_with("limits") { limits.push(shown) } else { requests.push(shown) }
    }
    vec![name(quota), requests.join(", ").into(), limits.join(", ").into(), born(quota, now)]
}

pub(super) const BINDING: &[Column] = &[
    NAME,
    Column::new("Role", "string"),
    AGE,
    Column::wide("Users", "string"),
    Column::wide("Groups", "string"),
    Column::wide("ServiceAccounts", "string"),
];

pub(super) fn binding(binding: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let all = items(binding, &["subjects"]).filter(|s| text(s, &["kind"]) == kind);
        let shown: Vec<String> = all
            .map(|s| match kind {
                "ServiceAccount" => format!("{}/{}", text(s, &["namespace"]), text(s, &["name"])),
                _ => text(s, &["name"]).to_owned(),
            })
            .collect();
        Value::from(shown.join(", "))
    };
    let role = dig(binding, &["roleRef"]);
    vec![
        name(binding),
        format!("{}/{}", text(role, &["kind"]), text(role, &["name"])).into(),
        born(binding, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

pub(super) const LEASE: &[Column] = &[NAME, Column::new("Holder", "string"), AGE];

pub(super) fn lease(lease: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(lease), cell(lease, &["spec", "holderIdentity"]), born(lease, now)]
}

pub(super) const SIGNING: &[Column] = &[
    NAME,
    AGE,
    Column::new("SignerName", "string"),
    Column::new("Requestor", "string"),
    Column::new("RequestedDuration", "string"),
    Column::new("Condition", "string"),
];

pub(super) fn signing(request: &Value, now: Timestamp) -> Vec<Value> {
    let mut shown = Vec::new();
    for kind in ["Approved", "Denied", "Failed"] {
        if condition(request, kind) {
            shown.push(kind);
        }
    }
    if shown.is_empty() {
        shown.push("Pending");
    }
    if !text(request, &["status", "certificate"]).is_empty() {
        shown.push("Issued");
    }
    let span = dig(request, &["spec", "expirationSeconds"]).as_i64();
    vec![
        name(request),
        born(request, now),
        cell(request, &["spec", "signerName"]),
        cell(request, &["spec", "username"]),
        span.map_or_else(|| NONE.to_owned(), human).into(),
        shown.join(",").into(),
    ]
}

pub(super) const PRIORITY: &[Column] = &[
    NAME,
    Column::new("Value", "integer"),
    Column::new("Global-Default", "boolean"),
    AGE,
    Column::new("PreemptionPolicy", "string"),
];

pub(super) fn priority(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(class),
        number(class, &["value"]).into(),
        lookup(class, "globalDefault").as_bool().unwrap_or_default().into(),
        born(class, now),
        cell(class, &["preemptionPolicy"]),
    ]
}

pub(super) const RUNTIME: &[Column] = &[NAME, Column::new("Handler", "string"), AGE];

pub(super) fn runtime(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(class), cell(class, &["handler"]), born(class, now)]
}

pub(super) const COMPONENT: &[Column] =
    &[NAME, Column::new("Status", "string"), Column::new("Message", "string"), Column::new("Error", "string")];

pub(super) fn component(component: &Value, _: Timestamp) -> Vec<Value> {
    let healthy = items(component, &["conditions"]).find(|c| text(c, &["type"]) == "Healthy").unwrap_or(&Value::Null);
    let status = match text(healthy, &["status"]) {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![name(component), status.into(), cell(healthy, &["message"]), cell(healthy, &["error"])]
}

pub(super) const CREATED: &[Column] = &[NAME, Column::new("Created At", "date")];

pub(super) fn created(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(object), cell(object, &["metadata", "creationTimestamp"])]
}

pub(super) const AGED: &[Column] = &[NAME, AGE];

pub(super) fn aged(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), born(object, now)]
}

pub(super) const CANDIDATE: &[Column] = &[
    NAME,
    Column::new("LeaseName", "string"),
    Column::new("BinaryVersion", "string"),
    Column::new("EmulationVersion", "string"),
    AGE,
];

pub(super) fn candidate(candidate: &Value, now: Timestamp) -> Vec<Value> {
    let of = |field: &str| cell(candidate, &["spec", field]);
    vec![name(candidate), of("leaseName"), of("binaryVersion"), of("emulationVersion"), born(candidate, now)]
}

/// `Terminating` for what is on its way out, else its phase.
pub(super) fn phase(object: &Value) -> Value {
    if leaving(object) { "Terminating".into() } else { cell(object, &["status", "phase"]) }
}

/// Whether a setting is on, as the columns of drivers show it.
pub(super) fn setting(object: &Value, field: &str) -> Value {
    match dig(object, &["spec", field]).as_bool() {
        Some(on) => on.into(),
        None => truth(&Value::Null, UNSET),
    }
}

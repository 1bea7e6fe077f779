//! The rows of services, what stands behind them, and what leads to them.

use jiff::Timestamp;
use serde_json::Value;

use super::text::{NONE, UNSET, born, cell, cell_or, joined, name, number, selector, some_of};
use super::{AGE, Column, NAME};
use crate::kinds::field::{dig, items, lookup, text};

const SHOWN: usize = 3;

pub(super) const SERVICE: &[Column] = &[
    NAME,
    Column::new("Type", "string"),
    Column::new("Cluster-IP", "string"),
    Column::new("External-IP", "string"),
    Column::new("Port(s)", "string"),
    AGE,
    Column::wide("Selector", "string"),
];

pub(super) fn service(service: &Value, now: Timestamp) -> Vec<Value> {
    let ip = items(service, &["spec", "clusterIPs"]).next().and_then(Value::as_str);
    let ip = ip.unwrap_or_else(|| text(service, &["spec", "clusterIP"]));
    vec![
        name(service),
        cell(service, &["spec", "type"]),
        if ip.is_empty() { NONE.into() } else { ip.into() },
        external(service),
        ports(service),
        born(service, now),
        selector(dig(service, &["spec", "selector"])),
    ]
}

fn external(service: &Value) -> Value {
    let given = items(service, &["spec", "externalIPs"]).filter_map(Value::as_str);
    match text(service, &["spec", "type"]) {
        "ClusterIP" | "NodePort" => joined(given, NONE),
        "LoadBalancer" => joined(balanced(service).into_iter().chain(given), "<pending>"),
        "ExternalName" => cell(service, &["spec", "externalName"]),
        _ => super::text::UNKNOWN.into(),
    }
}

/// The addresses that a load balancer gave.
fn balanced(object: &Value) -> Vec<&str> {
    let ingress = items(object, &["status", "loadBalancer", "ingress"]);
    let mut all: Vec<&str> = Vec::new();
    for one in ingress {
        let found = match text(one, &["ip"]) {
            "" => text(one, &["hostname"]),
            ip => ip,
        };
        if !found.is_empty() && !all.contains(&found) {
            all.push(found);
        }
    }
    all.sort_unstable();
    all
}

fn ports(service: &Value) -> Value {
    let shown: Vec<String> = items(service, &["spec", "ports"])
        .map(|port| {
            let (number, node) = (number(port, &["port"]), number(port, &["nodePort"]));
            let protocol = text(port, &["protocol"]);
            if node > 0 { format!("{number}:{node}/{protocol}") } else { format!("{number}/{protocol}") }
        })
        .collect();
    joined(shown.iter().map(String::as_str), NONE)
}

pub(super) const ENDPOINTS: &[Column] = &[NAME, Column::new("Endpoints", "string"), AGE];

pub(super) fn endpoints(endpoints: &Value, now: Timestamp) -> Vec<Value> {
    let mut all: Vec<String> = Vec::new();
    for subset in items(endpoints, &["subsets"]) {
        let mut ports = items(subset, &["ports"]).peekable();
        let bare = ports.peek().is_none();
        for address in items(subset, &["addresses"]).filter(|_| bare) {
            all.push(text(address, &["ip"]).to_owned());
        }
        for port in ports {
            for address in items(subset, &["addresses"]) {
                let (ip, port) = (text(address, &["ip"]), number(port, &["port"]));
                all.push(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") });
            }
        }
    }
    vec![name(endpoints), some_of(&all, SHOWN, NONE), born(endpoints, now)]
}

pub(super) const SLICE: &[Column] = &[
    NAME,
    Column::new("AddressType", "string"),
    Column::new("Ports", "string"),
    Column::new("Endpoints", "string"),
    AGE,
];

pub(super) fn slice(slice: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(slice, &["ports"])
        .map(|port| lookup(port, "port").as_i64().map_or_else(|| "*".to_owned(), |n| n.to_string()))
        .collect();
    let addresses: Vec<String> = items(slice, &["endpoints"])
        .flat_map(|endpoint| items(endpoint, &["addresses"]))
        .filter_map(|address| address.as_str().map(ToOwned::to_owned))
        .collect();
    vec![
        name(slice),
        cell(slice, &["addressType"]),
        some_of(&ports, SHOWN, UNSET),
        some_of(&addresses, SHOWN, UNSET),
        born(slice, now),
    ]
}

pub(super) const INGRESS: &[Column] = &[
    NAME,
    Column::new("Class", "string"),
    Column::new("Hosts", "string"),
    Column::new("Address", "string"),
    Column::new("Ports", "string"),
    AGE,
];

pub(super) fn ingress(ingress: &Value, now: Timestamp) -> Vec<Value> {
    let hosts: Vec<String> = items(ingress, &["spec", "rules"])
        .map(|rule| text(rule, &["host"]).to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let secure = items(ingress, &["spec", "tls"]).next().is_some();
    vec![
        name(ingress),
        cell_or(ingress, &["spec", "ingressClassName"], NONE),
        some_of(&hosts, SHOWN, "*"),
        joined(balanced(ingress).into_iter(), ""),
        if secure { "80, 443" } else { "80" }.into(),
        born(ingress, now),
    ]
}

pub(super) const INGRESS_CLASS: &[Column] =
    &[NAME, Column::new("Controller", "string"), Column::new("Parameters", "string"), AGE];

pub(super) fn ingress_class(class: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = dig(class, &["spec", "parameters"]);
    let mut shown = NONE.to_owned();
    if !parameters.is_null() {
        shown = text(parameters, &["kind"]).to_owned();
        for (before, field) in [(".", "apiGroup"), ("/", "namespace"), ("/", "name")] {
            let part = text(parameters, &[field]);
            if !part.is_empty() {
                shown.push_str(before);
                shown.push_str(part);
            }
        }
    }
    vec![name(class), cell(class, &["spec", "controller"]), shown.into(), born(class, now)]
}

pub(super) const POLICY: &[Column] = &[NAME, Column::new("Pod-Selector", "string"), AGE];

pub(super) fn policy(policy: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(policy), selector(dig(policy, &["spec", "podSelector"])), born(policy, now)]
}

pub(super) const SERVICE_CIDR: &[Column] = &[NAME, Column::new("CIDRs", "string"), AGE];

pub(super) fn service_cidr(cidr: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(cidr), joined(items(cidr, &["spec", "cidrs"]).filter_map(Value::as_str), ""), born(cidr, now)]
}

pub(super) const IP: &[Column] = &[NAME, Column::new("ParentRef", "string"), AGE];

pub(super) fn ip(ip: &Value, now: Timestamp) -> Vec<Value> {
    let parent = dig(ip, &["spec", "parentRef"]);
    let mut shown = text(parent, &["resource"]).to_owned();
    if !text(parent, &["group"]).is_empty() {
        shown = format!("{shown}.{}", text(parent, &["group"]));
    }
    if !text(parent, &["namespace"]).is_empty() {
        shown = format!("{shown}/{}", text(parent, &["namespace"]));
    }
    shown = format!("{shown}/{}", text(parent, &["name"]));
    vec![name(ip), shown.into(), born(ip, now)]
}

//! Services: ports, types and traffic policies; addresses and node ports are drawn elsewhere.

mod rules;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kinds::edit::{copy, default_number, default_to, each, inside, remove, set, within};
use crate::kinds::field::{dig, items, lookup, same, text};
use crate::kinds::{BASE, Kind, NameRule};

const AFFINITY_SECONDS: i64 = 10800;

pub(in crate::kinds) static SERVICE: Kind = Kind {
    // KEP-5311: since 1.36 a service's name may start with a digit.
    name: NameRule::Label,
    default,
    prepare_create: |service| {
        set(service, "status", json!({"loadBalancer": {}}));
        pair_addresses(service, &Value::Null);
    },
    prepare_update,
    validate: rules::validate,
    validate_status: rules::validate_status,
    fields: |service| {
        vec![
            ("spec.clusterIP", text(service, &["spec", "clusterIP"]).to_owned()),
            ("spec.type", text(service, &["spec", "type"]).to_owned()),
        ]
    },
    field_names: &["spec.clusterIP", "spec.type"],
    has_status: true,
    create_on_update: true,
    ..BASE
};

fn default(service: &mut Value) {
    within(service, "spec", |spec| {
        default_to(spec, "sessionAffinity", "None");
        match text(spec, &["sessionAffinity"]) {
            "None" => _ = remove(spec, "sessionAffinityConfig"),
            "ClientIP" if dig(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]).is_null() => {
                set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}));
            }
            _ => {}
        }
        default_to(spec, "type", "ClusterIP");
        each(spec, "ports", |port| {
            default_to(port, "protocol", "TCP");
            let number = lookup(port, "port").clone();
            let unset = match lookup(port, "targetPort") {
                Value::Null => true,
                Value::String(name) => name.is_empty(),
                other => other.as_i64() == Some(0),
            };
            if unset && !number.is_null() {
                set(port, "targetPort", number);
            }
        });
        if text(spec, &["type"]) != "ExternalName" {
            default_to(spec, "internalTrafficPolicy", "Cluster");
        }
        if reachable_from_outside(spec) {
            default_to(spec, "externalTrafficPolicy", "Cluster");
        }
        if text(spec, &["type"]) == "LoadBalancer" {
            default_to(spec, "allocateLoadBalancerNodePorts", true);
        }
    });
    inside(service, "status", |status| {
        inside(status, "loadBalancer", |balancer| {
            each(balancer, "ingress", |ingress| {
                if !text(ingress, &["ip"]).is_empty() {
                    default_to(ingress, "ipMode", "VIP");
                }
            });
        });
    });
}

/// Whether clients outside the cluster can reach it.
fn reachable_from_outside(spec: &Value) -> bool {
    match text(spec, &["type"]) {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => items(spec, &["externalIPs"]).next().is_some(),
        _ => false,
    }
}

fn needs_node_ports(spec: &Value) -> bool {
    match text(spec, &["type"]) {
        "NodePort" => true,
        "LoadBalancer" => lookup(spec, "allocateLoadBalancerNodePorts").as_bool() != Some(false),
        _ => false,
    }
}

fn needs_health_check(spec: &Value) -> bool {
    text(spec, &["type"]) == "LoadBalancer" && text(spec, &["externalTrafficPolicy"]) == "Local"
}

fn has_addresses(spec: &Value) -> bool {
    !matches!(text(spec, &["type"]), "ExternalName" | "")
}

/// Keeps `clusterIP` and the first of `clusterIPs` the same when only one of them was written.
fn pair_addresses(service: &mut Value, old: &Value) {
    let old_one = text(old, &["spec", "clusterIP"]).to_owned();
    let old_many = dig(old, &["spec", "clusterIPs"]).clone();
    inside(service, "spec", |spec| {
        let one = text(spec, &["clusterIP"]).to_owned();
        let many = lookup(spec, "clusterIPs").clone();
        let count = many.as_array().map_or(0, Vec::len);
        if old.is_null() {
            if !one.is_empty() && count == 0 {
                set(spec, "clusterIPs", json!([one]));
            }
            return;
        }
        if one == old_one {
            return;
        }
        if one.is_empty() {
            if same(&many, &old_many) {
                remove(spec, "clusterIPs");
            }
        } else if same(&many, &old_many) || count == 0 {
            set(spec, "clusterIPs", json!([one]));
        }
    });
}

fn prepare_update(new: &mut Value, old: &Value) {
    copy(new, old, "status");
    pair_addresses(new, old);
    let before = lookup(old, "spec");
    inside(new, "spec", |spec| {
        keep_drawn(spec, before);
        drop_by_type(spec, before);
    });
}

/// What was drawn for the service stays when an update leaves it out.
fn keep_drawn(spec: &mut Value, before: &Value) {
    if has_addresses(before) && has_addresses(spec) {
        let none = items(spec, &["clusterIPs"]).next().is_none();
        if text(spec, &["clusterIP"]).is_empty() && none {
            copy(spec, before, "clusterIP");
            copy(spec, before, "clusterIPs");
        }
        for name in ["ipFamilies", "ipFamilyPolicy"] {
            if lookup(spec, name).is_null() {
                copy(spec, before, name);
            }
        }
    }
    if needs_node_ports(before) && needs_node_ports(spec) {
        let mut used: BTreeSet<(String, i64)> = items(spec, &["ports"]).map(node_port_key).collect();
        each(spec, "ports", |port| {
            if lookup(port, "nodePort").as_i64().unwrap_or_default() != 0 {
                return;
            }
            let alike =
                |old: &&Value| ["protocol", "port"].iter().all(|name| same(lookup(port, name), lookup(old, name)));
            if let Some(old) = items(before, &["ports"]).find(alike) {
                let key = node_port_key(old);
                if key.1 != 0 && used.insert(key.clone()) {
                    set(port, "nodePort", key.1);
                }
            }
        });
    }
    if needs_health_check(before) && needs_health_check(spec) {
        let number = lookup(before, "healthCheckNodePort").as_i64().unwrap_or_default();
        if number != 0 {
            default_number(spec, "healthCheckNodePort", number);
        }
    }
}

fn node_port_key(port: &Value) -> (String, i64) {
    (text(port, &["protocol"]).to_owned(), lookup(port, "nodePort").as_i64().unwrap_or_default())
}

/// What only the old type needed goes away with it, unless the update changed it.
fn drop_by_type(spec: &mut Value, before: &Value) {
    let unchanged = |spec: &Value, name: &str| same(lookup(spec, name), lookup(before, name));
    if has_addresses(before) && !has_addresses(spec) {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if unchanged(spec, name) {
                remove(spec, name);
            }
        }
    }
    let ports = |spec: &Value| items(spec, &["ports"]).map(node_port_key).collect::<Vec<_>>();
    if needs_node_ports(before) && !needs_node_ports(spec) && ports(spec) == ports(before) {
        each(spec, "ports", |port| _ = remove(port, "nodePort"));
    }
    if needs_health_check(before) && !needs_health_check(spec) && unchanged(spec, "healthCheckNodePort") {
        remove(spec, "healthCheckNodePort");
    }
    let was_balancer = text(before, &["type"]) == "LoadBalancer" && text(spec, &["type"]) != "LoadBalancer";
    for name in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if was_balancer && unchanged(spec, name) {
            remove(spec, name);
        }
    }
    let unreachable = reachable_from_outside(before) && !reachable_from_outside(spec);
    if unreachable && unchanged(spec, "externalTrafficPolicy") {
        remove(spec, "externalTrafficPolicy");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::errors::Errors;

    fn service(spec: &Value) -> Value {
        let mut service = json!({"metadata": {"name": "s", "namespace": "d", "resourceVersion": "1"}, "spec": spec});
        default(&mut service);
        (SERVICE.prepare_create)(&mut service);
        service
    }

    #[track_caller]
    fn check(old: &Value, change: impl FnOnce(&mut Value), expect: &str) -> Value {
        let old = service(old);
        let mut new = old.clone();
        change(&mut new["spec"]);
        default(&mut new);
        prepare_update(&mut new, &old);
        let mut errors = Errors::new();
        SERVICE.check_update(&new, &old, Some(true), &mut errors);
        assert_eq!(errors.sentence(), expect);
        new["spec"].take()
    }

    #[test]
    fn a_small_service_gets_its_defaults() {
        assert_eq!(
            service(&json!({"ports": [{"port": 80}]}))["spec"],
            json!({"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "type": "ClusterIP",
                "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"})
        );
    }

    #[test]
    fn the_address_stays() {
        let old = json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]});
        check(
            &old,
            |spec| spec["clusterIP"] = "10.0.0.2".into(),
            "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set",
        );
        let kept = check(
            &old,
            |spec| {
                remove(spec, "clusterIP");
                remove(spec, "clusterIPs");
            },
            "[]",
        );
        assert_eq!(kept["clusterIPs"], json!(["10.0.0.1"]));
    }

    #[test]
    fn a_change_of_type_drops_what_the_old_type_needed() {
        let old = json!({"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30000}]});
        let kept = check(&old, |spec| spec["ports"] = json!([{"port": 80}]), "[]");
        assert_eq!(kept["ports"][0]["nodePort"], 30000);
        let dropped = check(&old, |spec| spec["type"] = "ClusterIP".into(), "[]");
        assert_eq!(dropped["ports"][0].get("nodePort"), None);
        assert_eq!(dropped.get("externalTrafficPolicy"), None);
    }
}

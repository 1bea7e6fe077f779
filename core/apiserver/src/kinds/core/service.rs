//! Services: ports, types and traffic policies; addresses and node ports are drawn elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use windlass_api::names;

use crate::kinds::edit::{copy, default_number, default_to, each, inside, remove, set};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, dig, items, lookup, same, text};
use crate::kinds::{BASE, Kind, NameRule, meta};

const AFFINITY_SECONDS: i64 = 10800;
const AFFINITY_MAX: i64 = 86400;
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub(in crate::kinds) static SERVICE: Kind = Kind {
    name: NameRule::Label1035,
    default,
    prepare_create: |service| {
        set(service, "status", json!({"loadBalancer": {}}));
        pair_addresses(service, &Value::Null);
    },
    prepare_update,
    validate,
    validate_status,
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
    inside(service, "spec", |spec| {
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

fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    if let Some(old) = old {
        let before = Field::top(old, "spec");
        kept_addresses(&spec, &before, errors);
        let class = spec.get("loadBalancerClass");
        let both = [&spec, &before].iter().all(|s| s.get("type").text() == "LoadBalancer");
        if both && !same(class.value(), before.get("loadBalancerClass").value()) {
            errors.invalid(&class, "may not change once set");
        }
        let check = spec.get("healthCheckNodePort");
        let needed = needs_health_check(spec.value()) && needs_health_check(before.value());
        if needed && check.number() != before.get("healthCheckNodePort").number() {
            errors.forbidden(&check, "field is immutable");
        }
    }
    let headless = is_headless(&spec);
    let kind = spec.get("type").text();
    if spec.get("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.required(&spec.get("ports"), "");
    }
    by_type(&spec, kind, headless, errors);
    let mut seen = BTreeSet::new();
    for port in spec.get("ports").items() {
        self::port(&port, spec.get("ports").len() > 1, &mut seen, errors);
    }
    meta::labels(&spec.get("selector"), errors);
    affinity(&spec, errors);
    if kind != "ExternalName" {
        addresses(&spec, headless, errors);
    }
    for ip in spec.get("externalIPs").items() {
        let before = errors.len();
        errors.ip(&ip);
        if errors.len() == before {
            super::endpoints::ordinary_ip(&ip, errors);
        }
    }
    errors.one_of(&spec.get("type"), &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    unique_ports(&spec, kind, errors);
    balancer(&spec, kind, errors);
    traffic(&spec, kind, errors);
}

fn is_headless(spec: &Field<'_, '_>) -> bool {
    let addresses = spec.get("clusterIPs");
    (addresses.len() == 1 && addresses.strings().next() == Some("None"))
        || (addresses.is_empty() && spec.get("clusterIP").text() == "None")
}

fn by_type(spec: &Field<'_, '_>, kind: &str, headless: bool, errors: &mut Errors) {
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let addresses = spec.get("clusterIPs");
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid_text(&addresses.index(0), "None", detail);
        }
        "ExternalName" => {
            if !spec.get("clusterIPs").is_empty() {
                errors.forbidden(&spec.get("clusterIPs"), "may not be set for ExternalName services");
            }
            if !spec.get("ipFamilies").is_empty() {
                errors.forbidden(&spec.get("ipFamilies"), "may not be set for ExternalName services");
            }
            if spec.get("ipFamilyPolicy").present() {
                errors.forbidden(&spec.get("ipFamilyPolicy"), "may not be set for ExternalName services");
            }
            let name = spec.get("externalName");
            let bare = name.text().strip_suffix('.').unwrap_or(name.text());
            if bare.is_empty() {
                errors.required(&name, "");
            } else {
                for complaint in names::dns_1123_subdomain(bare) {
                    errors.invalid_text(&name, bare, complaint);
                }
            }
        }
        _ => {}
    }
}

fn port<'v>(port: &Field<'_, 'v>, named: bool, seen: &mut BTreeSet<&'v str>, errors: &mut Errors) {
    let name = port.get("name");
    if name.is_empty() {
        if named {
            errors.required(&name, "");
        }
    } else {
        errors.invalid_each(&name, names::dns_1123_label(name.text()));
        if !seen.insert(name.text()) {
            errors.duplicate(&name);
        }
    }
    let number = port.get("port");
    let shown = json!(number.number());
    errors.invalid_each(&number.with(&shown), names::port_number(number.number()));
    errors.one_of(&port.get("protocol"), PROTOCOLS);
    errors.port_or_name(&port.get("targetPort"));
    let protocol = port.get("appProtocol");
    if protocol.present() {
        errors.invalid_each(&protocol, names::qualified_name(protocol.text()));
    }
}

fn affinity(spec: &Field<'_, '_>, errors: &mut Errors) {
    let affinity = spec.get("sessionAffinity");
    errors.one_of(&affinity, &["ClientIP", "None"]);
    let config = spec.get("sessionAffinityConfig");
    let client = config.get("clientIP");
    let seconds = client.get("timeoutSeconds");
    match affinity.text() {
        "ClientIP" => {
            if let Some(missing) = [config, client, seconds].iter().find(|field| !field.present()) {
                errors.required(missing, "when session affinity type is ClientIP");
            } else if !(1..=AFFINITY_MAX).contains(&seconds.number()) {
                errors.invalid(&seconds, format!("must be greater than 0 and less than {AFFINITY_MAX}"));
            }
        }
        "None" if config.present() => errors.forbidden(&config, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn addresses(spec: &Field<'_, '_>, headless: bool, errors: &mut Errors) {
    let (one, many, families) = (spec.get("clusterIP"), spec.get("clusterIPs"), spec.get("ipFamilies"));
    match (one.is_empty(), many.is_empty()) {
        (false, true) => errors.required(&many, ""),
        (false, false) if many.strings().next() != Some(one.text()) => {
            errors.invalid(&many, "first value must match `clusterIP`");
        }
        (true, false) => errors.invalid(&many, "must be empty when `clusterIP` is not specified"),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for family in families.items() {
        errors.optional_one_of(&family, &["IPv4", "IPv6"]);
        if !seen.insert(family.text()) {
            errors.duplicate(&family);
        }
    }
    errors.optional_one_of(&spec.get("ipFamilyPolicy"), &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    let before = errors.len();
    for (at, ip) in many.items().enumerate() {
        if at == 0 && ip.text() == "None" {
            if many.len() > 1 {
                errors.invalid(&many, "'None' must be the first and only value");
            }
            continue;
        }
        errors.ip(&ip);
    }
    if many.len() > 2 {
        errors.invalid(&many, "may only hold up to 2 values");
    }
    if errors.len() > before {
        return;
    }
    let is_six = |text: &str| text.parse().is_ok_and(|ip: IpAddr| ip.is_ipv6());
    let kinds: BTreeSet<bool> = many.strings().map(is_six).collect();
    if many.len() > 1 && kinds.len() < 2 {
        errors.invalid(&many, "may specify no more than one IP for each IP family");
    }
    for ((at, ip), family) in many.items().enumerate().zip(families.strings()).filter(|_| !headless) {
        if is_six(ip.text()) != (family == "IPv6") {
            errors.invalid(&ip, format!("expected an {family} value as indicated by `ipFamilies[{at}]`"));
        }
    }
}

fn unique_ports(spec: &Field<'_, '_>, kind: &str, errors: &mut Errors) {
    let ports = spec.get("ports");
    for port in ports.items().filter(|_| kind == "ClusterIP") {
        if port.get("nodePort").number() != 0 {
            errors.forbidden(&port.get("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let node = port.get("nodePort");
        if node.number() != 0 && !seen.insert((port.get("protocol").text(), node.number())) {
            errors.duplicate(&node);
        }
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let (protocol, number) = (port.get("protocol").text(), port.get("port").number());
        if !seen.insert((protocol, number)) {
            let shown = json!({"protocol": protocol, "port": number});
            errors.duplicate(&port.with(&shown));
        }
    }
}

fn balancer(spec: &Field<'_, '_>, kind: &str, errors: &mut Errors) {
    let only = "may only be used when `type` is 'LoadBalancer'";
    let balanced = kind == "LoadBalancer";
    let ranges = spec.get("loadBalancerSourceRanges").renamed(&spec.get("LoadBalancerSourceRanges"));
    if ranges.len() > 0 && !balanced {
        errors.forbidden(&ranges, only);
    }
    for range in ranges.items() {
        let trimmed = json!(range.text().trim());
        errors.cidr(&range.with(&trimmed));
    }
    let allocate = spec.get("allocateLoadBalancerNodePorts");
    if allocate.present() && !balanced {
        errors.forbidden(&allocate, only);
    }
    let class = spec.get("loadBalancerClass");
    if class.present() && !balanced {
        errors.forbidden(&class, only);
    } else if class.present() {
        errors.invalid_each(&class, names::qualified_name(class.text()));
    }
}

fn traffic(spec: &Field<'_, '_>, kind: &str, errors: &mut Errors) {
    let external = spec.get("externalTrafficPolicy");
    if reachable_from_outside(spec.value()) {
        errors.one_of(&external, &["Cluster", "Local"]);
    } else if !external.is_empty() {
        errors.invalid(&external, "may only be set for externally-accessible services");
    }
    let check = spec.get("healthCheckNodePort");
    if check.number() != 0 {
        if needs_health_check(spec.value()) {
            errors.invalid_each(&check, names::port_number(check.number()));
        } else {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(&check, detail);
        }
    }
    let internal = spec.get("internalTrafficPolicy");
    if kind != "ExternalName" && !internal.present() {
        errors.required(&internal, "");
    }
    errors.optional_one_of(&internal, &["Cluster", "Local"]);
    let distribution = spec.get("trafficDistribution");
    errors.optional_one_of(&distribution, &["PreferClose", "PreferSameZone", "PreferSameNode"]);
}

/// Addresses and families, once drawn, stay; a second one may come and go.
fn kept_addresses(spec: &Field<'_, '_>, before: &Field<'_, '_>, errors: &mut Errors) {
    let external = |s: &Field<'_, '_>| s.get("type").text() == "ExternalName";
    let (now_headless, was_headless) = (is_headless(spec), is_headless(before));
    if external(spec) || external(before) || (now_headless && was_headless) {
        return;
    }
    let policy = spec.get("ipFamilyPolicy");
    for (name, what) in [("clusterIPs", "clusterIP"), ("ipFamilies", "ipFamily")] {
        if name == "ipFamilies" && now_headless != was_headless {
            continue;
        }
        let (now, was) = (spec.get(name), before.get(name));
        let (new, old): (Vec<&str>, Vec<&str>) = (now.strings().collect(), was.strings().collect());
        if new.is_empty() && !old.is_empty() {
            if name == "clusterIPs" {
                errors.invalid(&now.index(0).with(&json!([])), format!("primary {what} can not be unset"));
            }
            continue;
        }
        for (at, _) in old.iter().zip(&new).enumerate().filter(|(_, (old, new))| old != new) {
            let whole = now.value();
            errors.invalid(&now.index(at).with(whole), "may not change once set");
        }
        if new.len() == 1 && old.len() > 1 && policy.text() != "SingleStack" {
            let detail = format!("must be set to 'SingleStack' when releasing the secondary {what}");
            errors.invalid(&policy, detail);
        }
    }
}

fn validate_status(new: &Value, _: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    let balancer = status.get("loadBalancer");
    let list = balancer.get("ingress");
    if list.len() > 0 && text(new, &["spec", "type"]) != "LoadBalancer" {
        errors.forbidden(&list, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for ingress in list.items() {
        let (ip, mode, host) = (ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname"));
        if !ip.is_empty() {
            errors.ip(&ip);
            if !mode.present() {
                errors.required(&mode, "must be specified when `ip` is set");
            }
        } else if mode.present() {
            errors.forbidden(&mode, "may not be specified when `ip` is not set");
        }
        errors.optional_one_of(&mode, &["Proxy", "VIP"]);
        if !host.is_empty() {
            meta::reference(&host, errors);
            if host.text().parse::<IpAddr>().is_ok() {
                errors.invalid(&host, "must be a DNS name, not an IP address");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Value {
        let mut service = json!({"metadata": {"name": "s", "namespace": "d", "resourceVersion": "1"}, "spec": spec});
        default(&mut service);
        (SERVICE.prepare_create)(&mut service);
        service
    }

    #[track_caller]
    fn check(old: Value, change: impl FnOnce(&mut Value), expect: &str) -> Value {
        let old = service(old);
        let mut new = old.clone();
        change(&mut new["spec"]);
        default(&mut new);
        prepare_update(&mut new, &old);
        let mut errors = Errors::new();
        SERVICE.check_update(&new, &old, &mut errors);
        assert_eq!(errors.sentence(), expect);
        new["spec"].take()
    }

    #[test]
    fn a_small_service_gets_its_defaults() {
        assert_eq!(
            service(json!({"ports": [{"port": 80}]}))["spec"],
            json!({"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "type": "ClusterIP",
                "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"})
        );
    }

    #[test]
    fn the_address_stays() {
        let old = json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]});
        check(
            old.clone(),
            |spec| spec["clusterIP"] = "10.0.0.2".into(),
            "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set",
        );
        let kept = check(
            old,
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
        let kept = check(old.clone(), |spec| spec["ports"] = json!([{"port": 80}]), "[]");
        assert_eq!(kept["ports"][0]["nodePort"], 30000);
        let dropped = check(old, |spec| spec["type"] = "ClusterIP".into(), "[]");
        assert_eq!(dropped["ports"][0].get("nodePort"), None);
        assert_eq!(dropped.get("externalTrafficPolicy"), None);
    }
}

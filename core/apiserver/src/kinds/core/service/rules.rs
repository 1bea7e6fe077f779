//! What a service may say: by its type, its ports, its addresses and its traffic policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use windlass_api::names;

use super::{needs_health_check, reachable_from_outside};
use crate::kinds::core::endpoints;
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, same, text};
use crate::kinds::meta;

const AFFINITY_MAX: i64 = 86400;
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub(super) fn validate(new: &Value, old: Option<&Value>, errors: &mut Errors) {
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
            endpoints::ordinary_ip(&ip, errors);
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
    if !ranges.is_empty() && !balanced {
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

pub(super) fn validate_status(new: &Value, _: &Value, errors: &mut Errors) {
    let status = Field::top(new, "status");
    let balancer = status.get("loadBalancer");
    let list = balancer.get("ingress");
    if !list.is_empty() && text(new, &["spec", "type"]) != "LoadBalancer" {
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

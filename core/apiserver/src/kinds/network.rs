//! Ingresses, their classes, network policies, and the addresses of services.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};
use windlass_api::names;

use super::edit::{default_to, each, inside, set};
use super::errors::{Errors, IMMUTABLE};
use super::field::{Field, lookup};
use super::{BASE, Kind, NameRule, WITH_STATUS, meta, prepare};

const CONTROLLER_MAX: usize = 250;
const NOT_AN_ADDRESS: &str = "must be a DNS name, not an IP address";

/// The annotation that named the class of an Ingress before `spec.ingressClassName` did.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub(super) static INGRESS: Kind = Kind {
    validate: |new, old, errors| {
        ingress(new, errors);
        if old.is_none() {
            one_class(new, errors);
        }
    },
    validate_status: |new, _, errors| balancer(new, errors),
    ..WITH_STATUS
};

/// A new Ingress names one class, wherever it does.
fn one_class(new: &Value, errors: &mut Errors) {
    let class = Field::top(new, "spec").get("ingressClassName").value().as_str();
    let meta = meta::of(new);
    let annotations = meta.get("annotations");
    let named = annotations.get(CLASS_ANNOTATION).value();
    if class.is_some() && named.is_string() && named.as_str() != class {
        let place = Field::top(new, "annotations");
        let place = place.get(CLASS_ANNOTATION);
        errors.invalid(&place.with(named), "must match `ingressClassName` when both are specified");
    }
}

/// Checks where an Ingress says that it can be reached.
fn balancer(new: &Value, errors: &mut Errors) {
    for point in Field::top(new, "status").get("loadBalancer").get("ingress").items() {
        let (ip, host) = (point.get("ip"), point.get("hostname"));
        if !ip.is_empty() {
            errors.ip(&ip);
        }
        if !host.is_empty() {
            meta::reference(&host, errors);
            if host.text().parse::<IpAddr>().is_ok() {
                errors.invalid(&host, NOT_AN_ADDRESS);
            }
        }
    }
}

fn ingress(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let (rules, backend, class) = (spec.get("rules"), spec.get("defaultBackend"), spec.get("ingressClassName"));
    if rules.is_empty() && !backend.present() {
        let place = spec.with(rules.value());
        errors.invalid(&place, "either `defaultBackend` or `rules` must be specified");
    }
    if backend.present() {
        self::backend(&backend, errors);
    }
    for rule in rules.items() {
        host(&rule.get("host"), errors);
        let http = rule.get("http");
        if !http.present() {
            continue;
        }
        let paths = http.get("paths");
        errors.require(&paths, "");
        for path in paths.items() {
            let (kind, text) = (path.get("pathType"), path.get("path"));
            if !kind.present() {
                errors.required(&kind, "pathType must be specified");
                continue;
            }
            match kind.text() {
                "Exact" | "Prefix" => prefix(&text, errors),
                "ImplementationSpecific" if !text.is_empty() && !text.text().starts_with('/') => {
                    errors.invalid(&text, "must be an absolute path");
                }
                "ImplementationSpecific" => {}
                _ => errors.not_supported(&kind, &["Exact", "ImplementationSpecific", "Prefix"]),
            }
            self::backend(&path.get("backend"), errors);
        }
    }
    for tls in spec.get("tls").items() {
        for host in tls.get("hosts").items() {
            name_or_wildcard(&host, errors);
        }
        let secret = tls.get("secretName");
        if !secret.is_empty() {
            meta::reference(&secret, errors);
        }
    }
    if class.present() {
        meta::reference(&class, errors);
    }
}

fn host(host: &Field<'_, '_>, errors: &mut Errors) {
    if host.is_empty() {
        return;
    }
    if host.text().parse::<IpAddr>().is_ok() {
        errors.invalid(host, NOT_AN_ADDRESS);
    }
    name_or_wildcard(host, errors);
}

fn name_or_wildcard(host: &Field<'_, '_>, errors: &mut Errors) {
    if host.text().contains('*') {
        errors.invalid_each(host, names::wildcard_subdomain(host.text()));
    } else {
        meta::reference(host, errors);
    }
}

fn prefix(path: &Field<'_, '_>, errors: &mut Errors) {
    let text = path.text();
    if !text.starts_with('/') {
        errors.invalid_text(path, text, "must be an absolute path");
    }
    if !text.is_empty() {
        for bad in ["//", "/./", "/../", "%2f", "%2F"] {
            if text.contains(bad) {
                errors.invalid(path, format!("must not contain '{bad}'"));
            }
        }
        for bad in ["/..", "/."] {
            if text.ends_with(bad) {
                errors.invalid(path, format!("cannot end with '{bad}'"));
            }
        }
    }
}

fn backend(backend: &Field<'_, '_>, errors: &mut Errors) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.present(), resource.present()) {
        (true, true) => errors.invalid_text(backend, "", "cannot set both resource and service backends"),
        (false, false) => errors.invalid_text(backend, "", "resource or service backend is required"),
        (false, true) => typed_reference(&resource, errors),
        (true, false) => {
            let (name, port) = (service.get("name"), service.get("port"));
            if errors.require(&name, "") {
                errors.invalid_each(&name, names::dns_1123_label(name.text()));
            }
            let (number, word) = (port.get("number"), port.get("name"));
            if number.number() != 0 && !word.is_empty() {
                errors.invalid_text(backend, "", "cannot set both port name & port number");
            } else if !word.is_empty() {
                errors.invalid_each(&word, names::port_name(word.text()));
            } else if number.number() != 0 {
                errors.invalid_each(&number, names::port_number(number.number()));
            } else {
                errors.required(backend, "port name or number is required");
            }
        }
    }
}

/// Checks a reference to an object of any kind: its group where there is one, its kind and its name.
fn typed_reference(reference: &Field<'_, '_>, errors: &mut Errors) {
    let group = reference.get("apiGroup");
    if group.present() {
        meta::reference(&group, errors);
    }
    for name in ["kind", "name"] {
        errors.require_segment(&reference.get(name));
    }
}

pub(super) static INGRESS_CLASS: Kind = Kind {
    default: |class| {
        inside(class, "spec", |spec| {
            inside(spec, "parameters", |parameters| default_to(parameters, "scope", "Cluster"));
        });
    },
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["spec"]),
    validate: |new, old, errors| {
        let spec = Field::top(new, "spec");
        let (controller, parameters) = (spec.get("controller"), spec.get("parameters"));
        if let Some(old) = old {
            errors.immutable(&controller, lookup(lookup(old, "spec"), "controller"));
        }
        if controller.len() > CONTROLLER_MAX {
            errors.too_long(&controller, CONTROLLER_MAX);
        }
        meta::domain_prefixed_path(&controller, errors);
        if parameters.present() {
            typed_reference(&parameters, errors);
            errors.optional_one_of(&parameters.get("scope"), &["Cluster", "Namespace"]);
            let namespace = parameters.get("namespace");
            match parameters.get("scope").text() {
                "Namespace" if !namespace.present() => {
                    errors.required(&namespace, "`parameters.scope` is set to 'Namespace'");
                }
                "Namespace" => errors.invalid_each(&namespace, names::dns_1123_label(namespace.text())),
                "Cluster" if namespace.present() => {
                    errors.forbidden(&namespace, "`parameters.scope` is set to 'Cluster'");
                }
                _ => {}
            }
        }
    },
    ..BASE
};

pub(super) static POLICY: Kind = Kind {
    default: policy_default,
    prepare_create: prepare::count,
    prepare_update: |new, old| prepare::count_changes(new, old, &["spec"]),
    validate: |new, _, errors| policy(new, errors),
    ..BASE
};

fn policy_default(policy: &mut Value) {
    inside(policy, "spec", |spec| {
        if lookup(spec, "policyTypes").as_array().is_none_or(Vec::is_empty) {
            let outward = lookup(spec, "egress").as_array().is_some_and(|rules| !rules.is_empty());
            set(spec, "policyTypes", if outward { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
        }
        for rules in ["ingress", "egress"] {
            each(spec, rules, |rule| each(rule, "ports", |port| default_to(port, "protocol", "TCP")));
        }
    });
}

fn policy(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    meta::selector(&spec.get("podSelector"), errors);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(rules).items() {
            for port in rule.get("ports").items() {
                policy_port(&port, errors);
            }
            for peer in rule.get(peers).items() {
                policy_peer(&peer, errors);
            }
        }
    }
    let kinds = spec.get("policyTypes");
    if kinds.len() > 2 {
        errors.invalid(&kinds, "may not specify more than two policyTypes");
        return;
    }
    for kind in kinds.items() {
        errors.optional_one_of(&kind, &["Ingress", "Egress"]);
    }
}

fn policy_port(port: &Field<'_, '_>, errors: &mut Errors) {
    errors.optional_one_of(&port.get("protocol"), &["TCP", "UDP", "SCTP"]);
    let (from, to) = (port.get("port"), port.get("endPort"));
    if !from.present() {
        if to.present() {
            errors.invalid(&to, "may not be specified when `port` is not specified");
        }
        return;
    }
    let by_name = from.value().is_string();
    if by_name && to.present() {
        errors.invalid(&to, "may not be specified when `port` is non-numeric");
    }
    errors.port_or_name(&from);
    if to.present() && !by_name {
        if to.number() < from.number() {
            errors.invalid(&to, "must be greater than or equal to `port`");
        }
        errors.invalid_each(&to, names::port_number(to.number()));
    }
}

fn policy_peer(peer: &Field<'_, '_>, errors: &mut Errors) {
    let (pods, spaces, block) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    meta::selector(&pods, errors);
    meta::selector(&spaces, errors);
    if block.present() {
        self::block(&block, errors);
    }
    if block.present() && (pods.present() || spaces.present()) {
        errors.forbidden(peer, "may not specify both ipBlock and another peer");
    } else if !block.present() && !pods.present() && !spaces.present() {
        errors.required(peer, "must specify a peer");
    }
}

/// Checks a range of addresses and what is taken out of it.
fn block(block: &Field<'_, '_>, errors: &mut Errors) {
    let cidr = block.get("cidr");
    if !errors.require(&cidr, "") {
        return;
    }
    errors.cidr(&cidr);
    let Ok(whole) = cidr.text().parse::<IpNet>() else { return };
    for except in block.get("except").items() {
        errors.cidr(&except);
        let Ok(part) = except.text().parse::<IpNet>() else { continue };
        if !whole.contains(&part.addr()) || whole.prefix_len() >= part.prefix_len() {
            errors.invalid(&except, "must be a strict subset of `cidr`");
        }
    }
}

pub(super) static ADDRESS: Kind = Kind {
    // The name is an address, which an IPv6 one is by rules of its own.
    name: NameRule::PathSegment,
    prepare_create: prepare::count,
    validate: |new, old, errors| {
        let meta = meta::of(new);
        let name = meta.get("name");
        let canonical = name.text().parse::<IpAddr>().map(|ip| ip.to_string());
        let before = errors.len();
        errors.ip(&name);
        match canonical {
            Ok(canonical) if errors.len() == before && canonical != name.text() => {
                errors.invalid(&name, format!("must be in canonical form ({canonical:?})"));
            }
            _ => {}
        }
        let spec = Field::top(new, "spec");
        let parent = spec.get("parentRef");
        if let Some(old) = old {
            errors.immutable(&parent, lookup(lookup(old, "spec"), "parentRef"));
        } else if !parent.present() {
            errors.required(&parent, "");
        } else {
            if !parent.get("group").is_empty() {
                meta::reference(&parent.get("group"), errors);
            }
            for field in ["resource", "name"] {
                errors.require_segment(&parent.get(field));
            }
            let namespace = parent.get("namespace");
            if !namespace.is_empty() {
                errors.invalid_each(&namespace, names::path_segment(namespace.text()));
            }
        }
    },
    ..BASE
};

pub(super) static SERVICE_CIDR: Kind = Kind {
    validate: |new, old, errors| {
        let spec = Field::top(new, "spec");
        let ranges = spec.get("cidrs");
        let Some(old) = old else {
            service_ranges(&ranges, errors);
            return;
        };
        let before = Field::top(old, "spec");
        let before = before.get("cidrs");
        // A second family may join the first one; nothing else changes.
        let joins = before.len() == 1 && ranges.len() == 2;
        if before.len() != ranges.len() && !joins {
            errors.invalid(&ranges, IMMUTABLE);
            return;
        }
        for (range, old) in ranges.items().zip(before.items()) {
            if range.text() != old.text() {
                errors.invalid(&range, IMMUTABLE);
            }
        }
        if joins {
            service_ranges(&ranges, errors);
        }
    },
    ..WITH_STATUS
};

/// Checks the ranges of services: one, or one of each family, in canonical form.
fn service_ranges(ranges: &Field<'_, '_>, errors: &mut Errors) {
    if ranges.is_empty() {
        errors.required(ranges, "at least one CIDR required");
        return;
    }
    if ranges.len() > 2 {
        let shown = json!({"CIDRs": ranges.value()});
        errors.invalid(&ranges.with(&shown), "may only hold up to 2 values");
        return;
    }
    for range in ranges.items() {
        canonical_range(&range, errors);
    }
    let mut families = ranges.strings().filter_map(|range| range.parse::<IpNet>().ok()).map(|net| net.addr().is_ipv4());
    if let (Some(first), Some(second)) = (families.next(), families.next())
        && first == second
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        errors.invalid(ranges, detail);
    }
}

fn canonical_range(range: &Field<'_, '_>, errors: &mut Errors) {
    let before = errors.len();
    errors.cidr(range);
    if errors.len() > before {
        return;
    }
    let Ok(net) = range.text().parse::<IpNet>() else { return };
    let canonical = net.trunc().to_string();
    if canonical != range.text() {
        errors.invalid(range, format!("must be in canonical form ({canonical:?})"));
    }
}

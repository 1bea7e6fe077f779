//! Ingresses, their classes, network policies, and the addresses of services.

use std::net::IpAddr;

use serde_json::{Value, json};
use windlass_api::names;

use super::edit::{default_to, each, inside, set};
use super::errors::Errors;
use super::field::{Field, lookup};
use super::{BASE, Kind, WITH_STATUS, meta, prepare};

const CONTROLLER_MAX: usize = 250;

pub(super) static INGRESS: Kind = Kind { validate: |new, _, errors| ingress(new, errors), ..WITH_STATUS };

fn ingress(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let (rules, backend, class) = (spec.get("rules"), spec.get("defaultBackend"), spec.get("ingressClassName"));
    if rules.is_empty() && !backend.present() {
        errors.invalid(&spec, "either `defaultBackend` or `rules` must be specified");
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
            }
            match kind.text() {
                "Exact" | "Prefix" => prefix(&text, errors),
                "ImplementationSpecific" if !text.is_empty() && !text.text().starts_with('/') => {
                    errors.invalid(&text, "must be an absolute path");
                }
                "ImplementationSpecific" | "" => {}
                _ => errors.not_supported(&kind, &["Exact", "ImplementationSpecific", "Prefix"]),
            }
            self::backend(&path.get("backend"), errors);
        }
    }
    for tls in spec.get("tls").items() {
        let hosts = tls.get("hosts");
        for host in hosts.items() {
            self::host(&host, errors);
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
        errors.invalid(host, "must be a DNS name, not an IP address");
    }
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
        (false, true) => {
            for name in ["kind", "name"] {
                errors.require(&resource.get(name), "");
            }
        }
        (true, false) => {
            let (name, port) = (service.get("name"), service.get("port"));
            if errors.require(&name, "") {
                errors.invalid_each(&name, names::dns_1123_label(name.text()));
            }
            let (number, word) = (port.get("number"), port.get("name"));
            if number.number() != 0 && !word.is_empty() {
                errors.invalid_text(&port, "", "cannot set both port name & port number");
            } else if !word.is_empty() {
                errors.invalid_each(&word, names::port_name(word.text()));
            } else if number.number() != 0 {
                errors.invalid_each(&number, names::port_number(number.number()));
            } else {
                errors.required(&port, "port name or number is required");
            }
        }
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
        if errors.require(&controller, "") {
            if controller.len() > CONTROLLER_MAX {
                errors.too_long(&controller, CONTROLLER_MAX);
            }
            if !controller.text().contains('/') {
                errors.invalid(&controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
            }
        }
        if parameters.present() {
            for name in ["kind", "name"] {
                errors.require(&parameters.get(name), "");
            }
            errors.optional_one_of(&parameters.get("scope"), &["Cluster", "Namespace"]);
            let namespace = parameters.get("namespace");
            match parameters.get("scope").text() {
                "Namespace" => _ = errors.require(&namespace, "`parameters.scope` is set to 'Namespace'"),
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
        errors.optional_one_of(&kind, &["Egress", "Ingress"]);
    }
}

fn policy_port(port: &Field<'_, '_>, errors: &mut Errors) {
    errors.optional_one_of(&port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    let (from, to) = (port.get("port"), port.get("endPort"));
    if !from.present() {
        if to.present() {
            errors.required(&from, "must be specified when `endPort` is specified");
        }
        return;
    }
    errors.port_or_name(&from);
    if !to.present() {
        return;
    }
    if from.text().is_empty() {
        if to.number() < from.number() {
            errors.invalid(&to, "must be greater than or equal to `port`");
        }
        errors.invalid_each(&to, names::port_number(to.number()));
    } else {
        errors.forbidden(&to, "may not be specified when `port` is non-numeric");
    }
}

fn policy_peer(peer: &Field<'_, '_>, errors: &mut Errors) {
    let (pods, spaces, block) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    meta::selector(&pods, errors);
    meta::selector(&spaces, errors);
    if block.present() {
        let cidr = block.get("cidr");
        if errors.require(&cidr, "") {
            errors.cidr(&cidr);
        }
        for except in block.get("except").items() {
            errors.cidr(&except);
        }
    }
    if block.present() && (pods.present() || spaces.present()) {
        errors.forbidden(peer, "may not specify both ipBlock and another peer");
    } else if !block.present() && !pods.present() && !spaces.present() {
        errors.required(peer, "must specify a peer");
    }
}

pub(super) static ADDRESS: Kind = Kind {
    prepare_create: prepare::count,
    validate: |new, old, errors| {
        let meta = meta::of(new);
        let name = meta.get("name");
        let canonical = name.text().parse::<IpAddr>().map(|ip| ip.to_string());
        match canonical {
            Err(_) => errors.ip(&name),
            Ok(canonical) if canonical != name.text() => {
                errors.invalid(&name, format!("must be in canonical form ({canonical:?})"));
            }
            Ok(_) => {}
        }
        let spec = Field::top(new, "spec");
        let parent = spec.get("parentRef");
        if let Some(old) = old {
            errors.immutable(&parent, lookup(lookup(old, "spec"), "parentRef"));
        } else if !parent.present() {
            errors.required(&parent, "");
        } else {
            for field in ["resource", "name"] {
                errors.require(&parent.get(field), "");
            }
        }
    },
    ..BASE
};

pub(super) static SERVICE_CIDR: Kind = Kind {
    validate: |new, old, errors| {
        let spec = Field::top(new, "spec");
        let ranges = spec.get("cidrs");
        if let Some(old) = old {
            errors.immutable(&ranges, lookup(lookup(old, "spec"), "cidrs"));
            return;
        }
        if ranges.is_empty() {
            errors.required(&ranges, "at least one CIDR required");
        }
        if ranges.len() > 2 {
            errors.invalid(&ranges, "may only hold up to 2 values");
        }
        for range in ranges.items() {
            errors.cidr(&range);
        }
    },
    ..WITH_STATUS
};

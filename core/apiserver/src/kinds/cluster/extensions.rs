//! Definitions of custom resources and of aggregated API services; schemas are checked elsewhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_api::names;

use crate::kinds::edit::{default_number, default_to, inside, set, within};
use crate::kinds::errors::Errors;
use crate::kinds::field::{Field, items, lookup, text};
use crate::kinds::{Kind, NameRule, WITH_STATUS, meta, prepare};

pub(in crate::kinds) static DEFINITION: Kind = Kind {
    default: definition_default,
    prepare_create: |definition| {
        prepare::count(definition);
        let stored: Vec<Value> = items(definition, &["spec", "versions"])
            .filter(|version| lookup(version, "storage").as_bool() == Some(true))
            .map(|version| lookup(version, "name").clone())
            .collect();
        set(
            definition,
            "status",
            json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}),
        );
    },
    prepare_update: |new, old| {
        prepare::keep_status_and_count(new, old);
        let stored: Vec<String> = items(new, &["spec", "versions"])
            .filter(|version| lookup(version, "storage").as_bool() == Some(true))
            .map(|version| text(version, &["name"]).to_owned())
            .collect();
        inside(new, "status", |status| {
            let mut all = lookup(status, "storedVersions").as_array().cloned().unwrap_or_default();
            for version in stored {
                if !all.iter().any(|known| *known == version) {
                    all.push(version.into());
                }
            }
            set(status, "storedVersions", all);
        });
    },
    validate: definition,
    unconditional_update: false,
    ..WITH_STATUS
};

fn definition_default(definition: &mut Value) {
    inside(definition, "spec", |spec| {
        inside(spec, "names", |names| {
            let kind = text(names, &["kind"]).to_owned();
            if !kind.is_empty() {
                default_to(names, "singular", kind.to_lowercase());
                default_to(names, "listKind", format!("{kind}List"));
            }
        });
        within(spec, "conversion", |conversion| {
            default_to(conversion, "strategy", "None");
            inside(conversion, "webhook", |webhook| {
                inside(webhook, "clientConfig", |client| {
                    inside(client, "service", |service| default_number(service, "port", 443));
                });
            });
        });
    });
}

fn definition(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, meta) = (Field::top(new, "spec"), meta::of(new));
    let (name, group, names, versions) = (meta.get("name"), spec.get("group"), spec.get("names"), spec.get("versions"));
    let wanted = format!("{}.{}", names.get("plural").text(), group.text());
    if name.text() != wanted {
        errors.invalid(&name, "must be spec.names.plural+\".\"+spec.group");
    }
    if group.is_empty() {
        errors.required(&group, "");
    } else {
        let complaints = names::dns_1123_subdomain(group.text());
        if complaints.is_empty() && group.text().split('.').count() < 2 {
            errors.invalid(&group, "should be a domain with at least one dot");
        }
        errors.invalid_each(&group, complaints);
    }
    errors.one_of(&spec.get("scope"), &["Cluster", "Namespaced"]);
    let mut seen = BTreeSet::new();
    let mut storage = 0;
    for version in versions.items() {
        let own = version.get("name");
        errors.invalid_each(&own, names::dns_1035_label(own.text()));
        if !seen.insert(own.text()) {
            errors.invalid(&own, "must be unique");
        }
        storage += usize::from(version.get("storage").is_true());
        let schema = version.get("schema");
        if !schema.get("openAPIV3Schema").present() {
            errors.required(&schema.get("openAPIV3Schema"), "schemas are required");
        }
    }
    if storage != 1 {
        errors.invalid(&versions, "must have exactly one version marked as storage version");
    }
    for (field, lower) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let own = names.get(field);
        if errors.require(&own, "") {
            let shown = if lower { own.text().to_lowercase() } else { own.text().to_owned() };
            let complaints = names::dns_1035_label(&shown);
            if !complaints.is_empty() {
                errors.invalid(&own, complaints.join(","));
            }
        }
    }
    if !names.get("kind").is_empty() && names.get("kind").text() == names.get("listKind").text() {
        errors.invalid(&names.get("listKind"), "kind and listKind may not be the same");
    }
    let conversion = spec.get("conversion");
    errors.optional_one_of(&conversion.get("strategy"), &["None", "Webhook"]);
    if let Some(old) = old {
        let before = lookup(old, "spec");
        errors.immutable(&group, lookup(before, "group"));
        let established = items(old, &["status", "conditions"])
            .any(|c| text(c, &["type"]) == "Established" && text(c, &["status"]) == "True");
        if established {
            errors.immutable(&spec.get("scope"), lookup(before, "scope"));
            for field in ["kind", "plural"] {
                errors.immutable(&names.get(field), lookup(lookup(before, "names"), field));
            }
        }
    }
}

pub(in crate::kinds) static API_SERVICE: Kind = Kind {
    name: NameRule::PathSegment,
    default: |service| {
        inside(service, "spec", |spec| inside(spec, "service", |own| default_number(own, "port", 443)));
    },
    prepare_create: prepare::clear_status,
    prepare_update: prepare::keep_status,
    validate: |new, _, errors| {
        let (spec, meta) = (Field::top(new, "spec"), meta::of(new));
        let (group, version) = (spec.get("group"), spec.get("version"));
        let (name, wanted) = (meta.get("name"), format!("{}.{}", version.text(), group.text()));
        if name.text() != wanted {
            let trimmed = wanted.trim_end_matches('.');
            if name.text() != trimmed || !group.is_empty() {
                errors.invalid(&name, format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"));
            }
        }
        let (minimum, priority) = (spec.get("groupPriorityMinimum"), spec.get("versionPriority"));
        if !(1..=20000).contains(&minimum.number()) {
            errors.invalid(&minimum, "must be positive and less than 20000");
        }
        if !(1..=1000).contains(&priority.number()) {
            errors.invalid(&priority, "must be positive and less than 1000");
        }
        let service = spec.get("service");
        if service.present() {
            for field in ["namespace", "name"] {
                errors.require(&service.get(field), "");
            }
            if spec.get("insecureSkipTLSVerify").is_true() && !spec.get("caBundle").is_empty() {
                errors.invalid(&spec.get("insecureSkipTLSVerify"), "may not be true if caBundle is present");
            }
        } else if spec.get("insecureSkipTLSVerify").is_true() {
            let field = spec.get("insecureSkipTLSVerify");
            errors.invalid(&field, "local APIServices may not have insecureSkipTLSVerify");
        }
    },
    unconditional_update: false,
    ..WITH_STATUS
};

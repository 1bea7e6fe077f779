//! The rules of resource names, requests and limits.

use std::collections::BTreeSet;

use serde_json::json;
use windlass_api::names;
use windlass_api::quantity::Amount;

use crate::kinds::errors::{Errors, NEGATIVE};
use crate::kinds::field::{Field, lookup};

const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "storage",
    "requests.storage",
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const QUANTITY_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Checks the requests, limits and claims of a container.
pub(super) fn of_container(resources: &Field<'_, '_>, claims: &BTreeSet<&str>, errors: &mut Errors) {
    requirements(resources, container_name, errors);
    let mut seen = BTreeSet::new();
    for claim in resources.get("claims").items() {
        let name = claim.get("name").text();
        if name.is_empty() {
            errors.required(&claim, "");
            continue;
        }
        if !seen.insert((name, claim.get("request").text())) {
            errors.duplicate_text(&claim, name);
        }
        if !claims.contains(name) {
            errors.not_found(&claim.with(&json!(name)));
        }
    }
}

/// Checks the requests and limits of a whole pod against its containers'.
pub(super) fn of_pod(spec: &Field<'_, '_>, errors: &mut Errors) {
    let resources = spec.get("resources");
    if !resources.present() {
        return;
    }
    if !resources.get("claims").is_empty() {
        errors.forbidden(&resources.get("claims"), "claims cannot be set for Resources at pod-level");
    }
    requirements(&resources, pod_name, errors);
    let requests = resources.get("requests");
    for name in COMPUTE {
        let mut sum = Amount::ZERO;
        for container in spec.get("containers").items() {
            sum += container.get("resources").get("requests").key(name).amount().unwrap_or_default();
        }
        let own = requests.key(name);
        if own.present() && sum > own.amount().unwrap_or_default() {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid(&own, detail);
        }
    }
    let limits = resources.get("limits");
    for container in spec.get("containers").items() {
        let own = container.get("resources");
        for (name, value) in own.get("limits").entries() {
            let (pod, own) = (limits.key(name), Amount::from_json(value).ok());
            if pod.amount().zip(own).is_some_and(|(pod, own)| own > pod) {
                let most = pod.text();
                let detail = format!("must be less than or equal to pod limits of {most}");
                errors.invalid(&container.get("resources").get("limits").key(name), detail);
            }
        }
    }
}

/// Checks a list of quantities as overhead is one.
pub(super) fn overhead(list: &Field<'_, '_>, errors: &mut Errors) {
    for (name, _) in list.entries() {
        let amount = list.key(name);
        container_name(&amount, name, errors);
        quantity(&amount, name, errors);
    }
}

fn requirements(resources: &Field<'_, '_>, name_rule: fn(&Field<'_, '_>, &str, &mut Errors), errors: &mut Errors) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    let (mut compute, mut huge) = (false, false);
    for list in [&limits, &requests] {
        for (name, value) in list.entries() {
            let own = list.key(name);
            name_rule(&own, name, errors);
            quantity(&own, name, errors);
            compute |= matches!(name, "cpu" | "memory");
            huge |= name.starts_with("hugepages-");
            if std::ptr::eq(list, &limits) {
                continue;
            }
            let limit = limits.key(name);
            let Ok(amount) = Amount::from_json(value) else { continue };
            match limit.amount() {
                Some(limit) if amount != limit && !overcommits(name) => {
                    let detail = format!("must be equal to {name} limit of {limit}");
                    errors.invalid_text(&requests, &amount.to_string(), detail);
                }
                Some(limit) if amount > limit => {
                    let detail = format!("must be less than or equal to {name} limit of {limit}");
                    errors.invalid_text(&requests, &amount.to_string(), detail);
                }
                None if !overcommits(name) => {
                    errors.required(&limits, "Limit must be set for non overcommitable resources");
                }
                _ => {}
            }
        }
    }
    if huge && !compute {
        errors.forbidden(resources, "HugePages require cpu or memory");
    }
}

/// Checks that a value is a quantity, not below zero, and whole where its resource comes in pieces.
pub(in crate::kinds) fn quantity(amount: &Field<'_, '_>, name: &str, errors: &mut Errors) {
    let Some(value) = amount.amount() else {
        errors.invalid(amount, QUANTITY_FORMAT);
        return;
    };
    let shown = value.to_string();
    if value.is_negative() {
        errors.invalid_text(amount, &shown, NEGATIVE);
    }
    if comes_in_pieces(name) && value.milli_value() % 1000 != 0 {
        errors.invalid_text(amount, &shown, "must be an integer");
    }
}

/// Checks the name of any resource.
pub(in crate::kinds) fn any_name(field: &Field<'_, '_>, name: &str, errors: &mut Errors) {
    let before = errors.len();
    for complaint in names::qualified_name(name) {
        errors.invalid_text(field, name, complaint);
    }
    if errors.len() == before && !name.contains('/') && !standard(name) {
        errors.invalid_text(field, name, "must be a standard resource type or fully qualified");
    }
}

/// Checks the name of a resource that a container may ask for.
pub(in crate::kinds) fn container_name(field: &Field<'_, '_>, name: &str, errors: &mut Errors) {
    any_name(field, name, errors);
    if !name.contains('/') {
        if !COMPUTE.contains(&name) && !name.starts_with("hugepages-") {
            errors.invalid_text(field, name, "must be a standard resource for containers");
        }
    } else if !native(name) && !extended(name) {
        errors.invalid_text(field, name, "doesn't follow extended resource name standard");
    }
}

fn pod_name(field: &Field<'_, '_>, name: &str, errors: &mut Errors) {
    let before = errors.len();
    any_name(field, name, errors);
    if errors.len() == before && !matches!(name, "cpu" | "memory") && !name.starts_with("hugepages-") {
        errors.not_supported(&field.with(&json!(name)), &["cpu", "hugepages-", "memory"]);
    }
}

fn standard(name: &str) -> bool {
    let quota = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("hugepages-"));
    STANDARD.contains(&name) || name.starts_with("hugepages-") || quota("requests.") || quota("limits.")
}

fn native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a name is that of a resource which Kubernetes does not know.
pub(in crate::kinds) fn is_extended(name: &str) -> bool {
    extended(name)
}

fn extended(name: &str) -> bool {
    !native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

fn overcommits(name: &str) -> bool {
    native(name) && !name.starts_with("hugepages-")
}

fn comes_in_pieces(name: &str) -> bool {
    matches!(
        name,
        "pods"
            | "resourcequotas"
            | "services"
            | "replicationcontrollers"
            | "secrets"
            | "configmaps"
            | "persistentvolumeclaims"
            | "services.nodeports"
            | "services.loadbalancers"
    ) || extended(name)
        || name.starts_with("count/")
}

/// Whether two lists name the same resources, one leaving none of the other's out.
pub(super) fn keeps_all(new: &Field<'_, '_>, old: &Field<'_, '_>) -> bool {
    old.entries().all(|(name, _)| !lookup(new.value(), name).is_null())
}

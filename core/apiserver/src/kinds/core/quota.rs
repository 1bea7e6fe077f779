//! ResourceQuotas and LimitRanges.

use std::collections::BTreeSet;

use serde_json::Value;
use windlass_api::quantity::{Amount, Format};

use crate::kinds::edit::{copy, each, inside, within};
use crate::kinds::errors::{Errors, IMMUTABLE};
use crate::kinds::field::{Field, lookup};
use crate::kinds::pod::resources;
use crate::kinds::{BASE, Kind, prepare};

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
const OPPOSITES: &[(&str, &str)] = &[("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];

pub(in crate::kinds) static QUOTA: Kind = Kind {
    prepare_create: prepare::clear_status,
    prepare_update: prepare::keep_status,
    validate: quota,
    validate_status: |new, _, errors| {
        let status = Field::top(new, "status");
        amounts(&status.get("hard"), errors);
        amounts(&status.get("used"), errors);
    },
    has_status: true,
    ..BASE
};

pub(in crate::kinds) static LIMITS: Kind =
    Kind { default: limits_default, validate: |new, _, errors| limits(new, errors), create_on_update: true, ..BASE };

fn amounts(list: &Field<'_, '_>, errors: &mut Errors) {
    for (name, _) in list.entries() {
        let field = list.key(name);
        resources::any_name(&field, name, errors);
        resources::quantity(&field, name, errors);
    }
}

fn quota(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    amounts(&spec.get("hard"), errors);
    let scopes = spec.get("scopes");
    let named: BTreeSet<&str> = scopes.strings().collect();
    if named.iter().any(|scope| !SCOPES.contains(scope)) {
        errors.invalid(&scopes, "unsupported scope");
    }
    if OPPOSITES.iter().any(|(a, b)| named.contains(a) && named.contains(b)) {
        errors.invalid(&scopes, "conflicting scopes");
    }
    let selector = spec.get("scopeSelector");
    let expressions = selector.get("matchExpressions");
    for expression in expressions.items() {
        let (scope, operator, values) =
            (expression.get("scopeName"), expression.get("operator"), expression.get("values"));
        if !SCOPES.contains(&scope.text()) {
            errors.invalid_text(&expressions.get("scopeName"), scope.text(), "unsupported scope");
        }
        match operator.text() {
            "In" | "NotIn" => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.require(&values.renamed(&expressions.get("values")), detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.invalid(&values.renamed(&expressions.get("values")), detail);
            }
            "Exists" | "DoesNotExist" => {}
            other => errors.invalid_text(&expressions.get("operator"), other, "not a valid selector operator"),
        }
    }
    let before = old.map(|old| Field::top(old, "spec"));
    if before.is_some_and(|old| old.get("scopes").strings().collect::<BTreeSet<_>>() != named) {
        errors.invalid(&scopes, IMMUTABLE);
    }
}

/// A limit of containers that sets only some of its bounds gets the others from them.
fn limits_default(range: &mut Value) {
    inside(range, "spec", |spec| {
        each(spec, "limits", |limit| {
            if lookup(limit, "type").as_str() != Some("Container") {
                return;
            }
            for (target, source) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
                let from = lookup(limit, source).clone();
                let Some(names) = from.as_object().map(|from| from.keys().cloned().collect::<Vec<_>>()) else {
                    continue;
                };
                within(limit, target, |target| {
                    for name in names {
                        if lookup(target, &name).is_null() {
                            copy(target, &from, &name);
                        }
                    }
                });
            }
        });
    });
}

fn limits(new: &Value, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let list = spec.get("limits");
    let mut seen = BTreeSet::new();
    for limit in list.items() {
        let kind = limit.get("type");
        let standard = matches!(kind.text(), "Pod" | "Container" | "PersistentVolumeClaim");
        errors.invalid_each(&kind, windlass_api::names::qualified_name(kind.text()));
        if !standard && !kind.text().contains('/') {
            errors.invalid(&kind, "must be a standard limit type or fully qualified");
        }
        if !seen.insert(kind.text()) {
            errors.duplicate(&kind);
        }
        let mut keys = BTreeSet::new();
        for name in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            let bounds = limit.get(name);
            if kind.text() == "Pod" && name.starts_with("default") {
                if !bounds.is_empty() {
                    errors.forbidden(&bounds, "may not be specified when `type` is 'Pod'");
                }
                continue;
            }
            for (key, _) in bounds.entries() {
                keys.insert(key);
                if matches!(kind.text(), "Pod" | "Container") {
                    resources::container_name(&bounds.key(key), key, errors);
                } else {
                    resources::any_name(&bounds.key(key), key, errors);
                }
            }
        }
        let has = |bound: &str| limit.get(bound).key("storage").present();
        if kind.text() == "PersistentVolumeClaim" && !has("min") && !has("max") {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.required(&limit.get("limits"), detail);
        }
        for key in keys {
            order(&limit, key, errors);
        }
    }
}

/// Checks that the bounds of one resource do not contradict each other.
fn order(limit: &Field<'_, '_>, key: &str, errors: &mut Errors) {
    let of = |bound: &str| limit.get(bound).key(key).amount();
    let words = |bound: &str| match bound {
        "default" => "default",
        "defaultRequest" => "default request",
        other => {
            if other == "max" {
                "max"
            } else {
                "min"
            }
        }
    };
    for (low, high, at) in [
        ("min", "max", "min"),
        ("min", "defaultRequest", "defaultRequest"),
        ("defaultRequest", "max", "defaultRequest"),
        ("defaultRequest", "default", "defaultRequest"),
        ("min", "default", "default"),
        ("default", "max", "default"),
    ] {
        let (Some(small), Some(large)) = (of(low), of(high)) else { continue };
        if small > large {
            let high = if (low, high) == ("defaultRequest", "default") { "default limit" } else { words(high) };
            let detail = format!("{} value {small} is greater than {high} value {large}", words(low));
            errors.invalid(&limit.get(at).key(key), detail);
        }
    }
    let ratio = of("maxLimitRequestRatio");
    if let Some(ratio) = ratio.filter(|ratio| *ratio < Amount::units(1, Format::Decimal)) {
        errors.invalid(&limit.get("maxLimitRequestRatio").key(key), format!("ratio {ratio} is less than 1"));
    }
    if let (Some(ratio), Some(min), Some(max)) = (ratio, of("min"), of("max")) {
        let most = max.as_f64() / min.as_f64();
        if ratio.as_f64() > most {
            let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.invalid(&limit.get("maxLimitRequestRatio").key(key), detail);
        }
    }
}

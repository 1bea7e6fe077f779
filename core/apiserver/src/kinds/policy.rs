//! Disruption budgets and priority classes.

use serde_json::Value;

use super::apps::{at_most_all, number_or_percent};
use super::edit::default_to;
use super::errors::Errors;
use super::field::{Field, lookup};
use super::{BASE, Kind, NameRule, WITH_STATUS, meta};

const HIGHEST_USER: i64 = 1_000_000_000;
const SYSTEM_CLASSES: &[(&str, i64)] =
    &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(super) static BUDGET: Kind = Kind {
    name: NameRule::PathSegment,
    validate: budget,
    validate_status: |new, _, errors| {
        let status = Field::top(new, "status");
        for name in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            errors.non_negative(&status.get(name));
        }
    },
    unconditional_update: false,
    ..WITH_STATUS
};

fn budget(new: &Value, _: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let (min, max) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if min.present() && max.present() {
        errors.invalid(&spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for bound in [&min, &max] {
        number_or_percent(bound, errors);
        at_most_all(bound, errors);
    }
    meta::selector(&spec.get("selector"), errors);
    errors.optional_one_of(&spec.get("unhealthyPodEvictionPolicy"), &["AlwaysAllow", "IfHealthyBudget"]);
}

pub(super) static PRIORITY: Kind = Kind {
    default: |class| default_to(class, "preemptionPolicy", "PreemptLowerPriority"),
    prepare_create: super::prepare::count,
    validate: priority,
    create_on_update: true,
    ..BASE
};

fn priority(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (value, policy) = (Field::top(new, "value"), Field::top(new, "preemptionPolicy"));
    if let Some(old) = old {
        if value.number() != lookup(old, "value").as_i64().unwrap_or_default() {
            errors.forbidden(&value, "may not be changed in an update.");
        }
        errors.immutable(&policy, lookup(old, "preemptionPolicy"));
        return;
    }
    let meta = meta::of(new);
    let name = meta.get("name");
    if name.text().starts_with("system-") {
        let known = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name.text());
        let trouble = match known {
            None => format!("{} is not a known system priority class", name.text()),
            Some((_, wanted)) if *wanted != value.number() => {
                format!("value of {} PriorityClass must be {wanted}", name.text())
            }
            Some(_) if lookup(new, "globalDefault").as_bool() == Some(true) => {
                format!("globalDefault of {} PriorityClass must be false", name.text())
            }
            Some(_) => String::new(),
        };
        if !trouble.is_empty() {
            let detail = "priority class names with 'system-' prefix are reserved for system use only. error: ";
            errors.forbidden(&name, format!("{detail}{trouble}"));
        }
    } else if value.number() > HIGHEST_USER {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_USER}");
        errors.forbidden(&value, detail);
    }
    errors.optional_one_of(&policy, &["PreemptLowerPriority", "Never"]);
}

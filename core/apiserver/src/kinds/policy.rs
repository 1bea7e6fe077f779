//! Disruption budgets, autoscalers and priority classes.

use serde_json::{Value, json};

use super::apps::{at_most_all, number_or_percent};
use super::edit::{default_to, inside, set, within};
use super::errors::Errors;
use super::field::{Field, lookup, text};
use super::{BASE, Kind, WITH_STATUS, meta};

const HIGHEST_USER: i64 = 1_000_000_000;
const SYSTEM_CLASSES: &[(&str, i64)] =
    &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(super) static BUDGET: Kind = Kind {
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

pub(super) static AUTOSCALER: Kind = Kind {
    default: autoscaler_default,
    prepare_create: super::prepare::clear_status,
    prepare_update: super::prepare::keep_status,
    validate: autoscaler,
    ..WITH_STATUS
};

fn autoscaler_default(scaler: &mut Value) {
    let second = text(scaler, &["apiVersion"]) == "autoscaling/v2";
    within(scaler, "spec", |spec| {
        default_to(spec, "minReplicas", 1);
        if !second {
            return;
        }
        if lookup(spec, "metrics").as_array().is_none_or(Vec::is_empty) {
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            set(spec, "metrics", json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
        }
        inside(spec, "behavior", |behavior| {
            let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
            let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
            inside(behavior, "scaleUp", |up| {
                default_to(up, "stabilizationWindowSeconds", 0);
                default_to(up, "selectPolicy", "Max");
                default_to(up, "policies", json!([pods, percent]));
            });
            inside(behavior, "scaleDown", |down| {
                default_to(down, "selectPolicy", "Max");
                default_to(down, "policies", json!([percent]));
            });
        });
    });
}

fn autoscaler(new: &Value, _: Option<&Value>, errors: &mut Errors) {
    let spec = Field::top(new, "spec");
    let (min, max) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    if min.int().is_some_and(|n| n < 1) {
        errors.invalid(&min, "must be greater than or equal to 1");
    }
    if max.number() < 1 {
        errors.invalid(&max.with(&json!(max.number())), "must be greater than 0");
    }
    if min.int().is_some_and(|n| max.number() < n) {
        errors.invalid(&max.with(&json!(max.number())), "must be greater than or equal to `minReplicas`");
    }
    let target = spec.get("scaleTargetRef");
    for name in ["kind", "name"] {
        let field = target.get(name);
        if errors.require(&field, "") {
            errors.invalid_each(&field, windlass_api::names::path_segment(field.text()));
        }
    }
    for metric in spec.get("metrics").items() {
        let kind = metric.get("type");
        let known = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        if kind.is_empty() {
            errors.required(&kind, "must specify a metric source type");
        } else if known.contains(&kind.text()) {
            let mut own = kind.text().to_owned();
            own[..1].make_ascii_lowercase();
            if !metric.get(&own).present() {
                errors.required(&metric.get(&own), "must populate information for the given metric source");
            }
        } else {
            errors.not_supported(&kind, &known);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_aims_at_four_fifths_of_the_processor() {
        let mut scaler = json!({"apiVersion": "autoscaling/v2", "spec": {"maxReplicas": 3}});
        autoscaler_default(&mut scaler);
        assert_eq!(scaler["spec"]["minReplicas"], 1);
        assert_eq!(scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    }
}

//! Horizontal pod autoscalers: what they measure, and how fast they follow it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_api::names;

use super::edit::{default_to, inside, set, within};
use super::errors::{Errors, NOT_POSITIVE};
use super::field::{Field, lookup, text};
use super::{Kind, WITH_STATUS, pod, prepare};

const LONGEST_PERIOD: i64 = 1800;
const LONGEST_WINDOW: i64 = 3600;
const NEITHER: &str = "must set either a target raw value or a target utilization";
const BOTH: &str = "may not set both a target raw value and a target utilization";
/// Each kind of metric with the field that describes it, in the order in which they are checked.
const SOURCES: &[(&str, &str)] = &[
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

pub(super) static AUTOSCALER: Kind = Kind {
    default: autoscaler_default,
    prepare_create: prepare::clear_status,
    prepare_update: prepare::keep_status,
    validate: autoscaler,
    validate_status: |new, _, errors| {
        let status = Field::top(new, "status");
        errors.non_negative(&status.get("currentReplicas"));
        errors.non_negative(&status.get("desiredReplicas"));
    },
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
            within(behavior, "scaleUp", |up| {
                default_to(up, "stabilizationWindowSeconds", 0);
                default_to(up, "selectPolicy", "Max");
                default_to(up, "policies", json!([pods, percent]));
            });
            within(behavior, "scaleDown", |down| {
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
    let most = json!(max.number());
    if max.number() < 1 {
        errors.invalid(&max.with(&most), "must be greater than 0");
    }
    if min.int().is_some_and(|n| max.number() < n) {
        errors.invalid(&max.with(&most), "must be greater than or equal to `minReplicas`");
    }
    reference(&spec.get("scaleTargetRef"), errors);
    for metric in spec.get("metrics").items() {
        self::metric(&metric, errors);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let behavior = spec.get("behavior");
        rules(&behavior.get(direction), errors);
    }
}

fn reference(target: &Field<'_, '_>, errors: &mut Errors) {
    for name in ["kind", "name"] {
        errors.require_segment(&target.get(name));
    }
}

fn metric(metric: &Field<'_, '_>, errors: &mut Errors) {
    let kind = metric.get("type");
    let known: BTreeSet<&str> = SOURCES.iter().map(|(kind, _)| *kind).collect();
    let known: Vec<&str> = known.into_iter().collect();
    let shown = json!(kind.text());
    if kind.is_empty() {
        errors.required(&kind, "must specify a metric source type");
    }
    if !known.contains(&kind.text()) {
        errors.not_supported(&kind.with(&shown), &known);
    }
    let there: Vec<&str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| metric.get(field).present()).collect();
    if let Some(first) = there.first() {
        source(first, &metric.get(first), errors);
    }
    let own = SOURCES.iter().find(|(name, _)| *name == kind.text()).map(|(_, field)| *field);
    match own {
        Some(own) if !there.contains(&own) => {
            errors.required(&metric.get(own), "must populate information for the given metric source");
        }
        Some(_) => {}
        None => errors.not_supported(&kind.with(&shown), &known),
    }
    if there.len() != 1 {
        for other in there.into_iter().filter(|field| Some(*field) != own) {
            errors.forbidden(&metric.get(other), "must populate the given metric source only");
        }
    }
}

fn source(kind: &str, source: &Field<'_, '_>, errors: &mut Errors) {
    let goal = source.get("target");
    let (value, average, share) = (goal.get("value"), goal.get("averageValue"), goal.get("averageUtilization"));
    match kind {
        "object" => {
            reference(&source.get("describedObject"), errors);
            identifier(&source.get("metric"), errors);
            target(&goal, errors);
            if !value.present() && !average.present() {
                errors.required(&average, "must set either a target value or averageValue");
            }
        }
        "external" => {
            identifier(&source.get("metric"), errors);
            target(&goal, errors);
            if !value.present() && !average.present() {
                let detail = "must set either a target value for metric or a per-pod target";
                errors.required(&average, detail);
            }
            if value.present() && average.present() {
                let detail = "may not set both a target value for metric and a per-pod target";
                errors.forbidden(&value, detail);
            }
        }
        "pods" => {
            identifier(&source.get("metric"), errors);
            target(&goal, errors);
            if !average.present() {
                errors.required(&average, "must specify a positive target averageValue");
            }
        }
        _ => {
            let name = source.get("name");
            if errors.require(&name, "must specify a resource name") && kind == "containerResource" {
                pod::resources::container_name(&name, name.text(), errors);
            }
            let container = source.get("container");
            if kind == "containerResource" && errors.require(&container, "must specify a container") {
                errors.invalid_each(&container, names::dns_1123_label(container.text()));
            }
            target(&goal, errors);
            if !share.present() && !average.present() {
                errors.required(&share, NEITHER);
            }
            if share.present() && average.present() {
                errors.forbidden(&average, BOTH);
            }
        }
    }
}

fn identifier(metric: &Field<'_, '_>, errors: &mut Errors) {
    let name = metric.get("name");
    if errors.require(&name, "must specify a metric name") {
        errors.invalid_each(&name, names::path_segment(name.text()));
    }
}

fn target(target: &Field<'_, '_>, errors: &mut Errors) {
    let kind = target.get("type");
    errors.require(&kind, "must specify a metric target type");
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        errors.invalid_text(&kind, kind.text(), "must be either Utilization, Value, or AverageValue");
    }
    for name in ["value", "averageValue"] {
        let amount = target.get(name);
        if let Some(value) = amount.amount().filter(|value| value.is_zero() || value.is_negative()) {
            errors.invalid_text(&amount, &value.to_string(), "must be positive");
        }
    }
    let share = target.get("averageUtilization");
    if share.int().is_some_and(|share| share < 1) {
        errors.invalid(&share, "must be greater than 0");
    }
}

/// Checks how fast an autoscaler may go in one direction.
fn rules(rules: &Field<'_, '_>, errors: &mut Errors) {
    if !rules.present() {
        return;
    }
    let window = rules.get("stabilizationWindowSeconds");
    if window.int().is_some_and(|seconds| seconds < 0) {
        errors.invalid(&window, "must be greater than or equal to zero");
    }
    if window.int().is_some_and(|seconds| seconds > LONGEST_WINDOW) {
        errors.invalid(&window, format!("must be less than or equal to {LONGEST_WINDOW}"));
    }
    errors.optional_one_of(&rules.get("selectPolicy"), &["Disabled", "Max", "Min"]);
    let policies = rules.get("policies");
    errors.require(&policies, "must specify at least one Policy");
    for policy in policies.items() {
        let (kind, value, period) = (policy.get("type"), policy.get("value"), policy.get("periodSeconds"));
        if !matches!(kind.text(), "Pods" | "Percent") {
            errors.not_supported(&kind.with(&json!(kind.text())), &["Percent", "Pods"]);
        }
        for number in [&value, &period] {
            if number.number() <= 0 {
                errors.invalid(&number.with(&json!(number.number())), NOT_POSITIVE);
            }
        }
        if period.number() > LONGEST_PERIOD {
            errors.invalid(&period, format!("must be less than or equal to {LONGEST_PERIOD}"));
        }
    }
    let tolerance = rules.get("tolerance");
    if let Some(amount) = tolerance.amount().filter(|amount| amount.is_negative()) {
        errors.invalid_text(&tolerance, &amount.to_string(), super::errors::NEGATIVE);
    }
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

//! The rules of where a pod may run: selectors, affinity, tolerations, spreading.

use std::collections::BTreeSet;

use serde_json::json;
use windlass_api::names;

use crate::kinds::errors::{Errors, NOT_POSITIVE};
use crate::kinds::field::Field;
use crate::kinds::meta;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks the affinity of a pod.
pub(super) fn affinity(affinity: &Field<'_, '_>, errors: &mut Errors) {
    let node = affinity.get("nodeAffinity");
    if node.get(REQUIRED).present() {
        node_selector(&node.get(REQUIRED), errors);
    }
    for term in node.get(PREFERRED).items() {
        weight(&term.get("weight"), errors);
        node_term(&term.get("preference"), false, errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(kind);
        for term in pods.get(REQUIRED).items() {
            pod_term(&term, errors);
        }
        for term in pods.get(PREFERRED).items() {
            weight(&term.get("weight"), errors);
            pod_term(&term.get("podAffinityTerm"), errors);
        }
    }
}

fn weight(weight: &Field<'_, '_>, errors: &mut Errors) {
    if !(1..=100).contains(&weight.number()) {
        let shown = json!(weight.number());
        errors.invalid(&weight.with(&shown), "must be in the range 1-100");
    }
}

/// Checks a node selector: its terms, of which there is at least one.
pub(in crate::kinds) fn node_selector(selector: &Field<'_, '_>, errors: &mut Errors) {
    let terms = selector.get("nodeSelectorTerms");
    if errors.require(&terms, "must have at least one node selector term") {
        for term in terms.items() {
            node_term(&term, true, errors);
        }
    }
}

fn node_term(term: &Field<'_, '_>, strict: bool, errors: &mut Errors) {
    for requirement in term.get("matchExpressions").items() {
        let (key, operator, values) = (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        match operator.text() {
            "In" | "NotIn" => {
                errors.require(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Exists" | "DoesNotExist" => {}
            "Gt" | "Lt" => {
                if values.len() != 1 {
                    errors.required(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
                }
            }
            other => errors.invalid_text(&operator, other, "not a valid selector operator"),
        }
        for complaint in names::qualified_name(key.text()) {
            errors.invalid_text(&key, key.text(), complaint);
        }
        for value in values.items().filter(|_| strict) {
            errors.invalid_each(&value, names::label_value(value.text()));
        }
    }
    for requirement in term.get("matchFields").items() {
        let (key, operator, values) = (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() == 1 => {}
            "In" | "NotIn" => {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required(&values, detail);
            }
            other => errors.invalid_text(&operator, other, "not a valid selector operator"),
        }
        if key.text() == "metadata.name" {
            for value in values.items() {
                errors.invalid_each(&value, names::dns_1123_subdomain(value.text()));
            }
        } else {
            errors.invalid_text(&key, key.text(), "not a valid field selector key");
        }
    }
}

fn pod_term(term: &Field<'_, '_>, errors: &mut Errors) {
    meta::selector(&term.get("labelSelector"), errors);
    meta::selector(&term.get("namespaceSelector"), errors);
    for name in term.get("namespaces").strings() {
        for complaint in names::dns_1123_label(name) {
            errors.invalid_text(&term.get("namespace"), name, complaint);
        }
    }
    let key = term.get("topologyKey");
    errors.require(&key, "can not be empty");
    for complaint in names::qualified_name(key.text()) {
        errors.invalid_text(&key, key.text(), complaint);
    }
    for keys in ["matchLabelKeys", "mismatchLabelKeys"] {
        for key in term.get(keys).items() {
            errors.invalid_each(&key, names::qualified_name(key.text()));
        }
    }
}

/// Checks the tolerations of a pod.
pub(in crate::kinds) fn tolerations(list: &Field<'_, '_>, errors: &mut Errors) {
    for toleration in list.items() {
        let (key, operator, effect) = (toleration.get("key"), toleration.get("operator"), toleration.get("effect"));
        let value = toleration.get("value").text();
        if !key.is_empty() {
            errors.invalid_each(&key, names::qualified_name(key.text()));
        } else if operator.text() != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid_text(&operator, operator.text(), detail);
        }
        if toleration.get("tolerationSeconds").present() && effect.text() != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid_text(&effect, effect.text(), detail);
        }
        match operator.text() {
            "" | "Equal" => {
                let complaints = names::label_value(value);
                if !complaints.is_empty() {
                    errors.invalid_text(&operator, value, complaints.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.invalid_text(&operator, value, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            _ => errors.not_supported(&operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            errors.optional_one_of(&effect, EFFECTS);
        }
    }
}

/// Checks the taints of a node.
pub(in crate::kinds) fn taints(list: &Field<'_, '_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for taint in list.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        for complaint in names::qualified_name(key.text()) {
            errors.invalid_text(&key, key.text(), complaint);
        }
        let complaints = names::label_value(value.text());
        if !complaints.is_empty() {
            errors.invalid_text(&value, value.text(), complaints.join(";"));
        }
        errors.one_of(&effect, EFFECTS);
        if !seen.insert((effect.text(), key.text())) {
            errors.duplicate(&taint);
        }
    }
}

/// Checks how the pods of a set spread.
pub(super) fn spreading(list: &Field<'_, '_>, errors: &mut Errors) {
    for (at, constraint) in list.items().enumerate() {
        let (skew, key, action) =
            (constraint.get("maxSkew"), constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if skew.number() <= 0 {
            errors.invalid(&skew.with(&json!(skew.number())), NOT_POSITIVE);
        }
        errors.require(&key, "can not be empty");
        if !matches!(action.text(), "DoNotSchedule" | "ScheduleAnyway") {
            errors.not_supported(&action.with(&json!(action.text())), &["DoNotSchedule", "ScheduleAnyway"]);
        }
        let again = |other: Field<'_, '_>| {
            other.get("topologyKey").text() == key.text() && other.get("whenUnsatisfiable").text() == action.text()
        };
        if list.items().skip(at + 1).any(again) {
            let pair = format!("{{{}, {}}}", key.text(), action.text());
            errors.duplicate_text(&constraint.get("{topologyKey, whenUnsatisfiable}"), &pair);
        }
        let domains = constraint.get("minDomains");
        if domains.present() {
            if domains.number() <= 0 {
                errors.invalid(&domains, NOT_POSITIVE);
            }
            if action.text() != "DoNotSchedule" {
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", action.text());
                errors.invalid(&domains, detail);
            }
        }
        errors.optional_one_of(&constraint.get("nodeAffinityPolicy"), &["Honor", "Ignore"]);
        errors.optional_one_of(&constraint.get("nodeTaintsPolicy"), &["Honor", "Ignore"]);
        match_label_keys(&constraint, errors);
        meta::selector(&constraint.get("labelSelector"), errors);
    }
}

fn match_label_keys(constraint: &Field<'_, '_>, errors: &mut Errors) {
    let (keys, selector) = (constraint.get("matchLabelKeys"), constraint.get("labelSelector"));
    if !keys.is_empty() && !selector.present() {
        errors.forbidden(&keys, "must not be specified when labelSelector is not set");
        return;
    }
    for key in keys.items() {
        errors.invalid_each(&key, names::qualified_name(key.text()));
    }
}

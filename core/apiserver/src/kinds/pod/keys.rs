//! Label keys that stand for the pod's own values: they become part of the selectors when the pod is made.

use serde_json::{Value, json};

use crate::kinds::edit::{default_to, each, inside};
use crate::kinds::field::{dig, lookup};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Writes the values of `matchLabelKeys` and `mismatchLabelKeys` into the selectors beside them.
pub(super) fn resolve(pod: &mut Value) {
    let labels = dig(pod, &["metadata", "labels"]).clone();
    inside(pod, "spec", |spec| {
        inside(spec, "affinity", |affinity| {
            for kind in ["podAffinity", "podAntiAffinity"] {
                inside(affinity, kind, |pods| {
                    each(pods, REQUIRED, |term| resolve_in(term, &labels));
                    each(pods, PREFERRED, |term| {
                        inside(term, "podAffinityTerm", |term| resolve_in(term, &labels));
                    });
                });
            }
        });
        each(spec, "topologySpreadConstraints", |constraint| resolve_in(constraint, &labels));
    });
}

fn resolve_in(term: &mut Value, labels: &Value) {
    let mut wanted = Vec::new();
    for (list, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in lookup(term, list).as_array().into_iter().flatten().filter_map(Value::as_str) {
            let value = lookup(labels, key);
            if !value.is_null() {
                wanted.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    if wanted.is_empty() {
        return;
    }
    inside(term, "labelSelector", |selector| {
        default_to(selector, "matchExpressions", json!([]));
        inside(selector, "matchExpressions", |expressions| {
            if let Value::Array(expressions) = expressions {
                expressions.append(&mut wanted);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_becomes_the_value_that_the_pod_has() {
        let mut pod = json!({"metadata": {"labels": {"hash": "1"}}, "spec": {"topologySpreadConstraints": [
            {"labelSelector": {}, "matchLabelKeys": ["hash", "absent"]}, {"matchLabelKeys": ["hash"]}]}});
        resolve(&mut pod);
        let constraints = &pod["spec"]["topologySpreadConstraints"];
        assert_eq!(
            constraints[0]["labelSelector"],
            json!({"matchExpressions": [{"key": "hash", "operator": "In", "values": ["1"]}]})
        );
        assert_eq!(constraints[1].get("labelSelector"), None);
    }
}

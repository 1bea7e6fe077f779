//! The quality-of-service class of a pod, from its requests and limits of processor time and memory.

use serde_json::Value;
use windlass_api::quantity::Amount;

use crate::kinds::field::{dig, items, lookup};

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(in crate::kinds) fn class(pod: &Value) -> &'static str {
    let spec = lookup(pod, "spec");
    let whole = lookup(spec, "resources");
    let sets_any = |resources: &Value| {
        ["requests", "limits"].iter().any(|list| ["cpu", "memory"].iter().any(|r| amount(resources, list, r).is_some()))
    };
    let holders: Vec<&Value> = if sets_any(whole) {
        vec![whole]
    } else {
        let containers = items(spec, &["containers"]).chain(items(spec, &["initContainers"]));
        containers.map(|container| lookup(container, "resources")).collect()
    };
    if !holders.iter().any(|holder| sets_any(holder)) {
        return "BestEffort";
    }
    let exact = |holder: &&Value| {
        ["cpu", "memory"].iter().all(|resource| {
            let limit = amount(holder, "limits", resource);
            limit.is_some() && amount(holder, "requests", resource).or(limit) == limit
        })
    };
    if holders.iter().all(exact) { "Guaranteed" } else { "Burstable" }
}

fn amount(resources: &Value, list: &str, resource: &str) -> Option<Amount> {
    let value = dig(resources, &[list, resource]);
    if value.is_null() {
        return None;
    }
    Amount::from_json(value).ok().filter(|amount| !amount.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(resources: &[Value], expect: &str) {
        let containers: Vec<Value> = resources.iter().map(|r| json!({"resources": r})).collect();
        assert_eq!(class(&json!({"spec": {"containers": containers}})), expect);
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        check(&[json!({})], "BestEffort");
        check(&[json!({"requests": {"cpu": "0"}})], "BestEffort");
        check(std::slice::from_ref(&full), "Guaranteed");
        check(&[full, json!({})], "Burstable");
        check(&[json!({"requests": {"cpu": "1"}})], "Burstable");
    }
}

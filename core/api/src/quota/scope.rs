//! Which objects a quota with scopes is about (`spec.scopes`, `spec.scopeSelector`).

use serde_json::Value;

use super::{Usage, tracks};

/// Whether a quota concerns an object of a resource: it limits something of that resource, and its scopes hold.
#[must_use]
pub fn concerns(quota: &Value, hard: &Usage, group: &str, plural: &str, object: &Value) -> bool {
    if !hard.names().any(|name| tracks(group, plural, name)) {
        return false;
    }
    let spec = &quota["spec"];
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let named = list(&spec["scopes"]);
    let named =
        named.iter().all(|scope| holds(group, plural, object, scope.as_str().unwrap_or_default(), &Value::Null));
    let selected = list(&spec["scopeSelector"]["matchExpressions"]);
    named
        && selected.iter().all(|expression| {
            holds(group, plural, object, expression["scopeName"].as_str().unwrap_or_default(), expression)
        })
}

/// Whether a scope holds; scopes are about pods, one about claims, and about nothing else.
fn holds(group: &str, plural: &str, object: &Value, scope: &str, expression: &Value) -> bool {
    let spec = &object["spec"];
    match (group, plural, scope) {
        ("", "pods", "BestEffort") => object["status"]["qosClass"] == "BestEffort",
        ("", "pods", "NotBestEffort") => object["status"]["qosClass"] != "BestEffort",
        ("", "pods", "Terminating") => is_terminating(spec),
        ("", "pods", "NotTerminating") => !is_terminating(spec),
        ("", "pods", "CrossNamespacePodAffinity") => crosses_namespaces(&spec["affinity"]),
        ("", "pods", "PriorityClass") => matches(expression, spec["priorityClassName"].as_str()),
        ("", "persistentvolumeclaims", "VolumeAttributesClass") => {
            matches(expression, spec["volumeAttributesClassName"].as_str())
        }
        _ => false,
    }
}

fn is_terminating(spec: &Value) -> bool {
    spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

/// Whether a name is what an expression asks for; without an expression there must be one.
fn matches(expression: &Value, name: Option<&str>) -> bool {
    let name = name.filter(|name| !name.is_empty());
    let listed = || {
        let values = expression["values"].as_array().into_iter().flatten();
        values.into_iter().any(|value| value.as_str() == name)
    };
    match expression["operator"].as_str() {
        Some("In") => name.is_some() && listed(),
        Some("NotIn") => !(name.is_some() && listed()),
        Some("DoesNotExist") => name.is_none(),
        _ => name.is_some(),
    }
}

fn crosses_namespaces(affinity: &Value) -> bool {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let crosses = |term: &Value| !list(&term["namespaces"]).is_empty() || !term["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let own = &affinity[*kind];
        list(&own["requiredDuringSchedulingIgnoredDuringExecution"]).iter().any(crosses)
            || list(&own["preferredDuringSchedulingIgnoredDuringExecution"])
                .iter()
                .any(|weighted| crosses(&weighted["podAffinityTerm"]))
    })
}

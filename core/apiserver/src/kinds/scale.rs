//! The `/scale` sub-resource: a workload's replicas as an `autoscaling/v1` Scale.

use serde_json::{Map, Value, json};
use windlass_kernel::Error;

use super::edit::{copy, set, within};
use super::errors::Errors;
use super::field::{Field, dig, lookup, text};
use super::meta;

/// The Scale of a workload.
#[must_use]
pub fn read(object: &Value) -> Value {
    let mut meta = Value::Object(Map::new());
    for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        let value = dig(object, &["metadata", name]);
        if !value.is_null() {
            set(&mut meta, name, value.clone());
        }
    }
    let number = |path: &[&str]| dig(object, path).as_i64().unwrap_or_default();
    let mut spec = Value::Object(Map::new());
    if number(&["spec", "replicas"]) != 0 {
        set(&mut spec, "replicas", number(&["spec", "replicas"]));
    }
    let mut status = json!({"replicas": number(&["status", "replicas"])});
    let selector = selector_text(dig(object, &["spec", "selector"]));
    if !selector.is_empty() {
        set(&mut status, "selector", selector);
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status})
}

/// The workload with the replicas, and the resource version if there is one, of a Scale.
#[must_use]
pub fn write(object: &Value, scale: &Value) -> Value {
    let mut changed = object.clone();
    let replicas = dig(scale, &["spec", "replicas"]).as_i64().unwrap_or_default();
    within(&mut changed, "spec", |spec| set(spec, "replicas", replicas));
    if !text(scale, &["metadata", "resourceVersion"]).is_empty() {
        within(&mut changed, "metadata", |meta| copy(meta, lookup(scale, "metadata"), "resourceVersion"));
    }
    changed
}

/// Checks a Scale that was sent.
pub fn validate(scale: &Value) -> Result<(), Error> {
    let mut errors = Errors::new();
    let spec = Field::top(scale, "spec");
    meta::labels(&meta::of(scale).get("labels"), &mut errors);
    errors.non_negative(&spec.get("replicas"));
    errors.into_result("autoscaling", "Scale", text(scale, &["metadata", "name"]))
}

/// A selector, of labels or a whole one, as text.
#[must_use]
pub fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> = Vec::new();
    let whole = ["matchLabels", "matchExpressions"].iter().any(|name| !lookup(selector, name).is_null());
    let labels = if whole { lookup(selector, "matchLabels") } else { selector };
    for (key, value) in labels.as_object().into_iter().flatten() {
        parts.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in lookup(selector, "matchExpressions").as_array().into_iter().flatten().filter(|_| whole) {
        let key = text(expression, &["key"]);
        let mut values: Vec<&str> =
            lookup(expression, "values").as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), part));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_reads_and_writes_replicas() {
        let object = json!({
            "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7", "labels": {"x": "y"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["e", "d"]}]}},
            "status": {"replicas": 2},
        });
        let mut scale = read(&object);
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b,c in (d,e)"}));
        scale["spec"]["replicas"] = 5.into();
        assert_eq!(write(&object, &scale)["spec"]["replicas"], 5);
    }
}

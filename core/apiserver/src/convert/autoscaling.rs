//! Horizontal pod autoscalers: `v1` knows one CPU target; `v2`, which is stored, knows any metric.
//!
//! What `v1` cannot say it carries in the annotations that upstream uses for it.

use serde_json::{Map, Value, json};
use windlass_kernel::error::Result;

use crate::{errors, object};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

pub(super) fn to_v2(value: &mut Value) -> Result<()> {
    let metrics = annotation(value, METRICS)?;
    let current = annotation(value, CURRENT)?;
    let conditions = annotation(value, CONDITIONS)?;
    let behavior = annotation(value, BEHAVIOR)?;
    let spec = object::child_mut(value, "spec");
    let mut all = metrics.and_then(|metrics| metrics.as_array().cloned()).unwrap_or_default();
    if let Some(target) = spec.remove("targetCPUUtilizationPercentage") {
        all.push(cpu("target", &json!({"type": "Utilization", "averageUtilization": target})));
    }
    if !all.is_empty() {
        spec.insert("metrics".into(), all.into());
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".into(), behavior);
    }
    let status = object::child_mut(value, "status");
    let mut all = current.and_then(|current| current.as_array().cloned()).unwrap_or_default();
    if let Some(now) = status.remove("currentCPUUtilizationPercentage") {
        all.push(cpu("current", &json!({"averageUtilization": now})));
    }
    if !all.is_empty() {
        status.insert("currentMetrics".into(), all.into());
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".into(), conditions);
    }
    Ok(())
}

pub(super) fn from_v2(value: &mut Value) {
    let spec = object::child_mut(value, "spec");
    let behavior = spec.remove("behavior");
    let (target, metrics) = split(spec.remove("metrics"), "target");
    if let Some(target) = target {
        spec.insert("targetCPUUtilizationPercentage".into(), target);
    }
    let status = object::child_mut(value, "status");
    let conditions = status.remove("conditions").filter(|conditions| !object::is_empty(conditions));
    let (now, current) = split(status.remove("currentMetrics"), "current");
    if let Some(now) = now {
        status.insert("currentCPUUtilizationPercentage".into(), now);
    }
    for (name, kept) in [(BEHAVIOR, behavior), (METRICS, metrics), (CURRENT, current), (CONDITIONS, conditions)] {
        if let Some(kept) = kept {
            let annotations = object::meta_mut(value).entry("annotations").or_insert_with(|| json!({}));
            object::as_map(annotations).insert(name.into(), kept.to_string().into());
        }
    }
}

fn cpu(field: &str, value: &Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", field: value}})
}

/// Takes the CPU utilization out of a list of metrics; the rest, if any, comes second.
fn split(metrics: Option<Value>, field: &str) -> (Option<Value>, Option<Value>) {
    let Some(Value::Array(mut metrics)) = metrics else { return (None, None) };
    let utilization = |metric: &Value| metric["resource"][field]["averageUtilization"].clone();
    let is_cpu = |metric: &Value| metric["resource"]["name"] == "cpu" && !utilization(metric).is_null();
    let found = metrics.iter().position(is_cpu).map(|at| utilization(&metrics.remove(at)));
    (found, (!metrics.is_empty()).then_some(Value::Array(metrics)))
}

/// Takes an annotation that holds JSON.
fn annotation(value: &mut Value, name: &str) -> Result<Option<Value>> {
    let annotations = object::meta_mut(value).get_mut("annotations").and_then(Value::as_object_mut);
    let text = annotations.and_then(|annotations: &mut Map<String, Value>| annotations.remove(name));
    let Some(Value::String(text)) = text else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| errors::bad_request(format!("annotation {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_v1_cannot_say_survives_in_annotations() {
        let v2 = json!({"metadata": {}, "spec": {"behavior": {"scaleUp": {}}, "metrics": [
            {"type": "Pods", "pods": {}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
        ]}, "status": {}});
        let mut value = v2.clone();
        from_v2(&mut value);
        assert_eq!(value["spec"], json!({"targetCPUUtilizationPercentage": 80}));
        to_v2(&mut value).unwrap();
        object::meta_mut(&mut value).remove("annotations");
        assert_eq!(value, v2);
    }
}

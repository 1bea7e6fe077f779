//! What a namespace's limit ranges say of containers, pods and claims: defaults for what was left out, bounds for the rest.

use async_trait::async_trait;
use serde_json::{Map, Value};
use windlass_api::{quantity::Amount, resources};
use windlass_kernel::{Admission, access::Admitting, api::Request, error::Result};

use super::{Reader, list, writes};
use crate::{errors, object};

/// Where a pod is told what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

#[derive(Debug)]
pub(super) struct LimitRanger {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "pods") || writes(request, "persistentvolumeclaims")
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        if admitting.old.is_some() || admitting.request.resource.resource != "pods" {
            return Ok(());
        }
        let Some(pod) = admitting.new.as_deref_mut() else { return Ok(()) };
        let mut filled = Vec::new();
        for range in self.reader.list("core/limitranges", &admitting.request.namespace).await? {
            let range = range.value()?;
            for limit in list(&range["spec"], "limits").filter(|limit| limit["type"] == "Container") {
                fill(pod, limit, &mut filled);
            }
        }
        if !filled.is_empty() {
            let text = format!("LimitRanger plugin set: {}", filled.join("; "));
            let annotations = object::as_map(object::meta_mut(pod).entry("annotations").or_insert(Value::Null));
            annotations.insert(ANNOTATION.into(), text.into());
        }
        Ok(())
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        if admitting.old.is_some() {
            return Ok(());
        }
        let Some(object) = admitting.new.as_deref() else { return Ok(()) };
        let mut said = Vec::new();
        for range in self.reader.list("core/limitranges", &admitting.request.namespace).await? {
            let range = range.value()?;
            for limit in list(&range["spec"], "limits") {
                complaints(object, limit, &admitting.request.resource.resource, &mut said);
            }
        }
        if said.is_empty() {
            return Ok(());
        }
        let resource = &admitting.request.resource;
        let Some(info) = resources::find(&resource.group, &resource.version, &resource.resource) else { return Ok(()) };
        let why = if said.len() == 1 { said.remove(0) } else { format!("[{}]", said.join(", ")) };
        Err(errors::forbidden(info, object::name(object), &why))
    }
}

/// Fills in what the containers of a pod left out, and says what that was.
fn fill(pod: &mut Value, limit: &Value, filled: &mut Vec<String>) {
    for (kind, shown) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.pointer_mut(&format!("/spec/{kind}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let of = container["name"].as_str().unwrap_or_default().to_owned();
            let resources = object::child_mut(container, "resources");
            for (field, default, what) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")] {
                let Some(defaults) = limit[default].as_object() else { continue };
                let given = resources.entry(field).or_insert_with(|| Value::Object(Map::new()));
                let given = object::as_map(given);
                let mut names = Vec::new();
                for (name, value) in defaults {
                    given.entry(name.clone()).or_insert_with(|| {
                        names.push(name.as_str());
                        value.clone()
                    });
                }
                if !names.is_empty() {
                    filled.push(format!("{} {what} for {shown} {of}", names.join(", ")));
                }
            }
        }
    }
}

/// What a limit forbids about an object.
fn complaints(object: &Value, limit: &Value, plural: &str, said: &mut Vec<String>) {
    let kind = limit["type"].as_str().unwrap_or_default();
    match (plural, kind) {
        ("pods", "Container") => {
            for field in ["initContainers", "containers"] {
                for container in list(&object["spec"], field) {
                    bounds(&container["resources"], limit, kind, said);
                }
            }
        }
        ("pods", "Pod") => bounds(&total(object), limit, kind, said),
        ("persistentvolumeclaims", "PersistentVolumeClaim") => bounds(&object["spec"]["resources"], limit, kind, said),
        _ => {}
    }
}

fn bounds(resources: &Value, limit: &Value, kind: &str, said: &mut Vec<String>) {
    let each = |field: &str| limit[field].as_object().cloned().unwrap_or_default();
    let amount = |value: &Value| Amount::from_json(value).ok();
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, least) in each("min") {
        let (request, max) = (&resources["requests"][&name], &resources["limits"][&name]);
        let (floor, bound) = (amount(&least), shown(&least));
        match amount(request) {
            None => said.push(format!("minimum {name} usage per {kind} is {bound}.  No request is specified")),
            Some(asked) if Some(asked) < floor => {
                said.push(format!("minimum {name} usage per {kind} is {bound}, but request is {}", shown(request)));
            }
            Some(_) => {}
        }
        if amount(max).is_some_and(|given| Some(given) < floor) {
            said.push(format!("minimum {name} usage per {kind} is {bound}, but limit is {}", shown(max)));
        }
    }
    for (name, most) in each("max") {
        let (request, given) = (&resources["requests"][&name], &resources["limits"][&name]);
        let (ceiling, bound) = (amount(&most), shown(&most));
        let claim = kind == "PersistentVolumeClaim";
        match amount(given) {
            None if !claim => said.push(format!("maximum {name} usage per {kind} is {bound}.  No limit is specified")),
            Some(asked) if Some(asked) > ceiling => {
                said.push(format!("maximum {name} usage per {kind} is {bound}, but limit is {}", shown(given)));
            }
            _ => {}
        }
        if amount(request).is_some_and(|asked| Some(asked) > ceiling) {
            said.push(format!("maximum {name} usage per {kind} is {bound}, but request is {}", shown(request)));
        }
    }
    for (name, most) in each("maxLimitRequestRatio") {
        let milli = |value: &Value| amount(value).map(Amount::milli_value).filter(|milli| *milli > 0);
        let (request, given) = (milli(&resources["requests"][&name]), milli(&resources["limits"][&name]));
        let (Some(request), Some(given)) = (request, given) else { continue };
        let allowed = amount(&most).map_or(f64::INFINITY, Amount::as_f64);
        let ratio = ratio(given, request);
        if ratio > allowed {
            let bound = shown(&most);
            said.push(format!(
                "{name} max limit to request ratio per {kind} is {bound}, but provided ratio is {ratio:.6}"
            ));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is compared and shown with six digits")]
fn ratio(limit: i64, request: i64) -> f64 {
    limit as f64 / request as f64
}

/// What the containers of a pod ask for in sum, as upstream adds it up: init containers count where they ask for more.
fn total(pod: &Value) -> Value {
    let mut sum = serde_json::json!({"requests": {}, "limits": {}});
    for field in ["requests", "limits"] {
        let mut milli: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
        let amounts = |container: &Value| container["resources"][field].as_object().cloned().unwrap_or_default();
        let in_milli = |value: &Value| Amount::from_json(value).map_or(0, Amount::milli_value);
        for container in list(&pod["spec"], "containers") {
            for (name, value) in amounts(container) {
                let entry = milli.entry(name).or_default();
                *entry = entry.saturating_add(in_milli(&value));
            }
        }
        for container in list(&pod["spec"], "initContainers") {
            for (name, value) in amounts(container) {
                let entry = milli.entry(name).or_default();
                *entry = (*entry).max(in_milli(&value));
            }
        }
        for (name, milli) in milli {
            sum[field][name] = format!("{milli}m").into();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pod: &Value, limit: &Value, expect: &[&str]) {
        let mut said = Vec::new();
        complaints(pod, limit, "pods", &mut said);
        assert_eq!(said, expect);
    }

    #[test]
    fn bounds_are_checked_against_requests_and_limits() {
        let pod =
            json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}}}]}});
        let limit = json!({"type": "Container", "min": {"cpu": "200m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "4"}});
        check(
            &pod,
            &limit,
            &[
                "minimum cpu usage per Container is 200m, but request is 100m",
                "maximum cpu usage per Container is 1, but limit is 2",
                "cpu max limit to request ratio per Container is 4, but provided ratio is 20.000000",
            ],
        );
        check(&pod, &json!({"type": "Pod", "max": {"cpu": "2"}}), &[]);
    }

    #[test]
    fn what_was_left_out_is_filled_in() {
        let mut pod = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}});
        let mut filled = Vec::new();
        let limit = json!({"default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}});
        fill(&mut pod, &limit, &mut filled);
        assert_eq!(filled, ["cpu request for container c", "memory limit for container c"]);
        let resources = &pod["spec"]["containers"][0]["resources"];
        assert_eq!(resources, &json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m"}}));
    }
}

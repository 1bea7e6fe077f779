//! A pod that names a runtime class gets its overhead and goes where the class runs.

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_kernel::{Admission, access::Admitting, api::Request, error::Result};

use super::{Reader, list, pods, writes};
use crate::object;

#[derive(Debug)]
pub(super) struct RuntimeClass {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "pods")
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(pod) = pods::created(admitting) else { return Ok(()) };
        let Some(name) = pod["spec"]["runtimeClassName"].as_str().filter(|name| !name.is_empty()) else {
            if object::is_empty(&pod["spec"]["overhead"]) {
                return Ok(());
            }
            return Err(pods::refuse(
                pod,
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ));
        };
        let Some(class) = self.reader.get("node.k8s.io/runtimeclasses", "", name).await? else {
            let why = format!("pod rejected: RuntimeClass {name:?} not found");
            return Err(pods::refuse(pod, &why));
        };
        follow(pod, &class.value()?).map_err(|why| pods::refuse(pod, &format!("pod rejected: {why}")))
    }
}

/// Writes into the pod what its class says.
fn follow(pod: &mut Value, class: &Value) -> Result<(), &'static str> {
    let overhead = &class["overhead"]["podFixed"];
    let given = &pod["spec"]["overhead"];
    if !object::is_empty(given) && given != overhead {
        return Err("Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    }
    let spec = object::child_mut(pod, "spec");
    if !object::is_empty(overhead) {
        spec.insert("overhead".into(), overhead.clone());
    }
    let scheduling = &class["scheduling"];
    if let Some(wanted) = scheduling["nodeSelector"].as_object().filter(|wanted| !wanted.is_empty()) {
        let selector = object::as_map(spec.entry("nodeSelector").or_insert_with(|| json!({})));
        for (key, value) in wanted {
            if selector.get(key).is_some_and(|own| own != value) {
                return Err("conflict: runtimeClass.scheduling.nodeSelector and pod.spec.nodeSelector differ");
            }
            selector.insert(key.clone(), value.clone());
        }
    }
    for toleration in list(scheduling, "tolerations") {
        let own = spec.entry("tolerations").or_insert_with(|| json!([]));
        if let Value::Array(own) = own
            && !own.contains(toleration)
        {
            own.push(toleration.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_follows_its_class_once() {
        let class = json!({"overhead": {"podFixed": {"cpu": "10m"}},
            "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "t"}]}});
        let mut pod = json!({"spec": {"nodeSelector": {"c": "d"}}});
        follow(&mut pod, &class).unwrap();
        let expect =
            json!({"overhead": {"cpu": "10m"}, "nodeSelector": {"a": "b", "c": "d"}, "tolerations": [{"key": "t"}]});
        assert_eq!(pod["spec"], expect);
        follow(&mut pod, &class).unwrap();
        assert_eq!(pod["spec"], expect);
        pod["spec"]["nodeSelector"]["a"] = "x".into();
        follow(&mut pod, &class).unwrap_err();
    }
}

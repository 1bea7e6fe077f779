//! Pods tolerate a node that is not ready or unreachable for five minutes, unless they say otherwise.

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_kernel::{Admission, access::Admitting, api::Request, error::Result};

use super::{list, writes};
use crate::object;

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: u64 = 300;

#[derive(Debug)]
pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "pods")
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        if let Some(pod) = admitting.new.as_deref_mut() {
            tolerate(pod);
        }
        Ok(())
    }
}

fn tolerate(pod: &mut Value) {
    let tolerated = |pod: &Value, taint: &str| {
        list(&pod["spec"], "tolerations").any(|toleration| {
            let key = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        })
    };
    let missing: Vec<&str> = TAINTS.into_iter().filter(|taint| !tolerated(pod, taint)).collect();
    for taint in missing {
        let toleration =
            json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
        add(pod, toleration);
    }
}

/// Has a pod tolerate one thing more.
pub(super) fn add(pod: &mut Value, toleration: Value) {
    let all = object::child_mut(pod, "spec").entry("tolerations").or_insert_with(|| json!([]));
    if let Value::Array(all) = all {
        all.push(toleration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_tolerates_already_is_not_added() {
        let mut pod = json!({"spec": {"tolerations": [{"key": TAINTS[0], "operator": "Exists"}]}});
        tolerate(&mut pod);
        let keys: Vec<_> = list(&pod["spec"], "tolerations").map(|t| t["key"].as_str().unwrap()).collect();
        assert_eq!(keys, TAINTS);
        let once = pod.clone();
        tolerate(&mut pod);
        assert_eq!(pod, once);
    }
}

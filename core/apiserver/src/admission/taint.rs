//! A new node takes no pods before it was seen ready.

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_kernel::{Admission, access::Admitting, api::Request, error::Result};

use super::{list, writes};
use crate::object;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

#[derive(Debug)]
pub(super) struct TaintNodesByCondition;

#[async_trait]
impl Admission for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "nodes")
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        if admitting.old.is_some() {
            return Ok(());
        }
        let Some(node) = admitting.new.as_deref_mut() else { return Ok(()) };
        if list(&node["spec"], "taints").any(|taint| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule") {
            return Ok(());
        }
        let taints = object::child_mut(node, "spec").entry("taints").or_insert_with(|| json!([]));
        if let Value::Array(taints) = taints {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}

//! Pods tolerate what their namespace says, and no more than it allows (`PodTolerationRestriction`).

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::Request,
    error::{Error, ErrorKind, Result},
};

use super::super::{Reader, configuration::Tolerations, pods, writes};
use crate::{kinds, object};

const DEFAULT: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";
const PRESSURE: &str = "node.kubernetes.io/memory-pressure";

/// Adds what every pod of a namespace tolerates, and refuses pods that tolerate more than it allows.
#[derive(Debug)]
pub(in crate::admission) struct PodTolerationRestriction {
    pub(in crate::admission) reader: Reader,
    /// What holds where a namespace says nothing.
    pub(in crate::admission) configured: Tolerations,
}

#[async_trait]
impl Admission for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "pods")
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let mut more = match admitting.old {
            None => {
                let said = self.said(&admitting.request.namespace, DEFAULT).await?;
                said.unwrap_or_else(|| self.configured.default.clone())
            }
            Some(_) => Vec::new(),
        };
        let Some(pod) = admitting.new.as_deref_mut() else { return Ok(()) };
        if kinds::pod_class(pod) != "BestEffort" {
            more.push(json!({"key": PRESSURE, "operator": "Exists", "effect": "NoSchedule"}));
        }
        if !more.is_empty() {
            let own = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
            object::child_mut(pod, "spec").insert("tolerations".into(), merged(own, more).into());
        }
        Ok(())
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let said = self.said(&admitting.request.namespace, ALLOWED).await?;
        let Some(pod) = admitting.new.as_deref() else { return Ok(()) };
        let (allowed, scope) = match &said {
            Some(said) => (said, "namespace"),
            None => (&self.configured.allowed, "cluster"),
        };
        let mut own = super::super::list(&pod["spec"], "tolerations");
        if allowed.is_empty() || own.all(|one| allowed.iter().any(|allowed| covers(allowed, one))) {
            return Ok(());
        }
        let why = "pod tolerations (possibly merged with namespace default tolerations) conflict with its";
        Err(pods::refuse(pod, &format!("{why} {scope} whitelist")))
    }
}

impl PodTolerationRestriction {
    /// The tolerations that a namespace names in an annotation, where it has it.
    async fn said(&self, namespace: &str, annotation: &str) -> Result<Option<Vec<Value>>> {
        let found = self.reader.get("core/namespaces", "", namespace).await?;
        let found = found.map(|found| found.value()).transpose()?.unwrap_or_default();
        let Some(text) = object::meta(&found, "annotations")[annotation].as_str().filter(|text| !text.is_empty())
        else {
            return Ok(None);
        };
        serde_json::from_str(text).map(Some).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("cannot read the annotation {annotation} of {namespace}: {error}"))
        })
    }
}

/// All tolerations, without those that others cover.
fn merged(own: Vec<Value>, more: Vec<Value>) -> Vec<Value> {
    let all: Vec<Value> = own.into_iter().chain(more).collect();
    let mut kept: Vec<Value> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let earlier = kept.iter().any(|kept| covers(kept, one));
        let later = all[at + 1..].iter().any(|other| other != one && covers(other, one));
        if !earlier && !later {
            kept.push(one.clone());
        }
    }
    kept
}

/// Whether whoever tolerates `wide` tolerates all that `narrow` does.
fn covers(wide: &Value, narrow: &Value) -> bool {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let same = |field: &str| text(wide, field) == text(narrow, field);
    if wide == narrow {
        return true;
    }
    let any_key = text(wide, "key").is_empty() && text(wide, "operator") == "Exists";
    if !same("key") && !any_key {
        return false;
    }
    if !same("effect") && !text(wide, "effect").is_empty() {
        return false;
    }
    if text(wide, "effect") == "NoExecute"
        && let Some(most) = wide["tolerationSeconds"].as_i64()
        && narrow["tolerationSeconds"].as_i64().is_none_or(|seconds| seconds > most)
    {
        return false;
    }
    match text(wide, "operator").as_str() {
        "" | "Equal" => text(narrow, "operator") == "Equal" && same("value"),
        other => other == "Exists",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_cover_is_left_out() {
        let all = json!({"operator": "Exists", "effect": "NoSchedule"});
        let one = json!({"key": "a", "operator": "Exists", "effect": "NoSchedule"});
        let soon = json!({"key": "b", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let late = json!({"key": "b", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9});
        assert_eq!(merged(vec![one.clone(), soon.clone()], vec![all.clone(), late.clone()]), [all, late]);
        assert_eq!(merged(vec![one.clone()], vec![one.clone()]), [one]);
        let equal = json!({"key": "a", "operator": "Equal", "value": "1"});
        assert!(covers(&json!({"key": "a", "value": "1"}), &equal) && !covers(&soon, &equal));
    }
}

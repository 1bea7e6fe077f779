//! A pod's priority is that of its class, or of the default class, or 0.

use async_trait::async_trait;
use serde_json::Value;
use windlass_kernel::{Admission, access::Admitting, api::Request, error::Result};

use super::{Reader, pods, writes};
use crate::object;

const CLASSES: &str = "scheduling.k8s.io/priorityclasses";

#[derive(Debug)]
pub(super) struct Priority {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "pods")
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(pod) = pods::created(admitting) else { return Ok(()) };
        let named = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
        let class = if named.is_empty() {
            self.default_class().await?
        } else {
            match self.reader.get(CLASSES, "", named).await? {
                Some(class) => Some(class.value()?),
                None => {
                    let why = format!("no PriorityClass with name {named} was found");
                    return Err(pods::refuse(pod, &why));
                }
            }
        };
        let value = class.as_ref().map_or(0, |class| class["value"].as_i64().unwrap_or_default());
        let policy =
            class.as_ref().and_then(|class| class["preemptionPolicy"].as_str()).unwrap_or("PreemptLowerPriority");
        if pod["spec"]["priority"].as_i64().is_some_and(|given| given != value) {
            let given = &pod["spec"]["priority"];
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
                 computed {value} from the given PriorityClass name"
            );
            return Err(pods::refuse(pod, &why));
        }
        if pod["spec"]["preemptionPolicy"].as_str().is_some_and(|given| given != policy) {
            let given = pod["spec"]["preemptionPolicy"].as_str().unwrap_or_default();
            let why = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            );
            return Err(pods::refuse(pod, &why));
        }
        let spec = object::child_mut(pod, "spec");
        if let Some(class) = &class {
            spec.insert("priorityClassName".into(), object::name(class).into());
        }
        spec.insert("priority".into(), value.into());
        spec.insert("preemptionPolicy".into(), policy.into());
        Ok(())
    }
}

impl Priority {
    /// The class of pods that name none: of several, the one with the lowest value.
    async fn default_class(&self) -> Result<Option<Value>> {
        let mut found: Option<Value> = None;
        for class in self.reader.list(CLASSES, "").await? {
            // The system's own classes are never the default, and usually the only ones there are.
            if class.entry().key.as_str().contains("/system-") {
                continue;
            }
            let class = class.value()?;
            let lower = |other: &Value| class["value"].as_i64() < other["value"].as_i64();
            if class["globalDefault"] == true && found.as_ref().is_none_or(lower) {
                found = Some(class);
            }
        }
        Ok(found)
    }
}

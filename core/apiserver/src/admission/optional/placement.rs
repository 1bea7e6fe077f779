//! Where pods may go: by what their namespace selects, by the devices that they ask for, and by how far they keep apart.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};
use windlass_api::names;
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    error::{Error, ErrorKind, Result},
};

use super::super::{Reader, list, pods, tolerations, writes};
use crate::object;

const HOSTNAME: &str = "kubernetes.io/hostname";
const SELECTOR: &str = "scheduler.alpha.kubernetes.io/node-selector";

/// A pod that asks for a device tolerates the taint that keeps others off the nodes that have it.
#[derive(Debug)]
pub(in crate::admission) struct ExtendedResourceToleration;

#[async_trait]
impl Admission for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
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
    let mut wanted: Vec<String> = Vec::new();
    for containers in ["containers", "initContainers"] {
        for container in list(&pod["spec"], containers) {
            let requests = container["resources"]["requests"].as_object().into_iter().flatten();
            wanted.extend(requests.map(|(name, _)| name.clone()).filter(|name| is_extended(name)));
        }
    }
    wanted.sort();
    wanted.dedup();
    for name in wanted {
        let toleration = json!({"key": name, "operator": "Exists", "effect": "NoSchedule"});
        let covered = list(&pod["spec"], "tolerations").any(|own| {
            let field = |name: &str| own[name].as_str().unwrap_or_default();
            field("operator") == "Exists" && field("key") == name && matches!(field("effect"), "" | "NoSchedule")
        });
        if !covered {
            tolerations::add(pod, toleration);
        }
    }
}

/// Whether a resource is one that devices have: of a domain, and not of Kubernetes' own.
fn is_extended(name: &str) -> bool {
    let domain = name.split_once('/').map_or("", |(domain, _)| domain);
    !domain.is_empty()
        && domain != "kubernetes.io"
        && !domain.ends_with(".kubernetes.io")
        && !name.starts_with("requests.")
}

/// Pods keep apart from others by nodes at most, not by larger parts of the cluster.
#[derive(Debug)]
pub(in crate::admission) struct LimitPodHardAntiAffinityTopology;

#[async_trait]
impl Admission for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "pods")
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(pod) = admitting.new.as_deref() else { return Ok(()) };
        let rule = &pod["spec"]["affinity"]["podAntiAffinity"];
        let mut keys = list(rule, "requiredDuringSchedulingIgnoredDuringExecution").map(|term| &term["topologyKey"]);
        match keys.find_map(|key| key.as_str().filter(|key| *key != HOSTNAME)) {
            None => Ok(()),
            Some(key) => Err(pods::refuse(
                pod,
                &format!(
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOSTNAME} is allowed"
                ),
            )),
        }
    }
}

/// Pods go to the nodes that their namespace selects.
#[derive(Debug)]
pub(in crate::admission) struct PodNodeSelector {
    pub(in crate::admission) reader: Reader,
    /// What the configuration says of namespaces, and of all by `clusterDefaultNodeSelector`.
    pub(in crate::admission) configured: Arc<BTreeMap<String, String>>,
}

#[async_trait]
impl Admission for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "pods") && request.verb == Verb::Create
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let selected = self.selected(&admitting.request.namespace).await?;
        let Some(pod) = pods::created(admitting) else { return Ok(()) };
        let own = pod["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
        if own.iter().any(|(name, value)| selected.get(name).is_some_and(|wanted| *value != **wanted)) {
            return Err(pods::refuse(pod, "pod node label selector conflicts with its namespace node label selector"));
        }
        if !selected.is_empty() {
            let all = object::child_mut(pod, "spec").entry("nodeSelector").or_insert_with(|| json!({}));
            object::as_map(all).extend(selected.into_iter().map(|(name, value)| (name, value.into())));
        }
        Ok(())
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let namespace = &admitting.request.namespace;
        let Some(allowed) = self.configured.get(namespace) else { return Ok(()) };
        let allowed = read(allowed)?;
        let Some(pod) = pods::created(admitting) else { return Ok(()) };
        let own = pod["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
        let fine = own.iter().all(|(name, value)| allowed.get(name).is_some_and(|allowed| *value == **allowed));
        if allowed.is_empty() || fine {
            return Ok(());
        }
        Err(pods::refuse(pod, "pod node label selector labels conflict with its namespace whitelist"))
    }
}

impl PodNodeSelector {
    /// What a namespace selects: by its annotation, or as every namespace does.
    async fn selected(&self, namespace: &str) -> Result<BTreeMap<String, String>> {
        let found = self.reader.get("core/namespaces", "", namespace).await?;
        let found = found.map(|found| found.value()).transpose()?.unwrap_or_default();
        match object::meta(&found, "annotations")[SELECTOR].as_str() {
            Some(text) => read(text),
            None => {
                self.configured.get("clusterDefaultNodeSelector").map_or_else(|| Ok(BTreeMap::new()), |text| read(text))
            }
        }
    }
}

/// Reads `a=b,c=d`.
pub(in crate::admission) fn read(text: &str) -> Result<BTreeMap<String, String>> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let pairs = words.map(|word| {
        let pair = word
            .split_once('=')
            .map(|(name, value)| (name.trim().to_owned(), value.trim_start_matches('=').trim().to_owned()));
        pair.filter(|(name, _)| names::qualified_name(name).is_empty())
            .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{text:?} selects no nodes: expected name=value,…")))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_asks_for_is_tolerated_once() {
        let mut pod = json!({"spec": {"containers": [{"resources": {"requests":
            {"cpu": "1", "hugepages-2Mi": "2Mi", "example.com/gpu": "1", "kubernetes.io/batch": "1"}}}],
            "initContainers": [{"resources": {"requests": {"example.com/gpu": "1", "a.b/c": "1"}}}]}});
        tolerate(&mut pod);
        tolerate(&mut pod);
        let keys: Vec<&Value> = list(&pod["spec"], "tolerations").map(|toleration| &toleration["key"]).collect();
        assert_eq!(keys, ["a.b/c", "example.com/gpu"]);
    }

    #[test]
    fn a_selector_is_read_by_its_pairs() {
        let read = |text: &str| {
            read(text).map(|pairs| format!("{pairs:?}")).unwrap_or_else(|error| error.message().to_owned())
        };
        assert_eq!(read("a=b, c=d"), r#"{"a": "b", "c": "d"}"#);
        assert_eq!(read(""), "{}");
        assert_eq!(read("a"), "\"a\" selects no nodes: expected name=value,…");
    }
}

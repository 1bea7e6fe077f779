//! Pod security (KEP-2579): what the labels of a namespace demand of its pods, enforced, or told as warnings.
//!
//! Audit levels are read and checked, and nothing is audited.

mod baseline;
mod level;
mod restricted;
mod subjects;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use windlass_api::resources;
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    error::Result,
};

pub(super) use self::level::known;
use self::level::{Demand, Demands, Violation, violations};
use super::{Reader, configuration::PodSecurityConfiguration};
use crate::{errors, kinds::Errors, object};

/// More pods of a namespace than this are not checked when its labels change.
const CHECKED: usize = 3000;

/// The resources whose objects make pods, and where their template is.
const WORKLOADS: [(&str, &str, &str); 8] = [
    ("", "replicationcontrollers", "/spec/template"),
    ("", "podtemplates", "/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("batch", "jobs", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
];

#[derive(Debug)]
pub(super) struct PodSecurity {
    pub(super) reader: Reader,
    pub(super) configuration: PodSecurityConfiguration,
}

#[async_trait]
impl Admission for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        let writes = matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_));
        let resource = &request.resource;
        let (group, plural) = (&*resource.group, &*resource.resource);
        writes
            && match (group, plural) {
                ("", "pods") => matches!(request.subresource.as_str(), "" | "ephemeralcontainers"),
                ("", "namespaces") => request.subresource.is_empty(),
                _ => request.subresource.is_empty() && template_of(group, plural).is_some(),
            }
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let request = admitting.request;
        let Some(new) = admitting.new.as_deref() else { return Ok(()) };
        let resource = &request.resource;
        if self.exempts(request, new) {
            return Ok(());
        }
        match (&*resource.group, &*resource.resource) {
            ("", "namespaces") => self.namespace(admitting.old, new, &mut admitting.warnings).await,
            ("", "pods") => {
                if admitting.old.is_some_and(|old| !matters(old, new)) {
                    return Ok(());
                }
                let demands = self.demands(&request.namespace).await?;
                if let Some(why) = offends(&demands.enforce, &new["metadata"], &new["spec"]) {
                    let Some(info) = resources::find("", "v1", "pods") else { return Ok(()) };
                    let why = format!("violates PodSecurity \"{}\": {why}", demands.enforce);
                    return Err(errors::forbidden(info, object::name(new), &why));
                }
                warn(&demands.warn, &new["metadata"], &new["spec"], &mut admitting.warnings);
                Ok(())
            }
            (group, plural) => {
                let Some(template) = template_of(group, plural).and_then(|at| new.pointer(at)) else { return Ok(()) };
                if admitting
                    .old
                    .is_some_and(|old| template_of(group, plural).and_then(|at| old.pointer(at)) == Some(template))
                {
                    return Ok(());
                }
                let demands = self.demands(&request.namespace).await?;
                warn(&demands.warn, &template["metadata"], &template["spec"], &mut admitting.warnings);
                Ok(())
            }
        }
    }
}

impl PodSecurity {
    async fn demands(&self, namespace: &str) -> Result<Demands> {
        let found = self.reader.get("core/namespaces", "", namespace).await?;
        Ok(self.read(|label| found.as_ref().and_then(|found| found.label(label))))
    }

    /// What labels demand, and what is demanded where they say nothing.
    fn read<'l>(&'l self, label: impl Fn(&str) -> Option<&'l str>) -> Demands {
        Demands::read(|name| {
            let default = || {
                let (_, mode) = name.split_once('/')?;
                self.configuration.defaults.get(mode).map(String::as_str)
            };
            label(name).or_else(default)
        })
    }

    /// Whether nobody is to ask: by the user, the namespace or the runtime class.
    fn exempts(&self, request: &Request, new: &Value) -> bool {
        let PodSecurityConfiguration { usernames, runtime_classes, namespaces, .. } = &self.configuration;
        let resource = &request.resource;
        let (group, plural) = (&*resource.group, &*resource.resource);
        if (group, plural) == ("", "namespaces") {
            return false;
        }
        let spec = match template_of(group, plural) {
            Some(at) => new.pointer(at).map(|template| &template["spec"]),
            None => Some(&new["spec"]),
        };
        let class = spec.and_then(|spec| spec["runtimeClassName"].as_str());
        namespaces.contains(&request.namespace)
            || usernames.contains(&request.identity.name)
            || class.is_some_and(|class| runtime_classes.contains(class))
    }

    /// Checks the labels of a namespace, and tells what its pods have against a new level.
    async fn namespace(&self, old: Option<&Value>, new: &Value, warnings: &mut Vec<String>) -> Result<()> {
        let labels = |object: &Value| -> BTreeMap<String, String> {
            let labels = object::meta(object, "labels").as_object().into_iter().flatten();
            labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        };
        let now = labels(new);
        let before = old.map(labels).unwrap_or_default();
        let mut wrong = Errors::new();
        level::check(&now, &before, &mut wrong);
        wrong.into_result("", "Namespace", object::name(new))?;
        let demand = self.read(|label| now.get(label).map(String::as_str)).enforce;
        let had = self.read(|label| before.get(label).map(String::as_str)).enforce;
        if self.configuration.namespaces.contains(object::name(new)) {
            return Ok(());
        }
        if old.is_none() || demand == had || demand.asks_nothing() {
            return Ok(());
        }
        let name = object::name(new);
        let pods = self.reader.list("core/pods", name).await?;
        let mut complaints: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pod in pods.iter().take(CHECKED) {
            let pod = pod.value()?;
            let found = violations(&demand, &pod["metadata"], &pod["spec"]);
            if !found.is_empty() {
                let reasons: Vec<&str> = found.iter().map(|violation| violation.reason.as_str()).collect();
                complaints.entry(reasons.join(", ")).or_default().push(object::name(&pod).to_owned());
            }
        }
        if complaints.is_empty() {
            return Ok(());
        }
        warnings.push(format!(
            "existing pods in namespace {name:?} violate the new PodSecurity enforce level \"{demand}\""
        ));
        let mut lines: Vec<String> = complaints.into_iter().map(|(reasons, names)| told(&names, &reasons)).collect();
        lines.sort();
        warnings.extend(lines);
        Ok(())
    }
}

/// Pods that are refused for the same reasons.
fn told(names: &[String], reasons: &str) -> String {
    let first = names.iter().min().map_or("", String::as_str);
    match names.len() {
        0 | 1 => format!("{first}: {reasons}"),
        2 => format!("{first} (and 1 other pod): {reasons}"),
        several => format!("{first} (and {} other pods): {reasons}", several - 1),
    }
}

fn template_of(group: &str, plural: &str) -> Option<&'static str> {
    WORKLOADS.iter().find(|own| (own.0, own.1) == (group, plural)).map(|own| own.2)
}

/// What a pod does that the level forbids, in a line.
fn offends(demand: &Demand, meta: &Value, spec: &Value) -> Option<String> {
    let found = violations(demand, meta, spec);
    let shown: Vec<String> = found.iter().map(Violation::to_string).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

fn warn(demand: &Demand, meta: &Value, spec: &Value, warnings: &mut Vec<String>) {
    if let Some(why) = offends(demand, meta, spec) {
        warnings.push(format!("would violate PodSecurity \"{demand}\": {why}"));
    }
}

/// Whether an update of a pod changes something that levels look at. An image is none of that.
fn matters(old: &Value, new: &Value) -> bool {
    let seen = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                object::as_map(container).retain(|field, _| field != "image" && field != "resources");
            }
        }
        object::as_map(&mut spec).retain(|field, _| {
            !matches!(field.as_str(), "tolerations" | "activeDeadlineSeconds" | "nodeName" | "schedulingGates")
        });
        let annotations = object::meta(pod, "annotations").as_object().into_iter().flatten();
        let annotations = annotations.filter(|(name, _)| name.starts_with(baseline::APP_ARMOR));
        let annotations: Vec<(String, Value)> =
            annotations.map(|(name, value)| (name.clone(), value.clone())).collect();
        (spec, annotations)
    };
    seen(old) != seen(new)
}

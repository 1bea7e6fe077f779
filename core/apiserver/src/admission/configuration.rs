//! What a file says about admission plugins: upstream's `AdmissionConfiguration`, of which PodSecurity is read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use windlass_kernel::{Error, ErrorKind, Result};

use super::security::known;

const VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1alpha1"];
const POD_SECURITY: [&str; 3] = [
    "pod-security.admission.config.k8s.io/v1",
    "pod-security.admission.config.k8s.io/v1beta1",
    "pod-security.admission.config.k8s.io/v1alpha1",
];
const DEFAULTS: [&str; 6] = ["enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version"];

/// How admission plugins are configured. Without a word, as upstream's are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionConfiguration {
    pub(super) pod_security: PodSecurityConfiguration,
}

/// What pods must be where their namespace says nothing, and whom nobody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodSecurityConfiguration {
    /// By the last part of the label that says it of a namespace: `enforce`, `warn-version`.
    pub(super) defaults: BTreeMap<String, String>,
    pub(super) usernames: BTreeSet<String>,
    pub(super) runtime_classes: BTreeSet<String>,
    pub(super) namespaces: BTreeSet<String>,
}

impl AdmissionConfiguration {
    /// Reads an `AdmissionConfiguration` (`apiserver.config.k8s.io/v1`).
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where a field is unknown or wrong, [`NotSupported`](ErrorKind::NotSupported) where
    /// it configures another plugin than `PodSecurity`.
    pub fn read(value: &Value) -> Result<Self> {
        of_kind(value, &VERSIONS, "AdmissionConfiguration")?;
        only(value, "", &["apiVersion", "kind", "plugins"])?;
        let mut read = Self::default();
        for (at, plugin) in list(&value["plugins"], "plugins")?.iter().enumerate() {
            let place = format!("plugins[{at}]");
            only(plugin, &place, &["name", "path", "configuration"])?;
            let name = plugin["name"].as_str().unwrap_or_default();
            if name != "PodSecurity" {
                let message = format!("{place}: of the plugins only PodSecurity is configured here, not {name:?}");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
            if plugin["path"].as_str().is_some_and(|path| !path.is_empty()) {
                let message = format!("{place}.path: files of plugins are not read: write it under configuration");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
            if !plugin["configuration"].is_null() {
                read.pod_security = PodSecurityConfiguration::read(&plugin["configuration"], &place)?;
            }
        }
        Ok(read)
    }
}

impl PodSecurityConfiguration {
    fn read(value: &Value, place: &str) -> Result<Self> {
        let place = format!("{place}.configuration");
        of_kind(value, &POD_SECURITY, "PodSecurityConfiguration")?;
        only(value, &place, &["apiVersion", "kind", "defaults", "exemptions"])?;
        let mut read = Self::default();
        let below = format!("{place}.defaults");
        only(&value["defaults"], &below, &DEFAULTS)?;
        for (name, said) in value["defaults"].as_object().into_iter().flatten() {
            let said = said.as_str().unwrap_or_default();
            known(name, said).map_err(|why| invalid(&format!("{below}.{name}: Invalid value: {said:?}: {why}")))?;
            read.defaults.insert(name.clone(), said.to_owned());
        }
        let below = format!("{place}.exemptions");
        let exempt = &value["exemptions"];
        only(exempt, &below, &["usernames", "runtimeClasses", "namespaces"])?;
        let texts = |name: &str| -> Result<BTreeSet<String>> {
            let all = list(&exempt[name], &format!("{below}.{name}"))?;
            Ok(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        };
        read.usernames = texts("usernames")?;
        read.runtime_classes = texts("runtimeClasses")?;
        read.namespaces = texts("namespaces")?;
        Ok(read)
    }
}

fn of_kind(value: &Value, versions: &[&str], kind: &str) -> Result<()> {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let (version, own) = (text("apiVersion"), text("kind"));
    if versions.contains(&version.as_str()) && own == kind {
        return Ok(());
    }
    Err(invalid(&format!("expected {kind} of {}, got {own:?} of {version:?}", versions[0])))
}

/// Refuses fields beyond these.
fn only(value: &Value, place: &str, fields: &[&str]) -> Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::Object(given) => match given.keys().find(|name| !fields.contains(&name.as_str())) {
            Some(other) => {
                let dot = if place.is_empty() { "" } else { "." };
                Err(invalid(&format!("unknown field \"{place}{dot}{other}\"")))
            }
            None => Ok(()),
        },
        _ => Err(invalid(&format!("{place} is no object"))),
    }
}

fn list<'v>(value: &'v Value, place: &str) -> Result<&'v [Value]> {
    match value {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        _ => Err(invalid(&format!("{place} is no list"))),
    }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("admission configuration: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(plugin: &Value, expect: &str) {
        let file = json!({"apiVersion": VERSIONS[0], "kind": "AdmissionConfiguration", "plugins": [plugin]});
        let shown = match AdmissionConfiguration::read(&file) {
            Ok(read) => format!("{:?} {:?}", read.pod_security.defaults, read.pod_security.namespaces),
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(shown, expect);
    }

    fn pod_security(more: &Value) -> Value {
        let mut configuration = json!({"apiVersion": POD_SECURITY[0], "kind": "PodSecurityConfiguration"});
        more.as_object().unwrap().iter().for_each(|(name, value)| configuration[name] = value.clone());
        json!({"name": "PodSecurity", "configuration": configuration})
    }

    #[test]
    fn defaults_and_exemptions_are_read() {
        let more = json!({"defaults": {"enforce": "baseline", "warn-version": "v1.30"},
            "exemptions": {"namespaces": ["kube-system"]}});
        check(&pod_security(&more), r#"{"enforce": "baseline", "warn-version": "v1.30"} {"kube-system"}"#);
        check(&json!({"name": "PodSecurity"}), "{} {}");
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let place = "plugins[0].configuration";
        check(
            &pod_security(&json!({"defaults": {"enforce": "strict"}})),
            &format!(
                "admission configuration: {place}.defaults.enforce: Invalid value: \"strict\": must be one of \
                 privileged, baseline, restricted"
            ),
        );
        check(
            &pod_security(&json!({"exempt": {}})),
            &format!("admission configuration: unknown field \"{place}.exempt\""),
        );
        check(
            &json!({"name": "EventRateLimit"}),
            "plugins[0]: of the plugins only PodSecurity is configured here, not \"EventRateLimit\"",
        );
        let other = AdmissionConfiguration::read(&json!({"apiVersion": "v1", "kind": "Pod"})).unwrap_err();
        assert!(other.message().contains("expected AdmissionConfiguration of apiserver.config.k8s.io/v1"));
    }
}

//! What a file says about admission plugins: upstream's `AdmissionConfiguration`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use windlass_kernel::{Error, ErrorKind, Result};

use super::{optional::nodes, plugins::Plugins, security::known};

const VERSIONS: [&str; 2] = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1alpha1"];
const POD_SECURITY: [&str; 3] = [
    "pod-security.admission.config.k8s.io/v1",
    "pod-security.admission.config.k8s.io/v1beta1",
    "pod-security.admission.config.k8s.io/v1alpha1",
];
/// The group of other plugins' configurations.
const GROUP: &str = "admission.k8s.io";
const LIMITS: [&str; 4] = ["Namespace", "Server", "SourceAndObject", "User"];
/// How many sources of events are remembered unless the configuration says otherwise.
const SOURCES: usize = 4096;
const DEFAULTS: [&str; 6] = ["enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version"];

/// How admission plugins are configured. Without a word, as upstream's are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionConfiguration {
    pub(super) pod_security: PodSecurityConfiguration,
    /// What namespaces select, for `PodNodeSelector`.
    pub(super) node_selectors: Arc<BTreeMap<String, String>>,
    /// What pods tolerate, for `PodTolerationRestriction`.
    pub(super) tolerations: Tolerations,
    /// How many events are taken, for `EventRateLimit`.
    pub(super) event_limits: Vec<EventLimit>,
    /// Objects from files, each with the plugin that is to know it.
    pub(crate) fixed: Vec<(String, Manifest)>,
    /// Whether there are folders that may have some.
    follows: bool,
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

/// An object that a file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The file, for complaints.
    pub file: String,
    /// The object.
    pub value: Value,
}

/// Reads the objects of a file, or of all files of a folder in the order of their names.
pub type ReadFiles<'f> = &'f dyn Fn(&str) -> Result<Vec<Manifest>>;

impl AdmissionConfiguration {
    /// Reads an `AdmissionConfiguration` (`apiserver.config.k8s.io/v1`) that refers to no files.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where a field is unknown or wrong, [`NotSupported`](ErrorKind::NotSupported) where
    /// it configures something that there is not here, or refers to a file.
    pub fn read(value: &Value) -> Result<Self> {
        let none = |path: &str| {
            let message = format!("{path}: files of plugins are not read: write it under configuration");
            Err(Error::new(ErrorKind::NotSupported, message))
        };
        Self::read_with(value, &none)
    }

    /// Reads one that may refer to files.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and those of the files.
    pub fn read_with(value: &Value, files: ReadFiles<'_>) -> Result<Self> {
        of_kind(value, &VERSIONS, "AdmissionConfiguration")?;
        only(value, "", &["apiVersion", "kind", "plugins"])?;
        let mut read = Self::default();
        for (at, plugin) in list(&value["plugins"], "plugins")?.iter().enumerate() {
            let place = format!("plugins[{at}]");
            only(plugin, &place, &["name", "path", "configuration"])?;
            let name = plugin["name"].as_str().unwrap_or_default();
            let mut said = plugin["configuration"].clone();
            if let Some(path) = plugin["path"].as_str().filter(|path| !path.is_empty()) {
                let mut found = files(path)?;
                let (Some(only), true) = (found.pop(), found.is_empty()) else {
                    return Err(invalid(&format!("{place}.path: {path} is no single document")));
                };
                said = only.value;
            }
            if !said.is_null() {
                read.plugin(name, &said, &format!("{place}.configuration"), files)?;
            } else if !Plugins::has(name) {
                return Err(invalid(&format!("{place}: there is no plugin {name:?}")));
            }
        }
        Ok(read)
    }

    /// Reads what is said of one plugin.
    fn plugin(&mut self, name: &str, said: &Value, place: &str, files: ReadFiles<'_>) -> Result<()> {
        match name {
            "PodSecurity" => self.pod_security = PodSecurityConfiguration::read(said, place)?,
            "PodNodeSelector" => {
                only(said, place, &["podNodeSelectorPluginConfig"])?;
                let all = said["podNodeSelectorPluginConfig"].as_object().into_iter().flatten();
                let mut selectors = BTreeMap::new();
                for (namespace, selector) in all {
                    let selector = selector.as_str().unwrap_or_default();
                    nodes(selector).map_err(|error| invalid(&format!("{place}.{namespace}: {}", error.message())))?;
                    selectors.insert(namespace.clone(), selector.to_owned());
                }
                self.node_selectors = Arc::new(selectors);
            }
            "PodTolerationRestriction" => self.tolerations = Tolerations::read(said, place)?,
            "EventRateLimit" => self.event_limits = event_limits(said, place)?,
            "MutatingAdmissionWebhook" | "ValidatingAdmissionWebhook" => {
                of_kind(said, &VERSIONS, "WebhookAdmissionConfiguration")?;
                only(said, place, &["apiVersion", "kind", "kubeConfigFile", "staticManifestsDir"])?;
                if said["kubeConfigFile"].as_str().is_some_and(|file| !file.is_empty()) {
                    let message = format!("{place}.kubeConfigFile: webhooks are called without credentials here");
                    return Err(Error::new(ErrorKind::NotSupported, message));
                }
                self.manifests(name, said, files)?;
            }
            "MutatingAdmissionPolicy" | "ValidatingAdmissionPolicy" => {
                of_kind(said, &VERSIONS[..1], &format!("{name}Configuration"))?;
                only(said, place, &["apiVersion", "kind", "staticManifestsDir"])?;
                self.manifests(name, said, files)?;
            }
            _ if Plugins::has(name) => {
                let message = format!("{place}: {name} takes no configuration here");
                return Err(Error::new(ErrorKind::NotSupported, message));
            }
            _ => return Err(invalid(&format!("{place}: there is no plugin {name:?}"))),
        }
        Ok(())
    }

    /// Reads the objects that a plugin is to know beside those of the API (KEP-5793).
    fn manifests(&mut self, plugin: &str, said: &Value, files: ReadFiles<'_>) -> Result<()> {
        let Some(folder) = said["staticManifestsDir"].as_str().filter(|folder| !folder.is_empty()) else {
            return Ok(());
        };
        if !folder.starts_with('/') {
            let why = format!("staticManifestsDir: Invalid value: {folder:?}: must be an absolute file path");
            return Err(invalid(&why));
        }
        self.follows = true;
        for manifest in files(folder)? {
            self.fixed.push((plugin.to_owned(), manifest));
        }
        Ok(())
    }

    /// Whether it names folders of manifests, empty or not.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// Whether it names manifests, which need the gate `ManifestBasedAdmissionControlConfig`.
    #[must_use]
    pub fn has_manifests(&self) -> bool {
        !self.fixed.is_empty()
    }
}

/// What pods tolerate beyond what they say, and what they may tolerate at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tolerations {
    pub(super) default: Vec<Value>,
    pub(super) allowed: Vec<Value>,
}

impl Tolerations {
    fn read(value: &Value, place: &str) -> Result<Self> {
        of_kind(value, &[&format!("podtolerationrestriction.{GROUP}/v1alpha1")], "Configuration")?;
        only(value, place, &["apiVersion", "kind", "default", "whitelist"])?;
        let list = |name: &str| list(&value[name], &format!("{place}.{name}")).map(<[Value]>::to_vec);
        Ok(Self { default: list("default")?, allowed: list("whitelist")? })
    }
}

/// How many events are taken from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventLimit {
    /// What makes a source: `Server`, `Namespace`, `User` or `SourceAndObject`.
    pub(super) kind: String,
    /// How many in a second, in the long run.
    pub(super) qps: u32,
    /// How many at once.
    pub(super) burst: u32,
    /// How many sources are remembered.
    pub(super) sources: usize,
}

fn event_limits(value: &Value, place: &str) -> Result<Vec<EventLimit>> {
    of_kind(value, &[&format!("eventratelimit.{GROUP}/v1alpha1")], "Configuration")?;
    only(value, place, &["apiVersion", "kind", "limits"])?;
    let mut limits = Vec::new();
    for (at, limit) in list(&value["limits"], &format!("{place}.limits"))?.iter().enumerate() {
        let place = format!("{place}.limits[{at}]");
        only(limit, &place, &["type", "qps", "burst", "cacheSize"])?;
        let kind = limit["type"].as_str().unwrap_or_default();
        if !LIMITS.contains(&kind) {
            let known = LIMITS.map(|known| format!("{known:?}")).join(", ");
            return Err(invalid(&format!("{place}.type: Unsupported value: {kind:?}: supported values: {known}")));
        }
        let positive = |name: &str| match limit[name].as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number @ 1..) => Ok(number),
            _ => Err(invalid(&format!("{place}.{name}: Invalid value: {}: must be positive", limit[name]))),
        };
        let sources = match &limit["cacheSize"] {
            Value::Null => SOURCES,
            said => match said.as_u64().and_then(|number| usize::try_from(number).ok()) {
                Some(0) => SOURCES,
                Some(number) => number,
                None => {
                    return Err(invalid(&format!("{place}.cacheSize: Invalid value: {said}: must not be negative")));
                }
            },
        };
        limits.push(EventLimit { kind: kind.into(), qps: positive("qps")?, burst: positive("burst")?, sources });
    }
    if limits.is_empty() {
        return Err(invalid(&format!("{place}.limits: Invalid value: []: must not be empty")));
    }
    Ok(limits)
}

impl PodSecurityConfiguration {
    fn read(value: &Value, place: &str) -> Result<Self> {
        of_kind(value, &POD_SECURITY, "PodSecurityConfiguration")?;
        only(value, place, &["apiVersion", "kind", "defaults", "exemptions"])?;
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
    fn files_are_read_where_they_are_named() {
        let files = |path: &str| {
            assert!(matches!(path, "/etc/pods.yaml" | "/etc/fixed"));
            let value = if path == "/etc/fixed" {
                json!({"kind": "ValidatingAdmissionPolicy"})
            } else {
                json!({"podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "a=b"}})
            };
            Ok(vec![Manifest { file: path.to_owned(), value }])
        };
        let fixed = json!({"apiVersion": VERSIONS[0], "kind": "ValidatingAdmissionPolicyConfiguration",
            "staticManifestsDir": "/etc/fixed"});
        let file = json!({"apiVersion": VERSIONS[0], "kind": "AdmissionConfiguration", "plugins": [
            {"name": "PodNodeSelector", "path": "/etc/pods.yaml"},
            {"name": "ValidatingAdmissionPolicy", "configuration": fixed}]});
        let read = AdmissionConfiguration::read_with(&file, &files).unwrap();
        assert_eq!(read.node_selectors["clusterDefaultNodeSelector"], "a=b");
        assert!(read.has_manifests() && read.fixed[0].0 == "ValidatingAdmissionPolicy");
        let alone = AdmissionConfiguration::read(&file).unwrap_err();
        assert_eq!(alone.message(), "/etc/pods.yaml: files of plugins are not read: write it under configuration");
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
            &json!({"name": "Priority", "configuration": {"limits": []}}),
            &format!("{place}: Priority takes no configuration here"),
        );
        let limits = |limit: &Value| {
            let version = "eventratelimit.admission.k8s.io/v1alpha1";
            let limits = json!({"apiVersion": version, "kind": "Configuration", "limits": [limit]});
            json!({"name": "EventRateLimit", "configuration": limits})
        };
        check(
            &limits(&json!({"type": "Node", "qps": 1, "burst": 1})),
            &format!(
                "admission configuration: {place}.limits[0].type: Unsupported value: \"Node\": supported values: \
                 \"Namespace\", \"Server\", \"SourceAndObject\", \"User\""
            ),
        );
        check(
            &limits(&json!({"type": "Server", "qps": 0, "burst": 1})),
            &format!("admission configuration: {place}.limits[0].qps: Invalid value: 0: must be positive"),
        );
        check(&json!({"name": "Nobody"}), "admission configuration: plugins[0]: there is no plugin \"Nobody\"");
        let webhooks = json!({"apiVersion": VERSIONS[0], "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": "/etc/k"});
        check(
            &json!({"name": "MutatingAdmissionWebhook", "configuration": webhooks}),
            &format!("{place}.kubeConfigFile: webhooks are called without credentials here"),
        );
        let selectors = json!({"podNodeSelectorPluginConfig": {"default": "nonsense"}});
        check(
            &json!({"name": "PodNodeSelector", "configuration": selectors}),
            &format!("admission configuration: {place}.default: \"nonsense\" selects no nodes: expected name=value,…"),
        );
        let other = AdmissionConfiguration::read(&json!({"apiVersion": "v1", "kind": "Pod"})).unwrap_err();
        assert!(other.message().contains("expected AdmissionConfiguration of apiserver.config.k8s.io/v1"));
    }
}

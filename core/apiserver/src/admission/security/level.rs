//! Levels and their versions, as labels of namespaces name them. Pure.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::{baseline, restricted, subjects::Pod};
use crate::kinds::{Errors, Field};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much is demanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

/// The minor version whose rules hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Version {
    #[default]
    Latest,
    Minor(u32),
}

/// A level in a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    level: Level,
    version: Version,
}

impl Demand {
    /// Whether every pod is good enough.
    pub(super) fn asks_nothing(&self) -> bool {
        self.level == Level::Privileged
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Latest => write!(f, "{level}:latest"),
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

/// What a namespace demands. A level that cannot be read is the strictest.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    pub(super) enforce: Demand,
    pub(super) warn: Demand,
}

impl Demands {
    /// Reads the labels that `get` looks up.
    pub(super) fn read<'l>(get: impl Fn(&str) -> Option<&'l str>) -> Self {
        let of = |mode: &str| Demand {
            level: get(&format!("{PREFIX}{mode}"))
                .map_or(Level::Privileged, |text| level(text).unwrap_or(Level::Restricted)),
            version: get(&format!("{PREFIX}{mode}-version")).and_then(version).unwrap_or_default(),
        };
        Self { enforce: of("enforce"), warn: of("warn") }
    }
}

fn level(text: &str) -> Option<Level> {
    Some(match text {
        "privileged" => Level::Privileged,
        "baseline" => Level::Baseline,
        "restricted" => Level::Restricted,
        _ => return None,
    })
}

fn version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::Latest);
    }
    let minor = text.strip_prefix("v1.")?;
    (minor == "0" || !minor.starts_with('0')).then(|| minor.parse().ok().map(Version::Minor))?
}

/// Whether a level or version is one; `mode` is the last part of a label's name, such as `enforce` or `warn-version`.
///
/// # Errors
///
/// What it must be.
pub(in crate::admission) fn known(mode: &str, text: &str) -> Result<(), &'static str> {
    match mode.ends_with("-version") {
        false if level(text).is_none() => Err("must be one of privileged, baseline, restricted"),
        true if version(text).is_none() => Err("must be \"latest\" or \"v1.x\""),
        _ => Ok(()),
    }
}

/// Refuses labels that changed to what names no level or version.
pub(super) fn check(now: &BTreeMap<String, String>, before: &BTreeMap<String, String>, errors: &mut Errors) {
    for mode in ["enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version"] {
        let name = format!("{PREFIX}{mode}");
        let Some(text) = now.get(&name).filter(|text| before.get(&name) != Some(text)) else { continue };
        if let Err(why) = known(mode, text) {
            let object = serde_json::json!({"labels": {name.as_str(): text}});
            let meta = Field::at(windlass_api::path::Path::new("metadata"), &object);
            errors.invalid(&meta.get("labels").key(&name), why);
        }
    }
}

/// What a pod does that a level forbids.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason: String,
    pub(super) detail: String,
}

impl Violation {
    pub(super) fn new(reason: &str, detail: String) -> Self {
        Self { reason: reason.to_owned(), detail }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { f.write_str(&self.reason) } else { write!(f, "{} ({})", self.reason, self.detail) }
    }
}

/// Everything that a pod does and the level forbids.
pub(super) fn violations(demand: &Demand, meta: &Value, spec: &Value) -> Vec<Violation> {
    let minor = match demand.version {
        Version::Latest => u32::MAX,
        Version::Minor(minor) => minor,
    };
    let pod = Pod { meta, spec, minor };
    let mut found = Vec::new();
    if demand.level >= Level::Baseline {
        baseline::check(&pod, demand.level == Level::Restricted, &mut found);
    }
    if demand.level == Level::Restricted {
        restricted::check(&pod, &mut found);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn demand(text: &str) -> Demand {
        let (own, of) = text.split_once(':').unwrap();
        Demand { level: level(own).unwrap(), version: version(of).unwrap() }
    }

    #[track_caller]
    fn check(against: &str, spec: &Value, expect: &str) {
        let found = violations(&demand(against), &json!({}), spec);
        let shown: Vec<String> = found.iter().map(Violation::to_string).collect();
        assert_eq!(shown.join(", "), expect);
    }

    #[test]
    fn a_plain_pod_is_baseline_and_not_restricted() {
        let pod = json!({"containers": [{"name": "c"}]});
        check("privileged:latest", &pod, "");
        check("baseline:latest", &pod, "");
        check(
            "restricted:latest",
            &pod,
            "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
             unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
             runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
             seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
        );
    }

    #[test]
    fn root_of_a_user_namespace_is_nobody_outside() {
        let pod = |users: bool| {
            let own = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsUser": 0, "procMount": "Unmasked"});
            json!({"hostUsers": users, "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "a", "securityContext": own}]})
        };
        let unmasked = "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")";
        check("baseline:latest", &pod(false), "");
        check("baseline:v1.34", &pod(false), unmasked);
        check("baseline:latest", &pod(true), unmasked);
        check("restricted:latest", &pod(false), unmasked);
        check(
            "restricted:latest",
            &pod(true),
            &format!(
                "{unmasked}, runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
                 runAsUser=0 (container \"a\" must not set runAsUser=0)"
            ),
        );
    }

    #[test]
    fn a_pod_that_asks_for_little_is_restricted() {
        let own =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}});
        let pod = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "securityContext": own}],
            "volumes": [{"name": "v", "emptyDir": {}}]});
        check("restricted:latest", &pod, "");
    }

    #[test]
    fn each_rule_names_who_breaks_it() {
        let of = |context: Value| json!({"containers": [{"name": "a", "securityContext": context.clone()}, {"name": "b", "securityContext": context}]});
        check(
            "baseline:latest",
            &of(json!({"privileged": true})),
            "privileged (containers \"a\", \"b\" must not set securityContext.privileged=true)",
        );
        check(
            "baseline:latest",
            &of(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}})),
            "non-default capabilities (containers \"a\", \"b\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add)",
        );
        check(
            "baseline:latest",
            &of(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (containers \"a\", \"b\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        );
        check(
            "baseline:latest",
            &of(json!({"procMount": "Unmasked"})),
            "procMount (containers \"a\", \"b\" must not set securityContext.procMount to \"Unmasked\")",
        );
        let pod = json!({"hostNetwork": true, "hostPID": true, "containers": [{"name": "a", "ports": [{"hostPort": 80}]}],
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
            "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}], "runAsUser": 0}});
        check(
            "baseline:latest",
            &pod,
            "host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume \"v\"), \
             hostPort (container \"a\" uses hostPort 80), forbidden sysctls (kernel.msgmax)",
        );
    }

    #[test]
    fn an_older_version_demands_what_it_demanded() {
        let pod = json!({"containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}}]});
        check("restricted:v1.21", &pod, "");
        check(
            "restricted:v1.22",
            &pod,
            "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"])",
        );
    }

    #[test]
    fn labels_name_levels_and_versions() {
        let read = |labels: &[(&str, &str)]| {
            Demands::read(|name| labels.iter().find(|own| own.0 == name).map(|own| own.1)).enforce.to_string()
        };
        assert_eq!(read(&[]), "privileged:latest");
        let enforce = "pod-security.kubernetes.io/enforce";
        assert_eq!(
            read(&[(enforce, "baseline"), ("pod-security.kubernetes.io/enforce-version", "v1.30")]),
            "baseline:v1.30"
        );
        assert_eq!(read(&[(enforce, "none")]), "restricted:latest");
    }
}

//! The level `restricted`: what hardened pods do, beyond `baseline`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    level::Violation,
    subjects::{Pod, containers, plural, quoted, setters},
};
use crate::kinds::field::{dig, items, text};

const VOLUMES: [&str; 8] =
    ["configMap", "downwardAPI", "emptyDir", "projected", "secret", "csi", "persistentVolumeClaim", "ephemeral"];

/// Finds what breaks the level beyond `baseline`.
pub(super) fn check(pod: &Pod<'_>, found: &mut Vec<Violation>) {
    if pod.minor >= 8 && !pod.is_for_windows() {
        found.extend(privilege_escalation(pod));
    }
    if pod.minor >= 22 && !pod.is_for_windows() {
        found.extend(capabilities(pod));
    }
    found.extend(volumes(pod));
    if !pod.has_own_users() {
        found.extend(run_as_non_root(pod));
    }
    if pod.minor >= 23 && !pod.has_own_users() {
        found.extend(run_as_user(pod));
    }
    if pod.minor >= 19 && !pod.is_for_windows() {
        found.extend(seccomp(pod));
    }
}

fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.named(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    (!names.is_empty()).then(|| {
        let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
        Violation::new("allowPrivilegeEscalation != false", detail)
    })
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let list = |container: &Value, field: &str| -> Vec<String> {
        let all = items(container, &["securityContext", "capabilities", field]).filter_map(Value::as_str);
        all.map(str::to_owned).collect()
    };
    let keeps = pod.named(|container| !list(container, "drop").iter().any(|name| name == "ALL"));
    let forbidden = |container: &Value| -> Vec<String> {
        list(container, "add").into_iter().filter(|name| name != "NET_BIND_SERVICE").collect()
    };
    let adds = pod.named(|container| !forbidden(container).is_empty());
    let mut said = Vec::new();
    if !keeps.is_empty() {
        said.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeps)));
    }
    if !adds.is_empty() {
        let all: BTreeSet<String> = pod.containers().flat_map(forbidden).collect();
        let what = quoted(all.iter().map(String::as_str));
        said.push(format!("{} must not include {what} in securityContext.capabilities.add", containers(&adds)));
    }
    (!said.is_empty()).then(|| Violation::new("unrestricted capabilities", said.join("; ")))
}

fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let kind = |volume: &Value| -> String {
        let fields = volume.as_object().into_iter().flatten();
        let mut kinds =
            fields.filter(|(name, value)| *name != "name" && !value.is_null()).map(|(name, _)| name.clone());
        kinds.next().unwrap_or_else(|| "unknown".into())
    };
    let fine = |kind: &str| VOLUMES.contains(&kind);
    let odd: Vec<(&str, String)> = items(pod.spec, &["volumes"])
        .map(|volume| (text(volume, &["name"]), kind(volume)))
        .filter(|(_, kind)| !fine(kind))
        .collect();
    if odd.is_empty() {
        return None;
    }
    let kinds: BTreeSet<&str> = odd.iter().map(|(_, kind)| kind.as_str()).collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let uses = if odd.len() == 1 { "uses" } else { "use" };
    let names = quoted(odd.iter().map(|(name, _)| *name));
    let types = quoted(kinds.iter().copied());
    let detail = format!("volume{} {names} {uses} restricted volume type{} {types}", plural(&odd), plural(&kinds));
    Some(Violation::new("restricted volume types", detail))
}

fn run_as_non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let of = |holder: &Value| dig(holder, &["securityContext", "runAsNonRoot"]).as_bool();
    let whole = of(pod.spec);
    let refuse = pod.named(|container| of(container) == Some(false));
    let silent = pod.named(|container| of(container).is_none());
    if let Some(who) = setters(whole == Some(false), &refuse) {
        return Some(Violation::new(REASON, format!("{who} must not set securityContext.runAsNonRoot=false")));
    }
    (whole.is_none() && !silent.is_empty()).then(|| {
        Violation::new(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)))
    })
}

fn run_as_user(pod: &Pod<'_>) -> Option<Violation> {
    let root = |holder: &Value| dig(holder, &["securityContext", "runAsUser"]).as_i64() == Some(0);
    let who = setters(root(pod.spec), &pod.named(root))?;
    Some(Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0")))
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "seccompProfile";
    let kind = |holder: &Value| text(holder, &["securityContext", "seccompProfile", "type"]).to_owned();
    let fine = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let whole = kind(pod.spec);
    let silent = pod.named(|container| kind(container).is_empty());
    let odd = pod.named(|container| !kind(container).is_empty() && !fine(&kind(container)));
    let pod_odd = !whole.is_empty() && !fine(&whole);
    if let Some(who) = setters(pod_odd, &odd) {
        let all = std::iter::once(pod.spec).chain(pod.containers()).map(kind);
        let kinds: BTreeSet<String> = all.filter(|kind| !kind.is_empty() && !fine(kind)).collect();
        let what = quoted(kinds.iter().map(String::as_str));
        return Some(Violation::new(
            REASON,
            format!("{who} must not set securityContext.seccompProfile.type to {what}"),
        ));
    }
    (whole.is_empty() && !silent.is_empty()).then(|| {
        let detail = format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&silent)
        );
        Violation::new(REASON, detail)
    })
}

//! The level `baseline`: no known privilege escalation.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    level::Violation,
    subjects::{Pod, containers, plural, quoted, setters},
};
use crate::{
    kinds::field::{dig, items, text},
    object,
};

/// What the annotations begin with that set AppArmor profiles.
pub(super) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Safe sysctls with the minor version since which they count as such.
const SYSCTLS: [(&str, u32); 11] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
];
const TCP_WMEM: (&str, u32) = ("net.ipv4.tcp_wmem", 32);

/// Finds what breaks the level. Some of its rules have a stricter form in `restricted`, which then speaks instead.
pub(super) fn check(pod: &Pod<'_>, restricted: bool, found: &mut Vec<Violation>) {
    found.extend(app_armor(pod));
    if !(restricted && pod.minor >= 22) {
        found.extend(capabilities(pod));
    }
    found.extend(host_namespaces(pod));
    if !restricted {
        found.extend(host_paths(pod));
    }
    found.extend(host_ports(pod));
    found.extend(host_probes(pod));
    found.extend(privileged(pod));
    // Since 1.35 that is no danger in a user namespace; hardened pods do without all the same.
    if restricted || pod.minor < 35 || !pod.has_own_users() {
        found.extend(proc_mount(pod));
    }
    found.extend(se_linux(pod));
    if !restricted && pod.minor >= 19 {
        found.extend(seccomp(pod));
    }
    found.extend(sysctls(pod));
    found.extend(host_process(pod));
}

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let unconfined = |holder: &Value| text(holder, &["securityContext", "appArmorProfile", "type"]) == "Unconfined";
    let mut said = Vec::new();
    if let Some(who) = setters(unconfined(pod.spec), &pod.named(unconfined)) {
        said.push(format!("{who} must not set AppArmor profile type to \"Unconfined\""));
    }
    let annotations = pod.meta["annotations"].as_object().into_iter().flatten();
    for (name, value) in annotations.filter(|(name, _)| name.starts_with(APP_ARMOR)) {
        let profile = value.as_str().unwrap_or_default();
        if !(profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/")) {
            said.push(format!("annotation \"{name}\"={profile:?}"));
        }
    }
    let reason = if said.len() > 1 { "forbidden AppArmor profiles" } else { "forbidden AppArmor profile" };
    (!said.is_empty()).then(|| Violation::new(reason, said.join(", ")))
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let added = |container: &Value| -> Vec<String> {
        let added = items(container, &["securityContext", "capabilities", "add"]).filter_map(Value::as_str);
        added.filter(|name| !CAPABILITIES.contains(name)).map(str::to_owned).collect()
    };
    let all: BTreeSet<String> = pod.containers().flat_map(added).collect();
    let names = pod.named(|container| !added(container).is_empty());
    (!names.is_empty()).then(|| {
        let (who, what) = (containers(&names), quoted(all.iter().map(String::as_str)));
        Violation::new(
            "non-default capabilities",
            format!("{who} must not include {what} in securityContext.capabilities.add"),
        )
    })
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| pod.spec[**field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!set.is_empty()).then(|| Violation::new("host namespaces", set.join(", ")))
}

fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let names: Vec<&str> = items(pod.spec, &["volumes"])
        .filter(|volume| !object::is_empty(&volume["hostPath"]))
        .map(|volume| text(volume, &["name"]))
        .collect();
    (!names.is_empty()).then(|| {
        Violation::new("hostPath volumes", format!("volume{} {}", plural(&names), quoted(names.iter().copied())))
    })
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let ports = |container: &Value| -> Vec<i64> {
        items(container, &["ports"]).filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0).collect()
    };
    let names = pod.named(|container| !ports(container).is_empty());
    let all: BTreeSet<i64> = pod.containers().flat_map(ports).collect();
    let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| {
        let uses = if names.len() == 1 { "uses" } else { "use" };
        let detail = format!("{} {uses} hostPort{} {}", containers(&names), plural(&shown), shown.join(", "));
        Violation::new("hostPort", detail)
    })
}

fn host_probes(pod: &Pod<'_>) -> Option<Violation> {
    if pod.minor < 34 {
        return None;
    }
    const PLACES: [[&str; 2]; 5] = [
        ["livenessProbe", ""],
        ["readinessProbe", ""],
        ["startupProbe", ""],
        ["lifecycle", "postStart"],
        ["lifecycle", "preStop"],
    ];
    let hosts = |container: &Value| -> Vec<String> {
        let handlers = PLACES.iter().map(|[first, second]| {
            let handler = dig(container, &[first]);
            if second.is_empty() { handler } else { dig(handler, &[second]) }
        });
        let hosts = handlers.flat_map(|handler| ["httpGet", "tcpSocket"].map(|kind| text(handler, &[kind, "host"])));
        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let names = pod.named(|container| !hosts(container).is_empty());
    let all: BTreeSet<String> = pod.containers().flat_map(hosts).collect();
    (!names.is_empty()).then(|| {
        let uses = if names.len() == 1 { "uses" } else { "use" };
        let shown: Vec<&str> = all.iter().map(String::as_str).collect();
        let detail = format!(
            "{} {uses} probe or lifecycle host{} {}",
            containers(&names),
            plural(&shown),
            quoted(shown.iter().copied())
        );
        Violation::new("probe or lifecycle host", detail)
    })
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.named(|container| container["securityContext"]["privileged"] == true);
    (!names.is_empty()).then(|| {
        Violation::new("privileged", format!("{} must not set securityContext.privileged=true", containers(&names)))
    })
}

fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let kind = |container: &Value| text(container, &["securityContext", "procMount"]).to_owned();
    let odd = |kind: &str| !kind.is_empty() && kind != "Default";
    let names = pod.named(|container| odd(&kind(container)));
    let kinds: BTreeSet<String> = pod.containers().map(kind).filter(|kind| odd(kind)).collect();
    (!names.is_empty()).then(|| {
        let (who, what) = (containers(&names), quoted(kinds.iter().map(String::as_str)));
        Violation::new("procMount", format!("{who} must not set securityContext.procMount to {what}"))
    })
}

fn se_linux(pod: &Pod<'_>) -> Option<Violation> {
    const TYPES: [&str; 4] = ["", "container_t", "container_init_t", "container_kvm_t"];
    let of = |holder: &Value, field: &str| text(holder, &["securityContext", "seLinuxOptions", field]).to_owned();
    // Engines that came later belong to containers too (since 1.31).
    let fine = |kind: &str| TYPES.contains(&kind) || kind == "container_engine_t" && pod.minor >= 31;
    let odd =
        |holder: &Value| !fine(&of(holder, "type")) || !of(holder, "user").is_empty() || !of(holder, "role").is_empty();
    let who = setters(odd(pod.spec), &pod.named(odd))?;
    let all: Vec<&Value> = std::iter::once(pod.spec).chain(pod.containers()).collect();
    let types: BTreeSet<String> = all.iter().map(|holder| of(holder, "type")).filter(|kind| !fine(kind)).collect();
    let mut said = Vec::new();
    if !types.is_empty() {
        said.push(format!(
            "type{} {}",
            if types.len() == 1 { "" } else { "s" },
            quoted(types.iter().map(String::as_str))
        ));
    }
    for field in ["user", "role"] {
        if all.iter().any(|holder| !of(holder, field).is_empty()) {
            said.push(format!("{field} may not be set"));
        }
    }
    Some(Violation::new(
        "seLinuxOptions",
        format!("{who} set forbidden securityContext.seLinuxOptions: {}", said.join("; ")),
    ))
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let kind = |holder: &Value| text(holder, &["securityContext", "seccompProfile", "type"]).to_owned();
    let odd = |kind: &str| !matches!(kind, "" | "RuntimeDefault" | "Localhost");
    let who = setters(odd(&kind(pod.spec)), &pod.named(|container| odd(&kind(container))))?;
    let kinds: BTreeSet<String> =
        std::iter::once(pod.spec).chain(pod.containers()).map(kind).filter(|kind| odd(kind)).collect();
    let what = quoted(kinds.iter().map(String::as_str));
    Some(Violation::new("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {what}")))
}

fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    let safe = |name: &str| SYSCTLS.iter().chain([&TCP_WMEM]).any(|(own, since)| *own == name && pod.minor >= *since);
    let names = items(pod.spec, &["securityContext", "sysctls"]).map(|sysctl| text(sysctl, &["name"]));
    let names: Vec<&str> = names.filter(|name| !safe(name)).collect();
    (!names.is_empty()).then(|| Violation::new("forbidden sysctls", names.join(", ")))
}

fn host_process(pod: &Pod<'_>) -> Option<Violation> {
    let sets = |holder: &Value| *dig(holder, &["securityContext", "windowsOptions", "hostProcess"]) == true;
    let who = setters(sets(pod.spec), &pod.named(sets))?;
    Some(Violation::new("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true")))
}

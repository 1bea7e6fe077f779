//! The rules of security contexts, of pods and of containers.

use std::collections::BTreeSet;

use serde_json::json;

use super::mounts::descending;
use crate::kinds::errors::Errors;
use crate::kinds::field::Field;

const ID_MAX: i64 = 0x7fff_ffff;
const SYSCTL_MAX: usize = 253;
const SYSCTL_FORMAT: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const APPARMOR_MAX: usize = 4095;

/// Checks the security context of a pod.
pub(super) fn of_pod(spec: &Field<'_, '_>, errors: &mut Errors) {
    let context = spec.get("securityContext");
    id(&context.get("fsGroup"), errors);
    id(&context.get("runAsUser"), errors);
    id(&context.get("runAsGroup"), errors);
    for group in context.get("supplementalGroups").items() {
        id(&group, errors);
    }
    let shared = spec.get("shareProcessNamespace");
    if shared.is_true() && spec.get("hostPID").is_true() {
        let at = context.get("shareProcessNamespace");
        errors.invalid(&at.with(shared.value()), "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    sysctls(spec, &context.get("sysctls"), errors);
    errors.optional_one_of(&context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]);
    seccomp(&context.get("seccompProfile"), errors);
    apparmor(&context.get("appArmorProfile"), errors);
    errors.optional_one_of(&context.get("supplementalGroupsPolicy"), &["Merge", "Strict"]);
    errors.optional_one_of(&context.get("seLinuxChangePolicy"), &["MountOption", "Recursive"]);
}

/// Checks the security context of a container; `own_users` when its pod has a user namespace.
pub(super) fn of_container(context: &Field<'_, '_>, own_users: bool, errors: &mut Errors) {
    if !context.present() {
        return;
    }
    id(&context.get("runAsUser"), errors);
    id(&context.get("runAsGroup"), errors);
    let mount = context.get("procMount");
    if mount.present() {
        errors.optional_one_of(&mount, &["Default", "Unmasked"]);
        if mount.text() == "Unmasked" && !own_users {
            let detail = "`hostUsers` must be false to use `Unmasked`";
            errors.invalid(&mount, detail);
        }
    }
    seccomp(&context.get("seccompProfile"), errors);
    let escalation = context.get("allowPrivilegeEscalation");
    if escalation.value().as_bool() == Some(false) {
        if context.get("privileged").is_true() {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(context, detail);
        }
        if context.get("capabilities").get("add").strings().any(|name| name == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(context, detail);
        }
    }
    apparmor(&context.get("appArmorProfile"), errors);
}

fn id(id: &Field<'_, '_>, errors: &mut Errors) {
    errors.in_range(id, 0, ID_MAX);
}

fn sysctls(spec: &Field<'_, '_>, list: &Field<'_, '_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for sysctl in list.items() {
        let name = sysctl.get("name");
        let text = name.text();
        if text.is_empty() {
            errors.required(&name, "");
        } else if !is_sysctl(text) {
            let detail = format!("must have at most {SYSCTL_MAX} characters and match regex {SYSCTL_FORMAT}");
            errors.invalid(&name, detail);
        } else if seen.contains(text) {
            errors.duplicate(&name);
        }
        let dotted = text.replace('/', ".");
        if dotted.starts_with("net.") && spec.get("hostNetwork").is_true() {
            errors.invalid(&name, "may not be specified when 'hostNetwork' is true");
        }
        let ipc = dotted.starts_with("fs.mqueue.")
            || matches!(dotted.as_str(), "kernel.sem")
            || ["kernel.shm", "kernel.msg"].iter().any(|prefix| dotted.starts_with(prefix));
        if ipc && spec.get("hostIPC").is_true() {
            errors.invalid(&name, "may not be specified when 'hostIPC' is true");
        }
        seen.insert(text);
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let segment = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(edge)
            && bytes.last().is_some_and(edge)
            && bytes.iter().all(|b| edge(b) || matches!(b, b'-' | b'_'))
    };
    name.len() <= SYSCTL_MAX && name.split(['.', '/']).all(segment)
}

fn seccomp(profile: &Field<'_, '_>, errors: &mut Errors) {
    if !profile.present() {
        return;
    }
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    if errors.require(&kind, "type is required when seccompProfile is set") {
        errors.optional_one_of(&kind, PROFILE_TYPES);
    }
    match (kind.text() == "Localhost", local.present()) {
        (true, false) => errors.required(&local, "must be set when seccomp type is Localhost"),
        (true, true) => descending(&local, errors),
        (false, true) => errors.invalid(&local.with(profile.value()), "can only be set when seccomp type is Localhost"),
        (false, false) => {}
    }
}

fn apparmor(profile: &Field<'_, '_>, errors: &mut Errors) {
    if !profile.present() {
        return;
    }
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.text() {
        "Localhost" => {
            if local.text().trim().is_empty() {
                errors.required(&local, "must be set when AppArmor type is Localhost");
            } else if local.text().trim() != local.text() {
                errors.invalid(&local, "must not be padded with whitespace");
            }
            if local.len() > APPARMOR_MAX {
                errors.too_long(&local, APPARMOR_MAX);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if local.present() {
                errors.invalid(&local, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&kind, "type is required when appArmorProfile is set"),
        _ => errors.not_supported(&kind, PROFILE_TYPES),
    }
}

/// Refuses what belongs to another operating system than the one the pod says it is for.
pub(super) fn operating_system(spec: &Field<'_, '_>, errors: &mut Errors) {
    let (of_pod, of_container, top, words): (&[&str], &[&str], &[&str], &str) = match spec.get("os").get("name").text()
    {
        "linux" => (&["windowsOptions"], &["windowsOptions"], &[], "windows options cannot be set for a linux pod"),
        "windows" => (
            &[
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "fsGroup",
                "fsGroupChangePolicy",
                "sysctls",
                "runAsUser",
                "runAsGroup",
                "supplementalGroups",
                "supplementalGroupsPolicy",
                "seLinuxChangePolicy",
            ],
            &[
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "capabilities",
                "readOnlyRootFilesystem",
                "privileged",
                "allowPrivilegeEscalation",
                "procMount",
                "runAsUser",
                "runAsGroup",
            ],
            &["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"],
            "cannot be set for a windows pod",
        ),
        _ => return,
    };
    let context = spec.get("securityContext");
    for name in of_pod.iter().filter(|name| context.get(name).present()) {
        errors.forbidden(&context.get(name), words);
    }
    for name in top {
        let field = spec.get(name);
        // These two are plain booleans: false is the same as absent.
        let plain = matches!(*name, "hostPID" | "hostIPC");
        if field.present() && (!plain || field.is_true()) {
            errors.forbidden(&field, words);
        }
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec.get(list).items() {
            let context = container.get("securityContext");
            for name in of_container.iter().filter(|name| context.get(name).present()) {
                errors.forbidden(&context.get(name), words);
            }
        }
    }
}

/// Checks the rules between host namespaces and user namespaces.
pub(super) fn host_users(spec: &Field<'_, '_>, errors: &mut Errors) {
    if spec.get("hostUsers").value() != &json!(false) {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.get(field).is_true() {
            errors.forbidden(&spec.get(shown), "when `pod.Spec.HostUsers` is false");
        }
    }
}

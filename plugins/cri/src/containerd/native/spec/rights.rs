//! Rights: capabilities, paths that are hidden or cannot be written, and who goes first when memory runs out.

use std::{collections::BTreeSet, fs};

use oci_spec::runtime::{Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{MASKED_PATHS, READONLY_PATHS, Security},
};

use super::unbuildable;

/// What a container has unless it is told otherwise, as Docker and containerd have it.
const DEFAULT: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The kernel's capabilities by their numbers (linux/capability.h).
const ALL: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

pub(super) fn masked(security: &Security) -> Vec<String> {
    paths(security, security.masked_paths.as_ref(), &MASKED_PATHS)
}

pub(super) fn readonly(security: &Security) -> Vec<String> {
    paths(security, security.readonly_paths.as_ref(), &READONLY_PATHS)
}

fn paths(security: &Security, own: Option<&Vec<String>>, default: &[&str]) -> Vec<String> {
    match own {
        _ if security.privileged => Vec::new(),
        Some(own) => own.clone(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    }
}

/// The names of a container's capabilities, without `CAP_`.
pub(super) fn names(security: &Security) -> BTreeSet<String> {
    wanted(security, &bounds())
}

fn wanted(security: &Security, bounds: &BTreeSet<String>) -> BTreeSet<String> {
    let plain = |name: &String| {
        let name = name.to_uppercase();
        name.strip_prefix("CAP_").map_or(name.clone(), str::to_owned)
    };
    let (add, drop): (BTreeSet<_>, BTreeSet<_>) =
        (security.add_capabilities.iter().map(plain).collect(), security.drop_capabilities.iter().map(plain).collect());
    if security.privileged || (add.contains("ALL") && drop.is_empty()) {
        return bounds.clone();
    }
    let mut names: BTreeSet<String> = match (add.contains("ALL"), drop.contains("ALL")) {
        (_, true) => BTreeSet::new(),
        (true, false) => bounds.clone(),
        (false, false) => DEFAULT.iter().map(|name| (*name).to_owned()).collect(),
    };
    names.extend(add.into_iter().filter(|name| name != "ALL"));
    names.retain(|name| !drop.contains(name));
    names
}

/// What this process may give at most. Whoever runs containers has the same, being its parent or its sibling.
fn bounds() -> BTreeSet<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    let held = ALL.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
    held.map(|(_, name)| (*name).to_owned()).collect()
}

pub(super) fn of_container(security: &Security) -> Result<LinuxCapabilities> {
    set(&names(security))
}

pub(super) fn of_pause() -> Result<LinuxCapabilities> {
    set(&BTreeSet::new())
}

/// Nothing is inheritable: a program without file capabilities must not get any by it.
fn set(names: &BTreeSet<String>) -> Result<LinuxCapabilities> {
    let parse = |name: &String| {
        name.parse::<Capability>().map_err(|_| Error::new(ErrorKind::Invalid, format!("there is no capability {name}")))
    };
    let all: Vec<Capability> = names.iter().map(parse).collect::<Result<_>>()?;
    let built = LinuxCapabilitiesBuilder::default()
        .bounding(all.iter().copied().collect::<oci_spec::runtime::Capabilities>())
        .effective(all.iter().copied().collect::<oci_spec::runtime::Capabilities>())
        .permitted(all.iter().copied().collect::<oci_spec::runtime::Capabilities>())
        .inheritable(oci_spec::runtime::Capabilities::default())
        .ambient(oci_spec::runtime::Capabilities::default())
        .build();
    built.map_err(unbuildable)
}

/// A score that may be given: one below this process's own needs a right that it may not have.
pub(super) fn oom_score(wanted: i64) -> i32 {
    let wanted = i32::try_from(wanted.clamp(-1000, 1000)).unwrap_or_default();
    if bounds().contains("SYS_RESOURCE") {
        return wanted;
    }
    let own = fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok());
    wanted.max(own.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], expect: &[&str]) {
        let bounds = ["CHOWN", "KILL", "SYS_ADMIN"].map(str::to_owned).into();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let security = Security { add_capabilities: words(add), drop_capabilities: words(drop), ..Security::default() };
        let names = wanted(&security, &bounds);
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expect, "+{add:?} -{drop:?}");
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        check(&["ALL"], &[], &["CHOWN", "KILL", "SYS_ADMIN"]);
        check(&["ALL"], &["KILL"], &["CHOWN", "SYS_ADMIN"]);
        check(&["NET_ADMIN", "cap_kill"], &["ALL"], &["KILL", "NET_ADMIN"]);
        check(&[], &["ALL"], &[]);
    }

    #[test]
    fn every_capability_has_a_name_that_is_known() {
        set(&ALL.iter().map(|name| (*name).to_owned()).collect()).unwrap();
        assert_eq!(ALL.len(), 41);
    }
}

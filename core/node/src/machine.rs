//! What the machine is and has, read from the kernel. Blocks: run it apart.

use std::{collections::BTreeMap, fs, time::Duration};

use windlass_api::core::v1::NodeSystemInfo;

use crate::gauge::DiskLevel;

/// The machine's memory in bytes.
pub(crate) fn memory() -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The CPU time that the machine has spent, over all cores, and its memory in use. `None` where the kernel does not say.
pub(crate) fn used() -> Option<(Duration, u64)> {
    // In hundredths of a second, whatever the kernel's own rhythm (proc_stat(5), proc_meminfo(5)).
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    read_used(&stat, &meminfo)
}

fn read_used(stat: &str, meminfo: &str) -> Option<(Duration, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    // user, nice, system, (idle, iowait,) irq, softirq, steal.
    let busy: u64 = ticks.iter().enumerate().filter(|(at, _)| matches!(at, 0..=2 | 5..=7)).map(|(_, own)| own).sum();
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some((Duration::from_millis(busy * 10), kib("MemTotal:")?.saturating_sub(kib("MemAvailable:")?) * 1024))
}

fn cpus() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// What it has, by resource.
pub(crate) fn capacity(disk: &DiskLevel, pods: u32) -> BTreeMap<String, String> {
    [
        ("cpu", cpus().to_string()),
        ("memory", format!("{}Ki", memory() / 1024)),
        ("ephemeral-storage", format!("{}Ki", disk.bytes.capacity / 1024)),
        ("pods", pods.to_string()),
    ]
    .map(|(name, amount)| (name.to_owned(), amount))
    .into()
}

/// What it is.
pub(crate) fn info() -> NodeSystemInfo {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let machine = read("/etc/machine-id");
    let uuid = read("/sys/class/dmi/id/product_uuid");
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    NodeSystemInfo {
        architecture: architecture.into(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kubelet_version: format!("v1.36.0+windlass-{}", env!("CARGO_PKG_VERSION")),
        operating_system: "linux".into(),
        os_image: name.unwrap_or("Linux").trim_matches('"').to_owned(),
        system_uuid: if uuid.is_empty() { machine.clone() } else { uuid },
        machine_id: machine,
        ..NodeSystemInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_what_is_neither_idle_nor_available() {
        let stat = "cpu  100 10 50 9000 400 5 5 30 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        let meminfo = "MemTotal:       2000 kB\nMemFree:         100 kB\nMemAvailable:   1500 kB\n";
        assert_eq!(read_used(stat, meminfo), Some((Duration::from_secs(2), 500 * 1024)));
        assert_eq!(read_used("", meminfo), None);
    }
}

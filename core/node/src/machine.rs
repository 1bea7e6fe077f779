//! What the machine is and has, read from the kernel. Blocks: run it apart.

use std::{collections::BTreeMap, fs, time::Duration};

use windlass_api::core::v1::NodeSystemInfo;
use windlass_kernel::runtime::InterfaceUsage;

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

/// When the machine started, in seconds since 1970 (proc_stat(5)).
pub(crate) fn started() -> Option<i64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The traffic of the machine's network, the interface of the default route first. Those that lead to pods are left out, as is
/// what never leaves the machine.
pub(crate) fn interfaces() -> Vec<InterfaceUsage> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    read_interfaces(&read("/proc/self/net/dev"), &read("/proc/self/net/route"))
}

/// Of the texts of proc_net(5): a line of `dev` has eight numbers of what was received, then as many of what was sent.
fn read_interfaces(dev: &str, route: &str) -> Vec<InterfaceUsage> {
    let default = route.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let (name, to) = (words.next()?, words.next()?);
        (to == "00000000").then_some(name)
    });
    let read = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let numbers: Vec<u64> = rest.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [rx_bytes, rx_errors, tx_bytes, tx_errors] = [0, 2, 8, 10].map(|at| numbers.get(at).copied());
        Some(InterfaceUsage {
            name: name.trim().to_owned(),
            rx_bytes: rx_bytes?,
            rx_errors: rx_errors?,
            tx_bytes: tx_bytes?,
            tx_errors: tx_errors?,
        })
    };
    let ours = |one: &InterfaceUsage| {
        Some(&*one.name) == default
            || !(one.name == "lo" || ["veth", "cni", "windlass"].iter().any(|own| one.name.starts_with(own)))
    };
    let mut all: Vec<_> = dev.lines().filter_map(read).filter(ours).collect();
    all.sort_by_key(|one| Some(&*one.name) != default);
    all
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

    #[test]
    fn the_interface_of_the_default_route_is_first_and_those_of_pods_are_none() {
        let dev = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n\
            \x20   lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n\
            \x20 eth1: 1 2 3 0 0 0 0 0 4 5 6 0 0 0 0 0\n\
            \x20 eth0: 10 20 30 0 0 0 0 0 40 50 60 0 0 0 0 0\n\
            vethab12: 7 7 7 0 0 0 0 0 7 7 7 0 0 0 0 0\n";
        let route = "Iface\tDestination\tGateway\neth1\t0000000A\t00000000\neth0\t00000000\t0100000A\n";
        let told = |dev: &str, route: &str| -> Vec<_> {
            let all = read_interfaces(dev, route).into_iter();
            all.map(|one| (one.name, [one.rx_bytes, one.rx_errors, one.tx_bytes, one.tx_errors])).collect()
        };
        let [first, second] = [("eth0".to_owned(), [10, 30, 40, 60]), ("eth1".to_owned(), [1, 3, 4, 6])];
        assert_eq!(told(dev, route), [first.clone(), second.clone()]);
        assert_eq!(told(dev, ""), [second, first]);
        assert_eq!(told("", route), []);
    }
}

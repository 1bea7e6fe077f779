//! How much is left of what a machine's pods share: memory, disks and process ids.

use std::{fmt::Debug, fs, io, path::Path};

use nix::sys::{stat::stat, statvfs::statvfs};
use windlass_kernel::volume::Usage;

/// What is left of something that there is only so much of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// What can still be had, in bytes or by number.
    pub available: u64,
    /// All that there is, in the same unit.
    pub capacity: u64,
}

impl Level {
    /// The same, told by what is used.
    pub(crate) fn share(self) -> Usage {
        let Self { available, capacity } = self;
        Usage { total: capacity, used: capacity.saturating_sub(available), available }
    }
}

/// What is left of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskLevel {
    /// The number of its device: two paths with the same one share the file system.
    pub device: u64,
    /// Space, in bytes, as processes without privileges can have it.
    pub bytes: Level,
    /// Inodes. A capacity of nothing means that the file system does not count them.
    pub inodes: Level,
}

/// Measures what is left on a node. All of it blocks: the agent asks on a thread for that.
///
/// [`SystemGauge`] reads the machine. Tests and nodes that are only part of a machine bring their own.
pub trait Gauge: Debug + Send + Sync + 'static {
    /// The node's memory. What the kernel can give back at once (file pages that were not used lately) is available.
    fn memory(&self) -> io::Result<Level>;

    /// How many bytes of memory the processes of a control group, such as `/kubepods`, and of those below it hold, without
    /// what can be given back at once. `None` where there is no such group.
    fn group(&self, group: &str) -> io::Result<Option<u64>>;

    /// The file system that a path is on.
    fn disk(&self, path: &Path) -> io::Result<DiskLevel>;

    /// Process ids, which threads have as well.
    fn processes(&self) -> io::Result<Level>;
}

/// Reads the kernel's own figures of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemGauge;

impl Gauge for SystemGauge {
    fn memory(&self) -> io::Result<Level> {
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        // The root group counts as kubelets do. It has no figures where control groups are of version 2 only.
        memory(&meminfo, crate::cgroup::working_set("/")?).ok_or_else(|| unreadable("/proc/meminfo"))
    }

    fn group(&self, group: &str) -> io::Result<Option<u64>> {
        crate::cgroup::working_set(group)
    }

    fn disk(&self, path: &Path) -> io::Result<DiskLevel> {
        let system = statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(system.fragment_size());
        Ok(DiskLevel {
            device: stat(path)?.st_dev,
            bytes: Level { available: bytes(system.blocks_available()), capacity: bytes(system.blocks()) },
            inodes: Level { available: system.files_available(), capacity: system.files() },
        })
    }

    fn processes(&self) -> io::Result<Level> {
        let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"].map(fs::read_to_string);
        let [most, threads] = limits;
        processes(&most?, &threads?, &fs::read_to_string("/proc/loadavg")?).ok_or_else(|| unreadable("/proc/loadavg"))
    }
}

fn unreadable(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} does not say what it should"))
}

/// What is left of memory (proc_meminfo(5)), where the machine holds `used`, or as much as is neither free nor inactive.
fn memory(meminfo: &str, used: Option<u64>) -> Option<Level> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let capacity = kib("MemTotal:")?;
    let free = || Some(kib("MemFree:")? + kib("Inactive(file):")?);
    let available = match used.filter(|used| *used <= capacity) {
        Some(used) => capacity - used,
        None => free()?.min(capacity),
    };
    Some(Level { available, capacity })
}

/// What is left of process ids: the fourth word of proc_loadavg(5) has all that there are, after a slash.
fn processes(most: &str, threads: &str, loadavg: &str) -> Option<Level> {
    let capacity = most.trim().parse::<u64>().ok()?.min(threads.trim().parse().ok()?);
    let (_, running) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    Some(Level { available: capacity.saturating_sub(running.parse().ok()?), capacity })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       2000 kB\nMemFree:         100 kB\nInactive(file):  300 kB\n";

    #[test]
    fn what_can_be_given_back_is_available() {
        let level = |available: u64| Some(Level { available: available * 1024, capacity: 2000 * 1024 });
        assert_eq!(memory(MEMINFO, Some(1500 * 1024)), level(500));
        assert_eq!(memory(MEMINFO, None), level(400));
        // A group that says more than there is says nothing about this machine.
        assert_eq!(memory(MEMINFO, Some(3000 * 1024)), level(400));
        assert_eq!(memory("", Some(1)), None);
    }

    #[test]
    fn the_smaller_limit_of_processes_counts() {
        let level = Some(Level { available: 900, capacity: 1000 });
        assert_eq!(processes("4096\n", "1000\n", "0.10 0.20 0.30 2/100 4711\n"), level);
        assert_eq!(processes("1000\n", "4096\n", "0.10 0.20 0.30 2/100 4711\n"), level);
        assert_eq!(processes("1000\n", "4096\n", ""), None);
    }

    #[test]
    fn this_machine_has_figures() {
        let gauge = SystemGauge;
        let root = Path::new("/");
        let disk = gauge.disk(root).unwrap();
        for level in [gauge.memory().unwrap(), gauge.processes().unwrap(), disk.bytes] {
            assert!(level.capacity > 0 && level.available <= level.capacity, "{level:?}");
        }
        assert_eq!(gauge.group("/windlass-has-no-such-group").unwrap(), None);
    }
}

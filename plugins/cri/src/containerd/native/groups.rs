//! Control groups as files: what is used, and whether the kernel killed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use windlass_kernel::runtime::{CpuUsage, MemoryUsage};

use super::spec::{page, unified};

const ROOT: &str = "/sys/fs/cgroup";

/// A control group in every hierarchy.
#[derive(Clone, Debug)]
pub(super) struct Group {
    path: String,
    unified: bool,
}

impl Group {
    /// The group of that path below the roots of the hierarchies.
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.trim_matches('/').to_owned(), unified: unified() }
    }

    fn folder(&self, controller: &str) -> PathBuf {
        let root = Path::new(ROOT);
        if self.unified { root.join(&self.path) } else { root.join(controller).join(&self.path) }
    }

    fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.folder(controller).join(file)).ok()
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        self.read(controller, file)?.trim().parse().ok()
    }

    fn table(&self, controller: &str, file: &str) -> BTreeMap<String, u64> {
        let text = self.read(controller, file).unwrap_or_default();
        let rows = text.lines().filter_map(|line| line.split_once(' '));
        rows.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
    }

    /// Whether the kernel killed one of its processes, since memory ran out.
    pub(super) fn ran_out(&self) -> bool {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        self.table("memory", file).get("oom_kill").is_some_and(|kills| *kills > 0)
    }

    pub(super) fn cpu(&self, at: Timestamp) -> Option<CpuUsage> {
        let used = if self.unified {
            Duration::from_micros(*self.table("cpu", "cpu.stat").get("usage_usec")?)
        } else {
            Duration::from_nanos(self.number("cpuacct", "cpuacct.usage")?)
        };
        Some(CpuUsage { at, used })
    }

    pub(super) fn memory(&self, at: Timestamp) -> Option<MemoryUsage> {
        let (file, limit) = match self.unified {
            true => ("memory.current", "memory.max"),
            false => ("memory.usage_in_bytes", "memory.limit_in_bytes"),
        };
        let usage = self.number("memory", file)?;
        let stat = self.table("memory", "memory.stat");
        let of = |names: [&str; 2]| stat.get(names[usize::from(self.unified)]).copied().unwrap_or_default();
        let working_set = usage.saturating_sub(of(["total_inactive_file", "inactive_file"]));
        // Without a limit the older hierarchy tells the largest number of whole pages.
        let none = u64::try_from(i64::MAX).unwrap_or(u64::MAX) / page() * page();
        let limit = self.number("memory", limit).filter(|limit| *limit < none);
        Some(MemoryUsage {
            at,
            working_set,
            available: limit.map(|limit| limit.saturating_sub(working_set)),
            usage,
            rss: of(["total_rss", "anon"]),
            page_faults: of(["total_pgfault", "pgfault"]),
            major_page_faults: of(["total_pgmajfault", "pgmajfault"]),
        })
    }

    /// How many processes are in it and in the groups below it.
    pub(super) fn processes(&self) -> Option<u64> {
        self.number("pids", "pids.current")
    }
}

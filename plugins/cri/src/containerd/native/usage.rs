//! What containers and sandboxes use: the kernel's own counters, and the snapshotter's for what was written.

use std::{fs, time::Duration};

use containerd_client::services::v1::snapshots;
use windlass_kernel::{
    Result,
    runtime::{
        ContainerFilter, ContainerState, ContainerStats, FsUsage, InterfaceUsage, SandboxFilter, SandboxState,
        SandboxStats,
    },
};

use super::{Containerd, calls::unless_gone, groups::Group};

/// How long a count of what a container wrote is good: it is taken by walking through its files.
const FRESH: Duration = Duration::from_secs(10);

impl Containerd {
    pub(super) async fn use_of_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>> {
        // Only of what runs is anything counted.
        let filter = ContainerFilter { state: Some(ContainerState::Running), ..filter.clone() };
        let mut all = Vec::new();
        for container in self.list_containers(&filter).await? {
            let Some(around) = self.0.calls.kept_sandbox(container.sandbox.as_str()).await? else { continue };
            let Some(around) = self.listed(&around.id, around.sandbox_config()) else { continue };
            let group = Group::at(&self.group_of(&around, container.id.as_str()));
            let at = self.0.setup.clock.now();
            all.push(ContainerStats {
                key: container.key,
                labels: container.labels,
                cpu: group.cpu(at),
                memory: group.memory(at),
                layer: self.written_by(container.id.as_str()).await?,
                id: container.id,
            });
        }
        Ok(all)
    }

    pub(super) async fn use_of_sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<SandboxStats>> {
        let filter = SandboxFilter { state: Some(SandboxState::Ready), ..filter.clone() };
        let mut all = Vec::new();
        for sandbox in self.list_sandboxes(&filter).await? {
            let (Some(kept), Some(pid)) =
                (self.0.calls.kept_sandbox(sandbox.id.as_str()).await?, self.running_task(sandbox.id.as_str()).await?)
            else {
                continue;
            };
            let config = kept.sandbox_config()?;
            let of_sandbox = ContainerFilter { sandbox: Some(sandbox.id.clone()), ..ContainerFilter::default() };
            let containers = self.use_of_containers(&of_sandbox).await?;
            // The whole is what whoever named the group above counts in it; without one it is the sandbox's own process.
            let whole = match config.cgroup_parent.as_str() {
                "" => Group::at(&self.group_of(&config, sandbox.id.as_str())),
                parent => Group::at(parent),
            };
            let at = self.0.setup.clock.now();
            all.push(SandboxStats {
                id: sandbox.id,
                key: sandbox.key,
                labels: sandbox.labels,
                cpu: whole.cpu(at),
                memory: whole.memory(at),
                interfaces: interfaces(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default()),
                processes: whole.processes(),
                containers,
            });
        }
        Ok(all)
    }

    /// What a container wrote into its own layer.
    async fn written_by(&self, id: &str) -> Result<Option<FsUsage>> {
        let now = self.0.setup.clock.uptime();
        if let Some((asked, usage)) = self.0.written.lock().get(id)
            && now < asked.saturating_add(FRESH)
        {
            return Ok(Some(usage.clone()));
        }
        let usage = self.use_of_snapshot(id).await?;
        if let Some(usage) = &usage {
            self.0.written.lock().insert(id.to_owned(), (now, usage.clone()));
        }
        Ok(usage)
    }

    pub(super) async fn use_of_snapshot(&self, key: &str) -> Result<Option<FsUsage>> {
        let request =
            snapshots::UsageRequest { snapshotter: self.0.calls.snapshotter.to_string(), key: key.to_owned() };
        let answer = unless_gone("count what a snapshot holds", self.0.calls.snapshots().usage(request).await)?;
        let positive = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(answer.map(|answer| FsUsage {
            at: self.0.setup.clock.now(),
            mountpoint: String::new(),
            bytes: positive(answer.size),
            inodes: positive(answer.inodes),
        }))
    }
}

/// The interfaces of a network, as the kernel lists them, the sandbox's own first and the loopback left out.
fn interfaces(table: &str) -> Vec<InterfaceUsage> {
    let rows = table.lines().skip(2).filter_map(|line| line.split_once(':'));
    let row = |(name, counters): (&str, &str)| {
        let counters: Vec<u64> = counters.split_whitespace().map(|number| number.parse().unwrap_or_default()).collect();
        let at = |index: usize| counters.get(index).copied().unwrap_or_default();
        InterfaceUsage {
            name: name.trim().to_owned(),
            rx_bytes: at(0),
            rx_errors: at(2),
            tx_bytes: at(8),
            tx_errors: at(10),
        }
    };
    let mut all: Vec<_> = rows.map(row).filter(|interface| interface.name != "lo").collect();
    all.sort_by_key(|interface| interface.name != "eth0");
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_interface_is_the_first() {
        let table = "Inter-|   Receive\n face |bytes packets errs\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
                       a: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n  eth0: 10 2 3 0 0 0 0 0 20 4 5 0 0 0 0 0\n";
        let found = interfaces(table);
        assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["eth0", "a"]);
        assert_eq!((found[0].rx_bytes, found[0].rx_errors, found[0].tx_bytes, found[0].tx_errors), (10, 3, 20, 5));
    }
}

//! What the node and its pods use: CPU over time, from two readings of counters. Nothing is read unless somebody asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, Result, SpawnExt,
    controller::ObjectKey,
    node::{Amounts, Measured, PodUsage, Usage},
    runtime::{ContainerFilter, ContainerStats},
};

use super::Inner;
use crate::{machine, make::labels};

/// An answer so young is given again.
const FRESH: Duration = Duration::from_secs(10);
/// A reading so old says nothing about now.
const OLD: Duration = Duration::from_secs(60);
/// The time between two readings where there was none lately.
const PAUSE: Duration = Duration::from_secs(1);

/// Remembers the last reading.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Option<Arc<Kept>>>);

#[derive(Debug)]
struct Kept {
    reading: Reading,
    usage: Usage,
}

/// Counters at one moment.
#[derive(Debug)]
struct Reading {
    uptime: Duration,
    at: Timestamp,
    machine: Option<(Duration, u64)>,
    containers: Vec<ContainerStats>,
}

impl Meter {
    pub(super) async fn usage(&self, inner: &Inner) -> Result<Usage> {
        let clock: &dyn Clock = &*inner.needs.clock;
        let age = |kept: &Arc<Kept>| clock.uptime().saturating_sub(kept.reading.uptime);
        let last = self.0.lock().clone();
        if let Some(kept) = last.as_ref().filter(|kept| age(kept) < FRESH) {
            return Ok(kept.usage.clone());
        }
        let first;
        let before = match &last {
            Some(kept) if age(kept) <= OLD => &kept.reading,
            _ => {
                first = read(inner).await?;
                clock.sleep(PAUSE).await;
                &first
            }
        };
        let reading = read(inner).await?;
        let usage = between(before, &reading, &inner.uids());
        *self.0.lock() = Some(Arc::new(Kept { reading, usage: usage.clone() }));
        Ok(usage)
    }
}

async fn read(inner: &Inner) -> Result<Reading> {
    let containers = inner.needs.runtime.stats(&ContainerFilter::default()).await?;
    let machine = inner.needs.spawn.run_blocking("node.usage", machine::used).await;
    let machine = machine.ok_or_else(|| Error::new(ErrorKind::Internal, "cannot read what the machine uses"))?;
    Ok(Reading { uptime: inner.needs.clock.uptime(), at: inner.needs.clock.now(), machine, containers })
}

/// What was used between two readings. A pod with a container that is not in both is left out.
fn between(before: &Reading, after: &Reading, ours: &BTreeSet<String>) -> Usage {
    let window = after.uptime.saturating_sub(before.uptime);
    let measured = |amounts| Measured { at: after.at, window, amounts };
    let node = before.machine.zip(after.machine).map(|((then, _), (now, memory))| {
        measured(Amounts { nanocores: rate(now.saturating_sub(then), window), memory, cpu: Some(now) })
    });
    let known: BTreeMap<_, _> = before.containers.iter().map(|own| (&own.id, own)).collect();
    let mut pods: BTreeMap<&str, Option<PodUsage>> = BTreeMap::new();
    for container in &after.containers {
        let label = |name: &str| container.labels.get(name).map(String::as_str).unwrap_or_default();
        let uid = label(labels::UID);
        if !ours.contains(uid) {
            continue;
        }
        let pod = pods.entry(uid).or_insert_with(|| {
            let pod = ObjectKey::new(label(labels::NAMESPACE), label(labels::NAME));
            Some(PodUsage {
                pod,
                uid: uid.to_owned(),
                containers: Measured { at: after.at, window, amounts: Vec::new() },
            })
        });
        let used = known.get(&container.id).and_then(|then| amounts(then, container));
        match (used, pod.as_mut()) {
            (Some(used), Some(pod)) => pod.containers.amounts.push((label(labels::CONTAINER).to_owned(), used)),
            _ => *pod = None,
        }
    }
    Usage { node, pods: pods.into_values().flatten().collect() }
}

/// What a container used between two readings of its own counters.
fn amounts(then: &ContainerStats, now: &ContainerStats) -> Option<Amounts> {
    let (before, after, memory) = (then.cpu?, now.cpu?, now.memory?);
    let span = Duration::try_from(after.at.duration_since(before.at)).ok().filter(|span| !span.is_zero())?;
    let nanocores = rate(after.used.saturating_sub(before.used), span);
    Some(Amounts { nanocores, memory: memory.working_set, cpu: Some(after.used) })
}

/// Billionths of a core.
fn rate(used: Duration, over: Duration) -> u64 {
    let scaled = used.as_nanos().saturating_mul(1_000_000_000).checked_div(over.as_nanos()).unwrap_or(0);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use windlass_kernel::runtime::{ContainerId, ContainerKey, CpuUsage, MemoryUsage};

    use super::*;

    /// A container that has used so many milliseconds of CPU at a second.
    fn container(uid: &str, name: &str, second: i64, millis: u64) -> ContainerStats {
        let at = Timestamp::from_second(second).unwrap();
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let labels = [
            label(labels::UID, uid),
            label(labels::NAMESPACE, "ns"),
            label(labels::NAME, uid),
            label(labels::CONTAINER, name),
        ];
        ContainerStats {
            id: ContainerId::from(format!("{uid}-{name}")),
            key: ContainerKey::default(),
            labels: labels.into(),
            cpu: Some(CpuUsage { at, used: Duration::from_millis(millis) }),
            memory: Some(MemoryUsage { at, working_set: 1024, ..MemoryUsage::default() }),
            layer: None,
        }
    }

    fn reading(second: u64, containers: Vec<ContainerStats>) -> Reading {
        let at = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        let machine = Some((Duration::from_millis(second * 500), 4096));
        Reading { uptime: Duration::from_secs(second), at, machine, containers }
    }

    #[track_caller]
    fn check(before: Vec<ContainerStats>, after: Vec<ContainerStats>, expect: &[&str]) {
        let ours = ["a", "b"].map(str::to_owned).into();
        let usage = between(&reading(10, before), &reading(20, after), &ours);
        assert_eq!(
            usage.node.unwrap().amounts,
            Amounts { nanocores: 500_000_000, memory: 4096, cpu: usage.node.unwrap().amounts.cpu }
        );
        let shown = usage.pods.iter().map(|pod| {
            let each =
                pod.containers.amounts.iter().map(|(name, used)| format!(" {name}={}", used.nanocores / 1_000_000));
            format!("{}{}", pod.pod, each.collect::<String>())
        });
        assert_eq!(shown.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_rate_is_what_was_used_between_two_readings() {
        let (then, now) = (container("a", "c", 10, 100), container("a", "c", 20, 2600));
        check(
            vec![then.clone(), container("a", "d", 10, 0)],
            vec![now.clone(), container("a", "d", 20, 10)],
            &["ns/a c=250 d=1"],
        );
        check(vec![then], vec![now, container("b", "c", 20, 10)], &["ns/a c=250"]);
    }

    #[test]
    fn a_pod_is_measured_whole_or_not_at_all_and_only_here() {
        let now = |uid, name| container(uid, name, 20, 10);
        check(vec![container("a", "c", 10, 0)], vec![now("a", "c"), now("a", "d")], &[]);
        check(vec![container("z", "c", 10, 0)], vec![now("z", "c")], &[]);
        check(vec![container("a", "c", 20, 0)], vec![now("a", "c")], &[]);
    }
}

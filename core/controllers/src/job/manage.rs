//! How many pods a Job has at once, which indexes come next, and who goes where there are too many.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    backoff::{self, Record},
    pod::JobPod,
    policy::{self, Verdict},
    sync::{Sync, count, indexed, size, waits_for_end},
    template::New,
};
use crate::replicaset::rank::first_to_go;

/// At most so many pods are created or deleted before looking again.
const BURST: usize = 500;

/// Pods to delete, or else to create, or how long to wait before that.
#[derive(Debug, Default)]
pub(super) struct Manage {
    pub(super) delete: Vec<Arc<JobPod>>,
    pub(super) create: Vec<New>,
    pub(super) wait: Option<Duration>,
}

/// Compares the active pods with what the Job wants now.
pub(super) fn manage(sync: &Sync<'_>, record: &Record) -> Manage {
    let spec = &sync.job.spec;
    let active = size(sync.active.len());
    let wanted = wanted(sync);
    let mut delete = surplus(sync, active.saturating_sub(wanted) as usize);
    if !delete.is_empty() || spec.suspend == Some(true) {
        delete.truncate(BURST);
        return Manage { delete, ..Manage::default() };
    }
    let going = if waits_for_end(spec) { size(sync.terminating) } else { 0 };
    let missing = (wanted.saturating_sub(active).saturating_sub(going) as usize).min(BURST);
    if missing == 0 {
        return Manage::default();
    }
    if spec.backoff_limit_per_index.is_some() {
        return by_index(sync, missing);
    }
    let wait = record.left(sync.now);
    if !wait.is_zero() {
        return Manage { wait: Some(wait), ..Manage::default() };
    }
    let create = match indexed(spec) {
        None => vec![New::default(); missing],
        Some(end) => {
            let pending = pending(sync, end).take(missing);
            pending.map(|index| New { index: Some(index), failures: None }).collect()
        }
    };
    Manage { create, ..Manage::default() }
}

fn wanted(sync: &Sync<'_>) -> u32 {
    let spec = &sync.job.spec;
    if spec.suspend == Some(true) {
        return 0;
    }
    let parallelism = count(spec.parallelism.unwrap_or(1));
    match spec.completions {
        // Once a worker found the queue empty, the others finish what they have.
        None if sync.succeeded > 0 => size(sync.active.len()),
        None => parallelism,
        Some(completions) => count(completions).saturating_sub(sync.succeeded).min(parallelism),
    }
}

/// The indexes that nobody works on and that are not settled, in order.
fn pending<'s>(sync: &'s Sync<'_>, end: u32) -> impl Iterator<Item = u32> + use<'s> {
    let waits = waits_for_end(&sync.job.spec);
    let busy = sync.pods.iter().filter(move |pod| pod.view.active() || waits && pod.terminating());
    let busy: BTreeSet<u32> = busy.filter_map(|pod| pod.index).collect();
    (0..end).filter(move |index| !busy.contains(index) && !sync.done.contains(*index) && !sync.lost.contains(*index))
}

/// Each index waits for itself.
fn by_index(sync: &Sync<'_>, missing: usize) -> Manage {
    let last = sync.last_failed();
    let mut manage = Manage::default();
    for index in pending(sync, indexed(&sync.job.spec).unwrap_or(0)).take(missing) {
        let Some(pod) = last.get(&index) else {
            manage.create.push(New { index: Some(index), failures: Some((0, 0)) });
            continue;
        };
        let wait = backoff::left(pod.failures_before() + 1, pod.finished.unwrap_or(sync.now), sync.now);
        if !wait.is_zero() {
            manage.wait = Some(manage.wait.map_or(wait, |other| other.min(wait)));
            continue;
        }
        let (failures, ignored) = pod.failures;
        let failures = match policy::judge(&sync.job.spec, pod) {
            Verdict::Ignore => (failures, ignored + 1),
            Verdict::Count | Verdict::FailIndex | Verdict::FailJob(_) => (failures + 1, ignored),
        };
        manage.create.push(New { index: Some(index), failures: Some(failures) });
    }
    manage
}

/// The active pods that go: those whose index is not wanted or is taken, and as many more as asked for.
fn surplus(sync: &Sync<'_>, at_least: usize) -> Vec<Arc<JobPod>> {
    let by_uid: BTreeMap<&str, &Arc<JobPod>> = sync.active.iter().map(|pod| (pod.view.uid.as_str(), *pod)).collect();
    let views: Vec<_> = sync.active.iter().map(|pod| Arc::clone(&pod.view)).collect();
    if at_least == 0 && indexed(&sync.job.spec).is_none() {
        return Vec::new();
    }
    // Whoever would go last keeps an index.
    let ranked = first_to_go(&views, &[], sync.now);
    let ranked: Vec<_> = ranked.iter().filter_map(|view| by_uid.get(view.uid.as_str())).collect();
    let mut gone = Vec::new();
    if let Some(end) = indexed(&sync.job.spec) {
        let mut taken = BTreeSet::new();
        for pod in ranked.iter().rev() {
            if !pod.index.is_some_and(|index| index < end && taken.insert(index)) {
                gone.push(Arc::clone(pod));
            }
        }
    }
    let out: BTreeSet<String> = gone.iter().map(|pod| pod.view.uid.clone()).collect();
    let more = ranked.into_iter().filter(|pod| !out.contains(&pod.view.uid));
    let missing = at_least.saturating_sub(gone.len());
    gone.extend(more.take(missing).map(|pod| Arc::clone(pod)));
    gone
}

//! Which workloads crashed where, as the API shows it: restarts and failures of pods. It decays, is bounded, and is the
//! same again after a restart as far as the pods are still there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use windlass_api::core::v1::{ContainerStatus, Pod};
use windlass_client::{Cache, Informers, Select};
use windlass_kernel::{Clock, scheduler::PodView};

use crate::plugins::Crashes;

/// After so long a crash counts half.
const HALF: Duration = Duration::from_secs(30 * 60);
/// So many pairs of a workload and a node are remembered; the one that has been quiet for longest is forgotten first.
const REMEMBERED: usize = 4096;

/// Who crashed where: the workload (namespace, kind and name of the controller) and the node.
type Pair = (String, String);

/// What a pod shows of its crashes.
#[derive(Clone, Debug)]
struct Shown {
    pair: Pair,
    crashes: u32,
    last: Timestamp,
}

/// What is followed.
pub(super) struct Followed {
    cache: Cache<Arc<Shown>>,
    memory: Arc<Mutex<Memory>>,
    clock: Arc<dyn Clock>,
}

/// Crashes by pair, as they count at a time.
#[derive(Debug, Default)]
struct Memory {
    pairs: BTreeMap<Pair, (f64, Timestamp)>,
    quiet: BTreeMap<(Timestamp, Pair), ()>,
}

fn workload(namespace: &str, kind: &str, name: &str) -> String {
    format!("{namespace}/{kind}/{name}")
}

impl Shown {
    /// `None` where a pod has no controller, no node, or never crashed.
    fn of(pod: &Pod) -> Option<Arc<Self>> {
        let node = pod.spec.node_name.clone().filter(|node| !node.is_empty())?;
        let owner = pod.metadata.owner_references.iter().find(|owner| owner.controller == Some(true))?;
        let statuses = || pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
        let restarts: i32 = statuses().map(|status| status.restart_count).sum();
        let failed = pod.status.phase.as_deref() == Some("Failed");
        let crashes = u32::try_from(restarts).unwrap_or_default() + u32::from(failed);
        let ended = |status: &ContainerStatus| {
            let states = [&status.state, &status.last_state];
            states.into_iter().filter_map(|state| state.terminated.as_ref()?.finished_at).map(|at| at.0).max()
        };
        let last = statuses().filter_map(ended).max();
        let created = pod.metadata.creation_timestamp.map(|at| at.0);
        let pair = (workload(pod.metadata.namespace.as_deref()?, &owner.kind, &owner.name), node);
        let last = last.or(created).unwrap_or_default();
        (crashes > 0).then(|| Arc::new(Self { pair, crashes, last }))
    }
}

impl Followed {
    pub(super) fn new(informers: &Informers) -> Self {
        let memory = Arc::<Mutex<Memory>>::default();
        let cache = informers.projected(Select::all(), Vec::new(), Shown::of);
        let held = Arc::clone(&memory);
        cache.on_change(move |update| {
            let Some(after) = update.after else { return };
            let before = update.before.filter(|before| before.pair == after.pair).map_or(0, |before| before.crashes);
            let new = after.crashes.saturating_sub(before);
            if new > 0 {
                held.lock().add(&after.pair, new, after.last);
            }
        });
        Self { cache, memory, clock: Arc::clone(&informers.parts().clock) }
    }

    pub(super) async fn synced(&self) {
        self.cache.synced().await;
    }

    /// How often the pod's workload crashed lately, by node; `None` where it did not.
    pub(super) fn of(&self, pod: &PodView) -> Option<Crashes> {
        let owner = pod.owner.as_ref()?;
        let workload = workload(&pod.key.namespace, &owner.kind, &owner.name);
        let nodes = self.memory.lock().of(&workload, self.clock.now());
        (!nodes.is_empty()).then(|| Crashes(Arc::new(nodes)))
    }
}

impl Memory {
    fn add(&mut self, pair: &Pair, crashes: u32, at: Timestamp) {
        let (count, since) = self.pairs.remove(pair).unwrap_or((0.0, at));
        self.quiet.remove(&(since, pair.clone()));
        // What is told late counts from when it happened.
        let at = at.max(since);
        self.pairs.insert(pair.clone(), (decayed(count, since, at) + f64::from(crashes), at));
        self.quiet.insert((at, pair.clone()), ());
        while self.pairs.len() > REMEMBERED {
            let Some(((_, oldest), ())) = self.quiet.pop_first() else { return };
            self.pairs.remove(&oldest);
        }
    }

    fn of(&self, workload: &str, now: Timestamp) -> BTreeMap<String, i64> {
        let from = (workload.to_owned(), String::new());
        let own = self.pairs.range(from..).take_while(|((own, _), _)| own == workload);
        let counts = own.map(|((_, node), (count, since))| (node.clone(), rounded(decayed(*count, *since, now))));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

/// What a count has become.
fn decayed(count: f64, since: Timestamp, now: Timestamp) -> f64 {
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    count * 0.5_f64.powf(passed.as_secs_f64() / HALF.as_secs_f64())
}

#[allow(clippy::cast_possible_truncation, reason = "counts of crashes are far below the limits")]
fn rounded(count: f64) -> i64 {
    count.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    #[test]
    fn crashes_fade_with_time() {
        let mut memory = Memory::default();
        memory.add(&("w".into(), "a".into()), 4, at(0));
        memory.add(&("w".into(), "b".into()), 1, at(0));
        memory.add(&("other".into(), "a".into()), 9, at(0));
        let of = |memory: &Memory, now| {
            memory.of("w", at(now)).into_iter().map(|(node, count)| format!("{node}{count}")).collect::<Vec<_>>()
        };
        assert_eq!(of(&memory, 0), ["a4", "b1"]);
        assert_eq!(of(&memory, 30), ["a2", "b1"]);
        assert_eq!(of(&memory, 90), ["a1"]);
        memory.add(&("w".into(), "a".into()), 1, at(60));
        assert_eq!(of(&memory, 60), ["a2"]);
        assert_eq!(of(&memory, 600), Vec::<String>::new());
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_quietest() {
        let mut memory = Memory::default();
        for number in 0..i64::try_from(REMEMBERED).unwrap() + 5 {
            memory.add(&(format!("w{number}"), "a".into()), 1, at(number));
        }
        assert_eq!((memory.pairs.len(), memory.quiet.len()), (REMEMBERED, REMEMBERED));
        assert!(memory.of("w0", at(0)).is_empty() && !memory.of("w10", at(10)).is_empty());
    }
}

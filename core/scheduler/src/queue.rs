//! The queue of pods that wait for a node: which is next, which must wait a while, and which wait for a change.
//!
//! Pure: time is handed in.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use windlass_kernel::{controller::ObjectKey, scheduler::PodView};

/// How long pods wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After the first failure.
    pub first: Duration,
    /// After many.
    pub last: Duration,
    /// Without any change that may help.
    pub unhelped: Duration,
}

impl Default for Patience {
    /// Upstream's: 1 to 10 seconds, and 5 minutes.
    fn default() -> Self {
        let [first, last, unhelped] = [1, 10, 300].map(Duration::from_secs);
        Self { first, last, unhelped }
    }
}

impl Patience {
    fn after(&self, attempts: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).and_then(|factor| self.first.checked_mul(factor));
        doubled.map_or(self.last, |delay| delay.min(self.last))
    }
}

/// Pods that came to wait for something, since that was asked last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    /// What they wait for, as upstream calls its queues.
    pub(crate) queue: &'static str,
    /// What brought them there, as upstream calls it.
    pub(crate) event: &'static str,
    pub(crate) count: u64,
}

/// What pods wait for, as upstream calls its queues.
pub(crate) const QUEUES: [&str; 4] = ["active", "backoff", "unschedulable", "gated"];

const FAILED: &str = "ScheduleAttemptFailure";

/// More important ones first, then those that have waited longer.
type Rank = (Reverse<i32>, u64, ObjectKey);

#[derive(Debug)]
enum Place {
    Active(Rank),
    /// Until when, and from when on where no other pod wants a turn.
    Backoff(Duration, Option<Duration>),
    /// Since when, and who refused it.
    Parked(Duration, Vec<&'static str>),
    /// Something outside must happen first.
    Gated,
    /// A turn or a binding is under way.
    Away,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<PodView>,
    place: Place,
    attempts: u32,
    /// When its first turn began.
    tried: Option<Duration>,
    /// The end of its back-off.
    rested: Duration,
    /// When it may end where no other pod wants a turn; `None` where something failed, which is not to be asked again so
    /// soon.
    idle: Option<Duration>,
    order: u64,
}

/// Pods that wait for a node.
#[derive(Debug)]
pub(crate) struct Queue {
    patience: Patience,
    entries: BTreeMap<ObjectKey, Entry>,
    active: BTreeSet<Rank>,
    backoff: BTreeSet<(Duration, ObjectKey)>,
    /// Those that an idle scheduler looks at earlier.
    idle: BTreeSet<(Duration, ObjectKey)>,
    parked: BTreeSet<(Duration, ObjectKey)>,
    gated: usize,
    order: u64,
    entered: Vec<Entered>,
}

impl Queue {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            entries: BTreeMap::new(),
            active: BTreeSet::new(),
            backoff: BTreeSet::new(),
            idle: BTreeSet::new(),
            parked: BTreeSet::new(),
            gated: 0,
            order: 0,
            entered: Vec::new(),
        }
    }

    /// Takes in a pod, or what changed about it. A change of its own may help it.
    pub(crate) fn put(&mut self, pod: &Arc<PodView>, now: Duration) {
        let known = self.entries.get_mut(&pod.key).filter(|entry| entry.pod.uid == pod.uid);
        let Some(entry) = known else {
            self.remove(&pod.key);
            self.order += 1;
            let (pod, order) = (Arc::clone(pod), self.order);
            let key = pod.key.clone();
            let entry = Entry { pod, place: Place::Away, attempts: 0, tried: None, rested: now, idle: None, order };
            self.entries.insert(key.clone(), entry);
            self.wake(&key, now, "UnscheduledPodAdd");
            return;
        };
        let before = std::mem::replace(&mut entry.pod, Arc::clone(pod));
        match entry.place {
            Place::Away => {}
            Place::Active(_) | Place::Backoff(..) if before.priority == pod.priority && pod.gates.is_empty() => {}
            Place::Parked(..) if !differs(&before, pod) => {}
            _ => self.wake(&pod.key, now, "UnscheduledPodUpdate"),
        }
    }

    /// Forgets a pod: it has a node, or is gone.
    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        self.leave(key);
        self.entries.remove(key);
    }

    /// The pod as it is now, while it waits or is away.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Arc<PodView>> {
        self.entries.get(key).map(|entry| &entry.pod)
    }

    /// How many turns a pod has had, and when the first one began.
    pub(crate) fn tries(&self, key: &ObjectKey) -> (u32, Option<Duration>) {
        self.entries.get(key).map_or((0, None), |entry| (entry.attempts, entry.tried))
    }

    /// How many pods wait for each of [`QUEUES`].
    pub(crate) fn sizes(&self) -> [usize; 4] {
        [self.active.len(), self.backoff.len(), self.parked.len(), self.gated]
    }

    /// What came to wait since this was asked last.
    pub(crate) fn entered(&mut self) -> impl Iterator<Item = Entered> {
        self.entered.drain(..)
    }

    /// The next pod. It stays away until something is said about it.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Arc<PodView>> {
        let (_, _, key) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.place = Place::Away;
        entry.attempts += 1;
        entry.tried.get_or_insert(now);
        Some(Arc::clone(&entry.pod))
    }

    /// A pod fits nowhere: it waits for a change that may help.
    pub(crate) fn refused(&mut self, key: &ObjectKey, by: Vec<&'static str>, now: Duration) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.rested = now.saturating_add(self.patience.after(entry.attempts));
        entry.idle = Some(now.saturating_add(self.patience.first / 10));
        entry.place = Place::Parked(now, by);
        self.parked.insert((now, key.clone()));
        self.enters("unschedulable", FAILED);
    }

    /// Something failed that has nothing to do with the pod: it is tried again after a while.
    pub(crate) fn failed(&mut self, key: &ObjectKey, now: Duration) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.rested = now.saturating_add(self.patience.after(entry.attempts));
        entry.idle = None;
        self.wake(key, now, FAILED);
    }

    /// Wakes a pod if it is parked: something else than a change of the cluster may help it.
    pub(crate) fn again(&mut self, key: &ObjectKey, now: Duration) {
        if self.entries.get(key).is_some_and(|entry| matches!(entry.place, Place::Parked(..))) {
            self.wake(key, now, "ForceActivate");
        }
    }

    /// Wakes the parked pods that a change may help; `event` is what the change is called.
    pub(crate) fn changed(
        &mut self,
        now: Duration,
        event: &'static str,
        helps: impl Fn(&PodView, &[&'static str]) -> bool,
    ) {
        let helped: Vec<_> = self.parked.iter().filter(|(_, key)| self.is_helped(key, &helps)).cloned().collect();
        helped.iter().for_each(|(_, key)| self.wake(key, now, event));
    }

    /// Wakes what has waited long enough. Where no pod wants a turn, that is a pod whose back-off is not over yet (KEP-5142),
    /// though not at once: two pods that wake each other would leave no time for anything else.
    pub(crate) fn tick(&mut self, now: Duration) {
        while let Some((_, key)) = self.backoff.first().cloned().filter(|(end, _)| *end <= now) {
            self.leave(&key);
            self.activate(&key, "BackoffComplete");
        }
        while let Some((since, key)) = self.parked.first().cloned() {
            if since.saturating_add(self.patience.unhelped) > now {
                break;
            }
            self.wake(&key, now, "UnschedulableTimeout");
        }
        let idle = self.idle.first().filter(|(from, _)| self.active.is_empty() && *from <= now);
        if let Some((_, key)) = idle.cloned() {
            self.leave(&key);
            self.activate(&key, "BackoffComplete");
        }
    }

    /// When [`tick`](Self::tick) has something to do, while no pod wants a turn.
    pub(crate) fn due(&self) -> Option<Duration> {
        let rested = self.backoff.first().into_iter().chain(self.idle.first()).map(|(end, _)| *end).min();
        let unhelped = self.parked.first().map(|(since, _)| since.saturating_add(self.patience.unhelped));
        rested.into_iter().chain(unhelped).min()
    }

    fn is_helped(&self, key: &ObjectKey, helps: impl Fn(&PodView, &[&'static str]) -> bool) -> bool {
        let Some(Entry { pod, place: Place::Parked(_, by), .. }) = self.entries.get(key) else { return false };
        helps(pod, by)
    }

    /// Lets a pod have another turn, once it has rested and nothing outside must happen first.
    fn wake(&mut self, key: &ObjectKey, now: Duration, event: &'static str) {
        self.leave(key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !entry.pod.gates.is_empty() {
            entry.place = Place::Gated;
            self.gated += 1;
            self.enters("unschedulable", event);
        } else if entry.rested > now {
            entry.place = Place::Backoff(entry.rested, entry.idle);
            self.backoff.insert((entry.rested, key.clone()));
            if let Some(from) = entry.idle {
                self.idle.insert((from, key.clone()));
            }
            self.enters("backoff", event);
        } else {
            self.activate(key, event);
        }
    }

    /// Counts a pod that comes to wait.
    fn enters(&mut self, queue: &'static str, event: &'static str) {
        match self.entered.iter_mut().find(|own| own.queue == queue && own.event == event) {
            Some(own) => own.count += 1,
            None => self.entered.push(Entered { queue, event, count: 1 }),
        }
    }

    fn activate(&mut self, key: &ObjectKey, event: &'static str) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let rank = (Reverse(entry.pod.priority), entry.order, key.clone());
        entry.place = Place::Active(rank.clone());
        self.active.insert(rank);
        self.enters("active", event);
    }

    /// Takes a pod from where it waits.
    fn leave(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        match std::mem::replace(&mut entry.place, Place::Away) {
            Place::Active(rank) => drop(self.active.remove(&rank)),
            Place::Backoff(end, idle) => {
                self.backoff.remove(&(end, key.clone()));
                if let Some(from) = idle {
                    self.idle.remove(&(from, key.clone()));
                }
            }
            Place::Parked(since, _) => drop(self.parked.remove(&(since, key.clone()))),
            Place::Gated => self.gated -= 1,
            Place::Away => {}
        }
    }
}

/// Whether two views of a pod differ in what a scheduler decides by.
fn differs(before: &PodView, after: &PodView) -> bool {
    let bare = |pod: &PodView| PodView { complaint: None, nominated: None, generation: 0, ..pod.clone() };
    bare(before) != bare(after)
}

#[cfg(test)]
mod tests;

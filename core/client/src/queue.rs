//! The work queue: keys in their order, each once, never two workers on one, with delays and back-off through the clock.
//!
//! It carries keys, never objects or events, and starts no task.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use event_listener::Event;
use futures::future::{Either, select};
use parking_lot::Mutex;
use windlass_kernel::Clock;

use crate::backoff::Backoff;

/// How long a key that failed once waits, and at most (as upstream's controllers do).
const RETRY: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1000));

/// Keys to work on. Clones share one queue.
///
/// A key that is added while it waits is not added twice; one that is added while it is worked on is handed out again
/// after that. Keys are handed out in the order in which they were added or fell due.
pub struct Queue<K>(Arc<Inner<K>>);

struct Inner<K> {
    clock: Arc<dyn Clock>,
    retry: Backoff,
    state: Mutex<State<K>>,
    event: Event,
}

struct State<K> {
    ready: VecDeque<K>,
    waiting: BTreeSet<K>,
    working: BTreeSet<K>,
    again: BTreeSet<K>,
    due: BTreeMap<(Duration, u64), K>,
    delayed: BTreeMap<K, (Duration, u64)>,
    /// Until when keys are not handed out, whoever adds them.
    resting: BTreeMap<K, Duration>,
    failures: BTreeMap<K, u32>,
    number: u64,
    closed: bool,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Queue")
            .field("ready", &state.ready.len())
            .field("working", &state.working.len())
            .field("delayed", &state.due.len())
            .finish()
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_retry(clock, RETRY)
    }

    /// An empty queue with its own delays for keys that failed.
    #[must_use]
    pub fn with_retry(clock: Arc<dyn Clock>, retry: Backoff) -> Self {
        let state = State {
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            working: BTreeSet::new(),
            again: BTreeSet::new(),
            due: BTreeMap::new(),
            delayed: BTreeMap::new(),
            resting: BTreeMap::new(),
            failures: BTreeMap::new(),
            number: 0,
            closed: false,
        };
        Self(Arc::new(Inner { clock, retry, state: Mutex::new(state), event: Event::new() }))
    }

    /// Adds a key.
    pub fn add(&self, key: K) {
        let added = self.0.state.lock().add(key, self.0.clock.uptime());
        self.wake(added);
    }

    fn wake(&self, added: Added) {
        match added {
            Added::Ready => drop(self.0.event.notify_additional(1)),
            // Those who sleep until a later delay must look again.
            Added::Delayed => drop(self.0.event.notify(usize::MAX)),
            Added::Known => {}
        }
    }

    /// Does not hand out a key before so long from now, whatever adds it meanwhile; it is handed out once after that.
    /// Zero ends its rest.
    pub fn rest(&self, key: &K, rest: Duration) {
        let mut state = self.0.state.lock();
        if rest.is_zero() {
            state.resting.remove(key);
        } else {
            state.resting.insert(key.clone(), self.0.clock.uptime().saturating_add(rest));
        }
    }

    /// Adds a key after a delay. Of two delays of one key the earlier counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let end = self.0.clock.uptime().saturating_add(delay);
        self.0.state.lock().delay(key, end);
        self.wake(Added::Delayed);
    }

    /// Adds a key that failed: each failure in a row doubles the delay.
    pub fn retry(&self, key: K) {
        self.retry_not_before(key, Duration::ZERO);
    }

    /// As [`retry`](Self::retry), but not earlier than a delay that somebody asked for.
    pub fn retry_not_before(&self, key: K, delay: Duration) {
        let failures = {
            let mut state = self.0.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures = failures.saturating_add(1);
            *failures
        };
        self.add_after(key, self.0.retry.after(failures).max(delay));
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &K) {
        self.0.state.lock().failures.remove(key);
    }

    /// How often in a row a key failed.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.0.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// How many keys are ready to be handed out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing is ready and nothing is worked on; delayed keys do not count.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let state = self.0.state.lock();
        state.ready.is_empty() && state.working.is_empty()
    }

    /// Hands out nothing more, and drops what is added from now on.
    pub fn shut_down(&self) {
        self.0.state.lock().closed = true;
        self.0.event.notify(usize::MAX);
    }

    /// The next key, as a job that is done when it is dropped; `None` once the queue is shut down.
    ///
    /// Dropping the call loses nothing.
    pub async fn next(&self) -> Option<Job<K>> {
        loop {
            let listener = self.0.event.listen();
            let next_due = {
                let mut state = self.0.state.lock();
                if state.closed {
                    return None;
                }
                let woken = state.fall_due(self.0.clock.uptime());
                if let Some(key) = state.take() {
                    let more = !state.ready.is_empty();
                    drop(state);
                    if woken && more {
                        self.0.event.notify_additional(1);
                    }
                    return Some(Job { key: Some(key), queue: self.clone() });
                }
                state.due.keys().next().map(|(end, _)| *end)
            };
            match next_due {
                Some(end) => match select(listener, self.0.clock.sleep_until(end)).await {
                    Either::Left(_) | Either::Right(_) => {}
                },
                None => listener.await,
            }
        }
    }

    fn done(&self, key: K) {
        let mut state = self.0.state.lock();
        state.working.remove(&key);
        let added = if state.again.remove(&key) { state.add(key, self.0.clock.uptime()) } else { Added::Known };
        drop(state);
        self.wake(added);
    }
}

/// What became of a key that was added, and so who has to be woken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Added {
    Ready,
    Delayed,
    /// Nobody.
    Known,
}

impl<K: Ord + Clone> State<K> {
    fn add(&mut self, key: K, now: Duration) -> Added {
        if self.closed {
            return Added::Known;
        }
        if self.working.contains(&key) {
            self.again.insert(key);
            return Added::Known;
        }
        if let Some(end) = self.resting.get(&key).copied() {
            if end > now {
                return if self.delay(key, end) { Added::Delayed } else { Added::Known };
            }
            self.resting.remove(&key);
        }
        if !self.waiting.insert(key.clone()) {
            return Added::Known;
        }
        self.ready.push_back(key);
        Added::Ready
    }

    /// Whether the key falls due earlier than before.
    fn delay(&mut self, key: K, end: Duration) -> bool {
        if self.closed {
            return false;
        }
        if let Some(place) = self.delayed.get(&key).copied() {
            if place.0 <= end {
                return false;
            }
            self.due.remove(&place);
        }
        self.number += 1;
        let place = (end, self.number);
        self.due.insert(place, key.clone());
        self.delayed.insert(key, place);
        true
    }

    fn fall_due(&mut self, now: Duration) -> bool {
        let mut any = false;
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            self.delayed.remove(&key);
            any |= self.add(key, now) == Added::Ready;
        }
        any
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }
}

/// A key that is worked on. Dropping it lets the key be handed out again.
pub struct Job<K: Ord + Clone> {
    key: Option<K>,
    queue: Queue<K>,
}

impl<K: Ord + Clone> Job<K> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &K {
        self.key.as_ref().expect("a job has its key until it is dropped")
    }
}

impl<K: Ord + Clone> Drop for Job<K> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.queue.done(key);
        }
    }
}

impl<K: Ord + Clone + fmt::Debug> fmt::Debug for Job<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.key).finish()
    }
}

#[cfg(test)]
mod tests;

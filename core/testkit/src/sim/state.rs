//! What an executor and its handles share: tasks, timers, virtual time and the seed's choices. It polls nothing itself.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Weak},
    task::{Wake, Waker},
    time::Duration,
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// The task that stands for the future which the executor runs.
pub(super) const MAIN: TaskId = TaskId(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TaskId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessId(pub(super) u64);

/// A task that panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// The task's name.
    pub task: &'static str,
    /// What it said.
    pub message: String,
    /// When, as the clock's uptime.
    pub at: Duration,
}

pub(super) struct Slot {
    pub(super) name: &'static str,
    pub(super) future: Option<BoxFuture<'static, ()>>,
    pub(super) waker: Waker,
    process: ProcessId,
    queued: bool,
}

pub(super) struct State {
    pub(super) now: Duration,
    pub(super) steps: u64,
    pub(super) steps_at_this_instant: u64,
    pub(super) panics: Vec<Panic>,
    pub(super) running: bool,
    pub(super) processes: u64,
    closed: bool,
    tasks: BTreeMap<TaskId, Slot>,
    ready: Vec<TaskId>,
    timers: BTreeMap<(Duration, u64), Waker>,
    next: u64,
    order: ChaCha8Rng,
    entropy: ChaCha8Rng,
    trace: u64,
}

/// The state behind its lock. No future is polled or dropped, and no waker called, while the lock is held.
pub(super) struct Shared(pub(super) Mutex<State>);

impl Shared {
    pub(super) fn new(seed: u64, now: Duration) -> Arc<Self> {
        let order = ChaCha8Rng::seed_from_u64(seed);
        let mut entropy = order.clone();
        entropy.set_stream(1);
        Arc::new(Self(Mutex::new(State {
            now,
            steps: 0,
            steps_at_this_instant: 0,
            panics: Vec::new(),
            running: false,
            processes: 0,
            closed: false,
            tasks: BTreeMap::new(),
            ready: Vec::new(),
            timers: BTreeMap::new(),
            next: 1,
            order,
            entropy,
            trace: 0xcbf2_9ce4_8422_2325,
        })))
    }

    pub(super) fn waker(self: &Arc<Self>, task: TaskId) -> Waker {
        Arc::new(TaskWaker { task, shared: Arc::downgrade(self) }).into()
    }

    pub(super) fn start(
        self: &Arc<Self>,
        process: ProcessId,
        name: &'static str,
        future: Option<BoxFuture<'static, ()>>,
    ) {
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            return;
        }
        let task = if future.is_some() { TaskId(state.next()) } else { MAIN };
        let slot = Slot { name, future, waker: self.waker(task), process, queued: true };
        let before = state.tasks.insert(task, slot);
        state.ready.push(task);
        drop(state);
        drop(before);
    }

    /// Forgets the tasks for which `which` holds.
    pub(super) fn kill(&self, which: impl Fn(ProcessId) -> bool) {
        let mut state = self.0.lock();
        let (gone, kept) = mem::take(&mut state.tasks).into_iter().partition(|(_, slot)| which(slot.process));
        state.tasks = kept;
        let State { ready, tasks, .. } = &mut *state;
        ready.retain(|task| tasks.contains_key(task));
        drop(state);
        drop::<BTreeMap<_, _>>(gone);
    }

    /// Forgets everything, and whatever is started from now on.
    pub(super) fn close(&self) {
        self.0.lock().closed = true;
        self.kill(|_| true);
        let timers = mem::take(&mut self.0.lock().timers);
        drop(timers);
    }

    /// Moves time to the next timer and wakes what waits for it. False where nothing waits.
    pub(super) fn advance(&self) -> bool {
        let mut state = self.0.lock();
        let Some((&(end, _), _)) = state.timers.first_key_value() else { return false };
        if end > state.now {
            state.now = end;
            state.steps_at_this_instant = 0;
        }
        let later = state.timers.split_off(&(end, u64::MAX));
        let due = mem::replace(&mut state.timers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
        true
    }
}

impl State {
    pub(super) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        self.entropy.fill_bytes(buffer);
    }

    pub(super) fn set_timer(&mut self, end: Duration, number: u64, waker: Waker) -> Option<Waker> {
        self.timers.insert((end, number), waker)
    }

    pub(super) fn drop_timer(&mut self, end: Duration, number: u64) -> Option<Waker> {
        self.timers.remove(&(end, number))
    }

    /// Chooses a runnable task and takes its future; the main task has none.
    pub(super) fn choose(&mut self) -> Option<(TaskId, Waker, Option<BoxFuture<'static, ()>>)> {
        let count = u64::try_from(self.ready.len()).ok().filter(|count| *count > 0)?;
        let at = (u128::from(self.order.next_u64()) * u128::from(count)) >> 64;
        let task = self.ready.swap_remove(usize::try_from(at).expect("a draw is below the number of tasks"));
        self.steps += 1;
        self.steps_at_this_instant += 1;
        let slot = self.tasks.get_mut(&task).expect("runnable tasks exist");
        slot.queued = false;
        let chosen = (task, slot.waker.clone(), slot.future.take());
        let name = slot.name;
        self.mix(&task.0.to_le_bytes());
        self.mix(name.as_bytes());
        self.mix(&self.now.as_nanos().to_le_bytes());
        Some(chosen)
    }

    /// Puts a future back that is not done; gives it back where its task was killed meanwhile.
    pub(super) fn put_back(&mut self, task: TaskId, future: BoxFuture<'static, ()>) -> Option<BoxFuture<'static, ()>> {
        match self.tasks.get_mut(&task) {
            Some(slot) => slot.future.replace(future),
            None => Some(future),
        }
    }

    pub(super) fn remove(&mut self, task: TaskId) -> Option<Slot> {
        let slot = self.tasks.remove(&task)?;
        if slot.queued {
            self.ready.retain(|other| *other != task);
        }
        Some(slot)
    }

    /// The names of all tasks, for messages.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.tasks.values().map(|slot| slot.name).collect()
    }

    /// The names of the runnable tasks, for messages.
    pub(super) fn runnable(&self) -> Vec<&'static str> {
        self.ready.iter().filter_map(|task| self.tasks.get(task)).map(|slot| slot.name).collect()
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace
    }

    // FNV-1a.
    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(state) = self.0.try_lock() else { return f.write_str("Shared { <locked> }") };
        f.debug_struct("Shared")
            .field("now", &state.now)
            .field("steps", &state.steps)
            .field("tasks", &state.tasks.len())
            .finish_non_exhaustive()
    }
}

struct TaskWaker {
    task: TaskId,
    shared: Weak<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut state = shared.0.lock();
        let Some(slot) = state.tasks.get_mut(&self.task) else { return };
        if !slot.queued {
            slot.queued = true;
            state.ready.push(self.task);
        }
    }
}

//! Random histories: every store answers as a naive one does, also after it was reopened or crashed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, executor::block_on};
use proptest::prelude::*;
use windlass_kernel::{
    ErrorKind, Revision, Store,
    store::{Change, Condition, Entry, KeyRange, ListSpec, Op, ReadAt, Txn, TxnOutcome, WatchStream},
};
use windlass_store::{DiskOptions, DiskStore, HistoryLimits, MemoryStore};
use windlass_testkit::ManualClock;

use crate::{
    faulty::{Dice, FaultyFiles},
    rig::Pool,
};

const KEYS: [&str; 6] = ["/a", "/a/x", "/a/y", "/b", "/b/x", "/c"];
const RANGES: [(&str, Option<&str>); 5] =
    [("", None), ("/a", Some("/a0")), ("/a/", Some("/a0")), ("/a/x", Some("/a/x\0")), ("/a/y", Some("/b/x"))];

#[derive(Clone, Debug)]
enum Step {
    /// Conditions as (key, whether it must be absent, how far off a revision), operations as (key, value or deletion).
    Txn(Vec<(usize, bool, u64)>, BTreeMap<usize, Option<u8>>),
    Watch(usize, u64),
    Compact(u64),
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let condition = (0..KEYS.len(), any::<bool>(), 0..2_u64);
    let ops = prop::collection::btree_map(0..KEYS.len(), prop::option::weighted(0.7, any::<u8>()), 0..4);
    prop_oneof![
        12 => (prop::collection::vec(condition, 0..2), ops).prop_map(|(conditions, ops)| Step::Txn(conditions, ops)),
        3 => (0..RANGES.len(), 0..8_u64).prop_map(|(range, back)| Step::Watch(range, back)),
        1 => (0..8_u64).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// Value, creation and modification of each key.
type State = BTreeMap<String, (Vec<u8>, u64, u64)>;

/// Revision, key, value before and after.
type Changed = (u64, String, Option<Vec<u8>>, Option<Vec<u8>>);

/// Opens the store again, with what it left or with what a crash left.
type Reopen = Box<dyn Fn(bool) -> Arc<dyn Store>>;

/// All states and changes there ever were.
#[derive(Debug)]
struct Model {
    states: Vec<State>,
    changes: Vec<Changed>,
}

impl Model {
    fn latest(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn now(&self) -> &State {
        &self.states[self.states.len() - 1]
    }

    fn holds(&self, condition: &Condition) -> bool {
        let found = self.now().get(condition.key().as_str());
        match condition {
            Condition::Absent(_) => found.is_none(),
            Condition::Unchanged(_, revision) => found.is_some_and(|(_, _, modified)| *modified == revision.0),
        }
    }

    fn apply(&mut self, txn: &Txn) -> bool {
        if !txn.conditions.iter().all(|condition| self.holds(condition)) {
            return false;
        }
        let (mut state, revision, known) = (self.now().clone(), self.latest() + 1, self.changes.len());
        for op in &txn.ops {
            let (key, after) = match op {
                Op::Put { key, value, .. } => (key.as_str().to_owned(), Some(value.to_vec())),
                Op::Delete { key } => (key.as_str().to_owned(), None),
            };
            let before = state.get(&key).cloned();
            if before.is_none() && after.is_none() {
                continue;
            }
            match &after {
                Some(value) => {
                    let created = before.as_ref().map_or(revision, |(_, created, _)| *created);
                    state.insert(key.clone(), (value.clone(), created, revision));
                }
                None => drop(state.remove(&key)),
            }
            self.changes.push((revision, key, before.map(|(value, ..)| value), after));
        }
        if self.changes.len() > known {
            self.changes[known..].sort();
            self.states.push(state);
        }
        true
    }
}

struct Bench {
    store: Arc<dyn Store>,
    model: Model,
    /// Each with its range and the number of changes that it has passed.
    watches: Vec<(KeyRange, usize, WatchStream)>,
    reopen: Option<Reopen>,
}

fn range(index: usize) -> KeyRange {
    let (start, end) = RANGES[index];
    KeyRange { start: start.into(), end: end.map(Into::into) }
}

fn plain(entry: &Arc<Entry>) -> (String, (Vec<u8>, u64, u64)) {
    (entry.key.as_str().to_owned(), (entry.value.to_vec(), entry.created.0, entry.modified.0))
}

impl Bench {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Txn(conditions, ops) => self.txn(conditions, ops).await,
            Step::Watch(index, back) => {
                let after = self.model.latest().saturating_sub(back);
                match self.store.watch(range(index), Revision(after)).await {
                    Ok(watch) => {
                        let passed = self.model.changes.iter().take_while(|(revision, ..)| *revision <= after).count();
                        self.watches.push((range(index), passed, watch));
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Compacted),
                }
            }
            Step::Compact(back) => {
                self.store.compact(Revision(self.model.latest().saturating_sub(back))).await.unwrap();
            }
            Step::Reopen | Step::Crash => {
                let Some(reopen) = &self.reopen else { return };
                self.watches.clear();
                self.store = Arc::new(MemoryStore::new(Arc::new(ManualClock::default()), Arc::new(Pool::inline())));
                self.store = reopen(matches!(step, Step::Reopen));
            }
        }
        self.follow();
        self.read().await;
    }

    async fn txn(&mut self, conditions: Vec<(usize, bool, u64)>, ops: BTreeMap<usize, Option<u8>>) {
        let condition = |(key, absent, off): (usize, bool, u64)| {
            let modified = self.model.now().get(KEYS[key]).map_or(1, |(_, _, modified)| *modified);
            let key = KEYS[key].into();
            if absent { Condition::Absent(key) } else { Condition::Unchanged(key, Revision(modified + off)) }
        };
        let op = |(key, value): (usize, Option<u8>)| match value {
            Some(value) => Op::Put { key: KEYS[key].into(), value: vec![value; 50].into(), lease: None },
            None => Op::Delete { key: KEYS[key].into() },
        };
        let conditions = conditions.into_iter().map(condition).collect();
        // Backwards, so that the order of operations is not that of the keys.
        let ops = ops.into_iter().rev().map(op).collect();
        let txn = Txn { conditions, ops, ..Txn::default() };
        match self.store.txn(txn.clone()).await.unwrap() {
            TxnOutcome::Applied { revision, .. } => {
                assert!(self.model.apply(&txn));
                assert_eq!(revision.0, self.model.latest());
            }
            TxnOutcome::Refused(found) => {
                assert!(!self.model.apply(&txn));
                let expect = txn.conditions.iter().map(|condition| self.model.now().get(condition.key().as_str()));
                assert!(
                    found.iter().map(|entry| entry.as_ref().map(|entry| plain(entry).1)).eq(expect.map(|e| e.cloned()))
                );
            }
        }
    }

    fn follow(&mut self) {
        let model = &self.model;
        self.watches.retain_mut(|(range, passed, watch)| {
            while let Some(next) = watch.next().now_or_never() {
                let change: Arc<Change> = match next.expect("the store is open") {
                    Ok(change) => change,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Compacted);
                        return false;
                    }
                };
                let skip = model.changes[*passed..].iter().position(|(_, key, ..)| range.contains(key)).unwrap();
                *passed += skip + 1;
                let side = |entry: &Option<Arc<Entry>>| entry.as_ref().map(|entry| entry.value.to_vec());
                let seen =
                    (change.revision.0, change.key().as_str().to_owned(), side(&change.before), side(&change.after));
                assert_eq!(seen, model.changes[*passed - 1]);
            }
            assert!(
                !model.changes[*passed..].iter().any(|(_, key, ..)| range.contains(key)),
                "a watch missed a change"
            );
            assert_eq!(watch.progress().0, model.latest());
            true
        });
    }

    async fn read(&self) {
        assert_eq!(self.store.latest().await.unwrap().0, self.model.latest());
        for back in 0..6 {
            let Some(revision) = self.model.latest().checked_sub(back) else { break };
            let at = if back == 0 { ReadAt::Latest } else { ReadAt::Exactly(Revision(revision)) };
            let state = &self.model.states[usize::try_from(revision).unwrap()];
            for index in 0..RANGES.len() {
                let spec = ListSpec { range: range(index), at, limit: Some(2) };
                let listing = match self.store.list(&spec).await {
                    Ok(listing) => listing,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Compacted);
                        return;
                    }
                };
                let expect: Vec<_> = state.iter().filter(|(key, _)| range(index).contains(key)).collect();
                assert_eq!(listing.entries.len() + listing.remaining, expect.len());
                let found: Vec<_> = listing.entries.iter().map(plain).collect();
                assert!(found.iter().map(|(key, value)| (key, value)).eq(expect.into_iter().take(2)), "{found:?}");
                assert_eq!(listing.revision.0, revision);
            }
            let read = self.store.get(&"/a/x".into(), at).await.unwrap();
            assert_eq!(read.as_ref().map(|entry| plain(entry).1).as_ref(), state.get("/a/x"));
        }
    }
}

const LIMITS: HistoryLimits = HistoryLimits { changes: 15, bytes: 1 << 20, age: Duration::from_secs(300) };

fn run(store: Arc<dyn Store>, reopen: Option<Reopen>, steps: Vec<Step>) {
    let model = Model { states: vec![State::new()], changes: vec![] };
    let mut bench = Bench { store, model, watches: vec![], reopen };
    block_on(async {
        for step in steps {
            bench.step(step).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_store_answers_as_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let pool = Arc::new(Pool::inline());
        run(Arc::new(MemoryStore::with_limits(Arc::new(ManualClock::default()), pool, LIMITS)), None, steps);
    }

    #[test]
    fn the_disk_store_answers_as_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let options = DiskOptions { segment_bytes: 600, snapshot_bytes: 1500, history: LIMITS };
        let (files, pool) = (FaultyFiles::default(), Pool::inline());
        let open = move |files: &FaultyFiles, pool: &Pool| {
            let pool = Arc::new(pool.clone());
            let opened = DiskStore::open_on(Arc::new(files.clone()), Arc::new(ManualClock::default()), pool, options);
            opened.now_or_never().expect("blocking work runs at once").unwrap()
        };
        // Nothing here is relaxed, so what a crash leaves is all there was.
        let first: Arc<dyn Store> = Arc::new(open(&files, &pool));
        let shared = parking_lot::Mutex::new(files);
        let reopen = move |kept: bool| -> Arc<dyn Store> {
            let mut files = shared.lock();
            if !kept {
                *files = files.after_crash(&mut Dice(3));
            }
            Arc::new(open(&files, &pool))
        };
        run(first, Some(Box::new(reopen)), steps);
    }
}

//! The power goes at every write and sync of a history; what is found afterwards must be a true past.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use windlass_kernel::{
    ErrorKind, Revision, Store,
    store::{Durability, KeyRange, LeaseId, ListSpec, Op, ReadAt, Txn, TxnOutcome},
};
use windlass_store::{DiskOptions, DiskStore};
use windlass_testkit::ManualClock;

use crate::{
    faulty::{Dice, FaultyFiles},
    rig::{Pool, drive},
};

/// Segments and snapshots so small that a short history has several of each.
const SMALL: DiskOptions = DiskOptions {
    segment_bytes: 700,
    snapshot_bytes: 500,
    history: windlass_store::HistoryLimits { changes: 12, bytes: 100_000, age: Duration::from_secs(300) },
};

/// Each key with its value and the revision that wrote it.
type State = BTreeMap<String, (String, u64)>;

/// What the history did, as far as it came.
#[derive(Debug)]
struct Past {
    /// The state after each revision that was tried for, from the empty one on.
    states: Vec<(u64, State)>,
    /// The index of the latest state that was acknowledged as durable.
    durable: usize,
    /// The greatest revision that anybody was told.
    given: u64,
}

pub(crate) fn open(files: &FaultyFiles, pool: &Pool, options: DiskOptions) -> windlass_kernel::Result<DiskStore> {
    let (files, clock) = (Arc::new(files.clone()), Arc::new(ManualClock::default()));
    drive(pool, DiskStore::open_on(files, clock, Arc::new(pool.clone()), options))
}

/// Goes on with a history in groups of concurrent transactions, until it is long enough or the store fails.
fn live(store: &DiskStore, pool: &Pool, dice: &mut Dice, past: &mut Past, groups: usize) {
    let (mut revision, mut state) = past.states.last().unwrap().clone();
    for _ in 0..groups {
        let mut group = vec![];
        for _ in 0..=dice.roll(3) {
            revision += 1;
            let (txn, durability) = transaction(dice, &mut state, revision);
            past.states.push((revision, state.clone()));
            group.push(store.txn(txn).map(move |outcome| (revision, durability, outcome)));
        }
        for (expected, durability, outcome) in drive(pool, join_all(group)) {
            let Ok(outcome) = outcome else { return };
            let TxnOutcome::Applied { revision, .. } = outcome else { panic!("nothing is refused here") };
            assert_eq!(revision.0, expected);
            past.given = past.given.max(expected);
            if durability == Durability::Durable {
                past.durable = past.states.iter().position(|(revision, _)| *revision == expected).unwrap();
            }
        }
    }
}

fn transaction(dice: &mut Dice, state: &mut State, revision: u64) -> (Txn, Durability) {
    let mut ops = vec![];
    for name in ["/a", "/b", "/c", "/d"] {
        let key = name.into();
        match dice.roll(6) {
            0 | 1 => {
                let value = format!("{revision} {}", "x".repeat(usize::try_from(dice.roll(120)).unwrap()));
                state.insert(name.to_owned(), (value.clone(), revision));
                ops.push(Op::Put { key, value: value.into(), lease: None });
            }
            2 => {
                state.remove(name);
                ops.push(Op::Delete { key });
            }
            _ => {}
        }
    }
    // So that every transaction changes something.
    let value = revision.to_string();
    state.insert("/n".to_owned(), (value.clone(), revision));
    ops.push(Op::Put { key: "/n".into(), value: value.into(), lease: None });
    let durability = if dice.roll(3) == 0 { Durability::Relaxed } else { Durability::Durable };
    (Txn { conditions: vec![], ops, durability }, durability)
}

fn state_at(store: &DiskStore, at: ReadAt) -> windlass_kernel::Result<State> {
    let spec = ListSpec { range: KeyRange::prefix(""), at, limit: None };
    let listing = store.list(&spec).now_or_never().unwrap()?;
    let read = |entry: &Arc<windlass_kernel::store::Entry>| {
        let value = String::from_utf8(entry.value.to_vec()).unwrap();
        (entry.key.as_str().to_owned(), (value, entry.modified.0))
    };
    Ok(listing.entries.iter().map(read).collect())
}

fn latest(store: &DiskStore) -> u64 {
    store.latest().now_or_never().unwrap().unwrap().0
}

fn check(store: &DiskStore, past: &mut Past) {
    let found = state_at(store, ReadAt::Latest).unwrap();
    let (mut revision, mut index) = (0, None);
    for (at, (tried, state)) in past.states.iter().enumerate().skip(past.durable) {
        if *state == found {
            (revision, index) = (*tried, Some(at));
        }
    }
    let Some(index) = index else { panic!("the state {found:?} is none after {:?}", past.states[past.durable]) };
    assert!(latest(store) >= past.given, "revision {} was given, and now the latest is {}", past.given, latest(store));
    assert!(latest(store) >= revision);
    for (revision, state) in &past.states[..=index] {
        match state_at(store, ReadAt::Exactly(Revision(*revision))) {
            Ok(found) => assert_eq!(&found, state, "the state at {revision}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Compacted),
        }
    }
    // From here on there is one past: what was found.
    past.states.truncate(index + 1);
    past.states.push((latest(store), found));
    past.durable = index + 1;
}

fn crash_everywhere(seed: u64) {
    let pool = Pool::later();
    let fresh = || Past { states: vec![(0, State::new())], durable: 0, given: 0 };
    let dry = FaultyFiles::default();
    let store = open(&dry, &pool, SMALL).unwrap();
    live(&store, &pool, &mut Dice(seed), &mut fresh(), 25);
    assert!(store.stats().snapshots > 2, "the history is long enough for snapshots");
    drop(store);
    for cut in 0..=dry.operations() {
        let (files, mut past) = (FaultyFiles::default(), fresh());
        let store = open(&files, &pool, SMALL).unwrap();
        files.cut_after(cut);
        live(&store, &pool, &mut Dice(seed), &mut past, 25);
        drop(store);
        let mut dice = Dice(seed + cut);
        let mut files = files.after_crash(&mut dice);
        // The second crash comes while recovering or soon after, the third when all is quiet.
        for again in [Some(dice.roll(6)), None] {
            if let Some(again) = again {
                files.cut_after(again);
            }
            if let Ok(store) = open(&files, &pool, SMALL) {
                check(&store, &mut past);
                live(&store, &pool, &mut dice, &mut past, 4);
            } else {
                assert!(again.is_some(), "a disk that works again can be opened");
            }
            files = files.after_crash(&mut dice);
        }
        let store = open(&files, &pool, SMALL).unwrap();
        check(&store, &mut past);
    }
}

#[test]
fn every_cut_leaves_a_true_past() {
    (0..2).for_each(crash_everywhere);
}

#[test]
fn a_failing_sync_is_told_as_unknown_and_loses_nothing_acknowledged() {
    let pool = Pool::later();
    for at in 1..60 {
        let (files, mut past) =
            (FaultyFiles::default(), Past { states: vec![(0, State::new())], durable: 0, given: 0 });
        let store = open(&files, &pool, SMALL).unwrap();
        files.fail_after(at);
        live(&store, &pool, &mut Dice(at), &mut past, 25);
        // It reads on, whatever happened below.
        let shown = state_at(&store, ReadAt::Latest).unwrap();
        assert!(past.states.iter().any(|(_, state)| *state == shown));
        drop(store);
        let store = open(&files, &pool, SMALL).unwrap();
        check(&store, &mut past);
    }
}

#[test]
fn a_lease_and_its_keys_survive_together_or_vanish_together() {
    let pool = Pool::later();
    let mut alive = 0;
    for cut in 0..40 {
        let files = FaultyFiles::default();
        let store = open(&files, &pool, SMALL).unwrap();
        files.cut_after(cut);
        let ttl = Duration::from_secs(10);
        let run = async {
            let lease = store.grant(ttl).await?;
            let put = |name: &str| Op::Put { key: name.into(), value: "1".into(), lease: Some(lease) };
            store.txn(Txn { ops: vec![put("/a"), put("/b")], ..Txn::default() }).await?;
            store.revoke(lease).await?;
            windlass_kernel::Result::Ok(lease)
        };
        let ended: windlass_kernel::Result<LeaseId> = drive(&pool, run);
        drop(store);
        let files = files.after_crash(&mut Dice(cut));
        let store = open(&files, &pool, SMALL).unwrap();
        let found = state_at(&store, ReadAt::Latest).unwrap();
        assert!(found.is_empty() || found.len() == 2, "{found:?}");
        match ended {
            Ok(lease) => {
                assert!(found.is_empty());
                let gone = store.renew(lease).now_or_never().unwrap().expect_err("it was revoked");
                assert_eq!(gone.kind(), ErrorKind::NotFound);
            }
            Err(_) if !found.is_empty() => {
                alive += 1;
                store.renew(LeaseId(1)).now_or_never().unwrap().expect("the lease of the keys is there");
            }
            Err(_) => {}
        }
        let next = drive(&pool, store.grant(ttl)).unwrap();
        assert!(ended.is_err() || next > LeaseId(1));
    }
    assert!(alive > 0);
}

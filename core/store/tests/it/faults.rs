//! A disk that is full, damaged, foreign or taken; and one that is left alone.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, executor::block_on};
use windlass_kernel::{
    Certainty, Clock, Error, ErrorKind, Revision, Store,
    store::{Durability, Key, Op, ReadAt, Txn, TxnOutcome},
};
use windlass_store::{DiskOptions, DiskStore, Files};
use windlass_testkit::ManualClock;

use crate::{
    crash::open,
    faulty::{Dice, FaultyFiles},
    rig::{Pool, drive},
};

fn put(store: &dyn Store, name: &str, size: usize, durability: Durability) -> Result<Revision, Error> {
    let op = Op::Put { key: name.into(), value: vec![b'v'; size].into(), lease: None };
    match block_on(store.txn(Txn { ops: vec![op], durability, ..Txn::default() }))? {
        TxnOutcome::Applied { revision, .. } => Ok(revision),
        TxnOutcome::Refused(_) => panic!("nothing is refused here"),
    }
}

fn durable(store: &dyn Store, name: &str) -> Result<Revision, Error> {
    put(store, name, 1000, Durability::Durable)
}

fn has(store: &dyn Store, name: &str) -> bool {
    let key: Key = name.into();
    store.get(&key, ReadAt::Latest).now_or_never().unwrap().unwrap().is_some()
}

fn refusal(files: &FaultyFiles) -> Error {
    open(files, &Pool::inline(), DiskOptions::default()).expect_err("it does not open")
}

#[test]
fn a_full_disk_refuses_writes_and_heals() {
    let (files, clock, pool) = (FaultyFiles::default(), ManualClock::default(), Pool::inline());
    let opened = || {
        let (clock, pool): (Arc<dyn Clock>, _) = (Arc::new(clock.clone()), Arc::new(pool.clone()));
        let options = DiskOptions { segment_bytes: 100_000, ..DiskOptions::default() };
        block_on(DiskStore::open_on(Arc::new(files.clone()), clock, pool, options)).unwrap()
    };
    let store = opened();
    durable(&store, "/before").unwrap();
    files.leave_room(Some(10_000));
    let mut written = 0;
    let error = loop {
        match durable(&store, &format!("/{written}")) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Full, Certainty::NotApplied));
    assert!(written > 10, "what was filled with zeros before can be used up");
    assert!(has(&store, "/before") && has(&store, "/0"));
    assert!(!has(&store, &format!("/{written}")), "what failed is not seen");

    let operations = files.operations();
    assert_eq!(put(&store, "/r", 1, Durability::Relaxed).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(durable(&store, "/again").unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(files.operations(), operations, "a full disk is not tried at once again");
    clock.advance(Duration::from_secs(2));
    assert_eq!(put(&store, "/r", 1000, Durability::Relaxed).unwrap_err().kind(), ErrorKind::Full);
    clock.advance(Duration::from_secs(2));
    assert_eq!(durable(&store, "/probe").unwrap_err().kind(), ErrorKind::Full);
    assert!(files.operations() > operations, "after a while it is");

    files.leave_room(None);
    let latest = store.latest().now_or_never().unwrap().unwrap();
    clock.advance(Duration::from_secs(2));
    let healed = durable(&store, "/healed").unwrap();
    assert_eq!(healed.0, latest.0 + 1, "what was refused took no revision");
    drop(store);
    let store = opened();
    assert!(has(&store, "/before") && has(&store, "/healed") && !has(&store, "/probe"));
    assert_eq!(store.stats().entries, written + 2);
}

#[test]
fn leases_of_a_full_disk_end_when_it_heals() {
    let (files, clock) = (FaultyFiles::default(), ManualClock::default());
    let (hand, pool): (Arc<dyn Clock>, _) = (Arc::new(clock.clone()), Arc::new(Pool::new()));
    let options = DiskOptions { segment_bytes: 1, ..DiskOptions::default() };
    block_on(async {
        let store = DiskStore::open_on(Arc::new(files.clone()), hand, pool, options).await.unwrap();
        let lease = store.grant(Duration::from_secs(5)).await.unwrap();
        let op = Op::Put { key: "/a".into(), value: "1".into(), lease: Some(lease) };
        store.txn(Txn { ops: vec![op], ..Txn::default() }).await.unwrap();
        let range = windlass_kernel::store::KeyRange::prefix("/");
        let mut changes = store.watch(range, store.latest().await.unwrap()).await.unwrap();
        files.leave_room(Some(0));
        clock.advance(Duration::from_secs(6));
        assert!(futures::StreamExt::next(&mut changes).now_or_never().is_none());
        files.leave_room(None);
        // Time goes on until the lease is tried again.
        let gone = loop {
            clock.advance(Duration::from_secs(2));
            match futures::StreamExt::next(&mut changes).now_or_never() {
                Some(change) => break change.unwrap().unwrap(),
                None => std::thread::yield_now(),
            }
        };
        assert!(gone.after.is_none());
    });
}

/// A disk with three frames of about a kilobyte, each of its own sync, left by a crash.
fn three_frames(options: DiskOptions) -> FaultyFiles {
    let files = FaultyFiles::default();
    let store = open(&files, &Pool::inline(), options).unwrap();
    for name in ["/a", "/b", "/c"] {
        durable(&store, name).unwrap();
    }
    drop(store);
    files.after_crash(&mut Dice(0))
}

const FIRST: &str = "log-00000000000000000001";

#[test]
fn a_torn_tail_is_cut_off() {
    let files = three_frames(DiskOptions::default());
    files.damage(FIRST, |bytes| bytes[32 + 2 * 1100..].fill(7));
    let store = open(&files, &Pool::inline(), DiskOptions::default()).unwrap();
    assert!(has(&store, "/a") && has(&store, "/b") && !has(&store, "/c"));
    durable(&store, "/d").unwrap();
    drop(store);
    let store = open(&files, &Pool::inline(), DiskOptions::default()).unwrap();
    assert!(has(&store, "/b") && has(&store, "/d"));
}

#[test]
fn a_damaged_middle_is_refused_with_its_place_and_a_cure() {
    for at in [40, 500, 1100, 1500] {
        let files = three_frames(DiskOptions::default());
        files.damage(FIRST, |bytes| bytes[at] ^= 1);
        let error = refusal(&files);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        for part in [FIRST, "offset", "backup"] {
            assert!(error.message().contains(part), "{error} names {part}");
        }
    }
}

#[test]
fn a_damaged_or_missing_segment_is_refused() {
    let options = DiskOptions { segment_bytes: 1, ..DiskOptions::default() };
    let second = "log-00000000000000000002";
    let files = three_frames(options);
    files.damage(second, |bytes| bytes[100] ^= 1);
    let error = refusal(&files);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains(second), "{error}");

    let files = three_frames(options);
    files.damage(second, |bytes| bytes[17] ^= 1);
    assert_eq!(refusal(&files).kind(), ErrorKind::Corrupt);

    let files = three_frames(options);
    files.remove(second).unwrap();
    assert_eq!(refusal(&files).kind(), ErrorKind::Corrupt);
}

#[test]
fn a_damaged_snapshot_is_refused_when_nothing_older_is_left() {
    let options = DiskOptions { snapshot_bytes: 1, ..DiskOptions::default() };
    let files = three_frames(options);
    let name = files.list().unwrap().into_iter().find(|name| name.starts_with("snapshot-")).unwrap();
    files.damage(&name, |bytes| bytes[60] ^= 1);
    let error = refusal(&files);
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn another_format_version_is_refused() {
    let files = three_frames(DiskOptions::default());
    files.damage(FIRST, |bytes| bytes[8] = 9);
    let error = refusal(&files);
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    assert!(error.message().contains("version 9"), "{error}");
}

#[test]
fn a_closed_store_goes_on_as_if_nothing_had_happened() {
    let (files, pool) = (FaultyFiles::default(), Pool::later());
    let put = |store: &DiskStore, durability| {
        let op = Op::Put { key: "/a".into(), value: "1".into(), lease: None };
        drive(&pool, store.txn(Txn { ops: vec![op], durability, ..Txn::default() })).unwrap();
    };
    let store = open(&files, &pool, DiskOptions::default()).unwrap();
    put(&store, Durability::Relaxed);
    put(&store, Durability::Relaxed);
    put(&store, Durability::Relaxed);
    drive(&pool, store.close()).unwrap();
    let refused = durable(&store, "/b").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    // The first one is still there, but has given the directory free.
    let again = open(&files, &pool, DiskOptions::default()).unwrap();
    assert_eq!(again.stats().revision, Revision(3), "no revision is skipped after a clean end");
    drop(again);
    drop(store);
}

#[test]
fn a_store_that_is_only_read_writes_nothing() {
    let (files, pool) = (FaultyFiles::default(), Pool::inline());
    let store = open(&files, &pool, DiskOptions::default()).unwrap();
    assert_eq!(files.operations(), 0, "opening an empty directory writes nothing");
    durable(&store, "/a").unwrap();
    put(&store, "/r", 10, Durability::Relaxed).unwrap();
    let (operations, stats) = (files.operations(), store.stats());
    put(&store, "/r", 10, Durability::Relaxed).unwrap();
    assert!(has(&store, "/a") && has(&store, "/r"));
    assert_eq!(files.operations(), operations, "a relaxed write is only in memory");
    assert_eq!(store.stats().bytes_written, stats.bytes_written);
}

#[test]
fn snapshots_keep_the_log_in_proportion_to_the_state() {
    let (files, pool) = (FaultyFiles::default(), Pool::inline());
    let options = DiskOptions { segment_bytes: 20_000, snapshot_bytes: 10_000, ..DiskOptions::default() };
    let store = open(&files, &pool, options).unwrap();
    for round in 0..500 {
        durable(&store, &format!("/{}", round % 5)).unwrap();
    }
    let stats = store.stats();
    assert!(stats.log_bytes < 12_000, "{stats:?}");
    assert!((40..60).contains(&stats.snapshots), "{stats:?}");
    assert!(files.list().unwrap().len() < 5, "{:?}", files.list());
}

#[test]
fn a_real_directory_has_one_owner() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("owner-{}", std::process::id()));
    let open = || {
        let (clock, pool) = (Arc::new(ManualClock::default()), Arc::new(Pool::inline()));
        block_on(DiskStore::open(path.clone(), clock, pool))
    };
    let store = open().unwrap();
    durable(&store, "/a").unwrap();
    let error = open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains(&format!("process {}", std::process::id())), "{error}");
    block_on(store.close()).unwrap();
    assert!(has(&open().unwrap(), "/a"));
    std::fs::remove_dir_all(path).unwrap();
}

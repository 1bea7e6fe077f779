//! Every store, and every fork of one, runs the suite: on threads, and in virtual time.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, executor::block_on, future::BoxFuture};
use windlass_conformance::{
    Need, NotRun,
    store::{self as suite, Advance, Fixture},
};
use windlass_kernel::{Clock, ClockExt, Spawn, Store};
use windlass_store::{DiskOptions, DiskStore, MemoryStore};
use windlass_testkit::{ManualClock, sim::Executor};

use crate::{
    faulty::{Dice, FaultyFiles},
    rig::Pool,
};

/// What a store runs on.
#[derive(Clone)]
struct World {
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    advance: Advance,
}

impl World {
    fn threads(spawn: Pool) -> Self {
        let clock = ManualClock::default();
        let hand = clock.clone();
        let advance = move |span| -> BoxFuture<'static, ()> {
            hand.advance(span);
            Box::pin(async {})
        };
        Self { clock: Arc::new(clock), spawn: Arc::new(spawn), advance: Arc::new(advance) }
    }

    fn virtual_time(executor: &Executor) -> Self {
        let clock = executor.clock();
        let advance: Advance = Arc::new(move |span: Duration| clock.sleep(span));
        Self { clock: executor.clock(), spawn: executor.spawn(), advance }
    }

    fn memory(self) -> Fixture {
        let store = Arc::new(MemoryStore::new(self.clock, self.spawn));
        Fixture { store, advance: self.advance, restart: None }
    }

    /// A store on a disk in memory that loses what is not durable when it is restarted.
    fn disk(self, files: FaultyFiles, options: DiskOptions) -> BoxFuture<'static, Fixture> {
        async move {
            let (clock, spawn) = (Arc::clone(&self.clock), Arc::clone(&self.spawn));
            let opened = DiskStore::open_on(Arc::new(files.clone()), clock, spawn, options);
            let store: Arc<dyn Store> = Arc::new(opened.await.unwrap());
            let advance = Arc::clone(&self.advance);
            let restart = move |store| {
                drop(store);
                self.disk(files.after_crash(&mut Dice(1)), options)
            };
            Fixture { store, advance, restart: Some(Box::new(restart)) }
        }
        .boxed()
    }
}

/// Segments and snapshots so small that every check has several.
const SMALL: fn() -> DiskOptions = || DiskOptions { segment_bytes: 600, snapshot_bytes: 300, ..DiskOptions::default() };

async fn forked(origin: Fixture) -> Fixture {
    let store = origin.store.snapshots().unwrap().fork().await.unwrap();
    Fixture { store, advance: origin.advance, restart: None }
}

/// Lists what a store could not show, past the runner, which keeps to itself what a passed test prints.
fn list(store: &str, not_run: &[NotRun]) {
    let mut out = io::stderr().lock();
    for one in not_run {
        // A list that nobody takes is no reason to fail.
        let _ = writeln!(out, "[{store}] {one}");
    }
}

/// Runs the suite on a store that cannot be restarted: just what needs that is not run.
fn without_restarts<F: Future<Output = Fixture>>(store: &str, fresh: impl Fn() -> F) {
    let not_run = block_on(suite::run(fresh));
    list(store, &not_run);
    let needing = suite::checks().into_iter().filter(|check| check.need == Some(Need::Restart)).map(|check| check.name);
    assert_eq!(not_run.iter().map(|one| one.check).collect::<Vec<_>>(), needing.collect::<Vec<_>>());
}

/// Runs the suite on a store that can do everything.
fn whole<F: Future<Output = Fixture>>(fresh: impl Fn() -> F) {
    assert_eq!(block_on(suite::run(fresh)), []);
}

#[test]
fn the_memory_store_keeps_the_contract() {
    without_restarts("memory store", || async { World::threads(Pool::new()).memory() });
}

#[test]
fn a_fork_of_the_memory_store_keeps_the_contract() {
    without_restarts("fork of the memory store", || forked(World::threads(Pool::new()).memory()));
}

#[test]
fn the_disk_store_keeps_the_contract() {
    for spawn in [Pool::new(), Pool::inline()] {
        whole(|| World::threads(spawn.clone()).disk(FaultyFiles::default(), DiskOptions::default()));
    }
}

#[test]
fn the_disk_store_keeps_the_contract_while_it_takes_snapshots() {
    whole(|| World::threads(Pool::new()).disk(FaultyFiles::default(), SMALL()));
}

#[test]
fn a_fork_of_the_disk_store_keeps_the_contract() {
    without_restarts("fork of the disk store", || async {
        forked(World::threads(Pool::new()).disk(FaultyFiles::default(), DiskOptions::default()).await).await
    });
}

#[test]
fn both_stores_keep_the_contract_in_virtual_time_and_do_the_same_for_the_same_seed() {
    let run = |seed| {
        let executor = Executor::new(seed);
        executor.run_until(async {
            // What is not run here is listed by the test of the memory store.
            drop(suite::run(|| async { World::virtual_time(&executor).memory() }).await);
            let not_run = suite::run(|| World::virtual_time(&executor).disk(FaultyFiles::default(), SMALL())).await;
            assert_eq!(not_run, []);
        });
        executor.trace_hash()
    };
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

//! Every store, and every fork of one, runs the suite.

use std::sync::Arc;

use futures::{FutureExt, executor::block_on, future::BoxFuture};
use windlass_conformance::store::{self as suite, Advance, Fixture};
use windlass_kernel::Store;
use windlass_store::{DiskOptions, DiskStore, MemoryStore};

use crate::{
    faulty::{Dice, FaultyFiles},
    rig::{HandClock, Pool},
};

fn advance(clock: HandClock) -> Advance {
    Arc::new(move |span| {
        clock.advance(span);
        Box::pin(async {})
    })
}

fn memory(clock: &HandClock) -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(clock.clone()), Arc::new(Pool::new())))
}

fn fixture(store: Arc<dyn Store>, clock: HandClock) -> Fixture {
    Fixture { store, advance: advance(clock), restart: None }
}

/// A store on a disk in memory that loses what is not durable when it is restarted.
fn disk(files: FaultyFiles, clock: HandClock, spawn: Pool, options: DiskOptions) -> BoxFuture<'static, Fixture> {
    async move {
        let opened =
            DiskStore::open_on(Arc::new(files.clone()), Arc::new(clock.clone()), Arc::new(spawn.clone()), options);
        let store: Arc<dyn Store> = Arc::new(opened.await.unwrap());
        let advance = advance(clock.clone());
        let restart = move |store| {
            drop(store);
            disk(files.after_crash(&mut Dice(1)), clock, spawn, options)
        };
        Fixture { store, advance, restart: Some(Box::new(restart)) }
    }
    .boxed()
}

#[test]
fn the_disk_store_keeps_the_contract() {
    for spawn in [Pool::new(), Pool::inline()] {
        block_on(suite::run(|| {
            disk(FaultyFiles::default(), HandClock::default(), spawn.clone(), DiskOptions::default())
        }));
    }
}

#[test]
fn the_disk_store_keeps_the_contract_while_it_takes_snapshots() {
    let options = DiskOptions { segment_bytes: 600, snapshot_bytes: 300, ..DiskOptions::default() };
    block_on(suite::run(|| disk(FaultyFiles::default(), HandClock::default(), Pool::new(), options)));
}

#[test]
fn a_fork_of_the_disk_store_keeps_the_contract() {
    block_on(suite::run(|| async {
        let clock = HandClock::default();
        let origin = disk(FaultyFiles::default(), clock.clone(), Pool::new(), DiskOptions::default()).await;
        fixture(origin.store.snapshots().unwrap().fork().await.unwrap(), clock)
    }));
}

#[test]
fn the_memory_store_keeps_the_contract() {
    block_on(suite::run(|| async {
        let clock = HandClock::default();
        fixture(memory(&clock), clock)
    }));
}

#[test]
fn a_fork_of_the_memory_store_keeps_the_contract() {
    block_on(suite::run(|| async {
        let clock = HandClock::default();
        let fork = memory(&clock).snapshots().unwrap().fork().await.unwrap();
        fixture(fork, clock)
    }));
}

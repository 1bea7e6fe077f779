//! Every store, and every fork of one, runs the suite.

use std::sync::Arc;

use futures::executor::block_on;
use windlass_conformance::store::{self as suite, Fixture};
use windlass_kernel::Store;
use windlass_store::MemoryStore;

use crate::rig::{HandClock, Pool};

pub(crate) fn fixture(store: Arc<dyn Store>, clock: HandClock) -> Fixture {
    let advance = move |span| {
        clock.advance(span);
        Box::pin(async {}) as futures::future::BoxFuture<'static, ()>
    };
    Fixture { store, advance: Arc::new(advance), restart: None }
}

fn memory(clock: &HandClock) -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(Arc::new(clock.clone()), Arc::new(Pool::new())))
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

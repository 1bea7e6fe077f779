//! The contract of [`Snapshots`](windlass_kernel::store::Snapshots); stores without them pass by having none.

use std::{sync::Arc, time::Duration};

use windlass_kernel::{Store, store::ReadAt};

use super::{Check, Fixture, Need, apply, leased, list, next, put, take, watch};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "a_fork_is_independent", need: Some(Need::Snapshots), run: |f| Box::pin(a_fork_is_independent(f)) },
    Check { name: "a_fork_has_the_history", need: Some(Need::Snapshots), run: |f| Box::pin(a_fork_has_the_history(f)) },
    Check {
        name: "leases_end_in_a_fork_too",
        need: Some(Need::Snapshots),
        run: |f| Box::pin(leases_end_in_a_fork_too(f)),
    },
    Check {
        name: "many_forks_share_what_they_hold",
        need: Some(Need::Snapshots),
        run: |f| Box::pin(many_forks_share_what_they_hold(f)),
    },
];

async fn fork(store: &Arc<dyn Store>) -> Option<Arc<dyn Store>> {
    Some(store.snapshots()?.fork().await.expect("the store can be forked"))
}

/// Contract 1: writes to a fork and to its origin are not seen by the other, nor by its watches.
async fn a_fork_is_independent(Fixture { store, .. }: Fixture) {
    let start = apply(&store, [put("/a", "1")]).await;
    let mut ours = watch(&store, "/", start).await;
    let Some(fork) = fork(&store).await else { return };
    let mut theirs = watch(&fork, "/", start).await;
    let there = apply(&fork, [put("/a", "fork")]).await;
    let here = apply(&store, [put("/b", "origin")]).await;
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=1 /b=origin");
    assert_eq!(list(&fork, "/", ReadAt::Latest).await, "/a=fork");
    assert_eq!(take(&mut ours, 1).await, format!("{here}:/b:>origin"));
    assert_eq!(take(&mut theirs, 1).await, format!("{there}:/a:1>fork"));
    drop(store);
    assert_eq!(list(&fork, "/", ReadAt::Latest).await, "/a=fork", "a fork outlives its origin");
}

/// Contract 1: a fork begins with the latest state and history, as if it had always been there.
async fn a_fork_has_the_history(Fixture { store, .. }: Fixture) {
    let first = apply(&store, [put("/a", "1")]).await;
    let second = apply(&store, [put("/a", "2")]).await;
    let Some(fork) = fork(&store).await else { return };
    assert_eq!(fork.latest().await.unwrap(), second);
    assert_eq!(list(&fork, "/", ReadAt::Exactly(first)).await, "/a=1");
    assert_eq!(take(&mut watch(&fork, "/", first).await, 1).await, format!("{second}:/a:1>2"));
    assert!(apply(&fork, [put("/a", "3")]).await > second);
}

/// Contract 1: a lease lives on in both, and what happens to it in one does not touch the other.
async fn leases_end_in_a_fork_too(Fixture { store, advance, .. }: Fixture) {
    let ttl = Duration::from_secs(10);
    let lease = store.grant(ttl).await.unwrap();
    let start = apply(&store, [leased("/a", lease)]).await;
    let Some(fork) = fork(&store).await else { return };
    store.revoke(lease).await.unwrap();
    assert_eq!(list(&fork, "/", ReadAt::Latest).await, "/a=leased");
    let mut changes = watch(&fork, "/", start).await;
    advance(ttl + Duration::from_millis(1)).await;
    assert!(next(&mut changes).await.after.is_none());
}

/// Contract 2: a fork copies no entry: both hold the very same one.
async fn many_forks_share_what_they_hold(Fixture { store, .. }: Fixture) {
    for name in 0..100 {
        apply(&store, [put(&format!("/{name}"), &"x".repeat(1000))]).await;
    }
    let mut forks = vec![];
    for _ in 0..1000 {
        let Some(fork) = fork(&store).await else { return };
        forks.push(fork);
    }
    let ours = super::get(&store, "/7", ReadAt::Latest).await.expect("the key is there");
    for fork in &forks {
        let theirs = super::get(fork, "/7", ReadAt::Latest).await.expect("the key is there");
        assert!(Arc::ptr_eq(&ours, &theirs), "a fork made a copy");
    }
}

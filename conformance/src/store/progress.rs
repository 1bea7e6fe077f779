//! Contract 5: progress.

use windlass_kernel::store::KeyRange;

use super::{Check, Fixture, apply, next, put, watch};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "progress_covers_what_was_yielded",
        need: None,
        run: |f| Box::pin(progress_covers_what_was_yielded(f)),
    },
    Check { name: "progress_stops_before_what_is_not_yielded", need: None, run: |f| Box::pin(progress_stops(f)) },
];

/// Contract 5: progress never goes back and lies below every change that is still to come.
async fn progress_covers_what_was_yielded(Fixture { store, .. }: Fixture) {
    let start = store.latest().await.unwrap();
    let mut changes = watch(&store, "/a/", start).await;
    let mut reached = changes.progress();
    assert!(reached >= start);
    for round in 0..30 {
        apply(&store, [put("/a/x", &round.to_string()), put("/a/y", "1"), put("/elsewhere", "1")]).await;
        for _ in 0..2 {
            let before = changes.progress();
            assert!(before >= reached, "progress went back from {reached} to {before}");
            let change = next(&mut changes).await;
            assert!(before < change.revision, "progress {before} promised the change at {}", change.revision);
            reached = changes.progress();
            assert!(reached >= before, "progress went back from {before} to {reached}");
        }
        assert!(reached <= store.latest().await.unwrap());
    }
}

/// Contract 5: what is not yet yielded is not covered, even in the middle of a transaction.
async fn progress_stops(Fixture { store, .. }: Fixture) {
    let start = store.latest().await.unwrap();
    let mut changes = store.watch(KeyRange::prefix("/"), start).await.unwrap();
    let revision = apply(&store, [put("/a", "1"), put("/b", "1")]).await;
    assert!(changes.progress() < revision);
    next(&mut changes).await;
    assert!(changes.progress() < revision, "half of the transaction is still to come");
    next(&mut changes).await;
    assert!(changes.progress() <= store.latest().await.unwrap());
}

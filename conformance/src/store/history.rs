//! Contract 1 and 2: one history, and reads that see what was acknowledged.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::join_all;
use windlass_kernel::{
    Revision, Store,
    store::{Condition, ReadAt, Txn, TxnOutcome},
};

use super::{Check, Fixture, applied, apply, delete, get, key, list, put, relaxed, txn, value};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "revisions_only_grow", need: None, run: |f| Box::pin(revisions_only_grow(f)) },
    Check { name: "a_refusal_changes_nothing", need: None, run: |f| Box::pin(a_refusal_changes_nothing(f)) },
    Check { name: "a_transaction_applies_as_one", need: None, run: |f| Box::pin(a_transaction_applies_as_one(f)) },
    Check { name: "entries_know_when_they_came", need: None, run: |f| Box::pin(entries_know_when_they_came(f)) },
    Check { name: "acknowledged_writes_are_read", need: None, run: |f| Box::pin(acknowledged_writes_are_read(f)) },
    Check {
        name: "concurrent_updates_lose_nothing",
        need: None,
        run: |f| Box::pin(concurrent_updates_lose_nothing(f)),
    },
];

/// Contract 1: every change gets a greater revision; what changes nothing takes none.
async fn revisions_only_grow(Fixture { store, .. }: Fixture) {
    let mut latest = store.latest().await.unwrap();
    for ops in [[put("/a", "1")], [put("/a", "1")], [delete("/a")], [put("/a", "2")]] {
        let revision = apply(&store, ops).await;
        assert!(revision > latest, "{revision} came after {latest}");
        assert_eq!(store.latest().await.unwrap(), revision);
        latest = revision;
    }
    assert_eq!(apply(&store, [delete("/nowhere")]).await, latest, "deleting nothing is no change");
    assert_eq!(apply(&store, []).await, latest, "no operation is no change");
    assert_eq!(store.latest().await.unwrap(), latest);
}

/// Contract 1: a refused transaction takes no revision, writes no key and tells what it found.
async fn a_refusal_changes_nothing(Fixture { store, .. }: Fixture) {
    let first = apply(&store, [put("/a", "1")]).await;
    let wrong = [
        vec![Condition::Absent(key("/a"))],
        vec![Condition::Unchanged(key("/a"), Revision(first.0 + 1))],
        vec![Condition::Unchanged(key("/b"), first)],
        vec![Condition::Unchanged(key("/a"), first), Condition::Absent(key("/a"))],
    ];
    for conditions in wrong {
        let count = conditions.len();
        let refused = Txn { conditions, ..txn([put("/a", "2"), put("/b", "1")]) };
        let TxnOutcome::Refused(found) = store.txn(refused).await.unwrap() else {
            panic!("a condition that does not hold refuses");
        };
        assert_eq!(found.len(), count, "one answer for each condition");
    }
    assert_eq!(store.latest().await.unwrap(), first);
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=1");

    let refused = Txn { conditions: vec![Condition::Absent(key("/b")), Condition::Absent(key("/a"))], ..txn([]) };
    let TxnOutcome::Refused(found) = store.txn(refused).await.unwrap() else { panic!("the second condition refuses") };
    assert!(found[0].is_none());
    assert_eq!(found[1].as_ref().map(|entry| entry.modified), Some(first));
}

/// Contract 1: a transaction's operations share one revision and answer in their order.
async fn a_transaction_applies_as_one(Fixture { store, .. }: Fixture) {
    apply(&store, [put("/b", "1"), put("/d", "1")]).await;
    let ops = txn([put("/c", "2"), delete("/d"), put("/a", "2"), delete("/x"), delete("/b")]);
    let TxnOutcome::Applied { revision, written, deleted } = store.txn(ops).await.unwrap() else {
        panic!("an unconditional write applies");
    };
    let names = |entries: &[Arc<_>]| {
        entries
            .iter()
            .map(|entry: &Arc<windlass_kernel::store::Entry>| entry.key.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&written), ["/c", "/a"]);
    assert_eq!(names(&deleted), ["/d", "/b"]);
    assert!(written.iter().all(|entry| entry.modified == revision));
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=2 /c=2");
}

/// Contract 1: an entry names the revisions at which its key came to be and was last written.
async fn entries_know_when_they_came(Fixture { store, .. }: Fixture) {
    let created = apply(&store, [put("/a", "1")]).await;
    let modified = apply(&store, [put("/a", "2")]).await;
    let entry = get(&store, "/a", ReadAt::Latest).await.expect("the key is there");
    assert_eq!((entry.created, entry.modified), (created, modified));
    apply(&store, [delete("/a")]).await;
    let again = apply(&store, [put("/a", "3")]).await;
    let entry = get(&store, "/a", ReadAt::Latest).await.expect("the key is there again");
    assert_eq!((entry.created, entry.modified), (again, again));
}

/// Contract 2: each read after an acknowledgement sees the write, however it was acknowledged.
async fn acknowledged_writes_are_read(Fixture { store, .. }: Fixture) {
    for round in 0..20 {
        let text = round.to_string();
        let write = [put("/a", &text)];
        let revision = if round % 2 == 0 { apply(&store, write).await } else { relaxed(&store, write).await };
        for at in [ReadAt::Latest, ReadAt::NotOlderThan(revision), ReadAt::Exactly(revision)] {
            let entry = get(&store, "/a", at).await.expect("the key is there");
            assert_eq!((value(&entry), entry.modified), (text.clone(), revision), "{at:?}");
            assert_eq!(list(&store, "/", at).await, format!("/a={text}"), "{at:?}");
        }
        assert_eq!(store.latest().await.unwrap(), revision);
    }
}

/// Contract 2: of writers that compare and set the same key, each one's success is seen by all others.
async fn concurrent_updates_lose_nothing(Fixture { store, .. }: Fixture) {
    apply(&store, [put("/n", "0")]).await;
    let revisions = join_all((0..8).map(|_| count_up(&store, 10))).await.concat();
    let distinct: BTreeSet<Revision> = revisions.iter().copied().collect();
    assert_eq!(distinct.len(), 80, "no revision is given twice");
    assert_eq!(list(&store, "/n", ReadAt::Latest).await, "/n=80");
}

async fn count_up(store: &Arc<dyn Store>, times: usize) -> Vec<Revision> {
    let mut revisions = vec![];
    while revisions.len() < times {
        let entry = get(store, "/n", ReadAt::Latest).await.expect("the counter is there");
        let more = value(&entry).parse::<u64>().expect("the counter is a number") + 1;
        let conditions = vec![Condition::Unchanged(key("/n"), entry.modified)];
        let outcome = store.txn(Txn { conditions, ..txn([put("/n", &more.to_string())]) }).await.unwrap();
        if !matches!(outcome, TxnOutcome::Refused(_)) {
            revisions.push(applied(&outcome));
        }
    }
    revisions
}

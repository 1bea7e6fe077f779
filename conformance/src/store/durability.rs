//! Contract 8 and 9: what survives a crash, and what a dropped call leaves.

use futures::{FutureExt, StreamExt};
use windlass_kernel::store::{KeyRange, ReadAt};

use super::{Check, Fixture, Need, apply, delete, get, list, put, relaxed, txn, watch, word};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "durable_writes_survive_a_crash",
        need: Some(Need::Restart),
        run: |f| Box::pin(durable_writes_survive_a_crash(f)),
    },
    Check {
        name: "revisions_are_not_given_again",
        need: Some(Need::Restart),
        run: |f| Box::pin(revisions_are_not_given_again(f)),
    },
    Check {
        name: "watches_resume_after_a_crash",
        need: Some(Need::Restart),
        run: |f| Box::pin(watches_resume_after_a_crash(f)),
    },
    Check {
        name: "a_dropped_write_applies_in_full_or_not",
        need: None,
        run: |f| Box::pin(dropped_writes_are_whole(f)),
    },
    Check { name: "dropped_calls_leave_the_store_working", need: None, run: |f| Box::pin(dropped_calls_do_no_harm(f)) },
];

/// Contract 8: what was acknowledged as durable is there after a crash, with its revisions.
async fn durable_writes_survive_a_crash(fixture: Fixture) {
    let Fixture { store, restart: Some(restart), .. } = fixture else { return };
    let created = apply(&store, [put("/a", "1"), put("/b", "1")]).await;
    let modified = apply(&store, [put("/a", "2"), delete("/b")]).await;
    let Fixture { store, .. } = restart(store).await;
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=2");
    let entry = get(&store, "/a", ReadAt::Latest).await.expect("the key is there");
    assert_eq!((entry.created, entry.modified), (created, modified));
    assert!(store.latest().await.unwrap() >= modified);
}

/// Contract 8: no revision is given twice, not even one whose relaxed write a crash undid.
async fn revisions_are_not_given_again(fixture: Fixture) {
    let Fixture { store, restart: Some(restart), .. } = fixture else { return };
    apply(&store, [put("/a", "1")]).await;
    let mut given = store.latest().await.unwrap();
    for round in 0..20 {
        given = relaxed(&store, [put("/r", &round.to_string())]).await;
    }
    let Fixture { store, .. } = restart(store).await;
    assert!(store.latest().await.unwrap() >= given);
    let again = apply(&store, [put("/a", "2")]).await;
    assert!(again > given, "{again} was given although {given} had been");
    assert_eq!(get(&store, "/a", ReadAt::Exactly(again)).await.map(|entry| entry.modified), Some(again));
}

/// Contract 8: a watch that resumes after a crash sees every later change, or is told that it cannot.
async fn watches_resume_after_a_crash(fixture: Fixture) {
    let Fixture { store, restart: Some(restart), .. } = fixture else { return };
    let first = apply(&store, [put("/a", "1")]).await;
    let second = apply(&store, [put("/a", "2")]).await;
    let Fixture { store, .. } = restart(store).await;
    let third = apply(&store, [put("/a", "3")]).await;
    let mut seen = vec![];
    match store.watch(KeyRange::prefix("/"), first).await {
        Err(error) => assert_eq!(error.kind(), windlass_kernel::ErrorKind::Compacted),
        Ok(mut changes) => {
            while seen.len() < 2 {
                seen.push(word(&changes.next().await.expect("it goes on").expect("it keeps up")));
            }
            assert_eq!(seen, [format!("{second}:/a:1>2"), format!("{third}:/a:2>3")]);
        }
    }
}

/// Contract 9: a write whose future is dropped after its first poll applied in full or not at all.
async fn dropped_writes_are_whole(Fixture { store, .. }: Fixture) {
    let start = store.latest().await.unwrap();
    for round in 0..20 {
        let text = round.to_string();
        // Polled once, then dropped.
        let _ = store.txn(txn([put("/a", &text), put("/b", &text)])).now_or_never();
        drop(store.txn(txn([put("/never", "polled")])));
    }
    // A later write comes after whatever the dropped ones did.
    apply(&store, [put("/end", "1")]).await;
    let listed = list(&store, "/", ReadAt::Latest).await;
    assert!(!listed.contains("/never"), "a future that was never polled did something: {listed}");
    let mut changes = watch(&store, "/", start).await;
    loop {
        let one = super::next(&mut changes).await;
        if one.key().as_str() == "/end" {
            break;
        }
        let other = super::next(&mut changes).await;
        assert_eq!((one.key().as_str(), other.key().as_str()), ("/a", "/b"));
        assert_eq!(one.revision, other.revision, "both sides of a dropped write share a revision");
    }
}

/// Contract 9: dropped reads, watches, grants and revocations leave nothing stuck.
async fn dropped_calls_do_no_harm(Fixture { store, .. }: Fixture) {
    let ttl = std::time::Duration::from_secs(5);
    for _ in 0..20 {
        let _ = store.get(&"/a".into(), ReadAt::Latest).now_or_never();
        let _ = store.watch(KeyRange::prefix("/"), store.latest().await.unwrap()).now_or_never();
        let _ = store.grant(ttl).now_or_never();
        let _ = store.compact(store.latest().await.unwrap()).now_or_never();
    }
    let lease = store.grant(ttl).await.unwrap();
    let _ = store.revoke(lease).now_or_never();
    store.revoke(lease).await.unwrap();
    apply(&store, [put("/a", "1")]).await;
    assert_eq!(list(&store, "/", ReadAt::Latest).await, "/a=1");
}

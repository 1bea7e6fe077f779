//! Contract 4 and 6: watches have no gaps, and slow ones delay nobody.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, future::join};
use windlass_kernel::{
    ErrorKind,
    store::{Change, KeyRange, Pick, ReadAt, WatchStream},
};

use super::{Check, Fixture, apply, delete, get, list, next, put, take, value, watch};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "a_watch_yields_each_change_once",
        need: None,
        run: |f| Box::pin(a_watch_yields_each_change_once(f)),
    },
    Check {
        name: "a_watch_resumes_where_it_is_told",
        need: None,
        run: |f| Box::pin(a_watch_resumes_where_it_is_told(f)),
    },
    Check { name: "a_watch_sees_its_range_only", need: None, run: |f| Box::pin(a_watch_sees_its_range_only(f)) },
    Check {
        name: "a_picked_watch_leaves_out_none_that_is_picked",
        need: None,
        run: |f| Box::pin(a_picked_watch_leaves_out_none_that_is_picked(f)),
    },
    Check { name: "list_then_watch_misses_nothing", need: None, run: |f| Box::pin(list_then_watch_misses_nothing(f)) },
    Check {
        name: "a_watch_from_a_forgotten_revision_ends",
        need: None,
        run: |f| Box::pin(a_watch_from_a_forgotten_revision_ends(f)),
    },
    Check { name: "a_watch_that_fell_behind_ends", need: None, run: |f| Box::pin(a_watch_that_fell_behind_ends(f)) },
    Check { name: "unread_watches_delay_nobody", need: None, run: |f| Box::pin(unread_watches_delay_nobody(f)) },
];

/// Contract 4: each change comes once, in order, with the entry before; a transaction's by key.
async fn a_watch_yields_each_change_once(Fixture { store, .. }: Fixture) {
    let start = store.latest().await.unwrap();
    let mut changes = watch(&store, "/", start).await;
    let one = apply(&store, [put("/b", "1"), put("/a", "1")]).await;
    assert_eq!(take(&mut changes, 2).await, format!("{one}:/a:>1 {one}:/b:>1"));
    let two = apply(&store, [put("/a", "2")]).await;
    let three = apply(&store, [delete("/b"), delete("/nowhere")]).await;
    let four = apply(&store, [put("/b", "4")]).await;
    assert_eq!(take(&mut changes, 3).await, format!("{two}:/a:1>2 {three}:/b:1> {four}:/b:>4"));
}

/// Contract 4: what entries say before or after a change decides whether it is picked; others may come, too.
async fn a_picked_watch_leaves_out_none_that_is_picked(Fixture { store, .. }: Fixture) {
    let says = |entry: &Arc<windlass_kernel::store::Entry>| Some(value(entry));
    let start = store.latest().await.unwrap();
    apply(&store, [put("/pick/early", "red")]).await;
    let range = KeyRange::prefix("/pick/");
    let pick = Pick { name: "value", says, wanted: "red".into() };
    let mut picked = store.watch_picked(range.clone(), pick.clone(), start).await.unwrap();
    let mut other = store.watch_picked(range, Pick { wanted: "blue".into(), ..pick.clone() }, start).await.unwrap();
    for (key, value) in [("/pick/a", "blue"), ("/pick/a", "red"), ("/else", "red"), ("/pick/b", "green")] {
        apply(&store, [put(key, value)]).await;
    }
    apply(&store, [put("/pick/a", "green"), put("/pick/c", "blue")]).await;
    let last = apply(&store, [delete("/pick/early"), put("/pick/c", "red")]).await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let change = next(&mut picked).await;
        if pick.wants(&change) {
            seen.push(change.key().as_str().to_owned());
        }
    }
    assert_eq!(seen, ["/pick/early", "/pick/a", "/pick/a", "/pick/c", "/pick/early"]);
    assert!(picked.progress() >= last);
    let blue = Pick { wanted: "blue".into(), ..pick };
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let change = next(&mut other).await;
        if blue.wants(&change) {
            seen.push(change.key().as_str().to_owned());
        }
    }
    assert_eq!(seen, ["/pick/a", "/pick/a", "/pick/c", "/pick/c"]);
}

/// Contract 4: a watch starts after the revision that it names, even one long past.
async fn a_watch_resumes_where_it_is_told(Fixture { store, .. }: Fixture) {
    let mut revisions = vec![store.latest().await.unwrap()];
    for round in 1..=5 {
        revisions.push(apply(&store, [put("/a", &round.to_string())]).await);
    }
    for (done, after) in revisions.iter().enumerate() {
        let mut changes = watch(&store, "/a", *after).await;
        for (round, revision) in revisions.iter().enumerate().skip(done + 1) {
            let change = next(&mut changes).await;
            assert_eq!(change.revision, *revision);
            assert_eq!(change.after.as_deref().map(value), Some(round.to_string()));
            assert_eq!(change.before.is_some(), round > 1);
        }
        let name = format!("/a/{done}");
        let more = apply(&store, [put(&name, "x")]).await;
        let change = if done == 0 { next(&mut changes).await } else { last_of(&mut changes, &name).await };
        assert_eq!(change.revision, more);
    }
}

/// The first change of a key, with nothing but earlier rounds' keys before it.
async fn last_of(changes: &mut WatchStream, name: &str) -> Arc<Change> {
    loop {
        let change = next(changes).await;
        assert!(change.key().as_str().starts_with("/a/"), "nothing comes twice");
        if change.key().as_str() == name {
            return change;
        }
    }
}

/// Contract 4: changes elsewhere are not yielded, and those inside are.
async fn a_watch_sees_its_range_only(Fixture { store, .. }: Fixture) {
    let start = store.latest().await.unwrap();
    let mut inner = watch(&store, "/p/a/", start).await;
    let mut outer = watch(&store, "/p/", start).await;
    let single = KeyRange { start: "/p/a".into(), end: Some("/p/a\0".into()) };
    let mut single = store.watch(single, start).await.unwrap();
    let mut tail = store.watch(KeyRange { start: "/p/a/x".into(), end: None }, start).await.unwrap();
    for name in ["/p/a", "/p/a/x", "/p/b", "/q"] {
        apply(&store, [put(name, "1")]).await;
    }
    apply(&store, [put("/p/a/end", "1"), put("/p/a", "2"), put("/z", "1")]).await;
    let mut seen = vec![];
    for (changes, count) in [(&mut inner, 2), (&mut outer, 5), (&mut single, 2), (&mut tail, 4)] {
        let mut names = vec![];
        for _ in 0..count {
            names.push(next(changes).await.key().as_str().to_owned());
        }
        seen.push(names.join(" "));
    }
    assert_eq!(seen, ["/p/a/x /p/a/end", "/p/a /p/a/x /p/b /p/a /p/a/end", "/p/a /p/a", "/p/a/x /p/b /q /z"]);
}

/// Contract 4: a list and a watch from its revision together see everything, while others write.
async fn list_then_watch_misses_nothing(Fixture { store, .. }: Fixture) {
    let write = async {
        for round in 0..50 {
            apply(&store, [put(&format!("/n/{}", round % 7), &round.to_string())]).await;
        }
        apply(&store, [put("/n/end", "end")]).await;
    };
    let follow = async {
        let revision = store.latest().await.unwrap();
        let before = list(&store, "/n/", ReadAt::Exactly(revision)).await;
        let mut state: BTreeMap<String, String> =
            before.split_whitespace().filter_map(|w| w.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
        let mut changes = watch(&store, "/n/", revision).await;
        let mut last = revision;
        while !state.contains_key("/n/end") {
            let change = next(&mut changes).await;
            assert!(change.revision > last, "changes come in order");
            last = change.revision;
            let known = state.get(change.key().as_str()).cloned();
            assert_eq!(change.before.as_deref().map(value), known, "the entry before is the one that was there");
            let after = change.after.as_deref().map(value).expect("nothing is deleted");
            state.insert(change.key().as_str().to_owned(), after);
        }
        state.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ")
    };
    let ((), followed) = join(write, follow).await;
    assert_eq!(followed, list(&store, "/n/", ReadAt::Latest).await);
}

/// Contract 4: a watch after a forgotten revision is refused or ends, and names the oldest one kept.
async fn a_watch_from_a_forgotten_revision_ends(Fixture { store, .. }: Fixture) {
    let first = apply(&store, [put("/a", "1")]).await;
    let second = apply(&store, [put("/a", "2")]).await;
    let third = apply(&store, [put("/a", "3")]).await;
    store.compact(second).await.unwrap();
    let error = match store.watch(KeyRange::prefix("/"), first).await {
        Err(error) => error,
        Ok(mut changes) => changes.next().await.expect("it ends with an error").expect_err("it ends"),
    };
    assert_eq!(error.kind(), ErrorKind::Compacted);
    assert_eq!(error.details().and_then(|details| details.compacted), Some(second));
    let mut changes = watch(&store, "/", second).await;
    assert_eq!(take(&mut changes, 1).await, format!("{third}:/a:2>3"));
}

/// Contract 4: a watch whose next change was forgotten ends; one that missed nothing goes on.
async fn a_watch_that_fell_behind_ends(Fixture { store, .. }: Fixture) {
    let start = store.latest().await.unwrap();
    let mut behind = watch(&store, "/busy", start).await;
    let mut quiet = watch(&store, "/quiet", start).await;
    apply(&store, [put("/busy", "1")]).await;
    let second = apply(&store, [put("/busy", "2")]).await;
    store.compact(second).await.unwrap();
    match behind.next().await.expect("it yields or ends with an error") {
        // What it had already taken hold of may still come.
        Ok(change) => assert!(change.revision < second),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Compacted);
            assert_eq!(error.details().and_then(|details| details.compacted), Some(second));
            assert!(behind.next().await.is_none(), "nothing comes after the end");
        }
    }
    let third = apply(&store, [put("/quiet", "3")]).await;
    match quiet.next().await.expect("it goes on or ends with an error") {
        Ok(change) => assert_eq!(change.revision, third),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Compacted),
    }
}

/// Contract 6: writers go on while watches are not read, and those find everything later or end.
async fn unread_watches_delay_nobody(Fixture { store, .. }: Fixture) {
    let start = store.latest().await.unwrap();
    let mut watches = vec![];
    for _ in 0..50 {
        watches.push(watch(&store, "/", start).await);
    }
    for round in 0..500 {
        apply(&store, [put("/a", &round.to_string())]).await;
    }
    assert_eq!(get(&store, "/a", ReadAt::Latest).await.as_deref().map(value), Some("499".to_owned()));
    for changes in &mut watches {
        let mut last = start;
        for _ in 0..500 {
            match changes.next().await.expect("it yields or ends with an error") {
                Ok(change) => {
                    assert!(change.revision > last, "changes come in order");
                    last = change.revision;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Compacted);
                    break;
                }
            }
        }
    }
}

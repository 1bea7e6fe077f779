//! Contract 3: lists are one state, and older states stay readable while they are kept.

use windlass_kernel::{
    ErrorKind, Revision,
    store::{KeyRange, ListSpec, ReadAt},
};

use super::{Check, Fixture, apply, delete, get, key, list, put, value, words};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "older_states_are_read_as_they_were",
        need: None,
        run: |f| Box::pin(older_states_are_read_as_they_were(f)),
    },
    Check {
        name: "pages_at_a_revision_are_one_state",
        need: None,
        run: |f| Box::pin(pages_at_a_revision_are_one_state(f)),
    },
    Check { name: "a_range_holds_its_keys_only", need: None, run: |f| Box::pin(a_range_holds_its_keys_only(f)) },
    Check { name: "forgotten_states_say_so", need: None, run: |f| Box::pin(forgotten_states_say_so(f)) },
    Check { name: "future_states_say_so", need: None, run: |f| Box::pin(future_states_say_so(f)) },
];

/// Contract 3: a read at a revision sees exactly the state that the revision left.
async fn older_states_are_read_as_they_were(Fixture { store, .. }: Fixture) {
    let start = store.latest().await.unwrap();
    let mut states = vec![(start, String::new())];
    for (ops, state) in [
        ([put("/a", "1"), put("/c", "1")], "/a=1 /c=1"),
        ([put("/b", "2"), delete("/c")], "/a=1 /b=2"),
        ([delete("/a"), put("/c", "3")], "/b=2 /c=3"),
        ([put("/a", "4"), put("/b", "4")], "/a=4 /b=4 /c=3"),
    ] {
        states.push((apply(&store, ops).await, state.to_owned()));
    }
    for (revision, state) in &states {
        let spec = ListSpec { range: KeyRange::prefix("/"), at: ReadAt::Exactly(*revision), limit: None };
        let listing = store.list(&spec).await.unwrap();
        assert_eq!((listing.revision, &words(&listing.entries)), (*revision, state));
        for name in ["/a", "/b", "/c"] {
            let read = get(&store, name, ReadAt::Exactly(*revision)).await;
            let listed = listing.entries.iter().find(|entry| entry.key == key(name));
            assert_eq!(read.as_deref().map(value), listed.map(|e| value(e)), "{name} at {revision}");
        }
    }
}

/// Contract 3: pages that name one revision fit together, whatever is written between them.
async fn pages_at_a_revision_are_one_state(Fixture { store, .. }: Fixture) {
    for name in 0..10 {
        apply(&store, [put(&format!("/p/{name}"), "old")]).await;
    }
    let revision = store.latest().await.unwrap();
    let mut range = KeyRange::prefix("/p/");
    let mut names = vec![];
    loop {
        let spec = ListSpec { range: range.clone(), at: ReadAt::Exactly(revision), limit: Some(3) };
        let page = store.list(&spec).await.unwrap();
        assert!(page.entries.iter().all(|entry| value(entry) == "old"));
        names.extend(page.entries.iter().map(|entry| entry.key.as_str().to_owned()));
        assert_eq!(names.len() + page.remaining, 10, "what remains is counted in the same state");
        let Some(last) = page.entries.last().filter(|_| page.remaining > 0) else { break };
        range.start = format!("{}\0", last.key.as_str()).into();
        apply(&store, [put("/p/0", "new"), delete("/p/4"), put("/p/77", "new"), put("/p/9", "new")]).await;
    }
    assert_eq!(names, (0..10).map(|name| format!("/p/{name}")).collect::<Vec<_>>());
}

/// Contract 3: a list holds the keys of its range by their order, up to the limit.
async fn a_range_holds_its_keys_only(Fixture { store, .. }: Fixture) {
    apply(&store, [put("/a", "1"), put("/a/x", "2"), put("/a/é", "3"), put("/a0", "4"), put("/b", "5")]).await;
    for (prefix, expect) in [
        ("/a/", "/a/x=2 /a/é=3"),
        ("/a", "/a=1 /a/x=2 /a/é=3 /a0=4"),
        ("/c", ""),
        ("", "/a=1 /a/x=2 /a/é=3 /a0=4 /b=5"),
    ] {
        assert_eq!(list(&store, prefix, ReadAt::Latest).await, expect);
    }
    for (start, end, expect) in [("/a", "/a0", "/a=1 /a/x=2 /a/é=3"), ("/b", "/a", ""), ("/a", "/a", "")] {
        let range = KeyRange { start: start.into(), end: Some(end.into()) };
        let listing = store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await.unwrap();
        assert_eq!(words(&listing.entries), expect, "from {start} to {end}");
    }
    let spec = ListSpec { range: KeyRange::prefix("/a"), at: ReadAt::Latest, limit: Some(1) };
    let listing = store.list(&spec).await.unwrap();
    assert_eq!((words(&listing.entries).as_str(), listing.remaining), ("/a=1", 3));
}

/// Contract 3: a state before the compaction is Compacted; the one at it is not.
async fn forgotten_states_say_so(Fixture { store, .. }: Fixture) {
    let first = apply(&store, [put("/a", "1")]).await;
    let second = apply(&store, [put("/a", "2")]).await;
    apply(&store, [put("/a", "3")]).await;
    store.compact(second).await.unwrap();
    store.compact(first).await.expect("what is forgotten already can be forgotten again");
    let spec = |at| ListSpec { range: KeyRange::prefix("/"), at, limit: None };
    let error = store.list(&spec(ReadAt::Exactly(first))).await.expect_err("the state is forgotten");
    assert_eq!(error.kind(), ErrorKind::Compacted);
    let error = store.get(&key("/a"), ReadAt::Exactly(first)).await.expect_err("the state is forgotten");
    assert_eq!(error.kind(), ErrorKind::Compacted);
    assert_eq!(list(&store, "/", ReadAt::Exactly(second)).await, "/a=2");
    assert_eq!(list(&store, "/", ReadAt::NotOlderThan(first)).await, "/a=3");
}

/// Contract 3: a state that is not yet there is a future revision.
async fn future_states_say_so(Fixture { store, .. }: Fixture) {
    let latest = apply(&store, [put("/a", "1")]).await;
    let error = store.get(&key("/a"), ReadAt::Exactly(Revision(latest.0 + 1))).await.expect_err("the state is to come");
    assert_eq!(error.kind(), ErrorKind::FutureRevision);
    let spec = ListSpec { range: KeyRange::prefix("/"), at: ReadAt::Exactly(Revision(latest.0 + 1)), limit: None };
    let error = store.list(&spec).await.expect_err("the state is to come");
    assert_eq!(error.kind(), ErrorKind::FutureRevision);
}

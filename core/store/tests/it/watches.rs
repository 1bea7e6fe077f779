//! What watches cost: nothing for changes elsewhere, whatever happens there.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::{FutureExt, Stream};
use windlass_kernel::{
    ErrorKind, Revision, Store,
    store::{KeyRange, Op, Txn, WatchStream},
};
use windlass_store::{HistoryLimits, MemoryStore};
use windlass_testkit::ManualClock;

use crate::rig::Pool;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn store() -> MemoryStore {
    store_at(&ManualClock::default())
}

fn store_at(clock: &ManualClock) -> MemoryStore {
    let limits = HistoryLimits { changes: 10, bytes: 1 << 20, age: Duration::from_secs(300) };
    MemoryStore::with_limits(Arc::new(clock.clone()), Arc::new(Pool::inline()), limits)
}

fn put(store: &MemoryStore, name: &str) {
    let op = Op::Put { key: name.into(), value: "v".into(), lease: None };
    store.txn(Txn { ops: vec![op], ..Txn::default() }).now_or_never().unwrap().unwrap();
}

fn watch(store: &MemoryStore, prefix: &str) -> WatchStream {
    let latest = store.latest().now_or_never().unwrap().unwrap();
    store.watch(KeyRange::prefix(prefix), latest).now_or_never().unwrap().unwrap()
}

#[test]
fn a_watch_is_woken_by_its_own_changes_only() {
    let store = store();
    let mut watch = watch(&store, "/a/");
    let wakes = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut poll =
        || Pin::new(&mut watch).poll_next(&mut Context::from_waker(&waker)).map(Option::unwrap).map(Result::unwrap);
    assert!(poll().is_pending());
    (0..100).for_each(|name| put(&store, &format!("/b/{name}")));
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    put(&store, "/a/x");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    let Poll::Ready(change) = poll() else { panic!("the change is there") };
    assert_eq!(change.key().as_str(), "/a/x");
}

#[test]
fn a_quiet_watch_outlives_the_history_of_others() {
    let store = store();
    let mut quiet = watch(&store, "/a/");
    (0..100).for_each(|name| put(&store, &format!("/b/{name}")));
    assert_eq!(quiet.progress(), Revision(100));
    put(&store, "/a/x");
    let change = futures::StreamExt::next(&mut quiet).now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(change.key().as_str(), "/a/x");
}

#[test]
fn a_watch_that_missed_a_change_ends_even_if_little_followed() {
    let store = store();
    let mut watch = watch(&store, "/a/");
    put(&store, "/a/x");
    (0..100).for_each(|name| put(&store, &format!("/b/{name}")));
    let before = watch.progress();
    let end = futures::StreamExt::next(&mut watch).now_or_never().unwrap().unwrap().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::Compacted);
    assert_eq!(end.details().unwrap().compacted, Some(Revision(91)));
    assert_eq!(before, Revision(0));
    assert!(futures::StreamExt::next(&mut watch).now_or_never().unwrap().is_none());
}

#[test]
fn history_grows_old() {
    let clock = ManualClock::default();
    let store = store_at(&clock);
    (0..3).for_each(|name| put(&store, &format!("/{name}")));
    let from = |revision| store.watch(KeyRange::prefix("/"), Revision(revision)).now_or_never().unwrap();
    clock.advance(Duration::from_secs(200));
    put(&store, "/later");
    assert!(from(0).is_ok());
    clock.advance(Duration::from_secs(200));
    put(&store, "/much/later");
    assert_eq!(from(0).unwrap_err().kind(), ErrorKind::Compacted);
    assert!(from(3).is_ok());
}

#[test]
fn watches_end_with_their_store() {
    let store = store();
    let mut watch = watch(&store, "/a/");
    put(&store, "/a/x");
    drop(store);
    assert!(futures::StreamExt::next(&mut watch).now_or_never().unwrap().unwrap().is_ok());
    assert!(futures::StreamExt::next(&mut watch).now_or_never().unwrap().is_none());
}

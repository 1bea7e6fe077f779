//! An index over the objects under a prefix of keys that is as new as the store whenever it is read.
//!
//! Whoever reads pays for the changes since the last time, not for all objects. No task runs for it.

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc, task};

use futures::Stream;
use parking_lot::Mutex;
use windlass_kernel::{
    Result, Revision, Store,
    store::{Entry, Key, KeyRange, ListSpec, ReadAt, WatchStream},
};

/// What is made of the objects.
pub(crate) trait Index: Default + Send + 'static {
    /// Takes in a new object, or one that changed.
    fn put(&mut self, entry: &Arc<Entry>);
    /// Forgets an object.
    fn remove(&mut self, key: &Key);
}

/// Keeps an index up to date.
pub(crate) struct Followed<I> {
    store: Arc<dyn Store>,
    prefix: &'static str,
    state: Mutex<State<I>>,
}

#[derive(Default)]
struct State<I> {
    index: I,
    /// Everything up to this revision is in.
    revision: Revision,
    /// The revision of each object that is in.
    seen: BTreeMap<Key, Revision>,
    /// The changes that are not in yet; `None` before the first reader and after a failure.
    watch: Option<WatchStream>,
}

impl<I> fmt::Debug for Followed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<I: Index> Followed<I> {
    /// Reads from `store` when the first reader comes.
    pub(crate) fn new(store: Arc<dyn Store>, prefix: &'static str) -> Self {
        Self { store, prefix, state: Mutex::default() }
    }

    /// As [`new`](Self::new), of an index that holds something that is not in the store.
    pub(crate) fn beginning_with(store: Arc<dyn Store>, prefix: &'static str, index: I) -> Self {
        Self { store, prefix, state: Mutex::new(State { index, ..State::default() }) }
    }

    /// Changes what the index holds beside the store's objects.
    pub(crate) fn change(&self, change: impl FnOnce(&mut I)) {
        change(&mut self.state.lock().index);
    }

    /// Reads from an index that holds everything acknowledged before the call.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub(crate) async fn with<T: Send>(&self, read: impl FnOnce(&I) -> T + Send) -> Result<T> {
        let latest = self.store.latest().await?;
        {
            let mut state = self.state.lock();
            if state.catch_up(latest) {
                return Ok(read(&state.index));
            }
        }
        let range = KeyRange::prefix(self.prefix);
        let listing = self.store.list(&ListSpec { range: range.clone(), at: ReadAt::Latest, limit: None }).await?;
        let watch = self.store.watch(range, listing.revision).await?;
        let mut state = self.state.lock();
        // Another reader may have been faster; its index is as good, and newer ones are not undone.
        if state.revision <= listing.revision {
            state.replace(listing.revision, &listing.entries);
            state.watch = Some(watch);
        }
        Ok(read(&state.index))
    }
}

impl<I: Index> State<I> {
    /// Takes in what the watch has; whether the index then holds everything up to `latest`.
    fn catch_up(&mut self, latest: Revision) -> bool {
        let Some(watch) = &mut self.watch else { return false };
        let mut context = task::Context::from_waker(futures::task::noop_waker_ref());
        while let task::Poll::Ready(next) = Pin::new(&mut *watch).poll_next(&mut context) {
            let Some(Ok(change)) = next else {
                self.watch = None;
                return false;
            };
            match &change.after {
                Some(entry) => {
                    self.seen.insert(entry.key.clone(), entry.modified);
                    self.index.put(entry);
                }
                None => {
                    self.seen.remove(change.key());
                    self.index.remove(change.key());
                }
            }
            self.revision = change.revision;
        }
        self.revision = self.revision.max(watch.progress());
        self.revision >= latest
    }

    /// Makes the index hold exactly `entries`; those that have not changed are not read again.
    fn replace(&mut self, at: Revision, entries: &[Arc<Entry>]) {
        let present: BTreeMap<Key, Revision> = entries.iter().map(|e| (e.key.clone(), e.modified)).collect();
        for key in self.seen.keys().filter(|key| !present.contains_key(*key)) {
            self.index.remove(key);
        }
        for entry in entries.iter().filter(|entry| self.seen.get(&entry.key) != Some(&entry.modified)) {
            self.index.put(entry);
        }
        self.seen = present;
        self.revision = at;
    }
}

//! One state with the history that led to it: an immutable value whose copy is a few pointers.

use std::{collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use imbl::{OrdMap, OrdSet};
use windlass_kernel::{
    Result, Revision,
    store::{Change, Entry, Key, KeyRange, LeaseId, ListSpec, Listing, Op, ReadAt},
};

use super::{History, compacted, in_the_future};

/// A lease as the state knows it. When it ends is not state: a restart starts it anew.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) ttl: Duration,
    pub(crate) keys: OrdSet<Key>,
}

/// A state and its history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) revision: Revision,
    pub(crate) entries: OrdMap<Key, Arc<Entry>>,
    pub(crate) leases: OrdMap<LeaseId, Lease>,
    /// The number of the latest lease ever granted.
    pub(crate) last_lease: u64,
    pub(crate) history: History,
    /// The bytes of all keys and values.
    pub(crate) bytes: u64,
}

/// What a transaction's operations did.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) written: Vec<Arc<Entry>>,
    pub(crate) deleted: Vec<Arc<Entry>>,
}

impl Head {
    pub(crate) fn get(&self, key: &Key, at: ReadAt) -> Result<Option<Arc<Entry>>> {
        if let Some(past) = self.past(at)? {
            let mut later = self.history.from(self.history.seek(past));
            if let Some((_, undone)) = later.find(|(_, change)| change.key() == key) {
                return Ok(undone.before.clone());
            }
        }
        Ok(self.entries.get(key).cloned())
    }

    pub(crate) fn list(&self, spec: &ListSpec) -> Result<Listing> {
        let limit = spec.limit.unwrap_or(usize::MAX);
        let Some(past) = self.past(spec.at)? else {
            return Ok(listing(self.revision, self.range(&spec.range), limit));
        };
        // The first change after the revision knows what its key held at the revision.
        let mut undone: BTreeMap<&Key, Option<&Arc<Entry>>> = BTreeMap::new();
        for (_, change) in self.history.from(self.history.seek(past)) {
            if spec.range.contains(change.key().as_str()) {
                undone.entry(change.key()).or_insert(change.before.as_ref());
            }
        }
        Ok(listing(past, undo(self.range(&spec.range), undone), limit))
    }

    /// The entries of a range, by key.
    pub(crate) fn range<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Arc<Entry>> {
        let end = range.end.as_ref().map(Key::as_str);
        // The map panics on a range that ends before it starts.
        let empty = end.is_some_and(|end| end <= range.start.as_str());
        let end =
            if empty { Bound::Excluded(range.start.as_str()) } else { end.map_or(Bound::Unbounded, Bound::Excluded) };
        let start = Bound::Included(range.start.as_str());
        (!empty).then(|| self.entries.range::<_, str>((start, end)).map(|(_, entry)| entry)).into_iter().flatten()
    }

    /// The revision of the older state to read; `None` when the state at hand serves.
    fn past(&self, at: ReadAt) -> Result<Option<Revision>> {
        match at {
            ReadAt::Latest => Ok(None),
            ReadAt::NotOlderThan(asked) | ReadAt::Exactly(asked) if asked > self.revision => {
                Err(in_the_future(asked, self.revision))
            }
            ReadAt::Exactly(asked) if asked < self.history.floor() => Err(compacted(asked, self.history.floor())),
            ReadAt::Exactly(asked) if asked < self.revision => Ok(Some(asked)),
            ReadAt::NotOlderThan(_) | ReadAt::Exactly(_) => Ok(None),
        }
    }

    /// Carries out operations as `revision`. The caller has checked that leases exist and no key stands twice.
    pub(crate) fn write(&mut self, revision: Revision, ops: Vec<Op>) -> Written {
        let mut done = Written::default();
        let mut changes = Vec::with_capacity(ops.len());
        for op in ops {
            let (before, after) = match op {
                Op::Put { key, value, lease } => {
                    let created = self.entries.get(&key).map_or(revision, |before| before.created);
                    let entry = Arc::new(Entry::new(key.clone(), created, revision, value, lease));
                    done.written.push(Arc::clone(&entry));
                    (self.entries.insert(key, Arc::clone(&entry)), Some(entry))
                }
                Op::Delete { key } => {
                    let Some(before) = self.entries.remove(&key) else { continue };
                    done.deleted.push(Arc::clone(&before));
                    (Some(before), None)
                }
            };
            self.account(before.as_deref(), after.as_deref());
            before.iter().for_each(|entry| entry.tidy());
            changes.push(Arc::new(Change { revision, before, after }));
        }
        if !changes.is_empty() {
            self.revision = revision;
        }
        changes.sort_by(|a, b| a.key().cmp(b.key()));
        changes.into_iter().for_each(|change| self.history.push(change));
        done
    }

    /// Adds an entry as a snapshot holds it, without history.
    pub(crate) fn restore(&mut self, entry: Entry) {
        let entry = Arc::new(entry);
        let before = self.entries.insert(entry.key.clone(), Arc::clone(&entry));
        self.account(before.as_deref(), Some(&entry));
    }

    /// Adds a lease as a log or snapshot holds it.
    pub(crate) fn restore_lease(&mut self, lease: LeaseId, ttl: Duration) {
        self.last_lease = self.last_lease.max(lease.0);
        self.leases.insert(lease, Lease { ttl, keys: OrdSet::new() });
    }

    fn account(&mut self, before: Option<&Entry>, after: Option<&Entry>) {
        let size = |entry: Option<&Entry>| entry.map_or(0, |e| (e.key.as_str().len() + e.value.len()) as u64);
        self.bytes = self.bytes + size(after) - size(before);
        let lease_of = |entry: Option<&Entry>| entry.and_then(|entry| entry.lease);
        if lease_of(before) == lease_of(after) {
            return;
        }
        if let Some((entry, lease)) = before.and_then(|entry| Some((entry, self.leases.get_mut(&entry.lease?)?))) {
            lease.keys.remove(&entry.key);
        }
        if let Some((entry, lease)) = after.and_then(|entry| Some((entry, self.leases.get_mut(&entry.lease?)?))) {
            lease.keys.insert(entry.key.clone());
        }
    }
}

fn listing<'a>(revision: Revision, mut found: impl Iterator<Item = &'a Arc<Entry>>, limit: usize) -> Listing {
    let entries = found.by_ref().take(limit).cloned().collect();
    Listing { revision, entries, remaining: found.count() }
}

/// Replaces what has changed since by what was there before.
fn undo<'a>(
    now: impl Iterator<Item = &'a Arc<Entry>>,
    undone: BTreeMap<&'a Key, Option<&'a Arc<Entry>>>,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    let mut now = now.peekable();
    let mut undone = undone.into_iter().peekable();
    std::iter::from_fn(move || {
        loop {
            let Some((key, _)) = undone.peek() else { return now.next() };
            if let Some(untouched) = now.next_if(|entry| entry.key < **key) {
                return Some(untouched);
            }
            now.next_if(|entry| entry.key == **key);
            if let Some((_, Some(before))) = undone.next() {
                return Some(before);
            }
        }
    })
}

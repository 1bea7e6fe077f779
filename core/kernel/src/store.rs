//! Versioned bytes: the only place where cluster state lives.
//!
//! What the bytes mean is the API server's business; see [`Document`](crate::Document).

use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;

use crate::error::Result;

/// A point in a store's one history. Greater is later; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key: UTF-8 text, ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The keys from `start` on, up to but without `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Key,
    /// The first key that is not in the range; `None` has no end.
    pub end: Option<Key>,
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        let range = |end: String| Self { start: prefix.into(), end: Some(Key::from(end)) };
        // Nearly all prefixes end with an ASCII letter, whose successor is one too.
        if let Some((last, rest)) = prefix.as_bytes().split_last()
            && *last < 0x7f
        {
            let rest = &prefix[..rest.len()];
            return range([rest, char::from(last + 1).encode_utf8(&mut [0; 4])].concat());
        }
        // The next string after all that begin with the prefix: its last character that can be raised, raised.
        let mut end: Vec<char> = prefix.chars().collect();
        while let Some(last) = end.pop() {
            let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
            if let Some(next) = next {
                end.push(next);
                break;
            }
        }
        if end.is_empty() { Self { start: prefix.into(), end: None } } else { range(end.into_iter().collect()) }
    }

    /// Whether the range holds `key`.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        key >= self.start.as_str() && self.end.as_ref().is_none_or(|end| key < end.as_str())
    }
}

/// A granted time to live that several keys can share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// One key's value as one transaction left it. Immutable and shared.
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The revision at which the key came to be (after its last deletion).
    pub created: Revision,
    /// The revision of the transaction that wrote this value.
    pub modified: Revision,
    /// The value.
    pub value: Bytes,
    /// The lease that the key dies with.
    pub lease: Option<LeaseId>,
    typed: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
}

impl Entry {
    /// An entry as a store makes it.
    #[must_use]
    pub fn new(key: Key, created: Revision, modified: Revision, value: Bytes, lease: Option<LeaseId>) -> Self {
        Self { key, created, modified, value, lease, typed: Mutex::new(None) }
    }

    /// The value in decoded form: made by `decode` unless somebody still holds one of that type.
    ///
    /// Whoever asks meanwhile waits for that. `decode` must not ask for the decoded form itself.
    ///
    /// # Errors
    ///
    /// Those of `decode`.
    pub fn decoded<T: Any + Send + Sync>(&self, decode: impl FnOnce(&Self) -> Result<T>) -> Result<Arc<T>> {
        let mut typed = self.typed.lock();
        let held = typed.as_ref().and_then(Weak::upgrade);
        if let Some(held) = held.and_then(|any| any.downcast::<T>().ok()) {
            return Ok(held);
        }
        let made = Arc::new(decode(self)?);
        let weak: Weak<T> = Arc::downgrade(&made);
        *typed = Some(weak);
        Ok(made)
    }

    /// Gives the space of a decoded form back that nobody holds any more: an entry lives much longer than that.
    pub fn tidy(&self) {
        self.typed.lock().take_if(|typed| typed.strong_count() == 0);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("created", &self.created.0)
            .field("modified", &self.modified.0)
            .field("bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// Which state a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAt {
    /// Everything acknowledged before the call.
    Latest,
    /// Whatever is at hand, but nothing older than the revision.
    NotOlderThan(Revision),
    /// Exactly the state that the revision left.
    Exactly(Revision),
}

/// What a list reads.
#[derive(Clone, Debug)]
pub struct ListSpec {
    /// The keys.
    pub range: KeyRange,
    /// The state.
    pub at: ReadAt,
    /// At most so many entries; `None` reads all.
    pub limit: Option<usize>,
}

/// What a list read: one consistent state.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The revision of the state.
    pub revision: Revision,
    /// The entries, by key.
    pub entries: Vec<Arc<Entry>>,
    /// How many entries of the range follow after the limit.
    pub remaining: usize,
}

/// What must hold for a transaction to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key does not exist.
    Absent(Key),
    /// The key was last written at the revision.
    Unchanged(Key, Revision),
}

impl Condition {
    /// The key that the condition speaks of.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Unchanged(key, _) => key,
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a value.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Bytes,
        /// The lease that the key dies with.
        lease: Option<LeaseId>,
    },
    /// Deletes a key; nothing happens where there is none.
    Delete {
        /// The key.
        key: Key,
    },
}

/// When a transaction is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// After it is on durable storage (for stores that have one).
    #[default]
    Durable,
    /// At once. A crash may undo it, but its revision is never given again.
    Relaxed,
}

/// All operations, or none.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What then changes. No key stands twice.
    pub ops: Vec<Op>,
    /// When it is acknowledged.
    pub durability: Durability,
}

/// What became of a transaction.
#[derive(Clone, Debug)]
pub enum TxnOutcome {
    /// It applied.
    Applied {
        /// Its revision. Where nothing changed (only deletions of absent keys), the latest one.
        revision: Revision,
        /// The entries written, in the order of the puts.
        written: Vec<Arc<Entry>>,
        /// The entries deleted, in the order of the deletions; those that did not exist are left out.
        deleted: Vec<Arc<Entry>>,
    },
    /// A condition did not hold. The current entries of the conditions' keys, in their order.
    Refused(Vec<Option<Arc<Entry>>>),
}

/// One change of one key.
#[derive(Clone, Debug)]
pub struct Change {
    /// The revision of the change. A transaction's changes share it and follow each other by key.
    pub revision: Revision,
    /// The entry before; `None` when the key came to be.
    pub before: Option<Arc<Entry>>,
    /// The entry after; `None` when the key was deleted.
    pub after: Option<Arc<Entry>>,
}

impl Change {
    /// The key that changed.
    ///
    /// # Panics
    ///
    /// Where both sides are absent, which no store makes.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.after.as_ref().or(self.before.as_ref()).expect("a change has a side").key
    }
}

/// Which changes of a range are wanted: those of entries that say a certain text of themselves, before or after.
#[derive(Clone, Debug)]
pub struct Pick {
    /// The name of what is said. One name stands for one [`says`](Pick::says).
    pub name: &'static str,
    /// What an entry says.
    pub says: fn(&Arc<Entry>) -> Option<String>,
    /// What it has to be.
    pub wanted: String,
}

impl Pick {
    /// Whether a change is wanted.
    #[must_use]
    pub fn wants(&self, change: &Change) -> bool {
        let wanted = |entry: &Arc<Entry>| (self.says)(entry).is_some_and(|said| said == self.wanted);
        change.before.as_ref().is_some_and(wanted) || change.after.as_ref().is_some_and(wanted)
    }
}

/// The changes of a range, from one revision on.
///
/// Ends with [`Compacted`](crate::ErrorKind::Compacted) when the watcher fell behind what is kept.
pub trait Watch: Stream<Item = Result<Arc<Change>>> + fmt::Debug + Send + Unpin {
    /// The revision up to which every change of the range has been yielded.
    fn progress(&self) -> Revision;
}

/// A watch, owned.
pub type WatchStream = Box<dyn Watch>;

/// Versioned storage with compare-and-set, watches and leases.
///
/// # Contract
///
/// 1. **One history.** Every applied transaction that changes something gets one revision, greater than all before it;
///    a refused one changes nothing and takes none.
/// 2. **Linearizable.** [`ReadAt::Latest`] sees every transaction acknowledged before the call.
/// 3. **Snapshots.** A list is one state: that of the revision it names. [`ReadAt::Exactly`] reads any state that is
///    kept, [`Compacted`](crate::ErrorKind::Compacted) where it is not, and
///    [`FutureRevision`](crate::ErrorKind::FutureRevision) where it is not yet.
/// 4. **No gaps.** A watch yields each change after its start exactly once, in revision order, with the entry before;
///    or ends with [`Compacted`](crate::ErrorKind::Compacted), whose details name the oldest revision kept. A picked
///    watch leaves out none that is picked.
/// 5. **Progress.** What a watch reports as progress never goes back, and every change up to it was yielded.
/// 6. **Slow watchers.** A watch that is not read delays nobody and holds a bounded amount of memory.
/// 7. **Leases.** Keys of a lease vanish together, with deletions that watches see, not before the time to live has
///    passed since the grant or the last renewal, or at once when it is revoked. A restart extends, never shortens.
/// 8. **Durable.** A store with durable storage acknowledges a [`Durable`](Durability::Durable) transaction only when a
///    crash cannot undo it. No revision is ever given twice.
/// 9. **Cancel-safe.** Dropping a future leaves the call applied in full or not at all.
///
/// `windlass_conformance::store` checks them all.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads one key.
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Option<Arc<Entry>>>;

    /// Reads a range of keys as one state.
    async fn list(&self, spec: &ListSpec) -> Result<Listing>;

    /// Applies `txn` if its conditions hold. A refusal is an outcome, not an error.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome>;

    /// Follows the changes of a range after the revision `after`.
    async fn watch(&self, range: KeyRange, after: Revision) -> Result<WatchStream>;

    /// Follows the changes of a range that concern entries which say something of themselves. Others may be left out,
    /// so that a watcher costs what it receives; a store that knows no better yields them all.
    async fn watch_picked(&self, range: KeyRange, pick: Pick, after: Revision) -> Result<WatchStream> {
        drop(pick);
        self.watch(range, after).await
    }

    /// The latest revision.
    async fn latest(&self) -> Result<Revision>;

    /// Forgets the states before `revision`. Later states, and the state at it, stay readable.
    async fn compact(&self, revision: Revision) -> Result<()>;

    /// Grants a lease.
    async fn grant(&self, ttl: Duration) -> Result<LeaseId>;

    /// Starts the lease's time to live anew. [`NotFound`](crate::ErrorKind::NotFound) where it has ended.
    async fn renew(&self, lease: LeaseId) -> Result<()>;

    /// Ends the lease and deletes its keys. Idempotent.
    async fn revoke(&self, lease: LeaseId) -> Result<()>;

    /// Whole-state operations, where the store has them.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }
}

/// Operations on a store's whole state.
///
/// # Contract
///
/// 1. **Independent.** What is written to a fork is not seen by its origin, nor the other way round.
/// 2. **Cheap.** A fork costs the same whatever the store holds.
#[async_trait]
pub trait Snapshots: fmt::Debug + Send + Sync {
    /// A store in memory that begins with this one's latest state and history.
    async fn fork(&self) -> Result<Arc<dyn Store>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_begins_with_it() {
        let range = KeyRange::prefix("/pods/a");
        assert!(range.contains("/pods/a"));
        assert!(range.contains("/pods/a/b"));
        assert!(!range.contains("/pods/b"));
        assert!(!range.contains("/pods"));
        assert!(KeyRange::prefix("").contains("anything"));
    }
}

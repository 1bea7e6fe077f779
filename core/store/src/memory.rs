//! The store in memory. Nothing survives it; everything else of the contract holds.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use windlass_kernel::{
    Clock, Result, Revision, Spawn, Store,
    store::{Entry, Key, KeyRange, LeaseId, ListSpec, Listing, Pick, ReadAt, Snapshots, Txn, TxnOutcome, WatchStream},
};

use crate::mvcc::{Head, HistoryLimits, LeaseKeeper, Mutation, Published, Reply, Tip, Writer};

/// A store in memory.
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    published: Arc<Published>,
    tip: Mutex<Tip>,
    leases: LeaseKeeper,
    limits: HistoryLimits,
}

impl MemoryStore {
    /// An empty store. It starts one task with its first lease, and none before.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        Self::with_limits(clock, spawn, HistoryLimits::default())
    }

    /// An empty store that keeps so much history.
    #[must_use]
    pub fn with_limits(clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>, limits: HistoryLimits) -> Self {
        Self::from_tip(Tip::default(), LeaseKeeper::new(clock, spawn), limits)
    }

    /// A store that begins with this one's latest state and history, and costs the same whatever that holds.
    ///
    /// Its leases end by `clock`, whose uptime goes on from that of this store's.
    #[must_use]
    pub fn fork_on(&self, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        let tip = self.inner.tip.lock().clone();
        Self::from_tip(tip, LeaseKeeper::new(clock, spawn), self.inner.limits)
    }

    /// A store that begins with a state, its history and its leases.
    pub(crate) fn from_tip(tip: Tip, leases: LeaseKeeper, limits: HistoryLimits) -> Self {
        let published = Arc::new(Published::new(tip.head.clone()));
        let has_leases = tip.next_due().is_some();
        let store = Self { inner: Arc::new(Inner { published, tip: Mutex::new(tip), leases, limits }) };
        if has_leases {
            store.inner.leases.granted(store.writer());
        }
        store
    }

    fn writer(&self) -> Weak<dyn Writer> {
        let weak: Weak<Inner> = Arc::downgrade(&self.inner);
        weak
    }

    fn head(&self) -> Arc<Head> {
        self.inner.published.head()
    }
}

impl Inner {
    fn apply(&self, mutation: Mutation) -> Result<Reply> {
        let now = self.leases.clock().uptime();
        let mut tip = self.tip.lock();
        let shown = (tip.head.revision, tip.head.history.floor());
        let applied = tip.apply(mutation, now)?;
        if shown != (tip.head.revision, tip.head.history.floor()) {
            let published = self.published.head().history.end();
            tip.head.history.prune(self.limits, published, now);
            self.published.publish(tip.head.clone());
        }
        Ok(applied.reply)
    }
}

impl Writer for Inner {
    fn submit(&self, mutation: Mutation) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(ready(self.apply(mutation)))
    }

    fn next_due(&self) -> Option<(Duration, LeaseId)> {
        self.tip.lock().next_due()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Option<Arc<Entry>>> {
        self.head().get(key, at)
    }

    async fn list(&self, spec: &ListSpec) -> Result<Listing> {
        self.head().list(spec)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.inner.apply(Mutation::Txn(txn)).map(Reply::into_outcome)
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<WatchStream> {
        self.inner.published.watch(&range, None, after)
    }

    async fn watch_picked(&self, range: KeyRange, pick: Pick, after: Revision) -> Result<WatchStream> {
        self.inner.published.watch(&range, Some(pick), after)
    }

    async fn latest(&self) -> Result<Revision> {
        Ok(self.head().revision)
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.inner.apply(Mutation::Compact(revision)).map(drop)
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        let lease = self.inner.apply(Mutation::Grant(ttl)).map(Reply::into_lease)?;
        self.inner.leases.granted(self.writer());
        Ok(lease)
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        let now = self.inner.leases.clock().uptime();
        self.inner.tip.lock().renew(lease, now)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.inner.apply(Mutation::Revoke(lease)).map(drop)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }
}

#[async_trait]
impl Snapshots for MemoryStore {
    async fn fork(&self) -> Result<Arc<dyn Store>> {
        let leases = &self.inner.leases;
        Ok(Arc::new(self.fork_on(Arc::clone(leases.clock()), Arc::clone(leases.spawn()))))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.head();
        f.debug_struct("MemoryStore")
            .field("revision", &head.revision.0)
            .field("entries", &head.entries.len())
            .finish_non_exhaustive()
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.inner.published.close();
    }
}

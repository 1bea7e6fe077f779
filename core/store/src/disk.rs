//! The store on disk: the state in memory, a log of what changed it, and now and then a snapshot.
//!
//! A directory holds `log-N` segments, `snapshot-N` files and `LOCK`. It belongs to one open store at a time.

mod commit;
pub(crate) mod files;
mod frame;
mod log;
mod pipeline;
mod record;
mod recover;
mod snapshot;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use windlass_kernel::{
    Clock, Error, ErrorKind, Result, Revision, Spawn, SpawnExt, Store,
    store::{
        Durability, Entry, Key, KeyRange, LeaseId, ListSpec, Listing, Op, Pick, ReadAt, Snapshots, Txn, TxnOutcome,
        WatchStream,
    },
};

use self::{
    commit::Committer,
    files::{Files, RealFiles},
    log::Counters,
};
use crate::{
    memory::MemoryStore,
    mvcc::{Head, HistoryLimits, LeaseKeeper, Mutation, Reply},
};

/// What can be chosen about a store on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// How much history is kept in memory.
    pub history: HistoryLimits,
    /// The size at which a log segment is full.
    pub segment_bytes: u64,
    /// A log smaller than this is not worth a snapshot; a larger one is when it outgrows the state.
    pub snapshot_bytes: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { history: HistoryLimits::default(), segment_bytes: 16 << 20, snapshot_bytes: 8 << 20 }
    }
}

/// What a store holds and has written since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The latest revision.
    pub revision: Revision,
    /// The keys that exist.
    pub entries: usize,
    /// The bytes of their keys and values.
    pub state_bytes: u64,
    /// The bytes of the log since the last snapshot.
    pub log_bytes: u64,
    /// All bytes written to files.
    pub bytes_written: u64,
    /// Syncs of files and of the directory.
    pub syncs: u64,
    /// Group commits.
    pub commits: u64,
    /// Snapshots written.
    pub snapshots: u64,
}

/// A store on disk.
///
/// Everything durable is in the log before it is acknowledged or read. Relaxed writes are written with the next durable
/// one, or by [`close`](Self::close). Dropping the store without closing it is like a crash, and as safe.
pub struct DiskStore {
    committer: Arc<Committer>,
}

impl DiskStore {
    /// Opens the store in a directory, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the directory cannot be used or another store has it open,
    /// [`Corrupt`](ErrorKind::Corrupt) where it is damaged, [`NotSupported`](ErrorKind::NotSupported) where its format
    /// is of another version.
    pub async fn open(path: impl Into<PathBuf>, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Result<Self> {
        let path = path.into();
        let made = spawn.run_blocking("store.make", move || {
            let place = path.display().to_string();
            RealFiles::new(path).map_err(|error| unusable("cannot make", &place, error))
        });
        let files = made.await.ok_or_else(panicked)??;
        Self::open_on(Arc::new(files), clock, spawn, DiskOptions::default()).await
    }

    /// Opens the store in anything that behaves like a directory.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub async fn open_on(
        files: Arc<dyn Files>,
        clock: Arc<dyn Clock>,
        spawn: Arc<dyn Spawn>,
        options: DiskOptions,
    ) -> Result<Self> {
        let recovered = spawn.run_blocking("store.open", move || {
            let place = files.place();
            let lock = files.lock().map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => {
                    Error::new(ErrorKind::Unavailable, format!("{place} is in use by {error}; stop it first"))
                }
                _ => unusable("cannot lock", &place, error),
            })?;
            let counters = Arc::new(Counters::default());
            Ok((recover::recover(&files, counters, &options)?, lock))
        });
        let (found, lock) = recovered.await.ok_or_else(panicked)??;
        let leases = LeaseKeeper::new(clock, spawn);
        Ok(Self { committer: Committer::new(found.head, found.reserved, found.log, lock, leases, options) })
    }

    /// Writes what is only in memory and gives the directory free. Reads go on; writes are refused and watches end.
    ///
    /// # Errors
    ///
    /// Those of a write. The directory is free even then.
    pub async fn close(&self) -> Result<()> {
        self.committer.close().await
    }

    /// What the store holds and has written.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (head, counters) = (self.head(), &self.committer.counters);
        Stats {
            revision: head.revision,
            entries: head.entries.len(),
            state_bytes: head.bytes,
            log_bytes: self.committer.log_bytes(),
            bytes_written: counters.bytes.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            commits: counters.frames.load(Ordering::Relaxed),
            snapshots: counters.snapshots.load(Ordering::Relaxed),
        }
    }

    fn head(&self) -> Arc<Head> {
        self.committer.published.head()
    }
}

#[async_trait]
impl Store for DiskStore {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Option<Arc<Entry>>> {
        self.head().get(key, at)
    }

    async fn list(&self, spec: &ListSpec) -> Result<Listing> {
        self.head().list(spec)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        let put = |op: &Op| if let Op::Put { value, .. } = op { value.len() } else { 0 };
        if txn.ops.iter().map(put).sum::<usize>() > record::MAX_TXN_BYTES {
            return Err(Error::new(ErrorKind::TooLarge, "a transaction is larger than the log can take"));
        }
        let relaxed = txn.durability == Durability::Relaxed;
        self.committer.commit(Mutation::Txn(txn), relaxed).await.map(Reply::into_outcome)
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<WatchStream> {
        self.committer.published.watch(&range, None, after)
    }

    async fn watch_picked(&self, range: KeyRange, pick: Pick, after: Revision) -> Result<WatchStream> {
        self.committer.published.watch(&range, Some(pick), after)
    }

    async fn latest(&self) -> Result<Revision> {
        Ok(self.head().revision)
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.committer.commit(Mutation::Compact(revision), false).await.map(drop)
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        let lease = self.committer.commit(Mutation::Grant(ttl), false).await.map(Reply::into_lease)?;
        // The time runs from now, not from before the sync. One that has ended already cannot be helped.
        let _ = self.committer.renew(lease);
        self.committer.leases.granted(self.committer.writer());
        Ok(lease)
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        self.committer.renew(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.committer.commit(Mutation::Revoke(lease), false).await.map(drop)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }
}

#[async_trait]
impl Snapshots for DiskStore {
    async fn fork(&self) -> Result<Arc<dyn Store>> {
        let leases = &self.committer.leases;
        let leases = LeaseKeeper::new(Arc::clone(leases.clock()), Arc::clone(leases.spawn()));
        Ok(Arc::new(MemoryStore::from_tip(self.committer.shown(), leases, self.committer.options.history)))
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.head();
        f.debug_struct("DiskStore")
            .field("place", &self.committer.place)
            .field("revision", &head.revision.0)
            .field("entries", &head.entries.len())
            .finish_non_exhaustive()
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.committer.published.close();
    }
}

fn unusable(what: &str, place: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what} {place}")).with_source(error)
}

fn panicked() -> Error {
    Error::new(ErrorKind::Internal, "opening a store panicked")
}

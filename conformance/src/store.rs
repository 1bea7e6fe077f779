//! What every [`Store`] must keep, and every [`Snapshots`](windlass_kernel::store::Snapshots).
//!
//! Checks wait for events, never for wall time; time passes only through [`Fixture::advance`].

mod durability;
mod history;
mod leases;
mod progress;
mod reads;
mod snapshots;
mod watches;

use std::{fmt, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture};
use windlass_kernel::{
    Revision, Store,
    store::{Change, Durability, Entry, Key, KeyRange, LeaseId, ListSpec, Op, ReadAt, Txn, TxnOutcome, WatchStream},
};

use crate::{Need, NotRun};

/// Makes a store's clock go on by so much, and lets what became due begin.
pub type Advance = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Ends a store as a crash would, and opens what it left behind.
pub type Restart = Box<dyn FnOnce(Arc<dyn Store>) -> BoxFuture<'static, Fixture> + Send>;

/// A fresh, empty store and what a check may do to its surroundings.
pub struct Fixture {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Moves its clock.
    pub advance: Advance,
    /// Crashes and reopens it; `None` for stores without durable storage.
    pub restart: Option<Restart>,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("store", &self.store).finish_non_exhaustive()
    }
}

/// One check of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name, a sentence in snake case.
    pub name: &'static str,
    /// What it needs that not every fixture has.
    pub need: Option<Need>,
    run: fn(Fixture) -> BoxFuture<'static, ()>,
}

impl Check {
    /// Runs the check on a fresh store, or says why that is not possible.
    ///
    /// # Errors
    ///
    /// [`NotRun`] where the fixture lacks what the check needs.
    ///
    /// # Panics
    ///
    /// Where the contract is broken.
    pub async fn run(&self, fresh: Fixture) -> Result<(), NotRun> {
        let met = |need: Need| match need {
            Need::Restart => fresh.restart.is_some(),
            Need::Snapshots => fresh.store.snapshots().is_some(),
        };
        if let Some(need) = self.need.filter(|need| !met(*need)) {
            return Err(NotRun { check: self.name, need });
        }
        (self.run)(fresh).await;
        Ok(())
    }
}

/// Every check, for harnesses that report them one by one.
#[must_use]
pub fn checks() -> Vec<Check> {
    [
        history::CHECKS,
        reads::CHECKS,
        watches::CHECKS,
        progress::CHECKS,
        leases::CHECKS,
        durability::CHECKS,
        snapshots::CHECKS,
    ]
    .concat()
}

/// Runs every check, each on a store of its own, and tells which ones could not be run.
///
/// # Panics
///
/// Where the contract is broken.
#[must_use = "what was not run has not passed"]
pub async fn run<F: Future<Output = Fixture>>(fresh: impl Fn() -> F) -> Vec<NotRun> {
    let mut not_run = vec![];
    for check in checks() {
        tracing::debug!(check = check.name, "store suite");
        not_run.extend(check.run(fresh().await).await.err());
    }
    not_run
}

fn key(text: &str) -> Key {
    text.into()
}

fn put(name: &str, value: &str) -> Op {
    Op::Put { key: key(name), value: value.to_owned().into(), lease: None }
}

fn leased(name: &str, lease: LeaseId) -> Op {
    Op::Put { key: key(name), value: "leased".into(), lease: Some(lease) }
}

fn delete(name: &str) -> Op {
    Op::Delete { key: key(name) }
}

fn txn<const N: usize>(ops: [Op; N]) -> Txn {
    Txn { ops: ops.into(), ..Txn::default() }
}

/// Applies operations without conditions.
async fn apply<const N: usize>(store: &Arc<dyn Store>, ops: [Op; N]) -> Revision {
    applied(&store.txn(txn(ops)).await.expect("an unconditional write applies"))
}

async fn relaxed<const N: usize>(store: &Arc<dyn Store>, ops: [Op; N]) -> Revision {
    let txn = Txn { durability: Durability::Relaxed, ..txn(ops) };
    applied(&store.txn(txn).await.expect("an unconditional write applies"))
}

#[track_caller]
fn applied(outcome: &TxnOutcome) -> Revision {
    let TxnOutcome::Applied { revision, .. } = outcome else { panic!("the write was refused: {outcome:?}") };
    *revision
}

async fn get(store: &Arc<dyn Store>, name: &str, at: ReadAt) -> Option<Arc<Entry>> {
    store.get(&key(name), at).await.expect("the key can be read")
}

/// A range as `key=value` words.
async fn list(store: &Arc<dyn Store>, prefix: &str, at: ReadAt) -> String {
    let spec = ListSpec { range: KeyRange::prefix(prefix), at, limit: None };
    words(&store.list(&spec).await.expect("the range can be listed").entries)
}

fn words(entries: &[Arc<Entry>]) -> String {
    let word = |entry: &Arc<Entry>| format!("{}={}", entry.key.as_str(), value(entry));
    entries.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn value(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.value).into_owned()
}

async fn watch(store: &Arc<dyn Store>, prefix: &str, after: Revision) -> WatchStream {
    store.watch(KeyRange::prefix(prefix), after).await.expect("the range can be watched")
}

async fn next(watch: &mut WatchStream) -> Arc<Change> {
    watch.next().await.expect("the watch goes on").expect("the watch keeps up")
}

/// The next changes as `revision:key:before>after` words.
async fn take(watch: &mut WatchStream, count: usize) -> String {
    let mut seen = vec![];
    for _ in 0..count {
        seen.push(word(&*next(watch).await));
    }
    seen.join(" ")
}

fn word(change: &Change) -> String {
    let side = |entry: &Option<Arc<Entry>>| entry.as_deref().map(value).unwrap_or_default();
    format!("{}:{}:{}>{}", change.revision, change.key().as_str(), side(&change.before), side(&change.after))
}

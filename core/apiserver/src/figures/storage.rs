//! How long calls of the store took, by resource (upstream: `apiserver/pkg/storage/etcd3/metrics`, whose names say `etcd`).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::RwLock;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use windlass_kernel::{
    Clock, Result, Revision, Store,
    store::{
        Condition, Entry, Key, KeyRange, LeaseId, ListSpec, Listing, Op, Pick, ReadAt, Snapshots, Txn, TxnOutcome,
        WatchStream,
    },
};

const BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    group: String,
    operation: &'static str,
    resource: String,
}

/// What is done to the store.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Get,
    List,
    Create,
    Update,
    Delete,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// What a transaction does to the first key that it writes; nothing where it writes none.
    fn of(txn: &Txn) -> Option<(Self, &Key)> {
        let creates =
            |key: &Key| txn.conditions.iter().any(|held| matches!(held, Condition::Absent(own) if own == key));
        Some(match txn.ops.first()? {
            Op::Put { key, .. } if creates(key) => (Self::Create, key),
            Op::Put { key, .. } => (Self::Update, key),
            Op::Delete { key } => (Self::Delete, key),
        })
    }
}

/// The figures of one operation on one resource.
#[derive(Clone, Debug)]
struct Cell {
    requests: Counter,
    durations: Histogram,
}

type Row = [OnceLock<Cell>; 5];

/// The calls of a store.
#[derive(Debug)]
pub(crate) struct Calls {
    requests: Family<Call, Counter>,
    errors: Family<Call, Counter>,
    durations: Family<Call, Histogram, fn() -> Histogram>,
    /// By `group/resource` as keys have it, so that a call makes no labels.
    rows: RwLock<BTreeMap<String, Arc<Row>>>,
}

impl Calls {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("etcd_requests", "Calls of the store", self.requests.clone());
        registry.register("etcd_request_errors", "Calls of the store that failed", self.errors.clone());
        registry.register("etcd_request_duration_seconds", "How long calls of the store took", self.durations.clone());
    }

    fn count(&self, operation: Operation, key: &str, took: Duration, failed: bool) {
        let place = place(key);
        let row = self.row(place);
        let label = || {
            let (group, resource) = place.split_once('/').unwrap_or((place, ""));
            let group = if group == "core" { "" } else { group };
            Call { group: group.to_owned(), operation: operation.as_str(), resource: resource.to_owned() }
        };
        let cell = row[operation as usize].get_or_init(|| {
            let label = label();
            Cell {
                requests: self.requests.get_or_create_owned(&label),
                durations: self.durations.get_or_create_owned(&label),
            }
        });
        cell.requests.inc();
        cell.durations.observe(took.as_secs_f64());
        if failed {
            self.errors.get_or_create(&label()).inc();
        }
    }

    fn row(&self, place: &str) -> Arc<Row> {
        if let Some(row) = self.rows.read().get(place) {
            return Arc::clone(row);
        }
        Arc::clone(self.rows.write().entry(place.to_owned()).or_default())
    }
}

/// The group and plural that a key begins with: `/registry/apps/deployments/…` is of `apps/deployments`.
fn place(key: &str) -> &str {
    let rest = key.strip_prefix("/registry/").unwrap_or_default();
    let mut slashes = rest.match_indices('/').map(|(at, _)| at);
    let end = slashes.nth(1).unwrap_or(rest.len());
    &rest[..end]
}

/// A store whose calls are counted, and where.
pub(crate) fn measured(store: Arc<dyn Store>, clock: &Arc<dyn Clock>) -> (Arc<dyn Store>, Arc<Calls>) {
    let calls = Arc::new(Calls {
        requests: Family::default(),
        errors: Family::default(),
        durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        rows: RwLock::default(),
    });
    let measured = Measured { inner: store, clock: Arc::clone(clock), calls: Arc::clone(&calls) };
    (Arc::new(measured), calls)
}

struct Measured {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    calls: Arc<Calls>,
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Measured {
    fn since(&self, started: Duration) -> Duration {
        self.clock.uptime().saturating_sub(started)
    }
}

// A method that fell back to a trait default would skip the store's own version of it.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Store for Measured {
    async fn get(&self, key: &Key, at: ReadAt) -> Result<Option<Arc<Entry>>> {
        let started = self.clock.uptime();
        let done = self.inner.get(key, at).await;
        self.calls.count(Operation::Get, key.as_str(), self.since(started), done.is_err());
        done
    }

    async fn list(&self, spec: &ListSpec) -> Result<Listing> {
        let started = self.clock.uptime();
        let done = self.inner.list(spec).await;
        self.calls.count(Operation::List, spec.range.start.as_str(), self.since(started), done.is_err());
        done
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        let written = Operation::of(&txn).map(|(operation, key)| (operation, key.clone()));
        let started = self.clock.uptime();
        let done = self.inner.txn(txn).await;
        if let Some((operation, key)) = written {
            self.calls.count(operation, key.as_str(), self.since(started), done.is_err());
        }
        done
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<WatchStream> {
        self.inner.watch(range, after).await
    }

    async fn watch_picked(&self, range: KeyRange, pick: Pick, after: Revision) -> Result<WatchStream> {
        self.inner.watch_picked(range, pick, after).await
    }

    async fn latest(&self) -> Result<Revision> {
        self.inner.latest().await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.inner.compact(revision).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        self.inner.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<()> {
        self.inner.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.inner.revoke(lease).await
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.inner.snapshots()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_is_of() {
        assert_eq!(place("/registry/core/pods/default/a"), "core/pods");
        assert_eq!(place("/registry/apps/deployments/"), "apps/deployments");
        assert_eq!(place("/registry/flowcontrol.apiserver.k8s.io/"), "flowcontrol.apiserver.k8s.io/");
        assert_eq!(place("/elsewhere"), "");
    }

    #[test]
    fn a_transaction_is_told_by_its_first_write() {
        let (a, b) = (Key::from("/a"), Key::from("/b"));
        let put = |key: &Key| Op::Put { key: key.clone(), value: bytes::Bytes::new(), lease: None };
        let check = |conditions: Vec<Condition>, ops: Vec<Op>, expect: Option<&str>| {
            let txn = Txn { conditions, ops, ..Txn::default() };
            assert_eq!(Operation::of(&txn).map(|(operation, _)| operation.as_str()), expect);
        };
        check(vec![Condition::Absent(a.clone())], vec![put(&a), put(&b)], Some("create"));
        check(vec![Condition::Absent(b)], vec![put(&a)], Some("update"));
        check(vec![], vec![Op::Delete { key: a }], Some("delete"));
        check(vec![], vec![], None);
    }
}

//! Volumes of claims and drivers: found by asking the cluster, brought to the node by a driver, and taken away again.
//!
//! Each is written down before its driver is asked for anything, and struck out after the driver has taken all of it away:
//! an agent that is killed in between is followed by one that goes on from there.

mod attach;
mod find;
mod grow;
mod mount;
mod unmount;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{
    future::{Either, select},
    lock::{Mutex as Turn, OwnedMutexGuard},
};
use parking_lot::Mutex;
use windlass_kernel::{ClockExt, Error, ErrorKind, Result, Task};

use super::worker::Round;
use crate::{
    drivers::Drivers,
    volume::{
        record::{self, Record},
        stored::unique_name,
    },
};

/// How long a driver may take over one call (upstream: the same).
const PATIENCE: Duration = Duration::from_secs(120);

/// What went wrong with a driver's volume, for the pod's events.
#[derive(Clone, Debug)]
pub(super) struct Unmounted {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

impl Unmounted {
    /// Before it was known what the volume is.
    fn unknown(volume: &str, why: &str) -> Self {
        let text = format!(
            "Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], \
             failed to process volumes=[{volume}]: {why}"
        );
        Self { reason: "FailedMount", text }
    }
}

/// A volume of a claim or driver that a pod has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where it is on the node: a folder, or a device.
    pub(super) path: PathBuf,
    pub(super) read_only: bool,
}

/// Held during a call on a volume.
type OneAtATime = Turn<()>;

/// All volumes of drivers on the node.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    pub(crate) drivers: Drivers,
    /// By pod and name.
    records: Mutex<BTreeMap<(String, String), Record>>,
    /// One call at a time on a volume, by driver and handle.
    turns: Mutex<BTreeMap<(String, String), Weak<OneAtATime>>>,
}

impl Storage {
    /// Goes on from what earlier agents wrote down. Blocks.
    pub(crate) fn open(drivers: Drivers, pods: &Path) -> Self {
        let storage = Self { drivers, ..Self::default() };
        for record in record::all(pods) {
            storage.enter(record);
        }
        storage
    }

    /// The uids of the pods that have volumes here, each with its namespace and name.
    pub(crate) fn pods(&self) -> BTreeMap<String, (String, String)> {
        let records = self.records.lock();
        let of = |record: &Record| (record.uid.clone(), (record.namespace.clone(), record.pod.clone()));
        records.values().map(of).collect()
    }

    fn enter(&self, record: Record) {
        if record.attached {
            self.drivers.take_into_use(&unique_name(&record.driver, &record.handle));
        }
        self.records.lock().insert((record.uid.clone(), record.name.clone()), record);
    }

    fn leave(&self, record: &Record) {
        let mut records = self.records.lock();
        records.remove(&(record.uid.clone(), record.name.clone()));
        if !records.values().any(|other| same(other, record)) {
            self.drivers.take_out_of_use(&unique_name(&record.driver, &record.handle));
        }
    }

    /// What a pod has of a driver by that name of its own, once it has all of it.
    pub(crate) fn shown(&self, uid: &str, volume: &str) -> Option<Record> {
        self.of(uid).into_iter().find(|record| record.volume == volume && record.published)
    }

    fn of(&self, uid: &str) -> Vec<Record> {
        self.records.lock().values().filter(|record| record.uid == uid).cloned().collect()
    }

    fn known(&self, uid: &str, name: &str) -> Option<Record> {
        self.records.lock().get(&(uid.to_owned(), name.to_owned())).cloned()
    }

    /// Whether another pod has the volume, too.
    fn shared(&self, record: &Record) -> bool {
        let other = |other: &&Record| same(other, record) && other.uid != record.uid;
        self.records.lock().values().any(|known| other(&known))
    }

    /// Waits for the turn of a call on a volume.
    async fn turn(&self, record: &Record) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock();
            turns.retain(|_, turn| turn.strong_count() > 0);
            let key = (record.driver.clone(), record.handle.clone());
            let known = turns.get(&key).and_then(Weak::upgrade);
            let turn = known.unwrap_or_default();
            turns.insert(key, Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }
}

fn same(one: &Record, other: &Record) -> bool {
    (&one.driver, &one.handle) == (&other.driver, &other.handle)
}

/// What a pod's worker remembers of its volumes of claims and drivers.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) places: BTreeMap<String, Place>,
    /// Those that are looked at again from time to time, and when.
    again: BTreeMap<String, Again>,
    due: Option<jiff::Timestamp>,
    /// Asks drivers how volumes are.
    asks: Option<Task>,
}

impl Stored {
    /// Drivers are not asked any more how volumes are.
    pub(super) fn ask_no_more(&mut self) {
        self.asks = None;
    }
}

/// Why a volume is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// Its claim may have come to wait for this node, or it may not be well.
    Grows,
    /// It is not known to be there, or its driver wants to be asked again and again.
    Anew,
}

impl Round<'_> {
    /// Asks a driver, and no longer than it may take.
    async fn ask<T: Send>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.inner.needs.clock.timeout(PATIENCE, call).await?
    }

    /// Waits for something that the pod needs, as long as it is not to end.
    pub(super) async fn unless_it_ends<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        match select(Box::pin(work), Box::pin(self.handle.sooner(None))).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right(_) => Err(Error::new(ErrorKind::Unavailable, "the pod is to end")),
        }
    }
}

//! The volume drivers of a node, and which volumes that have to be attached are in use there.
//!
//! The agent brings volumes to pods by them; the host tells the cluster of them. Whoever finds a driver adds it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use event_listener::Event;
use parking_lot::Mutex;
use windlass_kernel::{Clock, ClockExt, Error, ErrorKind, Result, VolumeDriver, volume::NodeInfo};

/// How long a driver may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(30);

/// The volume drivers of one node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Drivers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Debug, Default)]
struct State {
    drivers: BTreeMap<String, Known>,
    /// By the names that a node's status has for volumes.
    in_use: BTreeSet<String>,
    /// How often anything of this has changed.
    version: u64,
}

#[derive(Clone, Debug)]
struct Known {
    driver: Arc<dyn VolumeDriver>,
    node: NodeInfo,
}

impl Drivers {
    /// Asks a driver for its name and its node, and adds it. One of the same name is replaced.
    ///
    /// # Errors
    ///
    /// Those of the driver; [`NotSupported`](ErrorKind::NotSupported) where it brings no volumes to nodes.
    pub async fn add(&self, driver: Arc<dyn VolumeDriver>, clock: &dyn Clock) -> Result<String> {
        let name = clock.timeout(PATIENCE, driver.info()).await??.name;
        let lacks = || Error::new(ErrorKind::NotSupported, format!("driver {name} brings no volumes to nodes"));
        let service = driver.node().ok_or_else(lacks)?;
        let node = clock.timeout(PATIENCE, service.node_info()).await??;
        self.change(|state| {
            state.drivers.insert(name.clone(), Known { driver: Arc::clone(&driver), node });
            true
        });
        Ok(name)
    }

    /// Forgets a driver. What it brought to the node stays there until it is back.
    pub fn remove(&self, name: &str) {
        self.change(|state| state.drivers.remove(name).is_some());
    }

    /// The driver of that name, or why it cannot be had.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<dyn VolumeDriver>, String> {
        let state = self.0.state.lock();
        let missing = || format!("driver name {name} not found in the list of registered CSI drivers");
        state.drivers.get(name).map(|known| Arc::clone(&known.driver)).ok_or_else(missing)
    }

    /// The drivers that there are.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.state.lock().drivers.keys().cloned().collect()
    }

    /// What each driver calls this node.
    pub(crate) fn nodes(&self) -> BTreeMap<String, NodeInfo> {
        let state = self.0.state.lock();
        state.drivers.iter().map(|(name, known)| (name.clone(), known.node.clone())).collect()
    }

    /// A volume is in use from now on.
    pub(crate) fn take_into_use(&self, volume: &str) {
        self.change(|state| state.in_use.insert(volume.to_owned()));
    }

    /// A volume is in use no more.
    pub(crate) fn take_out_of_use(&self, volume: &str) {
        self.change(|state| state.in_use.remove(volume));
    }

    /// The volumes that are in use, by the names that a node's status has for them.
    #[must_use]
    pub fn in_use(&self) -> Vec<String> {
        self.0.state.lock().in_use.iter().cloned().collect()
    }

    /// Waits until anything is not as it was at a version; begins with 0. Answers the version that it has come to.
    pub(crate) async fn changed_since(&self, version: u64) -> u64 {
        loop {
            let changed = self.0.changed.listen();
            let now = self.0.state.lock().version;
            if now != version {
                return now;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.0.state.lock();
        if change(&mut state) {
            state.version += 1;
            drop(state);
            self.0.changed.notify(usize::MAX);
        }
    }
}

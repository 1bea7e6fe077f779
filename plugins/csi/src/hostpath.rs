//! A driver whose volumes are folders and files of one machine: folders are mounted by bind, block volumes are loop devices, and
//! a volume that is asked for with a file system (`fs_type`) is a file with that on a loop device.
//!
//! All state is below one folder, and in the kernel's own tables of mounts and loop devices, so that a driver that was killed
//! at any instant goes on from what is there. A volume's size is kept to by block volumes and file systems; in folders it is
//! what usage is measured against. It needs root, `losetup` on the machine for all but folders, and the programs of a file
//! system (`mkfs.ext4` and `resize2fs`, or `mkfs.xfs` and `xfs_growfs`) with `fsfreeze` for those.

mod controller;
mod devices;
mod node;
mod records;
mod snapshots;
mod systems;
mod targets;
mod tools;
mod usage;
mod volumes;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg};
use windlass_kernel::{
    Clock, Error, ErrorKind, Result, Spawn, VolumeDriver,
    volume::{DriverInfo, Expansion, Topology, VolumeController, VolumeNode},
};

use self::{records::Store, tools::Tools};
use crate::{machine::busy::Busy, skel::Setup};

/// What a [`HostPath`] is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The driver's name.
    pub name: String,
    /// The folder that everything is below. It is made if it is missing.
    pub root: PathBuf,
    /// The node's name.
    pub node: String,
    /// How many bytes all volumes and snapshots together may have; `None` for what the file system has.
    pub capacity: Option<u64>,
}

/// How often the lock is tried for, and how long between.
const ATTEMPTS: u32 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// The name that a driver has unless it is told another.
pub const NAME: &str = "hostpath.csi.windlass.dev";

impl Settings {
    /// A driver of the usual name.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>, node: impl Into<String>) -> Self {
        Self { name: NAME.into(), root: root.into(), node: node.into(), capacity: None }
    }
}

/// The driver. Clones share everything.
#[derive(Clone, Debug)]
pub struct HostPath {
    inner: Arc<Inner>,
    spawn: Arc<dyn Spawn>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    store: Store,
    clock: Arc<dyn Clock>,
    /// The volumes, snapshots and paths that calls work on.
    busy: Busy,
    /// They have the lock: two drivers in one folder would undo each other's work.
    tools: Tools,
}

impl HostPath {
    /// Opens the folder, and clears away what a killed driver had begun.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) where another driver has the folder;
    /// [`Unavailable`](ErrorKind::Unavailable) where it cannot be used.
    pub fn open(settings: Settings, setup: Setup) -> Result<Self> {
        let root = &settings.root;
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("cannot use the folder {}", root.display())).with_source(error)
        };
        fs::create_dir_all(root).map_err(failed)?;
        let lock = fs::File::create(root.join("lock")).map_err(failed)?;
        let alone = alone(lock).map_err(|error| {
            let message = format!("another driver works in {}", root.display());
            Error::new(ErrorKind::AlreadyExists, message).with_source(error)
        })?;
        let store = Store::open(root).map_err(failed)?;
        let Setup { clock, spawn } = setup;
        let inner = Inner { settings, store, clock, busy: Busy::default(), tools: Tools::new(alone) };
        inner.release()?;
        Ok(Self { inner: Arc::new(inner), spawn })
    }

    /// Runs work that blocks, while no other call has any of `keys`. It goes on when nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        keys: &[&str],
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        self.inner.busy.run(keys, &self.spawn, move || work(&inner)).await
    }
}

/// Takes the lock. A tool that a killed driver had started holds it until it has ended.
#[allow(clippy::disallowed_methods, reason = "a driver is opened before there is anything that could be kept waiting")]
fn alone(mut lock: fs::File) -> Result<Flock<fs::File>, nix::Error> {
    for _ in 0..ATTEMPTS {
        match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(alone) => return Ok(alone),
            Err((again, _)) => lock = again,
        }
        std::thread::sleep(PAUSE);
    }
    Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)
}

impl Inner {
    /// Where this node is.
    fn topology(&self) -> Topology {
        let key = format!("topology.{}/node", self.settings.name);
        Topology(BTreeMap::from([(key, self.settings.node.clone())]))
    }

    /// Whether what is true of a place is true of this node.
    fn is_in(&self, place: &Topology) -> bool {
        let own = self.topology().0;
        place.0.iter().all(|(key, value)| own.get(key) == Some(value))
    }
}

#[async_trait]
impl VolumeDriver for HostPath {
    async fn info(&self) -> Result<DriverInfo> {
        Ok(DriverInfo {
            name: self.inner.settings.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            manifest: BTreeMap::new(),
            topology: true,
            expansion: Some(Expansion::Online),
        })
    }

    async fn ready(&self) -> Result<bool> {
        self.run(&[], |inner| inner.store.look().map(|()| true)).await
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        Some(self)
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        Some(self)
    }
}

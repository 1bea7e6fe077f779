//! A driver whose volumes are folders of NFS exports, as csi-driver-nfs has them: a folder is made below an export for each
//! volume, and mounted where it is published. Volumes that somebody else made are told by their server and share.
//!
//! What is known of a volume lies in the export itself, so that a driver may run anywhere; what is published where lies in the
//! node's own folder. It needs root, and a kernel with an NFS client. There is no version 3, whose locks need helpers.

mod controller;
mod id;
mod kernel;
mod node;
mod parameters;
mod records;
mod share;
mod volumes;

use std::{fs, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use windlass_kernel::{
    Clock, Error, ErrorKind, Result, Spawn, VolumeDriver,
    volume::{DriverInfo, Expansion, VolumeController, VolumeNode},
};

use self::records::Records;
pub use self::{id::Export, kernel::KernelMounter, share::Mounter};
use crate::{
    machine::{busy::Busy, mounts},
    skel::Setup,
};

/// The name that a driver has unless it is told another.
pub const NAME: &str = "nfs.csi.windlass.dev";

/// What an [`Nfs`] is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The driver's name.
    pub name: String,
    /// The folder for what is published on this node, and for exports while volumes are made in them. It is made if it is
    /// missing.
    pub root: PathBuf,
    /// The node's name.
    pub node: String,
}

impl Settings {
    /// A driver of the usual name.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>, node: impl Into<String>) -> Self {
        Self { name: NAME.into(), root: root.into(), node: node.into() }
    }
}

/// The driver. Clones share everything.
#[derive(Clone, Debug)]
pub struct Nfs {
    inner: Arc<Inner>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    mounter: Arc<dyn Mounter>,
    /// What is published where.
    targets: Records,
    /// Where exports are mounted while volumes are made.
    mounts: PathBuf,
    /// The volumes and paths that calls work on.
    busy: Busy,
}

impl Nfs {
    /// Opens the folder, and takes away what a killed driver had mounted in it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the folder cannot be used.
    pub fn open(mut settings: Settings, mounter: Arc<dyn Mounter>, setup: Setup) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let message = format!("cannot use the folder {}", settings.root.display());
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        };
        let places = ["mounts", "targets"].map(|name| settings.root.join(name));
        places.iter().try_for_each(fs::create_dir_all).map_err(failed)?;
        settings.root = settings.root.canonicalize().map_err(failed)?;
        let mounts = settings.root.join("mounts");
        for mount in mounts::mounts()?.iter().rev().filter(|mount| mount.at.starts_with(&mounts)) {
            mounter.unmount(&mount.at)?;
        }
        let targets = Records::below(&settings.root, "targets");
        let inner = Inner { settings, mounter, targets, mounts, busy: Busy::default() };
        Ok(Self { inner: Arc::new(inner), clock: setup.clock, spawn: setup.spawn })
    }

    /// Runs work that blocks, while no other call has any of `keys`. It goes on when nobody waits for it any more, as calls on
    /// exports whose server is away do.
    async fn run<T: Send + 'static>(
        &self,
        keys: &[&str],
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        self.inner.busy.run(keys, &self.spawn, move || work(&inner)).await
    }
}

#[async_trait]
impl VolumeDriver for Nfs {
    async fn info(&self) -> Result<DriverInfo> {
        Ok(DriverInfo {
            name: self.inner.settings.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            expansion: Some(Expansion::Online),
            ..DriverInfo::default()
        })
    }

    async fn ready(&self) -> Result<bool> {
        self.run(&[], |inner| inner.targets.look().map(|()| true)).await
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        Some(self)
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        Some(self)
    }
}

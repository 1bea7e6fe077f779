//! Exports that are mounted, for their folders to be made and removed.

use std::{
    ffi::OsStr,
    fmt::Debug,
    fs, io,
    path::{Path, PathBuf},
};

use windlass_kernel::Result;

use super::{
    Inner,
    id::Export,
    records::{Records, failed},
};
use crate::machine::{beneath::Folder, mounts};

/// The driver's own folder in an export.
pub(super) const OWN: &str = ".windlass-csi";

/// The records' folder in that.
const VOLUMES: &str = "volumes";

/// Mounts exports. Its calls block.
///
/// [`KernelMounter`](super::KernelMounter) is the one that drivers have; another is for machines whose kernel has no NFS.
pub trait Mounter: Debug + Send + Sync + 'static {
    /// Mounts an export at a folder that exists, with options as `mount` has them.
    ///
    /// # Errors
    ///
    /// [`NotFound`](windlass_kernel::ErrorKind::NotFound) where the server does not have the path;
    /// [`Invalid`](windlass_kernel::ErrorKind::Invalid) for options that cannot be.
    fn mount(&self, export: &Export, at: &Path, options: &[String]) -> Result<()>;

    /// Takes the mount on top of a path away.
    ///
    /// # Errors
    ///
    /// [`Conflict`](windlass_kernel::ErrorKind::Conflict) while it is in use.
    fn unmount(&self, at: &Path) -> Result<()>;

    /// Takes the mount on top of a path away although its server does not answer. What was not written yet is lost.
    ///
    /// # Errors
    ///
    /// [`Internal`](windlass_kernel::ErrorKind::Internal) where it cannot be taken away even so.
    fn abandon(&self, at: &Path) -> Result<()>;
}

/// A share that is mounted for as long as this lives.
#[derive(Debug)]
pub(super) struct Share<'a> {
    inner: &'a Inner,
    at: PathBuf,
}

impl Inner {
    /// Mounts a share at a place of its own, of which no two calls have the same at once.
    pub(super) fn share(&self, export: &Export, name: &str, options: &[String]) -> Result<Share<'_>> {
        let at = self.mounts.join(name);
        fs::create_dir_all(&at).map_err(|error| failed("make", &at, error))?;
        let share = Share { inner: self, at };
        if mounts::at(&share.at)?.is_none() {
            self.mounter.mount(export, &share.at, options)?;
        }
        Ok(share)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mounted = mounts::at(&self.at).is_ok_and(|mount| mount.is_some());
        if mounted && let Err(error) = self.inner.mounter.unmount(&self.at) {
            // It is taken away when the driver starts again.
            tracing::warn!(at = %self.at.display(), %error, "a share stays mounted");
            return;
        }
        // It goes once it is empty.
        let _ = fs::remove_dir(&self.at);
    }
}

impl Share<'_> {
    pub(super) fn at(&self) -> &Path {
        &self.at
    }

    /// The records of volumes in this share.
    pub(super) fn records(&self) -> Records {
        Records::below(&self.at, Path::new(OWN).join(VOLUMES))
    }

    // What is in a share is its users', the driver's own folder in it not excepted: whoever may write in the root of a share
    // can put links there. Everything is done by folders that are held open, on the way to which no link is followed.

    fn root(&self) -> Result<Folder> {
        Folder::open(&self.at).map_err(|error| failed("open", &self.at, error))
    }

    /// A folder of the share, if it is there. Each must be let go before the share is.
    pub(super) fn folder(&self, folder: &str) -> Result<Option<Folder>> {
        found(self.root()?.below(Path::new(folder))).map_err(|error| failed("open", &self.at.join(folder), error))
    }

    /// A folder of the share, made where it is missing.
    pub(super) fn make(&self, folder: &str) -> Result<Folder> {
        self.root()?.make(Path::new(folder)).map_err(|error| failed("make", &self.at.join(folder), error))
    }

    /// What a folder lies in, made where it is missing, and its name there.
    pub(super) fn around<'f>(&self, folder: &'f str) -> Result<(Folder, &'f OsStr)> {
        let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        Ok((self.make(above)?, OsStr::new(name)))
    }

    /// Where things are built or taken apart.
    pub(super) fn own(&self) -> Result<Folder> {
        self.make(OWN)
    }

    /// Takes away what was being built, or taken apart.
    pub(super) fn discard(&self, name: &str) -> Result<()> {
        let Some(own) = self.folder(OWN)? else { return Ok(()) };
        own.remove(name.as_ref()).map_err(|error| failed("delete", &own.path().join(name), error))
    }

    /// Takes the driver's own folder away where nothing is in it.
    pub(super) fn tidy(&self) {
        // Something may be in them.
        if let Ok(Some(own)) = self.folder(OWN) {
            let _ = own.remove_empty(VOLUMES.as_ref());
        }
        if let Ok(root) = self.root() {
            let _ = root.remove_empty(OWN.as_ref());
        }
    }
}

fn found(opened: io::Result<Folder>) -> io::Result<Option<Folder>> {
    match opened {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

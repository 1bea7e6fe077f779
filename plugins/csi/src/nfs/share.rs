//! Exports that are mounted, for their folders to be made and removed.

use std::{
    fmt::Debug,
    fs, io,
    path::{Path, PathBuf},
};

use windlass_kernel::{Error, ErrorKind, Result};

use super::{
    Inner,
    id::Export,
    records::{Records, failed},
};
use crate::machine::mounts;

/// The driver's own folder in an export.
pub(super) const OWN: &str = ".windlass-csi";

/// Mounts exports. Its calls block.
///
/// [`KernelMounter`](super::KernelMounter) is the one that drivers have; another is for machines whose kernel has no NFS.
pub trait Mounter: Debug + Send + Sync + 'static {
    /// Mounts an export at a folder that exists, with options as `mount` has them.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) where the server does not have the path; [`Invalid`](ErrorKind::Invalid) for options
    /// that cannot be.
    fn mount(&self, export: &Export, at: &Path, options: &[String]) -> Result<()>;

    /// Takes the mount on top of a path away.
    ///
    /// # Errors
    ///
    /// [`Conflict`](ErrorKind::Conflict) while it is in use.
    fn unmount(&self, at: &Path) -> Result<()>;
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
        Records::at(self.at.join(OWN).join("volumes"))
    }

    /// Where something is built or taken apart.
    pub(super) fn apart(&self, name: &str) -> Result<PathBuf> {
        let own = self.at.join(OWN);
        fs::create_dir_all(&own).map_err(|error| failed("make", &own, error))?;
        Ok(own.join(name))
    }

    /// A folder of the share. What is in a share is its users': no link of theirs leads the driver elsewhere.
    pub(super) fn folder(&self, folder: &str) -> Result<PathBuf> {
        let mut at = self.at.clone();
        for part in folder.split('/') {
            at.push(part);
            if fs::symlink_metadata(&at).is_ok_and(|file| file.is_symlink()) {
                let message = format!("{folder} leads through a symbolic link");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        Ok(at)
    }

    /// Takes the driver's own folder away where nothing is in it.
    pub(super) fn tidy(&self) {
        for folder in [self.at.join(OWN).join("volumes"), self.at.join(OWN)] {
            // Something may be in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Takes a folder away with all that is in it.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete", path, error)),
        _ => Ok(()),
    }
}

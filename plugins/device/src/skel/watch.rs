//! Tells that something came or went in a folder, by the kernel's inotify.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;
use windlass_kernel::{Error, ErrorKind, Result};

/// A folder that is watched. What happens before somebody waits is heard by the next who does.
#[derive(Debug)]
pub(super) struct Folder {
    /// To tokio it is a pipe that only the kernel writes into.
    kernel: Receiver,
    path: PathBuf,
    inode: u64,
}

impl Folder {
    /// Needs a tokio runtime.
    pub(super) fn watch(path: &Path) -> io::Result<Self> {
        let kernel = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let came = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let went = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
        kernel.add_watch(path, came | went | AddWatchFlags::IN_ONLYDIR)?;
        let kernel = Receiver::from_owned_fd_unchecked(OwnedFd::from(kernel))?;
        Ok(Self { kernel, path: path.into(), inode: fs::metadata(path)?.ino() })
    }

    /// Ends when something has come or gone since the last time.
    pub(super) async fn changed(&self) -> Result<()> {
        let message = || format!("the folder of device plugins {} cannot be watched any more", self.path.display());
        let failed = |error: io::Error| Error::new(ErrorKind::Unavailable, message()).with_source(error);
        // What is said is not read: whoever asked looks for himself.
        let mut events = [0; 4096];
        loop {
            self.kernel.readable().await.map_err(failed)?;
            match self.kernel.try_read(&mut events) {
                // The kernel says that, too, before it ends a watch with its folder.
                Ok(_) if fs::metadata(&self.path).map_err(failed)?.ino() == self.inode => return Ok(()),
                Ok(_) => return Err(Error::new(ErrorKind::Unavailable, message())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

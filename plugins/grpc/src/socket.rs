//! Socket files of servers.

use std::{
    fs, io,
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::Path,
};

use tokio::net::UnixListener;
use windlass_kernel::{Error, ErrorKind, Result};

/// Makes a socket file and listens there. One on which nobody listens any more is replaced. Needs a tokio runtime.
///
/// # Errors
///
/// [`AlreadyExists`](ErrorKind::AlreadyExists) where somebody listens there; [`Unavailable`](ErrorKind::Unavailable) where the
/// socket cannot be made.
pub fn listen(socket: &Path) -> Result<UnixListener> {
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Unavailable, format!("cannot listen on {}", socket.display())).with_source(error)
    };
    if fs::symlink_metadata(socket).is_ok_and(|file| file.file_type().is_socket()) {
        if UnixStream::connect(socket).is_ok() {
            let message = format!("somebody listens on {} already", socket.display());
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        fs::remove_file(socket).map_err(failed)?;
    }
    UnixListener::bind(socket).map_err(failed)
}

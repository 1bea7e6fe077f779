//! Network namespaces as files: what is done inside one, and how they are made.

use std::{fs::File, io, os::fd::AsFd, path::Path, thread};

use nix::{
    libc,
    sched::{CloneFlags, setns},
    sys::statfs::{FsType, fstatfs},
};
use windlass_kernel::{Error, ErrorKind, Result};

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS: FsType = FsType(0x6e73_6673);

/// Opens a network namespace.
pub(crate) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|error| {
        let kind = if error.kind() == io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Internal };
        Error::new(kind, format!("cannot open network namespace {}", path.display())).with_source(error)
    })?;
    // Procfs had them on itself before Linux 3.19; nobody runs that.
    let is = fstatfs(&file).is_ok_and(|stat| stat.filesystem_type() == NSFS);
    if is {
        Ok(file)
    } else {
        Err(Error::new(ErrorKind::Invalid, format!("{} is no network namespace", path.display())))
    }
}

/// Runs work inside a namespace, on a thread of its own: one that has changed its namespace is not used for anything else.
///
/// Sockets that are made there stay there.
pub(crate) fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let failed = |what: &str, error: io::Error| Error::new(ErrorKind::Internal, what.to_owned()).with_source(error);
    thread::scope(|scope| {
        let inside = thread::Builder::new().name("cni.netns".into()).spawn_scoped(scope, || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)
                .map_err(|error| failed("cannot enter the network namespace", error.into()))?;
            work()
        });
        let inside = inside.map_err(|error| failed("cannot start a thread", error))?;
        inside.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "work in the namespace panicked")))
    })
}

/// Whether two files are one namespace.
pub(crate) fn same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (one, other) = (one.metadata(), other.metadata());
    matches!((one, other), (Ok(one), Ok(other)) if (one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// This thread's own.
pub(crate) fn current() -> Result<File> {
    open(Path::new("/proc/thread-self/ns/net"))
}

/// Whether the error says that there is no such thing.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL))
}

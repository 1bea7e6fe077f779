//! Records as files of one folder, each replaced whole.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use serde::{Serialize, de::DeserializeOwned};
use windlass_kernel::{Error, ErrorKind, Result};

use crate::machine::beneath::Folder;

/// A folder of records.
#[derive(Clone, Debug)]
pub(super) struct Records {
    /// A folder whose path nobody else can change.
    root: PathBuf,
    /// Where the records are in it. Others may change what is there, and lead nowhere else by it.
    below: PathBuf,
}

impl Records {
    /// Those of a folder below another, which is made when the first is written.
    pub(super) fn below(root: impl Into<PathBuf>, below: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), below: below.into() }
    }

    /// Whether the folder is there.
    pub(super) fn look(&self) -> Result<()> {
        self.folder().map(drop).map_err(|error| failed("look at", &self.root.join(&self.below), error))
    }

    fn folder(&self) -> io::Result<Folder> {
        Folder::open(&self.root)?.below(&self.below)
    }

    pub(super) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.folder().and_then(|folder| folder.read(name(key, "json").as_ref())) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::new(ErrorKind::Corrupt, format!("{} is no record", self.path(key).display())).with_source(error)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &self.path(key), error)),
        }
    }

    pub(super) fn write<T: Serialize>(&self, key: &str, record: &T) -> Result<()> {
        let (next, own) = (name(key, "next"), name(key, "json"));
        let (next, own): (&OsStr, &OsStr) = (next.as_ref(), own.as_ref());
        let write = || {
            let folder = Folder::open(&self.root)?.make(&self.below)?;
            // One that was begun is left by a driver that was killed.
            folder.unlink(next)?;
            let mut file = folder.create(next, 0o644)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_all()?;
            folder.rename(next, &folder, own)?;
            File::open(folder.way())?.sync_all()
        };
        write().map_err(|error| failed("write", &self.path(key), error))
    }

    /// Takes a record away, and what was begun to be one.
    pub(super) fn forget(&self, key: &str) -> Result<()> {
        let forget = || {
            let folder = self.folder()?;
            ["next", "json"].iter().try_for_each(|end| folder.unlink(name(key, end).as_ref()))
        };
        match forget() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete", &self.path(key), error)),
            _ => Ok(()),
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(&self.below).join(name(key, "json"))
    }
}

fn name(key: &str, end: &str) -> String {
    format!("{key}.{end}")
}

/// An error of a file, for whoever asked.
pub(super) fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let link = error.kind() == io::ErrorKind::NotADirectory || error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    if link {
        let message = format!("cannot {what} {}: it leads through a symbolic link, or a file", path.display());
        return Error::new(ErrorKind::Invalid, message).with_source(error);
    }
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { ErrorKind::Full } else { ErrorKind::Internal };
    Error::new(kind, format!("cannot {what} {}", path.display())).with_source(error)
}

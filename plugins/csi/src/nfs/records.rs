//! Records as files of one folder, each replaced whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use windlass_kernel::{Error, ErrorKind, Result};

/// A folder of records.
#[derive(Clone, Debug)]
pub(super) struct Records(PathBuf);

impl Records {
    /// Those of a folder, which is made when the first is written.
    pub(super) fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Whether the folder is there.
    pub(super) fn look(&self) -> Result<()> {
        fs::metadata(&self.0).map(drop).map_err(|error| failed("look at", &self.0, error))
    }

    pub(super) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::new(ErrorKind::Corrupt, format!("{} is no record", path.display())).with_source(error)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    pub(super) fn write<T: Serialize>(&self, key: &str, record: &T) -> Result<()> {
        let path = self.path(key);
        let next = path.with_extension("next");
        let write = || {
            fs::create_dir_all(&self.0)?;
            let mut file = File::create(&next)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_all()?;
            fs::rename(&next, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(|error| failed("write", &path, error))
    }

    /// Takes a record away, and what was begun to be one.
    pub(super) fn forget(&self, key: &str) -> Result<()> {
        let path = self.path(key);
        for path in [path.with_extension("next"), path] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("delete", &path, error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.0.join(format!("{key}.json"))
    }
}

/// An error of a file, for whoever asked.
pub(super) fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { ErrorKind::Full } else { ErrorKind::Internal };
    Error::new(kind, format!("cannot {what} {}", path.display())).with_source(error)
}

//! What is attached, as a file for each: written before anything is made, removed after all of it is gone.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use serde::{Deserialize, Serialize};
use windlass_kernel::{Error, ErrorKind, Result, network::AttachmentKey};

use crate::{failed, hash, wire::PortMap};

#[derive(Clone, Debug)]
pub(super) struct Records {
    folder: PathBuf,
    locks: PathBuf,
}

/// One attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    pub(super) sandbox: String,
    pub(super) interface: String,
    /// Empty until they are reserved.
    pub(super) addresses: Vec<IpAddr>,
    /// The node's ports that lead to it, written before the rules are made.
    pub(super) ports: Vec<PortMap>,
    /// Whether its hardware address is checked, written before it is.
    pub(super) checked: bool,
}

impl Record {
    pub(super) fn new(key: &AttachmentKey) -> Self {
        Self { sandbox: key.sandbox.to_string(), interface: key.interface.clone(), ..Self::default() }
    }

    pub(super) fn key(&self) -> AttachmentKey {
        AttachmentKey::new(self.sandbox.as_str(), self.interface.as_str())
    }
}

/// The refusal of a second attach.
pub(super) fn attached(key: &AttachmentKey) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{key} is attached already: it has to be detached first"))
}

impl Records {
    pub(super) fn of(state_dir: &Path, network: &str) -> Self {
        // No network's name starts with a dot.
        Self { folder: state_dir.join(network), locks: state_dir.join(".locks") }
    }

    fn path(&self, key: &AttachmentKey) -> PathBuf {
        self.folder.join(format!("{},{}", key.sandbox, key.interface))
    }

    /// Waits until nobody else works on the key, in this process or another, and keeps others out while the answer lives.
    ///
    /// The lock of a process that dies is gone with it. All keys share one file and lock a byte of it each, so that locks
    /// leave nothing behind.
    pub(super) fn hold(&self, key: &AttachmentKey) -> Result<fs::File> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.locks);
        made.map_err(failed(format!("make {}", self.locks.display())))?;
        let path = self.locks.join(self.folder.file_name().unwrap_or_default());
        let file = fs::File::options().create(true).append(true).open(&path);
        let file = file.map_err(failed(format!("open {}", path.display())))?;
        let byte = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: i64::try_from(hash(&key.to_string()) >> 2).unwrap_or(0),
            l_len: 1,
            l_pid: 0,
        };
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLKW(&byte)) {
                Err(nix::errno::Errno::EINTR) => {}
                done => {
                    done.map_err(io::Error::from).map_err(failed(format!("lock a byte of {}", path.display())))?;
                    return Ok(file);
                }
            }
        }
    }

    /// Writes the first record of an attachment, which is held. One that is there is not touched.
    pub(super) fn begin(&self, record: &Record) -> Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(failed(format!("make {}", self.folder.display())))?;
        if self.path(&record.key()).exists() { Err(attached(&record.key())) } else { self.update(record) }
    }

    /// Writes the record of an attachment, which is held, whole or not at all.
    pub(super) fn update(&self, record: &Record) -> Result<()> {
        let (draft, path) = (self.draft(&record.key()), self.path(&record.key()));
        let text = serde_json::to_vec(record).unwrap_or_default();
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path));
        written.map_err(failed(format!("write {}", path.display())))
    }

    /// No sandbox's name starts with a dot.
    fn draft(&self, key: &AttachmentKey) -> PathBuf {
        self.folder.join(format!(".{},{}", key.sandbox, key.interface))
    }

    /// `None` for what was never begun, and for what cannot be read, as after a power failure.
    pub(super) fn read(&self, key: &AttachmentKey) -> Result<Option<Record>> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(format!("read {}", path.display()))(error)),
        }
    }

    /// Removes a record, and the draft that a process left which died while it wrote.
    pub(super) fn end(&self, key: &AttachmentKey) -> Result<()> {
        for path in [self.draft(key), self.path(key)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(format!("remove {}", path.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The keys of all records and drafts.
    pub(super) fn keys(&self) -> Result<BTreeSet<AttachmentKey>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(failed(format!("list {}", self.folder.display()))(error)),
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let key = |name: String| {
            let (sandbox, interface) = name.trim_start_matches('.').split_once(',')?;
            Some(AttachmentKey::new(sandbox, interface))
        };
        Ok(names.filter_map(key).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_begun_once_and_known_without_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::of(folder.path(), "pods");
        let key = AttachmentKey::new("abc", "eth0");
        let mut record = Record::new(&key);
        assert_eq!(records.read(&key).unwrap(), None);
        records.begin(&record).unwrap();
        assert!(records.begin(&record).unwrap_err().is(ErrorKind::AlreadyExists));
        record.addresses.push("10.0.0.2".parse().unwrap());
        records.update(&record).unwrap();
        assert_eq!(records.read(&key).unwrap(), Some(record));
        fs::write(records.path(&key), "").unwrap();
        fs::write(records.folder.join(".other,eth0"), "").unwrap();
        assert_eq!(records.read(&key).unwrap(), None);
        let other = AttachmentKey::new("other", "eth0");
        assert_eq!(records.keys().unwrap(), BTreeSet::from([key.clone(), other.clone()]));
        records.end(&other).unwrap();
        records.end(&key).unwrap();
        records.end(&key).unwrap();
        assert_eq!(records.keys().unwrap(), BTreeSet::new());
        assert_eq!(fs::read_dir(&records.folder).unwrap().count(), 0);
    }
}

//! What is on disk: a folder for each volume and snapshot, with a record and the content. It is built apart and comes into
//! place by one rename, and goes by another; so what is in place is whole.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use windlass_kernel::{Error, ErrorKind, Result};

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VolumeRecord {
    /// The name that it was asked for by.
    pub(super) name: String,
    /// In bytes.
    pub(super) capacity: u64,
    /// Whether it is a block device.
    pub(super) block: bool,
    /// The file system that it has; empty for a folder, and for a block device.
    #[serde(default)]
    pub(super) fs_type: String,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) source: Option<SourceRecord>,
    /// The nodes that it is attached to, and whether only for reading.
    pub(super) attached: BTreeMap<String, bool>,
    /// Whether it lives and dies with the pod that it is published for.
    pub(super) ephemeral: bool,
}

/// What a volume is a copy of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SourceRecord {
    Snapshot(String),
    Volume(String),
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotRecord {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) capacity: u64,
    pub(super) block: bool,
    /// The file system that its volume has.
    #[serde(default)]
    pub(super) fs_type: String,
    pub(super) created: Timestamp,
}

/// What a volume is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A folder, that is bound where it is shown.
    Folder,
    /// A file that is seen as a block device.
    Block,
    /// A file with a file system, that is mounted where it is staged.
    System,
}

impl Kind {
    pub(super) fn of(block: bool, fs_type: &str) -> Self {
        match (block, fs_type) {
            (true, _) => Self::Block,
            (false, "") => Self::Folder,
            (false, _) => Self::System,
        }
    }

    /// What the content is called: it tells the kinds apart in the kernel's tables, too.
    pub(super) fn content(self) -> &'static str {
        match self {
            Self::Folder => "data",
            Self::Block => "disk",
            Self::System => "image",
        }
    }
}

impl VolumeRecord {
    pub(super) fn kind(&self) -> Kind {
        Kind::of(self.block, &self.fs_type)
    }
}

impl SnapshotRecord {
    pub(super) fn kind(&self) -> Kind {
        Kind::of(self.block, &self.fs_type)
    }
}

/// A target path, written down before anything is made there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TargetRecord {
    /// The volume's key.
    pub(super) key: String,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

/// The folders.
#[derive(Clone, Debug)]
pub(super) struct Store {
    root: PathBuf,
}

/// The kinds of folders.
pub(super) const VOLUMES: &str = "volumes";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const TARGETS: &str = "targets";
const BUILDING: &str = "building";
const RECORD: &str = "record.json";

/// A key for a name: it can be a file's name whatever the name is, and always is the same.
pub(super) fn key(kind: char, name: &str) -> String {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}-{hex}")
}

/// Whether an id has the form of a key. No other is ever made a path.
pub(super) fn is_key(kind: char, id: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    id.len() == 34 && id.strip_prefix(kind).and_then(|id| id.strip_prefix('-')).is_some_and(|id| id.chars().all(hex))
}

impl Store {
    /// Makes the folders and clears what was being built.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        // What is in volumes is seen through mounts alone.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
        let building = root.join(BUILDING);
        if building.exists() {
            remove(&building)?;
        }
        for folder in [VOLUMES, SNAPSHOTS, TARGETS, BUILDING] {
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the folders are there.
    pub(super) fn look(&self) -> Result<()> {
        fs::metadata(self.root.join(VOLUMES)).map(drop).map_err(|error| self.failed("use", VOLUMES, error))
    }

    /// Where the content of a volume or snapshot is.
    pub(super) fn content(&self, folder: &str, key: &str, kind: Kind) -> PathBuf {
        self.root.join(folder).join(key).join(kind.content())
    }

    /// A record; `None` if there is none.
    pub(super) fn read<T: DeserializeOwned>(&self, folder: &str, key: &str) -> Result<Option<T>> {
        let path = self.record(folder, key);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Error::new(ErrorKind::Corrupt, format!("{} is no record", path.display())).with_source(error)
            }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(self.failed("read", key, error)),
        }
    }

    /// All records of a kind, by key.
    pub(super) fn all<T: DeserializeOwned>(&self, folder: &str) -> Result<BTreeMap<String, T>> {
        let entries = fs::read_dir(self.root.join(folder)).map_err(|error| self.failed("list", folder, error))?;
        let mut records = BTreeMap::new();
        for entry in entries.filter_map(io::Result::ok) {
            let key = entry.file_name().to_string_lossy().into_owned();
            if key.ends_with(".next") {
                // A killed driver was writing it: the record that it was to replace is there.
                continue;
            }
            // One that has just gone is none.
            if let Some(record) = self.read(folder, &key)? {
                records.insert(key, record);
            }
        }
        Ok(records)
    }

    /// Puts a new folder in place: its content first, by `fill`, then its record.
    pub(super) fn build<T: Serialize>(
        &self,
        folder: &str,
        key: &str,
        record: &T,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let apart = self.root.join(BUILDING).join(key);
        let failed = |error| self.failed("make", key, error);
        remove(&apart).map_err(failed)?;
        fs::create_dir(&apart).map_err(failed)?;
        let filled = fill(&apart)
            .and_then(|()| write(&apart.join(RECORD), record).map_err(failed))
            .and_then(|()| self.settle(&apart).map_err(failed))
            .and_then(|()| fs::rename(&apart, self.root.join(folder).join(key)).map_err(failed));
        if filled.is_err() {
            // What cannot be removed now is when the driver starts again.
            let _ = remove(&apart);
        }
        filled?;
        sync(&self.root.join(folder)).map_err(failed)
    }

    /// Replaces a record.
    pub(super) fn update<T: Serialize>(&self, folder: &str, key: &str, record: &T) -> Result<()> {
        let path = self.record(folder, key);
        let next = path.with_extension("next");
        let written = write(&next, record).and_then(|()| fs::rename(&next, &path));
        written.and_then(|()| sync(&self.root.join(folder))).map_err(|error| self.failed("write", key, error))
    }

    /// Takes a folder away, whole.
    pub(super) fn discard(&self, folder: &str, key: &str) -> Result<()> {
        let failed = |error| self.failed("delete", key, error);
        let gone = self.root.join(BUILDING).join(format!("{key}.gone"));
        remove(&gone).map_err(failed)?;
        match fs::rename(self.root.join(folder).join(key), &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        }
        sync(&self.root.join(folder)).map_err(failed)?;
        remove(&gone).map_err(failed)
    }

    /// Takes a record away that has no folder.
    pub(super) fn forget(&self, folder: &str, key: &str) -> Result<()> {
        match fs::remove_file(self.record(folder, key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("delete", key, error)),
            _ => Ok(()),
        }
    }

    fn record(&self, folder: &str, key: &str) -> PathBuf {
        let path = self.root.join(folder);
        if folder == TARGETS { path.join(key) } else { path.join(key).join(RECORD) }
    }

    /// Content is on disk before it comes into place.
    fn settle(&self, apart: &Path) -> io::Result<()> {
        nix::unistd::syncfs(File::open(apart)?).map_err(io::Error::from)
    }

    pub(super) fn failed(&self, what: &str, key: &str, error: io::Error) -> Error {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let kind = if full { ErrorKind::Full } else { ErrorKind::Internal };
        Error::new(kind, format!("cannot {what} {key} in {}", self.root.display())).with_source(error)
    }
}

fn write<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_become_paths() {
        let made = key('v', "../../etc/passwd\0 and more");
        assert!(is_key('v', &made), "{made}");
        assert_ne!(made, key('v', "another"));
        for id in ["", "v-", "../x", "s-00000000000000000000000000000000", "v-0000000000000000000000000000000G"] {
            assert!(!is_key('v', id), "{id}");
        }
    }

    #[test]
    fn what_was_being_built_is_gone_after_a_start_and_what_is_in_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let record = BTreeMap::from([("a".to_owned(), 1)]);
        store.build(VOLUMES, "whole", &record, |_| Ok(())).unwrap();
        let half = store.root().join(BUILDING).join("half");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("data"), "x").unwrap();
        let failed = store.build(VOLUMES, "never", &record, |_| Err(Error::new(ErrorKind::Full, "no")));
        failed.unwrap_err();

        let store = Store::open(folder.path()).unwrap();
        assert!(!half.exists());
        assert_eq!(store.all::<BTreeMap<String, i32>>(VOLUMES).unwrap().keys().collect::<Vec<_>>(), ["whole"]);
        store.discard(VOLUMES, "whole").unwrap();
        store.discard(VOLUMES, "whole").unwrap();
        assert_eq!(store.read::<BTreeMap<String, i32>>(VOLUMES, "whole").unwrap(), None);
    }
}

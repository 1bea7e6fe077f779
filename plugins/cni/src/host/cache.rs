//! What is attached, as files: the configuration and arguments of each ADD, and its result.
//!
//! The form is libcni's (`cniCacheV1`, in `results/`), so that one host finds what another attached.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_kernel::{
    Error, ErrorKind, Result,
    network::{Attachment, AttachmentKey},
};

use crate::wire::{self, AddResult, NetworkList, RuntimeConfig, Version};

const KIND: &str = "cniCacheV1";

#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// One attachment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Note {
    pub(super) kind: String,
    pub(super) container_id: String,
    /// The network's configuration, in base64.
    pub(super) config: String,
    pub(super) if_name: String,
    pub(super) network_name: String,
    #[serde(rename = "netns", skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cni_args: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) capability_args: Option<Value>,
    /// Absent while ADD has not succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Value>,
}

impl Note {
    pub(super) fn new(list: &NetworkList, attachment: &Attachment, result: Option<Value>) -> Self {
        let list = serde_json::to_vec(list).unwrap_or_default();
        Self {
            kind: KIND.into(),
            container_id: attachment.key.sandbox.to_string(),
            config: STANDARD.encode(list),
            if_name: attachment.key.interface.clone(),
            network_name: String::new(),
            namespace: attachment.namespace.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            cni_args: wire::arguments_to_wire(attachment),
            capability_args: serde_json::to_value(wire::wishes_to_wire(&attachment.wishes)).ok(),
            result,
        }
    }

    pub(super) fn key(&self) -> AttachmentKey {
        AttachmentKey::new(self.container_id.as_str(), self.if_name.as_str())
    }

    /// The configuration that it was made with.
    pub(super) fn list(&self) -> Result<NetworkList> {
        let broken = || Error::new(ErrorKind::Corrupt, format!("the note of {} holds no configuration", self.key()));
        let bytes = STANDARD.decode(&self.config).map_err(|error| broken().with_source(error))?;
        let text = String::from_utf8(bytes).map_err(|error| broken().with_source(error))?;
        NetworkList::parse(&text).map_err(|why| broken().with_source(why))
    }

    pub(super) fn result(&self, version: Version) -> Result<Option<AddResult>> {
        let read = |json: &Value| {
            AddResult::read(json, version).map_err(|why| {
                Error::new(ErrorKind::Corrupt, format!("the result of {} cannot be read: {why}", self.key()))
            })
        };
        self.result.as_ref().map(read).transpose()
    }

    /// What it was asked with; the caller's namespace goes before the one that was noted.
    pub(super) fn attachment(&self, asked: &Attachment) -> Attachment {
        let words: Vec<String> = self.cni_args.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (pod, arguments) = wire::arguments_from_wire(&words.join(";")).unwrap_or_default();
        let config = self.capability_args.clone().and_then(|args| serde_json::from_value::<RuntimeConfig>(args).ok());
        let wishes = config.and_then(|config| wire::wishes_from_wire(&config).ok()).unwrap_or_default();
        let noted = (!self.namespace.is_empty()).then(|| PathBuf::from(&self.namespace));
        Attachment { key: self.key(), namespace: asked.namespace.clone().or(noted), pod, arguments, wishes }
    }
}

impl Cache {
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.join("results") }
    }

    fn path(&self, network: &str, key: &AttachmentKey) -> PathBuf {
        self.folder.join(format!("{network}-{}-{}", key.sandbox, key.interface))
    }

    pub(super) fn read(&self, network: &str, key: &AttachmentKey) -> Result<Option<Note>> {
        Ok(read(&self.path(network, key))?.filter(|note| note.key() == *key))
    }

    /// The attachment in whatever network it is.
    pub(super) fn find(&self, key: &AttachmentKey) -> Result<Option<Note>> {
        Ok(self.notes()?.into_iter().find(|note| note.key() == *key))
    }

    /// All of a network.
    pub(super) fn all(&self, network: &str) -> Result<Vec<Note>> {
        Ok(self.notes()?.into_iter().filter(|note| note.network_name == network).collect())
    }

    fn notes(&self) -> Result<Vec<Note>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &self.folder, error)),
        };
        // Drafts start with a dot.
        let whole = entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
        let mut paths: Vec<_> = whole.map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().filter_map(|path| read(path).transpose()).collect()
    }

    /// Writes a note whole or not at all.
    pub(super) fn write(&self, note: &Note) -> Result<()> {
        let path = self.path(&note.network_name, &note.key());
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| failed("make", &self.folder, error))?;
        let text = serde_json::to_vec(note).unwrap_or_default();
        let draft = draft(&path);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft);
        file.and_then(|mut file| io::Write::write_all(&mut file, &text))
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|error| failed("write", &path, error))
    }

    pub(super) fn remove(&self, network: &str, key: &AttachmentKey) -> Result<()> {
        let path = self.path(network, key);
        // A host that died while it wrote left its draft.
        let _ = fs::remove_file(draft(&path));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => Ok(()),
        }
    }
}

fn draft(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}", path.file_name().unwrap_or_default().display()))
}

/// A note; what cannot be read as one (a power failure leaves empty files) is none.
fn read(path: &Path) -> Result<Option<Note>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().filter(|note: &Note| note.kind == KIND)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("cannot {what} {}", path.display())).with_source(error)
}

//! Ids of volumes, which say where they are: server, share, folder, name, and what becomes of the folder.

use std::fmt;

use ring::digest;
use serde::{Deserialize, Serialize};
use windlass_kernel::volume::VolumeId;

/// What parts of an id are separated by.
const BETWEEN: char = '#';

/// A folder that a server exports, or one in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The server's name or address.
    pub server: String,
    /// The path there, absolute.
    pub path: String,
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address of IPv6 has colons of its own.
        if self.server.contains(':') && !self.server.starts_with('[') {
            return write!(f, "[{}]:{}", self.server, self.path);
        }
        write!(f, "{}:{}", self.server, self.path)
    }
}

/// What becomes of a volume's folder when it is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OnDelete {
    /// It goes.
    #[default]
    Delete,
    /// It stays.
    Retain,
    /// It gets another name.
    Archive,
}

impl OnDelete {
    pub(super) fn read(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "" | "delete" => Some(Self::Delete),
            "retain" => Some(Self::Retain),
            "archive" => Some(Self::Archive),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Delete => "",
            Self::Retain => "retain",
            Self::Archive => "archive",
        }
    }
}

/// Where a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) server: String,
    /// The share's path, with one slash before it.
    pub(super) share: String,
    /// The volume's folder in it.
    pub(super) folder: String,
    /// What tells it from other volumes in the same folder; empty where the folder does.
    pub(super) name: String,
    pub(super) on_delete: OnDelete,
}

impl Location {
    pub(super) fn share(&self) -> Export {
        Export { server: self.server.clone(), path: self.share.clone() }
    }

    /// The volume's folder, to be mounted.
    pub(super) fn export(&self) -> Export {
        below(&self.share(), &self.folder)
    }

    /// What its record in its share is called.
    pub(super) fn key(&self) -> String {
        key(if self.name.is_empty() { &self.folder } else { &self.name })
    }

    /// What tells it from all volumes of all shares: where its share is mounted meanwhile.
    pub(super) fn place(&self) -> String {
        key(&[&self.server, &self.share, &self.key()].map(String::as_str).join(&BETWEEN.to_string()))
    }

    pub(super) fn id(&self) -> VolumeId {
        let share = self.share.trim_matches('/');
        let parts = [&self.server, share, &self.folder, &self.name, self.on_delete.word()];
        VolumeId::from(parts.join(&BETWEEN.to_string()).as_str())
    }

    /// What an id says; `None` where it says nothing of a place.
    pub(super) fn of(id: &VolumeId) -> Option<Self> {
        let mut parts = id.as_str().split(BETWEEN);
        let (server, share, folder) = (parts.next()?, parts.next()?, parts.next()?);
        let (name, on_delete) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if server.is_empty() || !is_folder(folder) || parts.next().is_some() {
            return None;
        }
        Some(Self {
            server: server.into(),
            share: format!("/{}", share.trim_matches('/')),
            folder: folder.into(),
            name: name.into(),
            on_delete: OnDelete::read(on_delete)?,
        })
    }
}

/// A folder of an export.
pub(super) fn below(export: &Export, folder: &str) -> Export {
    let path = format!("{}/{}", export.path.trim_end_matches('/'), folder.trim_matches('/'));
    Export { server: export.server.clone(), path }
}

/// Whether a path is one of a folder below another, and leads nowhere else.
pub(super) fn is_folder(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', BETWEEN]);
    path.split('/').all(part) && path.split('/').next() != Some(super::share::OWN)
}

/// A name for a folder: the volume's own where that can be one, and else one that is always the same for it.
pub(super) fn folder_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() <= 63 && name.chars().all(plain) && !name.starts_with(['.', '-']) { name.into() } else { key(name) }
}

/// A name that can be a file's, whatever it is made of.
pub(super) fn key(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(share: &str, folder: &str, name: &str, on_delete: OnDelete) -> Location {
        let (server, share) = ("nfs.example.com".into(), share.into());
        Location { server, share, folder: folder.into(), name: name.into(), on_delete }
    }

    #[test]
    fn ids_say_where_volumes_are() {
        let check = |location: Location, expect: &str| {
            assert_eq!(location.id().as_str(), expect);
            assert_eq!(Location::of(&location.id()), Some(location));
        };
        check(location("/srv/data", "pvc-1", "", OnDelete::Delete), "nfs.example.com#srv/data#pvc-1##");
        check(location("/", "a/b", "pvc-1", OnDelete::Archive), "nfs.example.com##a/b#pvc-1#archive");
    }

    #[test]
    fn ids_lead_nowhere_else() {
        for id in [
            "never-was",
            "../../etc",
            "/",
            "s#srv#../x",
            "s#srv#",
            "s#srv#a//b",
            "#srv#a",
            "s#srv#a#b#burn",
            "s##a####",
        ] {
            assert_eq!(Location::of(&id.into()), None, "{id}");
        }
    }

    #[test]
    fn the_same_folder_of_another_share_is_another_place() {
        let places = [("a", "/srv"), ("b", "/srv"), ("a", "/srv/x")].map(|(server, share)| {
            Location { server: server.into(), ..location(share, "pvc-1", "", OnDelete::Delete) }.place()
        });
        assert_eq!(places.iter().collect::<std::collections::BTreeSet<_>>().len(), places.len());
    }

    #[test]
    fn exports_are_written_as_mounts_want_them() {
        let export = |server: &str| Export { server: server.into(), path: "/srv".into() };
        assert_eq!(below(&export("a.example.com"), "/x/y/").to_string(), "a.example.com:/srv/x/y");
        assert_eq!(export("2001:db8::1").to_string(), "[2001:db8::1]:/srv");
        assert_eq!(export("[2001:db8::1]").to_string(), "[2001:db8::1]:/srv");
    }

    #[test]
    fn names_become_folders() {
        assert_eq!(folder_name("pvc-0a1b"), "pvc-0a1b");
        for name in ["../../../tmp/x", "-rf", "a b", ".windlass-csi", "a#b"] {
            let folder = folder_name(name);
            assert!(is_folder(&folder) && folder != name, "{folder}");
        }
    }
}

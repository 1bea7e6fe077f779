//! The kernel's table of mounts, and what changes it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use windlass_kernel::{Error, ErrorKind, Result, volume::Refusal};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The number of its file system.
    system: String,
    /// What of its file system it shows.
    shows: String,
    pub(crate) at: PathBuf,
}

/// A file or folder by its place in its own file system: that is what the table of mounts says of what is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    system: String,
    path: String,
}

impl Mount {
    /// Whether it is a bind of that.
    pub(crate) fn shows(&self, origin: &Origin) -> bool {
        self.system == origin.system && self.shows == origin.path
    }
}

impl Origin {
    /// All of a file system, by its number.
    pub(crate) fn whole(system: &str) -> Self {
        Self { system: system.into(), path: "/".into() }
    }
}

/// Where a path without links is in its file system. It need not exist.
pub(crate) fn origin(path: &Path) -> Result<Origin> {
    origin_in(&mounts()?, path)
        .ok_or_else(|| Error::new(ErrorKind::Internal, format!("{} is in no file system", path.display())))
}

fn origin_in(mounts: &[Mount], path: &Path) -> Option<Origin> {
    // Of several at one place the last is seen.
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.at));
    let around = around.max_by_key(|mount| mount.at.components().count())?;
    let below = path.strip_prefix(&around.at).ok()?;
    let path = Path::new(&around.shows).join(below).to_string_lossy().into_owned();
    Some(Origin { system: around.system.clone(), path })
}

/// All mounts, in the order in which they were made.
pub(crate) fn mounts() -> Result<Vec<Mount>> {
    // Of this thread: whoever runs in namespaces of a thread's own would be shown another's.
    let table = fs::read_to_string("/proc/thread-self/mountinfo")
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot read the table of mounts").with_source(error))?;
    Ok(table.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ').skip(2);
    let (system, shows, at) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Mount { system: system.into(), shows: unescaped(shows), at: unescaped(at).into() })
}

/// Spaces and the like are octal numbers there.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The mount on top of a path.
pub(crate) fn at(path: &Path) -> Result<Option<Mount>> {
    Ok(mounts()?.into_iter().rev().find(|mount| mount.at == path))
}

/// Shows `from` at `to`.
pub(crate) fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| failed("mount a volume", to, error))
}

/// Changes how a bound mount is used.
pub(crate) fn remount(at: &Path, flags: MsFlags) -> Result<()> {
    let flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>).map_err(|error| failed("mount a volume", at, error))
}

/// Takes the mount on top of a path away.
pub(crate) fn unmount(at: &Path) -> Result<()> {
    umount2(at, MntFlags::UMOUNT_NOFOLLOW).map_err(|error| failed("unmount a volume", at, error))
}

/// Takes the mount on top of a path away although its server does not answer: calls on it fail now, and whoever uses it still
/// keeps it for itself.
pub(crate) fn abandon(at: &Path) -> Result<()> {
    umount2(at, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW)
        .or_else(|_| umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW))
        .map_err(|error| failed("unmount a volume", at, error))
}

fn failed(what: &str, at: &Path, error: nix::Error) -> Error {
    let message = format!("cannot {what} at {}", at.display());
    let error_kind = match error {
        nix::Error::EBUSY => return Refusal::Precondition.error(format!("{message}: it is in use")).with_source(error),
        nix::Error::EPERM => ErrorKind::Forbidden,
        _ => ErrorKind::Internal,
    };
    Error::new(error_kind, message).with_source(io::Error::from(error))
}

/// What options of a mount mean. Those that only file systems know are refused.
pub(crate) fn flags(options: &[String]) -> Result<MsFlags> {
    let mut flags = MsFlags::empty();
    for option in options {
        flags |= match option.as_str() {
            "ro" => MsFlags::MS_RDONLY,
            "rw" | "bind" | "defaults" | "exec" | "suid" | "dev" | "relatime" => MsFlags::empty(),
            "noexec" => MsFlags::MS_NOEXEC,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noatime" => MsFlags::MS_NOATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            // Options may be secret: it is not named.
            _ => {
                let message = "a mount option is not one of ro, rw, noexec, nosuid, nodev, noatime and nodiratime";
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        };
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_table_are_read() {
        let line = r"36 35 98:0 /v/a\040b/data /mnt/c\134d ro,noatime shared:1 - ext4 /dev/vda rw";
        let expect = Mount { system: "98:0".into(), shows: "/v/a b/data".into(), at: r"/mnt/c\d".into() };
        assert_eq!(parse(line), Some(expect));
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn a_bound_folder_is_known_by_its_place_in_its_file_system() {
        let table =
            ["1 0 8:1 / / rw", "2 1 8:2 /srv /var rw", "3 1 8:2 /srv/x/data /mnt rw", "4 1 8:1 /x/data /else rw"];
        let mounts: Vec<Mount> = table.into_iter().filter_map(parse).collect();
        let origin = origin_in(&mounts, Path::new("/var/x/data")).unwrap();
        let shown: Vec<_> = mounts.iter().filter(|mount| mount.shows(&origin)).map(|mount| mount.at.clone()).collect();
        assert_eq!(shown, [Path::new("/mnt")]);
    }
}

//! The kernel's table of mounts, and what changes it.

use std::{fs, io, path::{Path, PathBuf}};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use windlass_kernel::{Error, ErrorKind, Result, volume::Refusal};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// What of its file system it shows.
    pub(super) shows: String,
    pub(super) at: PathBuf,
    pub(super) read_only: bool,
}

/// All mounts, in the order in which they were made.
pub(super) fn mounts() -> Result<Vec<Mount>> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|error| {
        Error::new(ErrorKind::Internal, "cannot read the table of mounts").with_source(error)
    })?;
    Ok(table.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ').skip(3);
    let (shows, at, options) = (fields.next()?, fields.next()?, fields.next()?);
    let read_only = options.split(',').any(|option| option == "ro");
    Some(Mount { shows: unescaped(shows), at: unescaped(at).into(), read_only })
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
pub(super) fn at(path: &Path) -> Result<Option<Mount>> {
    Ok(mounts()?.into_iter().rev().find(|mount| mount.at == path))
}

/// Shows `from` at `to`.
pub(super) fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| failed("mount a volume", to, error))
}

/// Changes how a bound mount is used.
pub(super) fn remount(at: &Path, flags: MsFlags) -> Result<()> {
    let flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>).map_err(|error| failed("mount a volume", at, error))
}

/// Takes the mount on top of a path away.
pub(super) fn unmount(at: &Path) -> Result<()> {
    umount2(at, MntFlags::UMOUNT_NOFOLLOW).map_err(|error| failed("unmount a volume", at, error))
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
pub(super) fn flags(options: &[String]) -> Result<MsFlags> {
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
        let expect = Mount { shows: "/v/a b/data".into(), at: r"/mnt/c\d".into(), read_only: true };
        assert_eq!(parse(line), Some(expect));
        assert_eq!(parse("garbage"), None);
    }
}

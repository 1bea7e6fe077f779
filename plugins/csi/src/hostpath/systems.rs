//! File systems in files: a volume that has one is as large as it was asked for, and not larger.

use std::{ffi::OsStr, path::Path};

use nix::mount::{MsFlags, mount};
use windlass_kernel::{Error, ErrorKind, Result};

use super::{
    devices::Device,
    tools::{Tools, package, there},
};

/// The file systems that the driver knows how to make and grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// ext2, ext3 and ext4.
    Ext,
    Xfs,
}

fn family(name: &str) -> Option<Family> {
    match name {
        "ext2" | "ext3" | "ext4" => Some(Family::Ext),
        "xfs" => Some(Family::Xfs),
        _ => None,
    }
}

/// Refuses what this machine cannot make. A file system that nobody names is none.
pub(super) fn makeable(name: &str) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    let refused = |why: String| Err(Error::new(ErrorKind::Invalid, format!("fs_type: {why}")));
    if family(name).is_none() {
        return refused(format!(
            "{name:?} is none that this driver makes: ask for ext4 or xfs, or for none, which is a folder"
        ));
    }
    let program = format!("mkfs.{name}");
    if !there(&program) {
        let package = package(&program);
        return refused(format!("{name} is not made on this machine: install {package}, which has {program}"));
    }
    Ok(())
}

/// The fewest bytes that a file system can have.
pub(super) fn least(name: &str) -> u64 {
    match family(name) {
        None => 0,
        // With less there is no room for a journal, and growth is not prepared for.
        Some(Family::Ext) => 4 << 20,
        // What mkfs.xfs refuses to go below.
        Some(Family::Xfs) => 300 << 20,
    }
}

/// Makes a file system in a file that is as large as it shall be.
pub(super) fn make(tools: &Tools, name: &str, file: &Path) -> Result<()> {
    // What the file held is nothing, so nobody is asked.
    let words: &[&str] = match family(name) {
        Some(Family::Xfs) => &["-q", "-f"],
        _ => &["-q", "-F", "-m", "0"],
    };
    let mut arguments: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    arguments.push(file.as_os_str());
    tools.run(&format!("mkfs.{name}"), &arguments).map(drop)
}

/// Mounts the file system on a device.
pub(super) fn show(name: &str, device: &Device, at: &Path) -> Result<()> {
    // A copy has the number of what it is a copy of, and both may be in use.
    let words = if family(name) == Some(Family::Xfs) { "nouuid" } else { "" };
    mount(Some(&device.path()), at, Some(name), MsFlags::empty(), Some(words)).map_err(|error| {
        let message = format!("cannot mount a volume at {}", at.display());
        let (kind, message) = match error {
            nix::Error::ENODEV => (ErrorKind::Unavailable, format!("{message}: load the kernel's module {name}")),
            nix::Error::EUCLEAN => (ErrorKind::Corrupt, format!("{message}: its {name} is damaged: repair it")),
            _ => (ErrorKind::Internal, message),
        };
        Error::new(kind, message).with_source(std::io::Error::from(error))
    })
}

/// Lets a mounted file system fill its device. One that does already stays as it is.
pub(super) fn grow(tools: &Tools, name: &str, device: &Device, at: &Path) -> Result<()> {
    let (program, what) = match family(name) {
        Some(Family::Xfs) => ("xfs_growfs", at.to_owned()),
        _ => ("resize2fs", device.path()),
    };
    tools.run(program, &[what.as_os_str()]).map(drop).map_err(|error| match family(name) {
        // The kernel wants more for it than for mounts.
        Some(Family::Ext) if !may_grow_mounted() => {
            let message = format!("cannot grow an {name} that is mounted: the driver lacks CAP_SYS_RESOURCE");
            Error::new(ErrorKind::Forbidden, message).with_source(error)
        }
        _ => error,
    })
}

/// Whether this process has CAP_SYS_RESOURCE (24), without which no ext4 grows that is mounted.
fn may_grow_mounted() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    has.and_then(|has| u64::from_str_radix(has.trim(), 16).ok()).is_some_and(|has| has & (1 << 24) != 0)
}

/// Lets the file system of a copy fill its file, which is larger than what it is a copy of and mounted nowhere. An xfs grows
/// when it is [settled](settle).
pub(super) fn stretch(tools: &Tools, name: &str, file: &Path) -> Result<()> {
    if family(name) == Some(Family::Xfs) {
        return Ok(());
    }
    // What was held still while it was copied is whole, but says that it is mounted.
    tools.run("e2fsck", &["-f".as_ref(), "-y".as_ref(), file.as_os_str()]).or_else(|error| match error.kind() {
        // It has mended something, and says so as a failure.
        ErrorKind::Internal => tools.run("e2fsck", &["-f".as_ref(), "-n".as_ref(), file.as_os_str()]),
        _ => Err(error),
    })?;
    tools.run("resize2fs", &[file.as_os_str()]).map(drop)
}

/// Grows what only grows once it is mounted.
pub(super) fn settle(tools: &Tools, name: &str, device: &Device, at: &Path) -> Result<()> {
    if family(name) == Some(Family::Xfs) { grow(tools, name, device, at) } else { Ok(()) }
}

/// Holds a mounted file system still: all that was written is in its file, and whoever writes waits.
#[derive(Debug)]
pub(super) struct Still<'a> {
    tools: &'a Tools,
    at: &'a Path,
}

impl<'a> Still<'a> {
    pub(super) fn hold(tools: &'a Tools, at: &'a Path) -> Result<Self> {
        tools.run("fsfreeze", &["--freeze".as_ref(), at.as_os_str()])?;
        Ok(Self { tools, at })
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.tools.run("fsfreeze", &["--unfreeze".as_ref(), self.at.as_os_str()]) {
            // It goes on when the driver starts again.
            tracing::error!(at = %self.at.display(), %error, "a volume is held still, and whoever writes to it waits");
        }
    }
}

/// Lets a file system go on that a killed driver held still. Most were not.
pub(super) fn release(tools: &Tools, at: &Path) {
    match tools.run("fsfreeze", &["--unfreeze".as_ref(), at.as_os_str()]) {
        Ok(_) => tracing::info!(at = %at.display(), "a volume that was held still goes on"),
        Err(error) => tracing::debug!(at = %at.display(), %error, "a volume was not held still"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_is_refused_by_name_and_with_what_helps() {
        makeable("").unwrap();
        let refused = makeable("ntfs").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.message().contains("\"ntfs\"") && refused.message().contains("ext4"), "{refused}");
        assert!(makeable("../sh").unwrap_err().is(ErrorKind::Invalid));
    }
}

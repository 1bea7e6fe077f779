//! Copies of files and folders with all that they have, sharing blocks where the file system can.
//!
//! It happens in this process, so that a driver that is killed leaves nobody who goes on copying.

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes, Metadata},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, SFlag, mknod};
use rustix::{
    fs::{SeekFrom as Part, XattrFlags, getxattr, ioctl_ficlone, listxattr, seek, setxattr},
    io::Errno,
};
use windlass_kernel::{Error, ErrorKind, Result};

/// Copies `from` to `to`, which does not exist.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    Copy::default().any(from, to).map_err(|error| {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let kind = if full { ErrorKind::Full } else { ErrorKind::Internal };
        Error::new(kind, format!("cannot copy {}", from.display())).with_source(error)
    })
}

/// What of a copy has been made.
#[derive(Debug, Default)]
struct Copy {
    /// Files of several names, by device and number, with the first name of their copies.
    linked: BTreeMap<(u64, u64), PathBuf>,
}

impl Copy {
    fn any(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(from)?;
        let kind = found.file_type();
        if !kind.is_dir() && found.nlink() > 1 {
            if let Some(first) = self.linked.get(&(found.dev(), found.ino())) {
                return fs::hard_link(first, to);
            }
            self.linked.insert((found.dev(), found.ino()), to.to_owned());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
            return lchown(to, Some(found.uid()), Some(found.gid()));
        }
        if kind.is_dir() {
            fs::create_dir(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                match self.any(&entry.path(), &to.join(entry.file_name())) {
                    // It has gone meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !entry.path().exists() => {}
                    other => other?,
                }
            }
        } else if kind.is_file() {
            contents(from, to, found.len())?;
        } else {
            let special = SFlag::from_bits_truncate(found.mode() & SFlag::S_IFMT.bits());
            let number = if kind.is_block_device() || kind.is_char_device() { found.rdev() } else { 0 };
            mknod(to, special, Mode::from_bits_truncate(found.mode() & 0o7777), number)?;
        }
        like(from, to, &found)
    }
}

/// Owner, attributes, mode and times, in the order in which one does not undo another.
fn like(from: &Path, to: &Path, found: &Metadata) -> io::Result<()> {
    chown(to, Some(found.uid()), Some(found.gid()))?;
    attributes(from, to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    if !found.is_file() && !found.is_dir() {
        return Ok(());
    }
    let times = FileTimes::new().set_accessed(found.accessed()?).set_modified(found.modified()?);
    File::open(to)?.set_times(times)
}

fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0; 1 << 16];
    let length = match listxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        let length = getxattr(from, name, &mut value[..])?;
        setxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

/// The bytes of a file; holes stay holes.
fn contents(from: &Path, to: &Path, length: u64) -> io::Result<()> {
    let (mut source, mut copy) = (File::open(from)?, File::create_new(to)?);
    if ioctl_ficlone(&copy, &source).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < length {
        let Some(begin) = part(&source, Part::Data(at))? else { break };
        let end = part(&source, Part::Hole(begin))?.unwrap_or(length);
        source.seek(SeekFrom::Start(begin))?;
        copy.seek(SeekFrom::Start(begin))?;
        let done = io::copy(&mut source.by_ref().take(end - begin), &mut copy)?;
        // It became shorter meanwhile.
        if done < end - begin {
            break;
        }
        at = end;
    }
    copy.set_len(length)
}

/// Where the next part of a file begins; `None` where there is none.
fn part(file: &File, which: Part) -> io::Result<Option<u64>> {
    match seek(file, which) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_copy_has_what_there_was_and_is_no_larger() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/words"), "words").unwrap();
        fs::set_permissions(from.join("a/words"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o1700)).unwrap();
        fs::hard_link(from.join("a/words"), from.join("again")).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        mknod(&from.join("pipe"), SFlag::S_IFIFO, Mode::S_IRUSR, 0).unwrap();
        let mut sparse = File::create(from.join("sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        sparse.seek(SeekFrom::Start(32 << 20)).unwrap();
        sparse.write_all(b"in the middle").unwrap();
        sparse.sync_all().unwrap();

        copy(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("a/words")).unwrap(), b"words");
        assert_eq!(fs::metadata(to.join("a/words")).unwrap().mode() & 0o7777, 0o4751);
        assert_eq!(fs::metadata(to.join("a/b")).unwrap().mode() & 0o7777, 0o1700);
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
        assert!(fs::symlink_metadata(to.join("pipe")).unwrap().file_type().is_fifo());
        let inode = |path: &str| fs::metadata(to.join(path)).unwrap().ino();
        assert_eq!(inode("a/words"), inode("again"));
        let (before, after) = (fs::metadata(from.join("sparse")).unwrap(), fs::metadata(to.join("sparse")).unwrap());
        assert_eq!((after.len(), after.mtime()), (before.len(), before.mtime()));
        assert!(after.blocks() * 512 < 1 << 20, "{} blocks", after.blocks());
        assert!(fs::read(to.join("sparse")).unwrap() == fs::read(from.join("sparse")).unwrap());
        copy(&from, &to).unwrap_err();
    }
}

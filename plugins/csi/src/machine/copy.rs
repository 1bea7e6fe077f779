//! Copies of files and folders with all that they have, sharing blocks where the file system can.
//!
//! It happens in this process, so that a driver that is killed leaves nobody who goes on copying.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, FileTimes, Metadata},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, SeekFrom as Part, Uid, XattrFlags, chownat, getxattr, ioctl_ficlone, linkat,
        listxattr, mkdirat, mknodat, readlinkat, seek, setxattr, symlinkat,
    },
    io::Errno,
};
use windlass_kernel::{Error, ErrorKind, Result};

use super::beneath::{Folder, path_of};

/// Folders in folders are copied down to here. Each is held open meanwhile, and the number of those is limited.
const DEEPEST: usize = 256;

/// Copies `from` to `to`, which does not exist. Only what is in `from` may be changed by others meanwhile, not how it is found.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = || {
        let ((from, name), (to, own)) = (parts(from)?, parts(to)?);
        Copy { top: &to, linked: BTreeMap::new() }.any(&from, name, &to, Path::new(own))
    };
    copied().map_err(|error| failed(from, error))
}

/// Copies a folder to a name in another, at which nothing is.
pub(crate) fn copy_folder(from: &Folder, to: &Folder, name: &OsStr) -> Result<()> {
    let copied = || {
        let found = fs::metadata(from.way())?;
        Copy { top: to, linked: BTreeMap::new() }.folder(from, &found, to, Path::new(name))
    };
    copied().map_err(|error| failed(from.path(), error))
}

fn parts(path: &Path) -> io::Result<(Folder, &OsStr)> {
    let none = || io::Error::new(io::ErrorKind::InvalidInput, "it is in no folder");
    let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(none)?;
    Ok((Folder::open(parent)?, name))
}

fn failed(from: &Path, error: io::Error) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { ErrorKind::Full } else { ErrorKind::Internal };
    Error::new(kind, format!("cannot copy {}", from.display())).with_source(error)
}

/// What of a copy has been made. What is copied is held before it is looked at, so that what is read is what was seen: whoever
/// makes it a link meanwhile does not lead the driver elsewhere.
#[derive(Debug)]
struct Copy<'a> {
    /// What the copy lies in.
    top: &'a Folder,
    /// Files of several names, by device and number, with the first name of their copies below that.
    linked: BTreeMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    /// Copies what is at a name. `at` is the copy's path below all, and its last part is its name in `to`.
    fn any(&mut self, from: &Folder, name: &OsStr, to: &Folder, at: &Path) -> io::Result<()> {
        let source = from.hold(name)?;
        let found = source.metadata()?;
        let (kind, own) = (found.file_type(), last(at));
        if kind.is_dir() {
            return self.folder(&Folder::of(source, from.path().join(name)), &found, to, at);
        }
        if found.nlink() > 1 {
            if let Some(first) = self.linked.get(&(found.dev(), found.ino())) {
                return self.link(first, to, own);
            }
            self.linked.insert((found.dev(), found.ino()), at.to_owned());
        }
        if kind.is_symlink() {
            symlinkat(readlinkat(&source, "", Vec::new())?, to, own)?;
            let (user, group) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
            return Ok(chownat(to, own, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?);
        }
        if kind.is_file() {
            let copy = to.create(own, 0o600)?;
            contents(File::open(path_of(&source))?, &copy, found.len())?;
            return like(&path_of(&source), &path_of(&copy), &found);
        }
        let number = if kind.is_block_device() || kind.is_char_device() { found.rdev() } else { 0 };
        mknodat(to, own, FileType::from_raw_mode(found.mode()), Mode::from_raw_mode(0o600), number)?;
        like(&path_of(&source), &path_of(&to.hold(own)?), &found)
    }

    fn folder(&mut self, from: &Folder, found: &Metadata, to: &Folder, at: &Path) -> io::Result<()> {
        if at.components().count() > DEEPEST {
            let message = format!("folders lie in folders, more than {DEEPEST} deep");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // What becomes of it is said when it is whole.
        mkdirat(to, last(at), Mode::from_raw_mode(0o700))?;
        let copy = to.child(last(at))?;
        for name in from.names()? {
            match self.any(from, &name, &copy, &at.join(&name)) {
                // It has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound && from.look(&name)?.is_none() => {}
                other => other?,
            }
        }
        like(&from.way(), &copy.way(), found)
    }

    /// Gives the copy of a file another name.
    fn link(&self, first: &Path, to: &Folder, name: &OsStr) -> io::Result<()> {
        let above = first.parent().unwrap_or(Path::new(""));
        let around =
            above.iter().try_fold(None::<Folder>, |at, name| at.as_ref().unwrap_or(self.top).child(name).map(Some))?;
        Ok(linkat(around.as_ref().unwrap_or(self.top), last(first), to, name, AtFlags::empty())?)
    }
}

fn last(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
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
fn contents(mut source: File, mut copy: &File, length: u64) -> io::Result<()> {
    if ioctl_ficlone(copy, &source).is_ok() {
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
    use std::{
        io::Write,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
    };

    use nix::sys::stat::{Mode, SFlag, mknod};

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
    #[test]
    fn a_copy_of_what_changes_has_nothing_from_elsewhere() {
        let base = tempfile::tempdir().unwrap();
        let (from, outside) = (base.path().join("from"), base.path().join("outside"));
        fs::create_dir_all(from.join("folder")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        fs::write(from.join("file"), "mine").unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // What is a file, or a folder, is a link elsewhere a moment later, and again what it was.
            scope.spawn(|| {
                let (file, folder) = (from.join("file"), from.join("folder"));
                while !done.load(Ordering::Relaxed) {
                    fs::remove_file(&file).unwrap();
                    symlink(outside.join("secret"), &file).unwrap();
                    fs::remove_dir(&folder).unwrap();
                    symlink(&outside, &folder).unwrap();
                    fs::remove_file(&file).unwrap();
                    fs::write(&file, "mine").unwrap();
                    fs::remove_file(&folder).unwrap();
                    fs::create_dir(&folder).unwrap();
                }
            });
            for round in 0..2000 {
                let to = base.path().join(format!("to-{round}"));
                // What was found to be there may be gone again.
                let copied = copy(&from, &to);
                let (file, folder) = (to.join("file"), to.join("folder"));
                let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
                assert!(is_link(&file) || fs::read(&file).is_ok_and(|bytes| bytes != b"secret") || !file.exists());
                assert!(is_link(&folder) || !folder.join("secret").exists(), "{copied:?}");
                fs::remove_dir_all(&to).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

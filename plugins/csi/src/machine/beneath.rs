//! Folders that are held open, and what is done in them by name. What is in them may be changed by others at any time: no link
//! of theirs is followed, whenever it comes to be.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata},
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat},
    io::Errno,
};

/// A file of records longer than this is none.
const LIMIT: u64 = 4 << 20;

/// A folder that is held open, for as long as its file system is to stay mounted: one cannot be taken away meanwhile.
#[derive(Debug)]
pub(crate) struct Folder {
    held: File,
    /// Where it was, for messages.
    path: PathBuf,
}

/// The path of what is held open, whatever has become of its names. It is good on this thread, while it is held.
pub(crate) fn path_of(held: &impl AsRawFd) -> PathBuf {
    format!("/proc/thread-self/fd/{}", held.as_raw_fd()).into()
}

impl Folder {
    /// A folder at a path that nobody else can change.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let held = openat(CWD, path, flags, Mode::empty())?.into();
        Ok(Self { held, path: path.to_owned() })
    }

    /// What was looked at and found to be a folder.
    pub(super) fn of(held: File, path: PathBuf) -> Self {
        Self { held, path }
    }

    /// Where it was when it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What leads to it, as [`path_of`] says.
    pub(crate) fn way(&self) -> PathBuf {
        path_of(&self.held)
    }

    /// What is at a name, held but not opened: nothing is read, and no device is touched.
    pub(super) fn hold(&self, name: &OsStr) -> io::Result<File> {
        Ok(openat(&self.held, single(name)?, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    /// A folder in it.
    pub(super) fn child(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = openat(&self.held, single(name)?, flags, Mode::empty())?.into();
        Ok(Self { held, path: self.path.join(name) })
    }

    /// A folder below it. Each part is opened by itself, so that none is a link.
    pub(crate) fn below(self, path: &Path) -> io::Result<Self> {
        path.iter().try_fold(self, |at, name| at.child(name))
    }

    /// The same, made where it is missing.
    pub(crate) fn make(self, path: &Path) -> io::Result<Self> {
        path.iter().try_fold(self, |at, name| {
            match mkdirat(&at.held, single(name)?, Mode::from_raw_mode(0o777)) {
                Err(error) if error != Errno::EXIST => return Err(error.into()),
                _ => {}
            }
            at.child(name)
        })
    }

    /// What is at a name, if anything is. Of a link, it is the link.
    pub(crate) fn look(&self, name: &OsStr) -> io::Result<Option<Metadata>> {
        match self.hold(name).and_then(|held| held.metadata()) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names in it.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        fs::read_dir(self.way())?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    /// What is in a small file.
    pub(crate) fn read(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        let held = self.hold(name)?;
        if !held.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file"));
        }
        let mut bytes = Vec::new();
        File::open(path_of(&held))?.take(LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A file that was not there.
    pub(crate) fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.held, single(name)?, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// Gives what is at a name another one, in this folder or another of the same file system.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, other: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.held, single(name)?, &to.held, single(other)?)?)
    }

    /// Takes a file or link away, if there is one.
    pub(crate) fn unlink(&self, name: &OsStr) -> io::Result<()> {
        gone(unlinkat(&self.held, single(name)?, AtFlags::empty()))
    }

    /// Takes an empty folder away, if there is one.
    pub(crate) fn remove_empty(&self, name: &OsStr) -> io::Result<()> {
        gone(unlinkat(&self.held, single(name)?, AtFlags::REMOVEDIR))
    }

    /// Takes a folder away with all that is in it, if there is one. Of a link, the link goes.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        // The last name is the only one that is looked up, and the standard library follows no links there or below.
        match fs::remove_dir_all(self.way().join(single(name)?)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

fn gone(done: rustix::io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error != Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

/// One name, that leads nowhere else.
fn single(name: &OsStr) -> io::Result<&OsStr> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no name", name.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_a_folder() {
        let base = tempfile::tempdir().unwrap();
        let (inside, outside) = (base.path().join("inside"), base.path().join("outside"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir_all(outside.join("b")).unwrap();
        fs::write(outside.join("file"), "precious").unwrap();
        symlink(&outside, inside.join("trap")).unwrap();
        symlink(outside.join("file"), inside.join("a/file")).unwrap();
        let open = || Folder::open(&inside).unwrap();
        open().below(Path::new("a/b")).unwrap();
        for path in ["trap", "trap/b", "../outside", "a/../../outside", "/", "a/file"] {
            open().below(Path::new(path)).unwrap_err();
            open().make(Path::new(path)).unwrap_err();
        }
        let held = open().below(Path::new("a")).unwrap();
        held.read(OsStr::new("file")).unwrap_err();
        held.create(OsStr::new("file"), 0o600).unwrap_err();
        // What becomes a link after it was opened is still what it was.
        fs::rename(inside.join("a"), inside.join("c")).unwrap();
        symlink(&outside, inside.join("a")).unwrap();
        held.remove(OsStr::new("b")).unwrap();
        held.unlink(OsStr::new("file")).unwrap();
        assert!(!inside.join("c/b").exists() && outside.join("b").is_dir());
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"precious");
        open().remove(OsStr::new("a")).unwrap();
        assert!(outside.join("b").is_dir() && !inside.join("a").exists());
    }
}

//! Where the files of programs are: a temporary folder of this machine, made when something needs it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use parking_lot::Mutex;
use tempfile::TempDir;

/// A folder that is removed with the last who holds it, or before. Clones share it; nothing is made before it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unmade,
    Made(Folder),
    Cleared,
}

/// The folder, of one process: a child that was forked from it has no part in it.
#[derive(Debug)]
struct Folder {
    held: Option<TempDir>,
    process: u32,
}

impl Folder {
    fn path(&self) -> Option<&Path> {
        self.held.as_ref().filter(|_| self.process == process::id()).map(TempDir::path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.path().is_none()
            && let Some(held) = self.held.take()
        {
            // It is the parent's to remove.
            let _ = held.keep();
        }
    }
}

impl Disk {
    /// The folder.
    ///
    /// # Errors
    ///
    /// Those of making it; also where it was cleared, or is another process's.
    pub fn folder(&self) -> io::Result<PathBuf> {
        let mut state = self.0.lock();
        if let State::Unmade = *state {
            let held = tempfile::Builder::new().prefix("windlass-").tempdir()?;
            *state = State::Made(Folder { held: Some(held), process: process::id() });
        }
        let path = if let State::Made(folder) = &*state { folder.path() } else { None };
        path.map(Path::to_owned).ok_or_else(|| io::Error::other("the folder is gone"))
    }

    /// The folder, where it is made and not cleared.
    pub(super) fn made(&self) -> Option<PathBuf> {
        if let State::Made(folder) = &*self.0.lock() { folder.path().map(Path::to_owned) } else { None }
    }

    /// Removes the folder for all who share it. It is not made again.
    pub fn clear(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Cleared);
        drop(before);
    }

    /// Another folder with the same in it, which goes on by itself.
    ///
    /// # Errors
    ///
    /// Those of reading and writing.
    pub fn copied(&self) -> io::Result<Self> {
        let copy = Self::default();
        if let Some(path) = self.made() {
            copy_all(&path, &copy.folder()?)?;
        }
        Ok(copy)
    }
}

/// Copies what is in a folder. What goes away meanwhile is left out.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target, kind) = (entry.path(), to.join(entry.file_name()), entry.file_type()?);
        let copied = if kind.is_symlink() {
            fs::read_link(&source).and_then(|link| std::os::unix::fs::symlink(link, &target))
        } else if kind.is_dir() {
            copy_all(&source, &target)
        } else if kind.is_file() {
            fs::copy(&source, &target).map(drop)
        } else {
            Ok(())
        };
        match copied {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_goes_on_by_itself_and_both_go_with_their_owners() {
        let disk = Disk::default();
        assert!(disk.copied().unwrap().made().is_none(), "nothing is made that nobody asked for");
        let folder = disk.folder().unwrap();
        fs::create_dir(folder.join("a")).unwrap();
        fs::write(folder.join("a/f"), "1").unwrap();
        std::os::unix::fs::symlink("f", folder.join("a/link")).unwrap();
        let copy = disk.copied().unwrap();
        fs::write(folder.join("a/f"), "2").unwrap();
        let other = copy.folder().unwrap();
        assert_eq!(fs::read_to_string(other.join("a/link")).unwrap(), "1");
        drop((disk, copy));
        assert!(!folder.exists() && !other.exists());
    }
}

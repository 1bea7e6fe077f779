//! How full volumes are: counted, since a folder is no file system of its own.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use windlass_kernel::{Error, ErrorKind, Result};

/// What a folder or file takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes on the disk.
    pub(super) bytes: u64,
    /// Files and folders, without the top one.
    pub(super) inodes: u64,
}

/// Counts what is there. What goes away meanwhile does not count.
pub(super) fn of(path: &Path) -> Result<Taken> {
    let mut taken = Taken::default();
    count(path, &mut taken).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("cannot count what is in {}", path.display())).with_source(error)
    })?;
    Ok(taken)
}

fn count(path: &Path, taken: &mut Taken) -> io::Result<()> {
    let mut folders = vec![path.to_owned()];
    let top = fs::symlink_metadata(path)?;
    if !top.is_dir() {
        taken.bytes += top.blocks() * 512;
        return Ok(());
    }
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries.filter_map(io::Result::ok) {
            let Ok(file) = entry.path().symlink_metadata() else { continue };
            taken.inodes += 1;
            taken.bytes += file.blocks() * 512;
            if file.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_depths_count() {
        let folder = tempfile::tempdir().unwrap();
        let empty = of(folder.path()).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), vec![1; 10_000]).unwrap();
        let full = of(folder.path()).unwrap();
        assert_eq!((empty.inodes, full.inodes), (0, 2));
        assert!(full.bytes >= empty.bytes + 10_000, "{full:?}");
    }
}

//! What folders take on their disks. Counted, since a folder of the agent's is no file system of its own.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt, path::Path};

use windlass_kernel::node::Space;

/// What a folder takes with all that is in it, itself included, as kubelets count. Blocks.
///
/// Other file systems below it are left out, what goes meanwhile does not count, and what has several names counts once. Fails
/// where the folder itself cannot be looked at; what cannot be looked at below it is left out.
pub(crate) fn usage(path: &Path) -> io::Result<Space> {
    let top = fs::symlink_metadata(path)?;
    let mut taken = Space { bytes: top.blocks() * 512, inodes: 1 };
    let (mut folders, mut linked) = (vec![path.to_owned()], BTreeSet::new());
    if !top.is_dir() {
        return Ok(taken);
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // Of a link, it is the link.
            let Ok(file) = entry.metadata() else { continue };
            if file.dev() != top.dev() || (file.nlink() > 1 && !file.is_dir() && !linked.insert(file.ino())) {
                continue;
            }
            taken.bytes += file.blocks() * 512;
            taken.inodes += 1;
            if file.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_folder_counts_once() {
        let folder = std::env::temp_dir().join(format!("windlass-usage-{}", std::process::id()));
        fs::create_dir_all(folder.join("a")).unwrap();
        usage(&folder.join("none")).unwrap_err();
        let empty = usage(&folder).unwrap();
        assert_eq!(empty.inodes, 2, "a folder counts, too");
        fs::write(folder.join("a/file"), vec![1; 100_000]).unwrap();
        let one = usage(&folder).unwrap();
        assert!((100_000..200_000).contains(&(one.bytes - empty.bytes)), "{one:?}");
        fs::hard_link(folder.join("a/file"), folder.join("again")).unwrap();
        assert_eq!(usage(&folder).unwrap(), one);
        std::os::unix::fs::symlink("/", folder.join("elsewhere")).unwrap();
        assert_eq!(usage(&folder).unwrap().inodes, 4);
        assert_eq!(usage(&folder.join("elsewhere")).unwrap().inodes, 1);
        fs::remove_dir_all(folder).unwrap();
    }
}

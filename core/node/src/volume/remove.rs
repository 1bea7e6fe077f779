//! Removes folders, and never what is mounted in them. Blocks: run it apart.

use std::{
    ffi::OsStr,
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    unistd::{UnlinkatFlags, unlinkat},
};

/// Removes a folder with all that is in it. Gone is success.
///
/// A mount in it is not crossed, whatever the table of mounts said before: that would delete somebody's data. It is an error,
/// and what was not removed by then stays.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(io::Error::other(format!("{} is no folder that could be removed", folder.display())));
    };
    match fs::File::open(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(opened) => one(opened.as_fd(), name, folder),
    }
}

/// Removes an entry of a folder. `path` is where it is, for people.
fn one(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> io::Result<()> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let mounted = || io::Error::other(format!("{} is not removed: something is mounted there", path.display()));
    let unlink = |flag: UnlinkatFlags| match unlinkat(parent, name, flag) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EBUSY) => Err(mounted()),
        Err(error) => Err(error.into()),
    };
    let folder = match openat2(parent, name, how) {
        Ok(folder) => folder,
        Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EXDEV) => return Err(mounted()),
        Err(Errno::ENOTDIR | Errno::ELOOP) => return unlink(UnlinkatFlags::NoRemoveDir),
        Err(error) => return Err(error.into()),
    };
    for entry in fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))? {
        let name = entry?.file_name();
        one(folder.as_fd(), &name, &path.join(&name))?;
    }
    unlink(UnlinkatFlags::RemoveDir)
}

#[cfg(test)]
mod tests {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};

    use super::*;

    #[test]
    fn a_folder_goes_with_its_files_and_links_and_not_what_the_links_lead_to() {
        let folder = std::env::temp_dir().join(format!("windlass-remove-{}", std::process::id()));
        let kept = folder.with_extension("kept");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("precious"), "").unwrap();
        fs::write(folder.join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink(&kept, folder.join("a/link")).unwrap();
        remove(&folder).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists() && kept.join("precious").exists());
        fs::remove_dir_all(&kept).unwrap();
    }

    #[test]
    fn what_is_mounted_in_a_folder_is_not_removed() {
        let folder = std::env::temp_dir().join(format!("windlass-cross-{}", std::process::id()));
        let data = folder.with_extension("data");
        fs::create_dir_all(folder.join("volumes/data")).unwrap();
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("precious"), "").unwrap();
        let bind = |to: &Path| mount(Some(&data), to, None::<&str>, MsFlags::MS_BIND, None::<&str>);
        // Of the same file system: a number of the device would not tell.
        if bind(&folder.join("volumes/data")).is_err() {
            eprintln!("nothing was tried: this user may not mount");
            return;
        }
        let error = remove(&folder).unwrap_err().to_string();
        assert!(error.ends_with("volumes/data is not removed: something is mounted there"), "{error}");
        assert!(data.join("precious").exists());
        // Nor where the folder itself is one.
        assert!(remove(&folder.join("volumes/data")).is_err() && data.join("precious").exists());
        umount2(&folder.join("volumes/data"), MntFlags::MNT_DETACH).unwrap();
        fs::write(folder.join("device"), "").unwrap();
        mount(Some(&data.join("precious")), &folder.join("device"), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .unwrap();
        assert!(remove(&folder).is_err() && data.join("precious").exists());
        umount2(&folder.join("device"), MntFlags::MNT_DETACH).unwrap();
        remove(&folder).unwrap();
        fs::remove_dir_all(&data).unwrap();
    }
}

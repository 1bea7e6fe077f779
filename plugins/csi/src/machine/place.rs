//! Paths that come from outside: each is looked at before anything is made there.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use windlass_kernel::{Error, ErrorKind, Result};

use super::mounts;

/// A path without links and dots, in a folder that exists. The last part need not exist, but is no link if it does.
///
/// `root` is the driver's own folder, in which nobody else puts anything.
pub(crate) fn place(path: &Path, root: &Path) -> Result<PathBuf> {
    let refused = |why: &str| Error::new(ErrorKind::Invalid, format!("{} {why}", path.display()));
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(refused("is not an absolute path without '..'"));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused("is no place for a volume"));
    };
    let parent =
        parent.canonicalize().map_err(|error| refused("is in a folder that does not exist").with_source(error))?;
    let place = parent.join(name);
    // What is mounted is no link, and looking at it may take until its server is back.
    if mounts::at(&place)?.is_none() && fs::symlink_metadata(&place).is_ok_and(|file| file.is_symlink()) {
        return Err(refused("is a symbolic link"));
    }
    if place.starts_with(root) {
        return Err(refused("is in the driver's own folder"));
    }
    Ok(place)
}

/// Whether the folder that a path lies in is not there.
pub(crate) fn gone(path: &Path) -> Result<bool> {
    if !path.is_absolute() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("{:?} is not an absolute path", path.display().to_string()),
        ));
    }
    Ok(path.parent().is_some_and(|parent| !parent.exists()))
}

pub(crate) fn taken(path: &Path) -> Error {
    let message = format!("something else is at {}, or the same in another way", path.display());
    Error::new(ErrorKind::AlreadyExists, message)
}

/// Something was made, or was there.
pub(crate) fn made(result: io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::new(ErrorKind::Internal, format!("cannot make {}", path.display())).with_source(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_do_not_lead_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let root = base.join("root");
        fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink("/etc", base.join("link")).unwrap();
        let check = |path: &Path, expect: Option<PathBuf>| assert_eq!(place(path, &root).ok(), expect, "{path:?}");
        check(&base.join("a"), Some(base.join("a")));
        check(&base.join("link"), None);
        check(&base.join("link/a"), Some("/etc/a".into()));
        check(&base.join("x/../a"), None);
        check(&base.join("missing/a"), None);
        check(&root.join("a"), None);
        check(Path::new("a"), None);
        check(Path::new("/"), None);
    }
}

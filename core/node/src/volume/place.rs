//! Makes volumes on the node, and takes them away. Blocks: run it apart.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{MetadataExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::{Mode, fchmod, fstat},
};

use super::{Kind, host_path};

/// Makes a volume and returns where it is, or says why it cannot be had.
pub(crate) fn prepare(kind: &Kind, folder: &Path, group: Option<u32>) -> Result<PathBuf, String> {
    let failed = |error: io::Error| format!("cannot make {}: {error}", folder.display());
    match kind {
        Kind::Host { path, kind } => {
            host_path::check(path, kind)?;
            return Ok(path.clone());
        }
        Kind::Stored => return Err("this type of volume is not supported".into()),
        Kind::Folder => fs::create_dir_all(folder).map_err(failed)?,
        Kind::Memory(limit) => {
            fs::create_dir_all(folder).map_err(failed)?;
            if !mounted(folder) && nix::unistd::geteuid().is_root() {
                let options = limit.map(|limit| format!("size={limit}"));
                mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), options.as_deref())
                    .map_err(|error| failed(error.into()))?;
            }
        }
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).map_err(failed)?;
    if let Some(group) = group {
        own(folder, group).map_err(failed)?;
    }
    Ok(folder.to_owned())
}

/// Gives everything below to a group, which may do what the owner may (PodSecurityContext.fsGroup).
pub(super) fn own(path: &Path, group: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_symlink() {
        return std::os::unix::fs::lchown(path, None, Some(group));
    }
    chown(path, None, Some(group))?;
    let mode = meta.permissions().mode();
    let extra = if meta.is_dir() { 0o2070 } else { (mode & 0o700) >> 3 };
    fs::set_permissions(path, fs::Permissions::from_mode((mode | extra) & 0o7777))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path(), group)?;
        }
    }
    Ok(())
}

/// Gives a volume that somebody else filled to a group, and answers whether there was anything to do.
///
/// With `at_root`, it is left alone where its root is the group's already (PodSecurityContext.fsGroupChangePolicy).
pub(crate) fn give(path: &Path, group: u32, at_root: bool) -> io::Result<bool> {
    let meta = fs::metadata(path)?;
    if at_root && meta.gid() == group && meta.mode() & 0o2060 == 0o2060 {
        return Ok(false);
    }
    own(path, group).map(|()| true)
}

/// Whether something is mounted exactly there.
fn mounted(path: &Path) -> bool {
    mounts_below(path).is_ok_and(|mounts| mounts.iter().any(|mount| mount == path))
}

/// The mounts at and below a folder, the innermost first.
pub(crate) fn mounts_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    // Of this thread: one that runs in a namespace of its own would be shown another's.
    let table = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    // The kernel writes blanks and the like in octal.
    let plain =
        |text: &str| text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\");
    let mut mounts: Vec<PathBuf> =
        places.map(|place| PathBuf::from(plain(place))).filter(|place| place.starts_with(folder)).collect();
    mounts.reverse();
    Ok(mounts)
}

/// A path inside a volume as something to mount, such that no link of the volume's leads out of it.
///
/// What is found is bound to a path of the agent's own: the volume's users cannot change that any more.
pub(crate) fn make_sub_path(volume: &Path, sub: &str, bind: &Path) -> Result<PathBuf, String> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| format!("failed to prepare subPath {sub:?}: {what}: {error}");
    let parts: Vec<&str> = sub.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if sub.starts_with('/') || parts.contains(&"..") {
        return Err(failed("invalid path", &"it leads out of the volume"));
    }
    let relative: PathBuf = parts.iter().collect();
    let root = fs::File::open(volume).map_err(|error| failed("open", &error))?;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_BENEATH);
    let open = |path: &Path| openat2(root.as_fd(), path, how);
    let opened = match open(&relative) {
        Err(nix::errno::Errno::ENOENT) => {
            make_below(&root, &parts).map_err(|error| failed("make", &error))?;
            open(&relative)
        }
        other => other,
    };
    let file = opened.map_err(|error| failed("open", &error))?;
    if !nix::unistd::geteuid().is_root() {
        return Ok(volume.join(relative));
    }
    if mounted(bind) {
        return Ok(bind.to_owned());
    }
    let inside = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let is_dir = fs::metadata(&inside).map_err(|error| failed("look", &error))?.is_dir();
    let made = match (is_dir, bind.parent()) {
        (true, _) => fs::create_dir_all(bind),
        (false, parent) => parent.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(bind, "")),
    };
    made.map_err(|error| failed("make", &error))?;
    mount(Some(&inside), bind, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|error| failed("mount", &error))?;
    Ok(bind.to_owned())
}

/// Makes the folders of a path one by one, following no link out of the volume. Who may do what in the volume may do it there.
fn make_below(root: &fs::File, parts: &[&str]) -> nix::Result<()> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH);
    let no_link = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let mode = Mode::from_bits_truncate(fstat(root)?.st_mode & 0o7777);
    for end in 1..=parts.len() {
        let parent: PathBuf = parts[..end - 1].iter().collect();
        let parent = if end == 1 { PathBuf::from(".") } else { parent };
        let parent = openat2(root.as_fd(), &parent, how)?;
        match nix::sys::stat::mkdirat(parent.as_fd(), parts[end - 1], Mode::from_bits_truncate(0o700)) {
            // By what was opened: a link that somebody puts in its place is not followed.
            Ok(()) => fchmod(openat2(parent.as_fd(), parts[end - 1], no_link)?, mode)?,
            Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes a folder of the agent's away with what the agent mounted below it. Gone is success.
///
/// What drivers show there is theirs to take away: while it is there, the folder stays, and that is an error.
pub(crate) fn clean(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let drivers = folder.join(super::DRIVERS);
    for place in mounts_below(folder)?.iter().filter(|place| !place.starts_with(&drivers)) {
        umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    super::remove(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_cannot_follow_a_link_out_of_its_volume() {
        let folder = std::env::temp_dir().join(format!("windlass-sub-{}", std::process::id()));
        let volume = folder.join("volume");
        fs::create_dir_all(volume.join("real")).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("real", volume.join("in")).unwrap();
        let check = |sub: &str, fits: bool| {
            let bind = folder.join("bind").join(sub.replace('/', "-"));
            let made = make_sub_path(&volume, sub, &bind);
            assert_eq!(made.is_ok(), fits, "{sub}: {made:?}");
        };
        check("real", true);
        check("in", true);
        check("new/deep", true);
        check("out", false);
        check("out/deep", false);
        check("../x", false);
        check("/etc", false);
        clean(&folder).unwrap();
        assert!(!folder.exists());
    }
}

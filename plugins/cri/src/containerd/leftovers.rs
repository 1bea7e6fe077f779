//! What remains of a containerd that has ended: a bridge, mounts and files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::mount::{MntFlags, umount2};
use windlass_kernel::{Error, ErrorKind, Result};

use super::Layout;

/// Removes them. What is not there is no error.
pub(super) fn remove(layout: &Layout, bridge: &str, purge: bool) -> Result<()> {
    let ip = |verb: &str| {
        let mut command = Command::new("ip");
        command.args(["link", verb, bridge]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    // /sys may show another network namespace than this one.
    if ip("show") && !ip("delete") {
        return Err(Error::new(ErrorKind::Internal, format!("cannot remove bridge {bridge}")));
    }
    let mut folders = vec![&layout.state];
    if purge {
        folders.push(&layout.data);
    }
    for folder in folders {
        for mount in mounts_below(folder) {
            umount2(&mount, MntFlags::MNT_DETACH).map_err(|error| {
                Error::new(ErrorKind::Internal, format!("cannot unmount {}", mount.display())).with_source(error)
            })?;
        }
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("cannot remove {}", folder.display());
                return Err(Error::new(ErrorKind::Internal, message).with_source(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The mounts below a folder, the innermost first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts = mounts_in(&table, folder);
    mounts.reverse();
    mounts
}

fn mounts_in(table: &str, folder: &Path) -> Vec<PathBuf> {
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    places.filter(|place| place.starts_with(folder)).collect()
}

/// The kernel writes a blank as `\040`.
fn unescaped(text: &str) -> PathBuf {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_is_a_leftover() {
        let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:1 / /run/w\\040x/shm rw - tmpfs shm rw\n\
                     3 1 0:2 / /run/w\\040xy rw - tmpfs shm rw\n";
        assert_eq!(mounts_in(table, Path::new("/run/w x")), [PathBuf::from("/run/w x/shm")]);
    }
}

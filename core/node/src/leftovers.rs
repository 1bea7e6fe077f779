//! What an agent that runs no more left on its node: control groups, mounts and files of pods. Containers are not its
//! business: they are gone when this is called.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, umount2};
use windlass_kernel::{Error, ErrorKind, Result};

use crate::cgroup;

/// Removes what the agent with that data directory and control group left. Gone is success. Blocks.
///
/// # Errors
///
/// [`Internal`](ErrorKind::Internal) naming what could not be removed.
pub fn remove_leftovers(data: &Path, cgroups: &str) -> Result<()> {
    let failed = |what: &str, path: &Path, error: io::Error| {
        Error::new(ErrorKind::Internal, format!("cannot {what} {}", path.display())).with_source(error)
    };
    let pods = data.join("pods");
    for mount in mounts_below(data) {
        umount2(&mount, MntFlags::MNT_DETACH).map_err(|error| failed("unmount", &mount, error.into()))?;
    }
    for pod in fs::read_dir(&pods).into_iter().flatten().flatten() {
        let uid = pod.file_name().to_string_lossy().into_owned();
        let groups: Vec<_> =
            ["", "/burstable", "/besteffort"].iter().map(|class| format!("{cgroups}{class}/pod{uid}")).collect();
        cgroup::remove(&groups).map_err(|error| failed("remove the control groups of", &pod.path(), error))?;
        match fs::remove_dir_all(pod.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &pod.path(), error)),
            _ => {}
        }
    }
    cgroup::remove_empty(&["/burstable", "/besteffort", ""].map(|class| format!("{cgroups}{class}")));
    Ok(())
}

/// The innermost first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The kernel writes a blank as `\040`.
    let places = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|place| place.replace("\\040", " "));
    let mut mounts: Vec<PathBuf> = places.map(PathBuf::from).filter(|place| place.starts_with(folder)).collect();
    mounts.reverse();
    mounts
}

//! What an agent that runs no more left on its node: control groups, mounts and files of pods. Containers are not its
//! business: they are gone when this is called.

use std::{collections::BTreeSet, fs, io, path::Path};

use nix::mount::{MntFlags, umount2};
use windlass_kernel::{Error, ErrorKind, Result, VolumeDriver};

use crate::{
    cgroup,
    layout::Layout,
    volume::{self, record},
};

/// Removes a folder with all that is in it. Gone is success. Blocks.
///
/// # Errors
///
/// [`Internal`](ErrorKind::Internal) where something is mounted in it, which is not removed, or where it cannot be removed.
pub fn remove_folder(folder: &Path) -> Result<()> {
    volume::remove(folder).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("cannot remove {}", folder.display())).with_source(error)
    })
}

/// The uids of the pods that an agent with that data directory ran and has not let go: their files are there, or, of those that
/// have run to their end, their logs. Blocks.
#[must_use]
pub fn leftover_pods(data: &Path) -> BTreeSet<String> {
    let layout = Layout::new(data, "");
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let logs = names(&layout.all_logs());
    let logged = logs.iter().filter_map(|name| Some(name.rsplit_once('_')?.1.to_owned()));
    names(&layout.pods()).into_iter().chain(logged).filter(|uid| !uid.is_empty()).collect()
}

/// Has a driver take its volumes from the pods of an agent that runs no more. What is in them stays. Gone is success.
///
/// # Errors
///
/// Those of the driver; [`Internal`](ErrorKind::Internal) where a record cannot be struck out.
pub async fn take_volumes(data: &Path, driver: &dyn VolumeDriver) -> Result<()> {
    let (name, layout) = (driver.info().await?.name, Layout::new(data, ""));
    let Some(node) = driver.node() else { return Ok(()) };
    for record in record::all(&layout.pods()).into_iter().filter(|record| record.driver == name) {
        let volume = record.handle.as_str().into();
        node.unpublish(&volume, &layout.target(&record.uid, &record.name)).await?;
        if let Some(service) = node.staging().filter(|_| record.staged) {
            service.unstage(&volume, &layout.staging(&name, &record.handle)).await?;
        }
        let folder = layout.driven(&record.uid, &record.name);
        record::strike(&folder).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("cannot strike out {}", folder.display())).with_source(error)
        })?;
    }
    Ok(())
}

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
    let table = |error| failed("read the mounts below", data, error);
    for mount in volume::mounts_below(data).map_err(table)? {
        umount2(&mount, MntFlags::MNT_DETACH).map_err(|error| failed("unmount", &mount, error.into()))?;
    }
    for pod in fs::read_dir(&pods).into_iter().flatten().flatten() {
        let uid = pod.file_name().to_string_lossy().into_owned();
        let groups: Vec<_> =
            ["", "/burstable", "/besteffort"].iter().map(|class| format!("{cgroups}{class}/pod{uid}")).collect();
        cgroup::remove(&groups).map_err(|error| failed("remove the control groups of", &pod.path(), error))?;
        volume::remove(&pod.path()).map_err(|error| failed("remove", &pod.path(), error))?;
    }
    cgroup::remove_empty(&["/burstable", "/besteffort", ""].map(|class| format!("{cgroups}{class}")));
    Ok(())
}

//! Mounts: what every container has, what the sandbox shares, and what was asked for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use oci_spec::runtime::{Mount, MountBuilder};
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{self, Namespace, Propagation},
};

use super::{Part, refused, unbuildable, unified};

/// Files of a sandbox that its containers find in `/etc`.
const SHARED: &[&str] = &["hosts", "hostname", "resolv.conf"];

/// A pause needs nothing but what makes it a container.
pub(super) fn of_pause(folder: &Path) -> Result<Vec<Mount>> {
    let resolver = bind("/etc/resolv.conf", &folder.join("resolv.conf"), &["ro", "rprivate"])?;
    Ok(vec![
        special("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        special("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        special("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?,
        resolver,
    ])
}

pub(super) fn of_container(part: &Part<'_>) -> Result<Vec<Mount>> {
    let (config, privileged) = (part.config, part.config.security.privileged);
    let sys: &[&str] = if privileged { &["nosuid", "noexec", "nodev"] } else { &["nosuid", "noexec", "nodev", "ro"] };
    let group = if privileged { "rw" } else { "ro" };
    let groups: Vec<&str> = ["nosuid", "noexec", "nodev", "relatime", group].into();
    let mut mounts = vec![
        special("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        special("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        special(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        special("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        special("/sys", "sysfs", "sysfs", sys)?,
        special("/sys/fs/cgroup", "cgroup", "cgroup", &groups)?,
    ];
    let node = config.security.namespaces.ipc == Namespace::Node;
    let memory = if node { PathBuf::from("/dev/shm") } else { part.folder.join("shm") };
    mounts.push(bind("/dev/shm", &memory, &["rw", "rprivate"])?);
    let access = if config.security.readonly_root { "ro" } else { "rw" };
    for name in SHARED {
        let file = part.folder.join(name);
        if file.exists() {
            mounts.push(bind(&format!("/etc/{name}"), &file, &[access, "rprivate"])?);
        }
    }
    // What was asked for replaces what every container has, and lies above what it is in.
    let taken = |mount: &Mount| config.mounts.iter().any(|own| Path::new(&own.container_path) == mount.destination());
    mounts.retain(|mount| !taken(mount));
    let mut own: Vec<_> = config.mounts.iter().collect();
    own.sort_by_key(|mount| Path::new(&mount.container_path).components().count());
    for mount in own {
        mounts.push(wanted(mount)?);
    }
    Ok(mounts)
}

fn wanted(mount: &runtime::Mount) -> Result<Mount> {
    if mount.image.is_some() {
        return Err(refused("image volumes: use a runtime behind a CRI socket for them"));
    }
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(refused("user namespaces: use a runtime behind a CRI socket for them"));
    }
    if mount.selinux_relabel && Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(refused("relabelling of mounts for SELinux: label the source on the node"));
    }
    let source = Path::new(&mount.host_path);
    if !source.exists() {
        // As other runtimes do: a missing path becomes a folder.
        fs::create_dir_all(source).map_err(|error| {
            let message = format!("cannot make {} to mount it", mount.host_path);
            Error::new(ErrorKind::Invalid, message).with_source(error)
        })?;
    }
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::FromHost => "rslave",
        Propagation::Both => "rshared",
    };
    let access = match (mount.readonly, mount.recursive_readonly) {
        (_, true) => "rro",
        (true, false) => "ro",
        (false, false) => "rw",
    };
    bind(&mount.container_path, source, &[access, propagation])
}

/// How mounts reach a container's root.
pub(super) fn of_root(all: impl Iterator<Item = Propagation>) -> Option<&'static str> {
    let mut found = None;
    for propagation in all {
        match propagation {
            Propagation::Both => return Some("rshared"),
            Propagation::FromHost => found = Some("rslave"),
            Propagation::Private => {}
        }
    }
    found
}

fn special(at: &str, kind: &str, source: &str, options: &[&str]) -> Result<Mount> {
    let kind = if kind == "cgroup" && unified() { "cgroup2" } else { kind };
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let built = MountBuilder::default().destination(at).typ(kind).source(source).options(options);
    built.build().map_err(unbuildable)
}

fn bind(at: &str, source: &Path, options: &[&str]) -> Result<Mount> {
    let options: Vec<String> = ["rbind"].iter().chain(options).map(|option| (*option).to_owned()).collect();
    let built = MountBuilder::default().destination(at).typ("bind").source(source).options(options);
    built.build().map_err(unbuildable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_as_open_as_its_most_open_mount() {
        use Propagation::{Both, FromHost, Private};
        for (mounts, expect) in [
            (vec![], None),
            (vec![Private], None),
            (vec![FromHost, Private], Some("rslave")),
            (vec![FromHost, Both, Private], Some("rshared")),
        ] {
            assert_eq!(of_root(mounts.into_iter()), expect);
        }
    }
}

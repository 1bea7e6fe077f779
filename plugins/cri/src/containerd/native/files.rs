//! What a sandbox has on the machine: files that its containers see, memory that they share, and its network namespace.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{Dns, Namespace, SandboxConfig},
};

use super::streams::remove_folder;

/// The memory that containers of a sandbox share, as large as Docker's.
const MEMORY: &str = "mode=1777,size=67108864";

/// The file of the pinned network namespace.
pub(super) fn network(folder: &Path) -> PathBuf {
    folder.join("net")
}

fn memory(folder: &Path) -> PathBuf {
    folder.join("shm")
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let message = format!("cannot {what} {}", path.display());
    |error| Error::new(ErrorKind::Internal, message).with_source(error)
}

/// Makes what is there before the sandbox's process. Blocks.
pub(super) fn make(folder: &Path, config: &SandboxConfig) -> Result<()> {
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let write = |name: &str, text: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed("write", &path))
    };
    let of_node = |path: &str| fs::read(path).unwrap_or_default();
    write("hosts", &of_node("/etc/hosts"))?;
    match &config.dns {
        Some(dns) => write("resolv.conf", resolver(dns).as_bytes())?,
        None => write("resolv.conf", &of_node("/etc/resolv.conf"))?,
    }
    let host = match config.security.namespaces.network {
        Namespace::Node => of_node("/etc/hostname"),
        _ => format!("{}\n", config.hostname).into_bytes(),
    };
    write("hostname", &host)?;
    let shared = memory(folder);
    fs::create_dir_all(&shared).map_err(failed("make", &shared))?;
    let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("shm"), &shared, Some("tmpfs"), flags, Some(MEMORY))
        .map_err(|error| failed("mount memory at", &shared)(error.into()))
}

fn resolver(dns: &Dns) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text += &format!("search {}\n", dns.searches.join(" "));
    }
    for server in &dns.servers {
        text += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    text
}

/// Pins the network namespace of a process. Blocks.
pub(super) fn pin(folder: &Path, pid: u32) -> Result<()> {
    let at = network(folder);
    File::create(&at).map_err(failed("make", &at))?;
    let of = format!("/proc/{pid}/ns/net");
    mount(Some(of.as_str()), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| failed("pin a network at", &at)(error.into()))
}

/// Lets the network namespace go. Gone is success. Blocks.
pub(super) fn unpin(folder: &Path) -> Result<()> {
    let at = network(folder);
    unmount(&at)?;
    match fs::remove_file(&at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &at)(error)),
        _ => Ok(()),
    }
}

/// Lets the shared memory go. Gone is success. Blocks.
pub(super) fn forget_memory(folder: &Path) -> Result<()> {
    unmount(&memory(folder))
}

/// Removes everything. Gone is success. Blocks.
pub(super) fn remove(folder: &Path) -> Result<()> {
    unpin(folder)?;
    forget_memory(folder)?;
    remove_folder(folder)
}

fn unmount(at: &Path) -> Result<()> {
    loop {
        match umount2(at, MntFlags::MNT_DETACH) {
            // Once more: what was mounted twice, over an interrupted start.
            Ok(()) => {}
            // Not there, or not mounted.
            Err(Errno::ENOENT | Errno::EINVAL) => return Ok(()),
            Err(error) => return Err(failed("unmount", at)(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_as_the_pod_says() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let dns = Dns {
            servers: words(&["10.0.0.10", "10.0.0.11"]),
            searches: words(&["a.b", "b"]),
            options: words(&["ndots:5"]),
        };
        assert_eq!(resolver(&dns), "search a.b b\nnameserver 10.0.0.10\nnameserver 10.0.0.11\noptions ndots:5\n");
        assert_eq!(resolver(&Dns::default()), "");
    }
}

//! Mounts by the kernel's own NFS client, version 4.

use std::{io, net::ToSocketAddrs, path::Path};

use nix::mount::{MsFlags, mount};
use windlass_kernel::{Error, ErrorKind, Result};

use super::{id::Export, share::Mounter};
use crate::machine::mounts;

/// Where servers of version 4 listen unless an option says otherwise.
const PORT: u16 = 2049;

/// Mounts as the kernel does. Names of servers are looked up as this machine does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelMounter;

/// Options as `mount(2)` wants them.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    flags: MsFlags,
    /// Those that the client itself reads.
    words: Vec<String>,
}

impl Options {
    /// Sorts options. Those that are for programs alone, such as `_netdev`, are left out.
    fn read(options: &[String]) -> Result<Self> {
        let mut all = Self { flags: MsFlags::empty(), words: Vec::new() };
        for option in options.iter().flat_map(|word| word.split(',')).filter(|option| !option.is_empty()) {
            match option {
                "ro" => all.flags |= MsFlags::MS_RDONLY,
                "noexec" => all.flags |= MsFlags::MS_NOEXEC,
                "nosuid" => all.flags |= MsFlags::MS_NOSUID,
                "nodev" => all.flags |= MsFlags::MS_NODEV,
                "noatime" => all.flags |= MsFlags::MS_NOATIME,
                "nodiratime" => all.flags |= MsFlags::MS_NODIRATIME,
                "relatime" => all.flags |= MsFlags::MS_RELATIME,
                "sync" => all.flags |= MsFlags::MS_SYNCHRONOUS,
                "rw" | "defaults" | "exec" | "suid" | "dev" | "async" | "auto" | "noauto" | "nofail" | "_netdev" => {}
                _ => {
                    let (name, value) = option.split_once('=').unwrap_or((option, ""));
                    if matches!(name, "vers" | "nfsvers") && !value.starts_with('4') {
                        let message = "this driver speaks version 4 of NFS alone: use vers=4, 4.1 or 4.2";
                        return Err(Error::new(ErrorKind::Invalid, message));
                    }
                    all.words.push(option.to_owned());
                }
            }
        }
        Ok(all)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Mounter for KernelMounter {
    fn mount(&self, export: &Export, at: &Path, options: &[String]) -> Result<()> {
        let mut options = Options::read(options)?;
        if options.value("addr").is_none() {
            let port = options.value("port").and_then(|port| port.parse().ok()).unwrap_or(PORT);
            options.words.push(format!("addr={}", address(&export.server, port)?));
        }
        let (source, words) = (export.to_string(), options.words.join(","));
        mount(Some(source.as_str()), at, Some("nfs4"), options.flags, Some(words.as_str()))
            .map_err(|error| failed(&source, error))
    }

    fn unmount(&self, at: &Path) -> Result<()> {
        mounts::unmount(at)
    }

    fn abandon(&self, at: &Path) -> Result<()> {
        mounts::abandon(at)
    }
}

/// The address of a server, which the kernel does not look up by itself.
fn address(server: &str, port: u16) -> Result<String> {
    let plain = server.trim_start_matches('[').trim_end_matches(']');
    let failed = |error: Option<io::Error>| {
        let failed = Error::new(ErrorKind::Unavailable, format!("cannot find the server {server:?}"));
        match error {
            Some(error) => failed.with_source(error),
            None => failed,
        }
    };
    let found = (plain, port).to_socket_addrs().map_err(|error| failed(Some(error)))?.next();
    found.map(|address| address.ip().to_string()).ok_or_else(|| failed(None))
}

fn failed(source: &str, error: nix::Error) -> Error {
    let message = format!("cannot mount {source}");
    let (kind, message) = match error {
        nix::Error::ENODEV => {
            (ErrorKind::NotSupported, format!("{message}: the kernel has no NFS client: load its module nfsv4"))
        }
        nix::Error::ENOENT => (ErrorKind::NotFound, format!("{message}: the server has no such path")),
        nix::Error::EINVAL => (ErrorKind::Invalid, format!("{message}: the kernel refuses its options")),
        nix::Error::EPERM | nix::Error::EACCES => (ErrorKind::Forbidden, message),
        _ => (ErrorKind::Unavailable, message),
    };
    Error::new(kind, message).with_source(io::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_sorted() {
        let read = |options: &[&str]| Options::read(&options.iter().map(|own| (*own).to_owned()).collect::<Vec<_>>());
        let found = read(&["ro,noatime", "nfsvers=4.1", "_netdev", "hard"]).unwrap();
        let expect = Options {
            flags: MsFlags::MS_RDONLY | MsFlags::MS_NOATIME,
            words: vec!["nfsvers=4.1".into(), "hard".into()],
        };
        assert_eq!((found.value("nfsvers"), &found), (Some("4.1"), &expect));
        assert!(read(&["vers=3"]).unwrap_err().is(ErrorKind::Invalid));
    }

    #[test]
    fn addresses_are_taken_as_they_are() {
        assert_eq!(address("127.0.0.1", PORT).unwrap(), "127.0.0.1");
        assert_eq!(address("[::1]", PORT).unwrap(), "::1");
    }

    #[test]
    fn errors_say_what_to_do() {
        assert!(failed("a:/b", nix::Error::ENODEV).message().contains("load its module nfsv4"));
        assert_eq!(failed("a:/b", nix::Error::ENOENT).kind(), ErrorKind::NotFound);
    }
}

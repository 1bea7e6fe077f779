//! Programs of the machine that the driver runs.

use std::{ffi::OsStr, fs::File, path::Path, process::Command};

use nix::fcntl::Flock;
use windlass_kernel::{Error, ErrorKind, Result};

/// Runs programs, each of which has the driver's lock open for as long as it runs: the driver that comes after a killed one
/// waits until nobody goes on with what that one had begun.
#[derive(Debug)]
pub(super) struct Tools {
    lock: Flock<File>,
}

impl Tools {
    pub(super) fn new(lock: Flock<File>) -> Self {
        Self { lock }
    }

    /// Runs a program, and gives its output.
    pub(super) fn run(&self, name: &str, arguments: &[&OsStr]) -> Result<String> {
        let cannot = |error| {
            let message = format!("cannot run {name}: is {} installed?", package(name));
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        };
        // None of them reads it.
        let input = self.lock.try_clone().map_err(cannot)?;
        let done = Command::new(name).args(arguments).env("LC_ALL", "C").stdin(input).output().map_err(cannot)?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&done.stderr);
        Err(Error::new(ErrorKind::Internal, format!("{name} failed: {}", said.trim())))
    }
}

/// Whether there is a program of that name.
pub(super) fn there(name: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.is_absolute() && Path::new(&folder).join(name).is_file())
}

/// What a program comes with.
pub(super) fn package(name: &str) -> &'static str {
    match name {
        "losetup" | "fsfreeze" => "util-linux",
        name if name.contains("xfs") => "xfsprogs",
        _ => "e2fsprogs",
    }
}

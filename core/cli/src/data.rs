//! The data directory: where what is.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use windlass::kernel::{Error, ErrorKind};

use crate::args::Place;

/// A cluster's directory on this machine.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The directory that was named, or the usual one.
    pub(crate) fn of(place: &Place) -> Self {
        let usual = || match std::env::var_os("HOME") {
            Some(home) if !nix::unistd::geteuid().is_root() => Path::new(&home).join(".local/share/windlass"),
            _ => "/var/lib/windlass".into(),
        };
        Self(place.data_dir.clone().unwrap_or_else(usual))
    }

    /// Makes the directory, for its owner's eyes only.
    pub(crate) fn create(&self) -> Result<()> {
        let made = fs::DirBuilder::new();
        let mut made = made;
        std::os::unix::fs::DirBuilderExt::mode(&mut made, 0o700);
        made.recursive(true).create(&self.0).with_context(|| format!("cannot create {}", self.0.display()))
    }

    /// Takes the directory's node for this process, until the file is closed: one agent at a time runs pods from here.
    pub(crate) fn take_node(&self) -> Result<fs::File> {
        let path = self.node_lock();
        let unusable = || format!("cannot open {}", path.display());
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).with_context(unusable)?;
        if file.try_lock().is_err() {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let message = format!("{} runs the node of {} already", holder.trim(), self.0.display());
            return Err(Error::new(ErrorKind::Unavailable, message).into());
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(file)
    }

    /// Names the process that runs pods from here.
    pub(crate) fn node_lock(&self) -> PathBuf {
        self.0.join("node.lock")
    }

    /// Names the process that has the state open.
    pub(crate) fn store_lock(&self) -> PathBuf {
        self.store().join("LOCK")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension(format!("new{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&fresh).and_then(|mut file| file.write_all(text.as_bytes()));
    written.and_then(|()| fs::rename(&fresh, path)).with_context(|| format!("cannot write {}", path.display()))
}

//! What is published on this node. There is nothing to prepare: each target is a mount of its own.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use async_trait::async_trait;
use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};
use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result,
    volume::{
        Access, AccessMode, NodeExpanding, NodeFeatures, NodeInfo, PublishVolume, Refusal, Staging, Usage, UsageQuery,
        UsageReporting, VolumeId, VolumeNode, VolumeUsage,
    },
};

use super::{
    Inner, Nfs,
    id::{Export, Location, key},
    parameters::Parameters,
    records::failed,
    volumes::folders_only,
};
use crate::machine::{
    mounts,
    place::{gone, made, place, taken},
};

/// A target, written down before anything is made there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Target {
    volume: String,
    export: Export,
    read_only: bool,
}

/// How long a server may take to let a mount go. Then it is taken to be away.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is taken of a server whose mount is to go.
#[derive(Clone, Copy, Debug)]
enum Server {
    Answers,
    Away,
}

/// What two calls must not have at once.
fn busy(target: &Path) -> String {
    format!("path {}", target.display())
}

fn named(id: &VolumeId) -> Result<()> {
    if id.as_str().is_empty() { Err(Error::new(ErrorKind::Invalid, "volume_id: is required")) } else { Ok(()) }
}

fn set_mode(target: &Path, mode: u32) -> Result<()> {
    let set = fs::set_permissions(target, fs::Permissions::from_mode(mode));
    set.map_err(|error| failed("set the mode of", target, error))
}

fn key_of(target: &Path) -> String {
    key(&target.to_string_lossy())
}

impl Inner {
    /// What a volume is, by its context or else by its id.
    fn wanted(request: &PublishVolume) -> Result<(Export, Parameters)> {
        let parameters = Parameters::of_context(&request.context)?;
        if !parameters.server.is_empty() {
            return Ok((parameters.export()?, parameters));
        }
        let missing = || Error::new(ErrorKind::NotFound, format!("there is no volume {}", request.volume));
        Ok((Location::of(&request.volume).ok_or_else(missing)?.export(), parameters))
    }

    fn publish(&self, request: &PublishVolume) -> Result<()> {
        named(&request.volume)?;
        let target = place(&request.target, &self.settings.root)?;
        folders_only(std::slice::from_ref(&request.capability))?;
        let (export, parameters) = Self::wanted(request)?;
        let mut options = match &request.capability.access {
            Access::Mount { flags, .. } => flags.clone(),
            Access::Block => Vec::new(),
        };
        options.extend(parameters.options.iter().cloned());
        let read_only = request.read_only
            || request.capability.mode == AccessMode::SingleNodeReaderOnly
            || options.iter().any(|option| option == "ro");
        if read_only && !options.iter().any(|option| option == "ro") {
            options.push("ro".into());
        }
        let wanted = Target { volume: request.volume.to_string(), export, read_only };
        let name = key_of(&target);
        let mode = parameters.mode.filter(|_| !read_only);
        if mounts::at(&target)?.is_some() {
            let written: Option<Target> = self.targets.read(&name)?;
            if written.as_ref() != Some(&wanted) {
                return Err(taken(&target));
            }
            // Whoever mounted it may have been killed before it had its mode.
            return mode.map_or(Ok(()), |mode| set_mode(&target, mode));
        }
        self.targets.write(&name, &wanted)?;
        let shown = self.show(&wanted.export, &target, &options, mode);
        if let Err(error) = shown {
            // Whoever asked may never ask for the opposite.
            let _ = fs::remove_dir(&target);
            if mounts::at(&target)?.is_none() {
                self.targets.forget(&name)?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// Mounts an export whole: what is mounted has its mode, too.
    fn show(&self, export: &Export, target: &Path, options: &[String], mode: Option<u32>) -> Result<()> {
        made(fs::create_dir(target), target)?;
        self.mounter.mount(export, target, options)?;
        let Some(mode) = mode else { return Ok(()) };
        set_mode(target, mode).map_err(|failed| match self.mounter.unmount(target) {
            Ok(()) => failed,
            Err(left) => {
                tracing::warn!(target = %target.display(), error = %left, "an export stays mounted");
                failed.maybe_applied()
            }
        })
    }

    /// Takes a volume from its target. Nothing is asked of the target itself while anything is mounted there: its server may be
    /// away.
    fn unpublish(&self, id: &VolumeId, target: &Path, server: Server) -> Result<()> {
        named(id)?;
        if gone(target)? {
            // The folder around it is gone, and with it the target.
            return self.targets.forget(&key_of(target));
        }
        let target = place(target, &self.settings.root)?;
        let name = key_of(&target);
        let Some(written) = self.targets.read::<Target>(&name)? else { return Ok(()) };
        if written.volume != id.as_str() {
            // It is another volume's by now: this one is not there.
            return Ok(());
        }
        while mounts::at(&target)?.is_some() {
            match server {
                Server::Answers => self.mounter.unmount(&target)?,
                Server::Away => self.mounter.abandon(&target)?,
            }
        }
        match fs::remove_dir(&target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("remove", &target, error));
            }
            _ => {}
        }
        self.targets.forget(&name)
    }

    fn usage_of(&self, query: &UsageQuery) -> Result<VolumeUsage> {
        named(&query.volume)?;
        if query.path.as_os_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_path: is required"));
        }
        let missing = || {
            let message = format!("volume {} is not at {}", query.volume, query.path.display());
            Error::new(ErrorKind::NotFound, message)
        };
        let at = if gone(&query.path)? { return Err(missing()) } else { place(&query.path, &self.settings.root)? };
        let written: Option<Target> = self.targets.read(&key_of(&at))?;
        let ours = written.is_some_and(|written| written.volume == query.volume.as_str());
        if !ours || mounts::at(&at)?.is_none() {
            return Err(missing());
        }
        let disk = statvfs(&at).map_err(|error| match error {
            nix::Error::ESTALE => Refusal::Precondition.error(format!("the folder of volume {} is gone", query.volume)),
            error => failed("look at", &at, error.into()),
        })?;
        let unit = disk.fragment_size();
        let usage =
            |total: u64, free: u64, available: u64| Usage { total, used: total.saturating_sub(free), available };
        let bytes = [disk.blocks(), disk.blocks_free(), disk.blocks_available()].map(|n| n.saturating_mul(unit));
        Ok(VolumeUsage {
            bytes: Some(usage(bytes[0], bytes[1], bytes[2])),
            inodes: Some(usage(disk.files(), disk.files_free(), disk.files_available())),
            condition: None,
        })
    }
}

#[async_trait]
impl VolumeNode for Nfs {
    fn features(&self) -> NodeFeatures {
        NodeFeatures::default()
    }

    async fn node_info(&self) -> Result<NodeInfo> {
        Ok(NodeInfo { id: self.inner.settings.node.as_str().into(), ..NodeInfo::default() })
    }

    async fn publish(&self, request: &PublishVolume) -> Result<()> {
        let request = request.clone();
        self.run(&[&busy(&request.target.clone())], move |inner| inner.publish(&request)).await
    }

    async fn unpublish(&self, volume: &VolumeId, target: &Path) -> Result<()> {
        let work = |server| {
            let (id, target) = (volume.clone(), target.to_owned());
            move |inner: &Inner| inner.unpublish(&id, &target, server)
        };
        let path = busy(target);
        let keys = [path.as_str()];
        let waits = self.run(&keys, work(Server::Answers));
        if let Ok(done) = self.clock.timeout(PATIENCE, waits).await {
            return done;
        }
        // That call goes on, and keeps the path until the server is back or the mount is gone.
        self.run(&[&format!("{path}, whose server is away")], work(Server::Away)).await
    }

    fn staging(&self) -> Option<&dyn Staging> {
        None
    }

    fn usage(&self) -> Option<&dyn UsageReporting> {
        Some(self)
    }

    fn expanding(&self) -> Option<&dyn NodeExpanding> {
        None
    }
}

#[async_trait]
impl UsageReporting for Nfs {
    async fn usage_of(&self, query: &UsageQuery) -> Result<VolumeUsage> {
        // While a server is away a call on its mount does not end: there is one, however often somebody asks.
        let (query, key) = (query.clone(), format!("usage of {}", busy(&query.path)));
        self.run(&[&key], move |inner| inner.usage_of(&query)).await
    }
}

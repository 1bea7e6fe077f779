//! What is shown where: stage, publish and their opposites, step by step.
//!
//! Each target is written down before anything is made there and struck out after all of it is gone, so that a call that was
//! killed between is completed by the same call, and undone by its opposite.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::MsFlags;
use windlass_kernel::{
    Error, ErrorKind, Result,
    volume::{
        Access, AccessMode, CapacityRange, ExpandOnNode, PublishVolume, Refusal, StageVolume, Usage, UsageQuery,
        VolumeId, VolumeUsage,
    },
};

use super::{
    Inner, devices,
    records::{self, Kind, TARGETS, TargetRecord, VOLUMES, VolumeRecord},
    systems, usage,
    volumes::{condition, matches},
};
use crate::machine::{
    mounts,
    place::{gone, made, place, taken},
};

/// The word of a volume's context that makes it live with its pod.
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";

/// The key of a volume that lives with its pod. Its id is the orchestrator's.
pub(super) fn ephemeral_key(id: &VolumeId) -> String {
    records::key('e', id.as_str())
}

impl Inner {
    /// Prepares a volume: a folder is shown at the staging path, a block volume gets its device, a file system is mounted.
    pub(super) fn stage(&self, request: &StageVolume) -> Result<()> {
        let record = self.volume(&request.volume)?;
        let staging = place(&request.staging, self.store.root())?;
        matches(&request.capability, &record)?;
        mount_flags(&request.capability.access)?;
        let content = self.store.content(VOLUMES, request.volume.as_str(), record.kind());
        made(fs::create_dir(&staging), &staging)?;
        match record.kind() {
            Kind::Block => devices::attach(&self.tools, &content, false).map(drop),
            Kind::Folder => {
                let origin = mounts::origin(&content)?;
                unless_there(&staging, &origin, || mounts::bind(&content, &staging))
            }
            Kind::System => {
                let device = devices::attach(&self.tools, &content, false)?;
                // It may have been there before the volume grew, or be a copy of a smaller one.
                devices::resize(&self.tools, &device)?;
                let lost = || Error::new(ErrorKind::Internal, format!("device {} has gone", device.path().display()));
                let origin = device.system().ok_or_else(lost)?;
                unless_there(&staging, &origin, || systems::show(&record.fs_type, &device, &staging))?;
                systems::settle(&self.tools, &record.fs_type, &device, &staging)
            }
        }
    }

    /// Undoes that.
    pub(super) fn unstage(&self, id: &VolumeId, staging: &Path) -> Result<()> {
        named(id)?;
        // Without the folder that it lies in there is no staging path.
        if gone(staging)? {
            return self.undevice(id);
        }
        let staging = place(staging, self.store.root())?;
        let Some(record) = self.known_volume(id.as_str())? else { return Ok(()) };
        if record.kind() == Kind::System {
            let shown = self.shown_at(id.as_str(), record.kind())?;
            if let Some(mount) = shown.iter().find(|mount| mount.at != staging) {
                return Err(published(id, mount));
            }
        }
        if record.kind() != Kind::Block {
            let origins = self.origins(id.as_str(), record.kind())?;
            while mounts::at(&staging)?.is_some_and(|mount| origins.iter().any(|origin| mount.shows(origin))) {
                mounts::unmount(&staging)?;
            }
        }
        self.undevice(id)
    }

    /// Takes a volume's device away, unless it is shown somewhere.
    fn undevice(&self, id: &VolumeId) -> Result<()> {
        let Some(record) = self.known_volume(id.as_str())?.filter(|record| record.kind() != Kind::Folder) else {
            return Ok(());
        };
        if let Some(mount) = self.shown_at(id.as_str(), record.kind())?.first() {
            return Err(published(id, mount));
        }
        let file = self.store.content(VOLUMES, id.as_str(), record.kind());
        devices::of(&file)?.iter().try_for_each(|device| devices::detach(&self.tools, device, &file))
    }

    /// Shows a volume at its target.
    pub(super) fn publish(&self, request: &PublishVolume) -> Result<()> {
        named(&request.volume)?;
        let target = place(&request.target, self.store.root())?;
        let ephemeral = request.context.get(EPHEMERAL).is_some_and(|word| word == "true");
        let (key, record) = if ephemeral { self.ephemeral(request)? } else { self.staged(request)? };
        matches(&request.capability, &record)?;
        let flags = mount_flags(&request.capability.access)?;
        let read_only = request.read_only
            || request.capability.mode == AccessMode::SingleNodeReaderOnly
            || flags.contains(MsFlags::MS_RDONLY);
        self.alone(request, &key, &record, &target)?;

        let name = target_key(&target);
        let wanted = TargetRecord { key: key.clone(), target: target.clone(), read_only };
        let mounted = mounts::at(&target)?;
        let device = record.block.then(|| self.device(&key, read_only)).transpose()?;
        let from = match (&device, &request.staging) {
            (Some(device), _) => device.path(),
            (None, Some(staging)) if record.kind() == Kind::System => place(staging, self.store.root())?,
            _ => self.store.content(VOLUMES, &key, Kind::Folder),
        };
        let origin = mounts::origin(&from)?;
        let ours = mounted.as_ref().is_some_and(|mount| mount.shows(&origin));
        let written = self.store.read::<TargetRecord>(TARGETS, &name)?;
        if mounted.is_some() && (!ours || written.is_some_and(|written| written != wanted)) {
            return Err(taken(&target));
        }
        self.store.update(TARGETS, &name, &wanted)?;
        if !ours {
            let make = if record.block { fs::File::create_new(&target).map(drop) } else { fs::create_dir(&target) };
            made(make, &target)?;
            mounts::bind(&from, &target)?;
        }
        let flags = if read_only { flags | MsFlags::MS_RDONLY } else { flags };
        if flags.is_empty() || record.block { Ok(()) } else { mounts::remount(&target, flags) }
    }

    /// The device of a block volume, for reading alone or not.
    fn device(&self, key: &str, read_only: bool) -> Result<devices::Device> {
        devices::attach(&self.tools, &self.store.content(VOLUMES, key, Kind::Block), read_only)
    }

    /// A volume that was prepared.
    fn staged(&self, request: &PublishVolume) -> Result<(String, VolumeRecord)> {
        let record = self.volume(&request.volume)?;
        let key = request.volume.to_string();
        let not = |why: &str| Refusal::Precondition.error(format!("volume {key} is not staged{why}"));
        let Some(staging) = &request.staging else { return Err(not(": staging_target_path is missing")) };
        let staging = place(staging, self.store.root())?;
        let origins = self.origins(&key, record.kind())?;
        let at = mounts::at(&staging)?;
        // A block volume is staged by its device alone.
        let shown = || at.is_some_and(|at| origins.iter().any(|origin| at.shows(origin)));
        let there = if record.block { !origins.is_empty() } else { shown() };
        if there { Ok((key, record)) } else { Err(not(&format!(" at {}", staging.display()))) }
    }

    /// A volume that is made now and goes when it is unpublished.
    fn ephemeral(&self, request: &PublishVolume) -> Result<(String, VolumeRecord)> {
        let key = ephemeral_key(&request.volume);
        if let Some(record) = self.store.read(VOLUMES, &key)? {
            return Ok((key, record));
        }
        let named = matches!(&request.capability.access, Access::Mount { fs_type, .. } if !fs_type.is_empty());
        if named || request.capability.access == Access::Block {
            let message = "volume_capability: a volume of a pod's own is a folder, without a file system of its own";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let record = VolumeRecord {
            name: request.volume.to_string(),
            capacity: self.disk_free()?,
            block: false,
            fs_type: String::new(),
            parameters: Default::default(),
            source: None,
            attached: Default::default(),
            ephemeral: true,
        };
        self.store
            .build(VOLUMES, &key, &record, |apart| self.fill(&apart.join(record.kind().content()), &record, None))?;
        Ok((key, record))
    }

    /// With one writer there is one target (`ReadWriteOncePod`).
    fn alone(&self, request: &PublishVolume, key: &str, record: &VolumeRecord, target: &Path) -> Result<()> {
        if request.capability.mode != AccessMode::SingleNodeSingleWriter {
            return Ok(());
        }
        let targets = self.store.all::<TargetRecord>(TARGETS)?.into_values();
        let mut others = targets.filter(|other| other.key == key && other.target != target).map(|other| other.target);
        let shown = self.shown_at(key, record.kind())?;
        let Some(other) = others.find(|other| shown.iter().any(|mount| mount.at == *other)) else { return Ok(()) };
        let message = format!("volume {} has one writer, at {}", request.volume, other.display());
        Err(Refusal::Precondition.error(message))
    }

    /// Takes a volume from its target.
    pub(super) fn unpublish(&self, id: &VolumeId, target: &Path) -> Result<()> {
        named(id)?;
        if gone(target)? {
            // The folder around it is gone, and with it the target. What was written down goes, too.
            let name = target_key(target);
            return self.end_target(id, &name);
        }
        let target = place(target, self.store.root())?;
        let name = target_key(&target);
        let Some(written) = self.store.read::<TargetRecord>(TARGETS, &name)? else { return Ok(()) };
        if written.key != id.as_str() && written.key != ephemeral_key(id) {
            // It is another volume's by now: this one is not there.
            return Ok(());
        }
        let record: Option<VolumeRecord> = self.store.read(VOLUMES, &written.key)?;
        let origins = record.map(|record| self.origins(&written.key, record.kind())).transpose()?.unwrap_or_default();
        while let Some(mount) = mounts::at(&target)? {
            // A device may be gone that the mount could be known by: then what is written down is all that is known.
            if !origins.is_empty() && !origins.iter().any(|origin| mount.shows(origin)) {
                let message = format!("something else is mounted at {}", target.display());
                return Err(Refusal::Precondition.error(message));
            }
            mounts::unmount(&target)?;
        }
        let removed = match fs::symlink_metadata(&target) {
            Ok(file) if file.is_dir() => fs::remove_dir(&target),
            Ok(_) => fs::remove_file(&target),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!("cannot remove {}", target.display());
                return Err(Error::new(ErrorKind::Internal, message).with_source(error));
            }
            _ => {}
        }
        self.end_target(id, &name)
    }

    /// What was behind a target that is gone: a device for reading, a volume of the pod's own.
    fn end_target(&self, id: &VolumeId, name: &str) -> Result<()> {
        let file = self.store.content(VOLUMES, id.as_str(), Kind::Block);
        if self.known_volume(id.as_str())?.is_some_and(|record| record.block) {
            let mounts = mounts::mounts()?;
            for device in devices::of(&file)?.into_iter().filter(|device| device.read_only) {
                let origin = mounts::origin(&device.path())?;
                if !mounts.iter().any(|mount| mount.shows(&origin)) {
                    devices::detach(&self.tools, &device, &file)?;
                }
            }
        }
        self.store.forget(TARGETS, name)?;
        let key = ephemeral_key(id);
        let used = self.store.all::<TargetRecord>(TARGETS)?.into_values().any(|other| other.key == key);
        if used { Ok(()) } else { self.store.discard(VOLUMES, &key) }
    }

    /// The volume that a path shows.
    fn at_path(&self, id: &VolumeId, path: &Path) -> Result<(String, VolumeRecord)> {
        named(id)?;
        let ephemeral: Option<VolumeRecord> = self.store.read(VOLUMES, &ephemeral_key(id))?;
        let (key, record) = match ephemeral {
            Some(record) => (ephemeral_key(id), record),
            None => (id.to_string(), self.volume(id)?),
        };
        let missing = || Error::new(ErrorKind::NotFound, format!("volume {id} is not at {}", path.display()));
        if path.as_os_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_path: is required"));
        }
        let place = if gone(path)? { return Err(missing()) } else { place(path, self.store.root())? };
        let shown = self.shown_at(&key, record.kind())?;
        if shown.iter().any(|mount| mount.at == place) { Ok((key, record)) } else { Err(missing()) }
    }

    /// How full a volume is.
    pub(super) fn usage_of(&self, query: &UsageQuery) -> Result<VolumeUsage> {
        let (key, record) = self.at_path(&query.volume, &query.path)?;
        let content = self.store.content(VOLUMES, &key, record.kind());
        let condition = Some(condition(content.exists()));
        if record.block {
            // What of a device is used only those know who wrote it.
            let bytes = Usage { total: record.capacity, used: 0, available: 0 };
            return Ok(VolumeUsage { bytes: Some(bytes), inodes: None, condition });
        }
        let system = record.kind() == Kind::System;
        let at = if system { &query.path } else { &content };
        let disk = nix::sys::statvfs::statvfs(at).map_err(|error| self.store.failed("look at", &key, error.into()))?;
        if system {
            let (unit, [total, free]) = (disk.fragment_size(), [disk.blocks(), disk.blocks_free()]);
            let used = total.saturating_sub(free).saturating_mul(unit);
            let available = disk.blocks_available().saturating_mul(unit);
            let inodes = disk.files().saturating_sub(disk.files_free());
            return Ok(VolumeUsage {
                bytes: Some(Usage { total: total.saturating_mul(unit), used, available }),
                inodes: Some(Usage { total: disk.files(), used: inodes, available: disk.files_available() }),
                condition,
            });
        }
        let taken = usage::of(&content)?;
        let available = record.capacity.saturating_sub(taken.bytes).min(self.disk_free()?);
        Ok(VolumeUsage {
            bytes: Some(Usage { total: record.capacity, used: taken.bytes, available }),
            inodes: Some(Usage { total: disk.files(), used: taken.inodes, available: disk.files_available() }),
            condition,
        })
    }

    /// Devices become as large as their volume, and so do file systems on them, while they are used.
    pub(super) fn expand_on_node(&self, request: &ExpandOnNode) -> Result<Option<u64>> {
        let (key, record) = self.at_path(&request.volume, &request.path)?;
        if record.kind() != Kind::Folder {
            let devices = devices::of(&self.store.content(VOLUMES, &key, record.kind()))?;
            devices.iter().try_for_each(|device| devices::resize(&self.tools, device))?;
            if record.kind() == Kind::System {
                let at = place(&request.path, self.store.root())?;
                devices.iter().try_for_each(|device| systems::grow(&self.tools, &record.fs_type, device, &at))?;
            }
        }
        let range = request.capacity;
        if range != CapacityRange::default() && range.required.is_some_and(|required| record.capacity < required) {
            let message = format!("volume {key} has {} bytes: expand it first", record.capacity);
            return Err(Refusal::OutOfRange.error(message));
        }
        Ok(Some(record.capacity))
    }
}

/// Shows something at a path, unless it is there.
fn unless_there(at: &Path, origin: &mounts::Origin, show: impl FnOnce() -> Result<()>) -> Result<()> {
    match mounts::at(at)? {
        Some(mount) if mount.shows(origin) => Ok(()),
        Some(_) => Err(taken(at)),
        None => show(),
    }
}

fn published(id: &VolumeId, mount: &mounts::Mount) -> Error {
    Refusal::Precondition.error(format!("volume {id} is published at {}", mount.at.display()))
}

/// The name under which a target is written down.
fn target_key(target: &Path) -> String {
    records::key('t', &target.to_string_lossy())
}

fn mount_flags(access: &Access) -> Result<MsFlags> {
    match access {
        Access::Block => Ok(MsFlags::empty()),
        Access::Mount { group, .. } if !group.is_empty() => {
            Err(Error::new(ErrorKind::Invalid, "volume_mount_group: this driver leaves groups to the orchestrator"))
        }
        Access::Mount { flags, .. } => mounts::flags(flags),
    }
}

fn named(id: &VolumeId) -> Result<()> {
    if id.as_str().is_empty() { Err(Error::new(ErrorKind::Invalid, "volume_id: is required")) } else { Ok(()) }
}

/// A path as the key of a call.
pub(super) fn busy_path(path: &Path) -> String {
    PathBuf::from(path).to_string_lossy().into_owned()
}

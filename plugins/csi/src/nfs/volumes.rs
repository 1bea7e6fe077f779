//! Volumes: folders of a share, each with a record beside them.

use std::{collections::BTreeMap, ffi::OsStr, fs, io, os::unix::fs::PermissionsExt};

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};
use windlass_kernel::{
    Error, ErrorKind, Result,
    volume::{
        Access, CapacityRange, CreateVolume, ExpandVolume, Expanded, Refusal, Secrets, Source, ValidateVolume,
        Validated, Volume, VolumeCapability, VolumeId,
    },
};

use super::{
    Inner,
    id::{Location, OnDelete, folder_name},
    parameters::{FOLDER, Parameters, options},
    records::failed,
    share::Share,
};
use crate::machine::{beneath::Folder, copy::copy_folder};

/// How large a volume is where nobody says.
const USUAL: u64 = 1 << 30;

/// What is known of a volume beside its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    name: String,
    /// In bytes. Nothing keeps a folder from becoming larger.
    capacity: u64,
    parameters: BTreeMap<String, String>,
    /// The volume that it is a copy of.
    source: Option<String>,
    /// Whether its folder is whole.
    whole: bool,
}

/// Where a volume of that name is or would be, by its class's parameters.
pub(super) fn located(name: &str, parameters: &Parameters) -> Result<Location> {
    if name.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "name: is required"));
    }
    let share = parameters.share()?;
    let own = folder_name(name);
    let (folder, name) = match &parameters.folder {
        Some(folder) => (folder.clone(), own),
        None => (own, String::new()),
    };
    Ok(Location { server: share.server, share: share.path, folder, name, on_delete: parameters.on_delete })
}

impl Inner {
    /// Makes a volume, or answers the one that there is.
    pub(super) fn create(&self, request: &CreateVolume) -> Result<Volume> {
        folders_only(&request.capabilities)?;
        let parameters = Parameters::of_class(&request.parameters)?;
        let place = located(&request.name, &parameters)?;
        let size = size(request.capacity)?;
        let flags = mount_flags(&request.capabilities);
        let source = match &request.source {
            None => None,
            Some(Source::Volume(id)) => Some(id),
            Some(Source::Snapshot(id)) => {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}")));
            }
        };
        let key = place.key();
        let share = self.share(&place.share(), &place.place(), &flags)?;
        let mut record = Record {
            name: request.name.clone(),
            capacity: size,
            parameters: request.parameters.clone(),
            source: source.map(ToString::to_string),
            whole: false,
        };
        if let Some(there) = share.records().read::<Record>(&key)? {
            let same = there.name == record.name
                && there.parameters == record.parameters
                && there.source == record.source
                && request.capacity.contains(there.capacity);
            if !same {
                let message = format!("volume {} exists and is another", request.name);
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            }
            record = there;
        } else if request.capacity.required.is_some() {
            fits(&share, size)?;
        }
        if !record.whole {
            let made = self.make(&share, &place, source, &mut record, request.capacity);
            if let Err(error) = made {
                self.unmake(&share, &place)?;
                return Err(error);
            }
        }
        if let Some(mode) = parameters.mode {
            let missing = || Error::new(ErrorKind::Internal, format!("the folder of volume {} is gone", request.name));
            let folder = share.folder(&place.folder)?.ok_or_else(missing)?;
            let set = fs::set_permissions(folder.way(), fs::Permissions::from_mode(mode));
            set.map_err(|error| failed("set the mode of", folder.path(), error))?;
        }
        let mut context = request.parameters.clone();
        context.retain(|name, _| !name.eq_ignore_ascii_case(FOLDER));
        context.insert(FOLDER.into(), place.folder.clone());
        Ok(Volume {
            id: place.id(),
            capacity: Some(record.capacity),
            context,
            source: request.source.clone(),
            topology: Vec::new(),
        })
    }

    /// Makes a volume's folder, then its record. A copy is recorded before it is begun, and comes into place whole.
    fn make(
        &self,
        share: &Share<'_>,
        place: &Location,
        source: Option<&VolumeId>,
        record: &mut Record,
        range: CapacityRange,
    ) -> Result<()> {
        let (key, records) = (place.key(), share.records());
        if let Some(source) = source {
            let begun = records.read::<Record>(&key)?.is_some();
            let there = share.folder(&place.folder)?.is_some();
            if !(begun && there) {
                if there {
                    let message = format!("{} is in the share already, and is not to be copied over", place.folder);
                    return Err(Error::new(ErrorKind::AlreadyExists, message));
                }
                self.copied(share, place, source, record, range)?;
            }
        } else {
            share.make(&place.folder)?;
        }
        record.whole = true;
        records.write(&key, record)
    }

    /// Takes away what was begun of a volume whose folder did not come to be.
    fn unmake(&self, share: &Share<'_>, place: &Location) -> Result<()> {
        let key = place.key();
        if share.folder(&place.folder)?.is_none() {
            share.discard(&format!("{key}.copy"))?;
            share.records().forget(&key)?;
        }
        share.tidy();
        Ok(())
    }

    fn copied(
        &self,
        share: &Share<'_>,
        place: &Location,
        source: &VolumeId,
        record: &mut Record,
        range: CapacityRange,
    ) -> Result<()> {
        let missing = || Error::new(ErrorKind::NotFound, format!("there is no volume {source}"));
        let origin = Location::of(source).ok_or_else(missing)?;
        let key = place.key();
        let other = if origin.share() == place.share() {
            None
        } else {
            Some(self.share(&origin.share(), &format!("{}-from", place.place()), &[])?)
        };
        let there = other.as_ref().unwrap_or(share);
        let from = there.folder(&origin.folder)?.ok_or_else(missing)?;
        let known: Option<Record> = there.records().read(&origin.key())?;
        record.capacity = record.capacity.max(known.map(|known| known.capacity).unwrap_or_default());
        if range.limit.is_some_and(|limit| record.capacity > limit) {
            return Err(Refusal::OutOfRange.error("the copy would be smaller than what it is a copy of"));
        }
        share.records().write(&key, record)?;
        let apart = format!("{key}.copy");
        share.discard(&apart)?;
        let (own, apart) = (share.own()?, OsStr::new(&apart));
        copy_folder(&from, &own, apart)?;
        let (parent, name) = share.around(&place.folder)?;
        own.rename(apart, &parent, name).map_err(|error| failed("make", &parent.path().join(name), error))
    }

    /// Deletes a volume, as its id says.
    pub(super) fn delete(&self, id: &VolumeId, secrets: &Secrets) -> Result<()> {
        if id.as_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_id: is required"));
        }
        // An id that says no place is no volume's.
        let Some(place) = Location::of(id) else { return Ok(()) };
        let key = place.key();
        let flags = secrets.0.get("mountOptions").map(|word| options(word)).unwrap_or_default();
        let share = self.share(&place.share(), &place.place(), &flags)?;
        if share.folder(&place.folder)?.is_some() {
            let (parent, name) = share.around(&place.folder)?;
            let failed = |what: &'static str| {
                let path = parent.path().join(name);
                move |error| failed(what, &path, error)
            };
            match place.on_delete {
                OnDelete::Retain => {}
                OnDelete::Archive => archive(&parent, name).map_err(failed("archive"))?,
                OnDelete::Delete => {
                    let gone = format!("{key}.gone");
                    share.discard(&gone)?;
                    parent.rename(name, &share.own()?, OsStr::new(&gone)).map_err(failed("delete"))?;
                }
            }
        }
        for half in ["gone", "copy"] {
            share.discard(&format!("{key}.{half}"))?;
        }
        share.records().forget(&key)?;
        share.tidy();
        Ok(())
    }

    /// The record of a volume, in its share.
    fn known(&self, id: &VolumeId) -> Result<(Share<'_>, String, Record)> {
        if id.as_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_id: is required"));
        }
        let missing = || Error::new(ErrorKind::NotFound, format!("there is no volume {id}"));
        let place = Location::of(id).ok_or_else(missing)?;
        let (share, key) = (self.share(&place.share(), &place.place(), &[])?, place.key());
        let record = share.records().read(&key)?.ok_or_else(missing)?;
        Ok((share, key, record))
    }

    /// Notes that a volume is larger. Nothing has to be done for it.
    pub(super) fn expand(&self, request: &ExpandVolume) -> Result<Expanded> {
        if request.capacity == CapacityRange::default() {
            return Err(Error::new(ErrorKind::Invalid, "capacity_range: is required"));
        }
        let (share, key, mut record) = self.known(&request.volume)?;
        let wanted = size(request.capacity)?.max(record.capacity);
        if request.capacity.limit.is_some_and(|limit| wanted > limit) {
            return Err(Refusal::OutOfRange.error(format!("the volume has {} bytes already", record.capacity)));
        }
        if wanted > record.capacity {
            fits(&share, wanted)?;
            record.capacity = wanted;
            share.records().write(&key, &record)?;
        }
        Ok(Expanded { capacity: record.capacity, node_expansion: false })
    }

    /// Whether a volume is what it is taken for.
    pub(super) fn validate(&self, request: &ValidateVolume) -> Result<Validated> {
        if request.capabilities.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_capabilities: is required"));
        }
        let (_share, _, record) = self.known(&request.volume)?;
        if let Err(error) = folders_only(&request.capabilities) {
            return Ok(Validated::Refused(error.message().into()));
        }
        Ok(request.confirm(&record.parameters))
    }
}

/// Gives a folder the name under which it stays: one that nothing has yet.
fn archive(parent: &Folder, name: &OsStr) -> io::Result<()> {
    let own = name.to_string_lossy();
    let names = std::iter::once(format!("archived-{own}")).chain((2..).map(|n| format!("archived-{own}-{n}")));
    for free in names {
        if parent.look(free.as_ref())?.is_none() {
            return parent.rename(name, parent, free.as_ref());
        }
    }
    Ok(())
}

/// The size for a range.
fn size(range: CapacityRange) -> Result<u64> {
    let wanted = range.required.unwrap_or_else(|| USUAL.min(range.limit.unwrap_or(USUAL)));
    if range.contains(wanted) && i64::try_from(wanted).is_ok() {
        return Ok(wanted);
    }
    Err(Refusal::OutOfRange.error(format!("no volume has between {wanted} and {:?} bytes", range.limit)))
}

/// A volume is not promised that is larger than the whole export.
fn fits(share: &Share<'_>, wanted: u64) -> Result<()> {
    let disk = statvfs(share.at()).map_err(|error| failed("look at", share.at(), error.into()))?;
    let whole = disk.blocks().saturating_mul(disk.fragment_size());
    // A server that does not tell has none.
    if wanted <= whole || whole == 0 {
        return Ok(());
    }
    Err(Refusal::OutOfRange.error(format!("the export has {whole} bytes in all, and {wanted} are wanted")))
}

/// Volumes are folders, which any number of nodes may have.
pub(super) fn folders_only(capabilities: &[VolumeCapability]) -> Result<()> {
    let refused = |why: &str| Err(Error::new(ErrorKind::Invalid, format!("volume_capabilities: {why}")));
    if capabilities.is_empty() {
        return refused("is required");
    }
    for capability in capabilities {
        match &capability.access {
            Access::Block => return refused("an export is no block device"),
            Access::Mount { group, .. } if !group.is_empty() => {
                return refused("volume_mount_group: this driver leaves groups to the orchestrator");
            }
            Access::Mount { .. } => {}
        }
    }
    Ok(())
}

/// The options that a volume is to be mounted with. Reading alone is no way to make one.
fn mount_flags(capabilities: &[VolumeCapability]) -> Vec<String> {
    let flags = capabilities.iter().find_map(|capability| match &capability.access {
        Access::Mount { flags, .. } => Some(flags.clone()),
        Access::Block => None,
    });
    flags.unwrap_or_default().into_iter().filter(|option| option != "ro").collect()
}

//! Volumes: made, deleted, grown, attached and listed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;
use windlass_kernel::{
    Error, ErrorKind, Result,
    volume::{
        Access, AttachVolume, AvailableCapacity, CapacityQuery, CapacityRange, Condition, CreateVolume, ExpandVolume,
        Expanded, NodeId, Page, Refusal, Source, ValidateVolume, Validated, Volume, VolumeCapability, VolumeId,
        VolumeState,
    },
};

use super::{
    Inner, devices,
    records::{Kind, SNAPSHOTS, SnapshotRecord, SourceRecord, VOLUMES, VolumeRecord, is_key},
    systems, usage,
};
use crate::machine::{copy::copy, mounts};

/// How large a volume is where nobody says.
const USUAL: u64 = 1 << 30;

/// Block devices are whole numbers of this.
const SECTOR: u64 = 4096;

/// As what volumes are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    block: bool,
    /// The file system; empty where none is named.
    fs_type: String,
}

/// What a volume is to be a copy of.
#[derive(Debug)]
pub(super) struct Original {
    /// The volume whose content it is; `None` for a snapshot's, which nobody writes to.
    volume: Option<String>,
    content: PathBuf,
    form: Form,
    capacity: u64,
}

impl Inner {
    /// The volume of an id.
    pub(super) fn volume(&self, id: &VolumeId) -> Result<VolumeRecord> {
        if id.as_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_id: is required"));
        }
        self.known_volume(id.as_str())?.ok_or_else(|| missing(id))
    }

    /// The volume of an id; `None` if there is none.
    pub(super) fn known_volume(&self, id: &str) -> Result<Option<VolumeRecord>> {
        if is_key('v', id) { self.store.read(VOLUMES, id) } else { Ok(None) }
    }

    /// Makes a volume, or answers the one that there is.
    pub(super) fn create(&self, key: &str, request: &CreateVolume) -> Result<Volume> {
        let mut form = usable(&request.capabilities)?;
        systems::makeable(&form.fs_type)?;
        self.reachable(request)?;
        let source = request.source.as_ref().map(|source| match source {
            Source::Snapshot(id) => SourceRecord::Snapshot(id.to_string()),
            Source::Volume(id) => SourceRecord::Volume(id.to_string()),
        });
        if let Some(there) = self.store.read::<VolumeRecord>(VOLUMES, key)? {
            self.size(request.capacity, &form)?;
            // A copy for which nobody named a file system has that of what it is a copy of.
            let alike = there.fs_type == form.fs_type || (source.is_some() && form.fs_type.is_empty());
            let same = there.name == request.name
                && there.block == form.block
                && alike
                && there.parameters == request.parameters
                && there.source == source
                && request.capacity.contains(there.capacity);
            if same {
                return Ok(self.described(key, &there));
            }
            let message = format!("volume {} exists and is another", request.name);
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        let original = source.as_ref().map(|source| self.original(source)).transpose()?;
        if let Some(original) = &original {
            form = original.form.copied_as(&form)?;
        }
        let size = self.size(request.capacity, &form)?;
        let capacity = match &original {
            Some(original) => {
                self.space_for_copy(&original.content)?;
                self.at_least(request.capacity, size, original.capacity)?
            }
            None => size,
        };
        self.space(capacity)?;
        let record = VolumeRecord {
            name: request.name.clone(),
            capacity,
            block: form.block,
            fs_type: form.fs_type,
            parameters: request.parameters.clone(),
            source,
            attached: Default::default(),
            ephemeral: false,
        };
        self.store.build(VOLUMES, key, &record, |apart| {
            self.fill(&apart.join(record.kind().content()), &record, original.as_ref())
        })?;
        Ok(self.described(key, &record))
    }

    /// Makes a volume's content.
    pub(super) fn fill(&self, content: &Path, record: &VolumeRecord, original: Option<&Original>) -> Result<()> {
        let failed = |error| self.store.failed("fill", &record.name, error);
        if let Some(Original { volume, content: from, .. }) = original {
            match volume {
                Some(volume) => self.still(volume, record.kind(), || copy(from, content))?,
                None => copy(from, content)?,
            }
        }
        if record.kind() == Kind::Folder {
            if original.is_none() {
                fs::create_dir(content).map_err(failed)?;
                // Whoever sees the folder has it mounted; who may write there is said by the pod.
                fs::set_permissions(content, fs::Permissions::from_mode(0o777)).map_err(failed)?;
            }
            return Ok(());
        }
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(content).map_err(failed)?;
        file.set_len(record.capacity).map_err(failed)?;
        match original {
            None if record.kind() == Kind::System => systems::make(&self.tools, &record.fs_type, content),
            Some(original) if record.kind() == Kind::System && original.capacity < record.capacity => {
                systems::stretch(&self.tools, &record.fs_type, content)
            }
            _ => Ok(()),
        }
    }

    /// Does work while nobody writes to a volume that has a file system. Of others there is nobody who could be kept waiting.
    pub(super) fn still<T>(&self, key: &str, kind: Kind, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let shown = if kind == Kind::System { self.shown_at(key, kind)? } else { Vec::new() };
        // One that is mounted nowhere is still by itself.
        let held = shown.first().map(|mount| systems::Still::hold(&self.tools, &mount.at)).transpose()?;
        let done = work();
        drop(held);
        done
    }

    /// Lets go on what a killed driver held still. Records that cannot be read are told of by the calls that need them.
    pub(super) fn release(&self) -> Result<()> {
        let Ok(all) = self.store.all::<VolumeRecord>(VOLUMES) else { return Ok(()) };
        for (key, record) in all.iter().filter(|(_, record)| record.kind() == Kind::System) {
            if let Some(mount) = self.shown_at(key, record.kind())?.first() {
                systems::release(&self.tools, &mount.at);
            }
        }
        Ok(())
    }

    /// Where a source's content is, as what, and how large.
    fn original(&self, source: &SourceRecord) -> Result<Original> {
        match source {
            SourceRecord::Volume(id) => {
                let record = self.volume(&id.as_str().into())?;
                Ok(Original {
                    volume: Some(id.clone()),
                    content: self.store.content(VOLUMES, id, record.kind()),
                    form: Form { block: record.block, fs_type: record.fs_type },
                    capacity: record.capacity,
                })
            }
            SourceRecord::Snapshot(id) => {
                let record: Option<SnapshotRecord> =
                    if is_key('s', id) { self.store.read(SNAPSHOTS, id)? } else { None };
                let record =
                    record.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}")))?;
                Ok(Original {
                    volume: None,
                    content: self.store.content(SNAPSHOTS, id, record.kind()),
                    form: Form { block: record.block, fs_type: record.fs_type },
                    capacity: record.capacity,
                })
            }
        }
    }

    /// What the orchestrator is told of a volume.
    pub(super) fn described(&self, key: &str, record: &VolumeRecord) -> Volume {
        let source = record.source.as_ref().map(|source| match source {
            SourceRecord::Snapshot(id) => Source::Snapshot(id.as_str().into()),
            SourceRecord::Volume(id) => Source::Volume(id.as_str().into()),
        });
        Volume {
            id: key.into(),
            capacity: Some(record.capacity),
            context: Default::default(),
            source,
            topology: vec![self.topology()],
        }
    }

    /// Deletes a volume that nobody uses.
    pub(super) fn delete(&self, id: &VolumeId) -> Result<()> {
        if id.as_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_id: is required"));
        }
        let Some(record) = self.known_volume(id.as_str())? else { return Ok(()) };
        if let Some(node) = record.attached.keys().next() {
            return Err(Refusal::Precondition.error(format!("volume {id} is attached to node {node}")));
        }
        if let Some(mount) = self.shown_at(id.as_str(), record.kind())?.first() {
            let message = format!("volume {id} is in use at {}", mount.at.display());
            return Err(Refusal::Precondition.error(message));
        }
        self.drop_volume(id.as_str(), record.kind())
    }

    /// Takes a volume's devices and content away.
    pub(super) fn drop_volume(&self, key: &str, kind: Kind) -> Result<()> {
        if kind != Kind::Folder {
            let file = self.store.content(VOLUMES, key, kind);
            for device in devices::of(&file)? {
                devices::detach(&self.tools, &device, &file)?;
            }
        }
        self.store.discard(VOLUMES, key)
    }

    /// What mounts of a volume show: its folder, its devices, or the file system on them.
    pub(super) fn origins(&self, key: &str, kind: Kind) -> Result<Vec<mounts::Origin>> {
        let content = self.store.content(VOLUMES, key, kind);
        match kind {
            Kind::Folder => Ok(vec![mounts::origin(&content)?]),
            Kind::Block => devices::of(&content)?.iter().map(|device| mounts::origin(&device.path())).collect(),
            Kind::System => Ok(devices::of(&content)?.iter().filter_map(devices::Device::system).collect()),
        }
    }

    /// The mounts that show a volume.
    pub(super) fn shown_at(&self, key: &str, kind: Kind) -> Result<Vec<mounts::Mount>> {
        let origins = self.origins(key, kind)?;
        let mounts = mounts::mounts()?.into_iter();
        Ok(mounts.filter(|mount| origins.iter().any(|origin| mount.shows(origin))).collect())
    }

    /// Grows a volume.
    pub(super) fn expand(&self, request: &ExpandVolume) -> Result<Expanded> {
        let (id, range) = (&request.volume, request.capacity);
        let mut record = self.volume(id)?;
        if range == CapacityRange::default() {
            return Err(Error::new(ErrorKind::Invalid, "capacity_range: is required"));
        }
        if let Some(capability) = &request.capability {
            matches(capability, &record)?;
        }
        let form = Form { block: record.block, fs_type: record.fs_type.clone() };
        let wanted = self.at_least(range, self.size(range, &form)?, record.capacity)?;
        if wanted > record.capacity {
            self.space(wanted - record.capacity)?;
            if record.kind() != Kind::Folder {
                let file = self.store.content(VOLUMES, id.as_str(), record.kind());
                let grown = fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(wanted));
                grown.map_err(|error| self.store.failed("expand", id.as_str(), error))?;
            }
            record.capacity = wanted;
            self.store.update(VOLUMES, id.as_str(), &record)?;
        }
        Ok(Expanded { capacity: record.capacity, node_expansion: record.kind() != Kind::Folder })
    }

    /// Writes down that a node has a volume.
    pub(super) fn attach(&self, request: &AttachVolume) -> Result<()> {
        let (id, node) = (&request.volume, request.node.as_str());
        if node.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "node_id: is required"));
        }
        let mut record = self.volume(id)?;
        if node != self.settings.node {
            return Err(Error::new(ErrorKind::NotFound, format!("this driver knows no node {node}")));
        }
        matches(&request.capability, &record)?;
        match record.attached.insert(node.into(), request.read_only) {
            Some(read_only) if read_only == request.read_only => Ok(()),
            Some(_) => {
                let message = format!("volume {id} is attached to node {node} in another way");
                Err(Error::new(ErrorKind::AlreadyExists, message))
            }
            None => self.store.update(VOLUMES, id.as_str(), &record),
        }
    }

    /// Strikes that out.
    pub(super) fn detach(&self, id: &VolumeId, node: Option<&NodeId>) -> Result<()> {
        if id.as_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_id: is required"));
        }
        let Some(mut record) = self.known_volume(id.as_str())? else { return Ok(()) };
        let before = record.attached.len();
        record.attached.retain(|at, _| node.is_some_and(|node| node.as_str() != at));
        if record.attached.len() == before { Ok(()) } else { self.store.update(VOLUMES, id.as_str(), &record) }
    }

    /// Whether a volume is what it is taken for.
    pub(super) fn validate(&self, request: &ValidateVolume) -> Result<Validated> {
        if request.capabilities.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "volume_capabilities: is required"));
        }
        let record = self.volume(&request.volume)?;
        let refused = usable(&request.capabilities)
            .and_then(|_| request.capabilities.iter().try_for_each(|one| matches(one, &record)));
        if let Err(error) = refused {
            return Ok(Validated::Refused(error.message().into()));
        }
        Ok(request.confirm(&record.parameters))
    }

    /// A volume as it is.
    pub(super) fn state(&self, key: &str, record: &VolumeRecord) -> VolumeState {
        let there = self.store.content(VOLUMES, key, record.kind()).exists();
        VolumeState {
            volume: self.described(key, record),
            nodes: record.attached.keys().map(|node| node.as_str().into()).collect(),
            condition: Some(condition(there)),
        }
    }

    /// One page of the volumes, in the order of their keys.
    pub(super) fn list(&self, limit: Option<u32>, token: Option<&str>) -> Result<Page<VolumeState>> {
        let all = self.store.all::<VolumeRecord>(VOLUMES)?;
        let all = all.into_iter().filter(|(_, record)| !record.ephemeral);
        let (entries, next) = page('v', all, limit, token)?;
        Ok(Page { entries: entries.iter().map(|(key, record)| self.state(key, record)).collect(), next })
    }

    /// How much there is.
    pub(super) fn available(&self, query: &CapacityQuery) -> Result<AvailableCapacity> {
        let elsewhere = query.topology.as_ref().is_some_and(|place| !self.is_in(place));
        let made = |form: Form| systems::makeable(&form.fs_type).map(|()| systems::least(&form.fs_type).max(1));
        let least = if query.capabilities.is_empty() { Ok(1) } else { usable(&query.capabilities).and_then(made) };
        let (false, Ok(least)) = (elsewhere, least) else { return Ok(AvailableCapacity::default()) };
        let available = self.free()?;
        Ok(AvailableCapacity { available, maximum: Some(available), minimum: Some(least) })
    }

    /// Bytes that can still be given.
    fn free(&self) -> Result<u64> {
        let disk = self.disk_free()?;
        let Some(limit) = self.settings.capacity else { return Ok(disk) };
        let volumes = self.store.all::<VolumeRecord>(VOLUMES)?.into_values().map(|record| record.capacity);
        let snapshots = self.store.all::<SnapshotRecord>(SNAPSHOTS)?.into_values().map(|record| record.capacity);
        Ok(limit.saturating_sub(volumes.chain(snapshots).fold(0, u64::saturating_add)))
    }

    pub(super) fn disk_free(&self) -> Result<u64> {
        let root = self.store.root();
        let disk = statvfs(root).map_err(|error| self.store.failed("look at", "the disk", error.into()))?;
        Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
    }

    pub(super) fn space(&self, wanted: u64) -> Result<()> {
        let free = self.free()?;
        if wanted <= free {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Full, format!("there are {free} bytes, and {wanted} are wanted")))
    }

    /// A copy is not begun that the disk cannot hold.
    pub(super) fn space_for_copy(&self, from: &Path) -> Result<()> {
        let (wanted, free) = (usage::of(from)?.bytes, self.disk_free()?);
        if wanted <= free {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Full, format!("the disk has {free} bytes, and the copy needs {wanted}")))
    }

    /// The size for a range.
    fn size(&self, range: CapacityRange, form: &Form) -> Result<u64> {
        let wanted = range.required.unwrap_or_else(|| USUAL.min(range.limit.unwrap_or(USUAL)));
        let wanted = wanted.max(systems::least(&form.fs_type));
        let whole = if form.kind() != Kind::Folder { wanted.div_ceil(SECTOR).saturating_mul(SECTOR) } else { wanted };
        if range.contains(whole) && i64::try_from(whole).is_ok() {
            return Ok(whole);
        }
        Err(Refusal::OutOfRange.error(format!("no volume has between {wanted} and {:?} bytes", range.limit)))
    }

    /// The size for a range, and not below what there is already.
    fn at_least(&self, range: CapacityRange, size: u64, held: u64) -> Result<u64> {
        let size = size.max(held);
        if range.limit.is_none_or(|limit| size <= limit) {
            return Ok(size);
        }
        Err(Refusal::OutOfRange.error(format!("there are {held} bytes already, more than the limit")))
    }

    /// Whether this node is among the places that are asked for.
    fn reachable(&self, request: &CreateVolume) -> Result<()> {
        let Some(wanted) = &request.topology else { return Ok(()) };
        if wanted.requisite.is_empty() || wanted.requisite.iter().any(|place| self.is_in(place)) {
            return Ok(());
        }
        let message = format!("node {} is in none of the places that are asked for", self.settings.node);
        Err(Error::new(ErrorKind::Full, message))
    }
}

/// How a volume is.
pub(super) fn condition(there: bool) -> Condition {
    let message = if there { "the volume is there" } else { "the content of the volume is missing" };
    Condition { abnormal: !there, message: message.into() }
}

fn missing(id: &VolumeId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no volume {id}"))
}

impl Form {
    fn kind(&self) -> Kind {
        Kind::of(self.block, &self.fs_type)
    }

    /// As what a copy of this can be had that is asked for as another.
    fn copied_as(&self, asked: &Self) -> Result<Self> {
        if asked.block != self.block {
            let message = "a block device is no copy of a folder, nor a folder of a block device";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if !asked.fs_type.is_empty() && asked.fs_type != self.fs_type {
            let has = if self.fs_type.is_empty() { "no file system of its own" } else { self.fs_type.as_str() };
            let message = format!("fs_type: {} is no copy of what has {has}", asked.fs_type);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(self.clone())
    }
}

/// As what a volume of such capabilities is asked for. Volumes of one node cannot be shared by several.
pub(super) fn usable(capabilities: &[VolumeCapability]) -> Result<Form> {
    let refused = |why: &str| Err(Error::new(ErrorKind::Invalid, format!("volume_capabilities: {why}")));
    let form = |capability: &VolumeCapability| match &capability.access {
        Access::Block => Form { block: true, fs_type: String::new() },
        Access::Mount { fs_type, .. } => Form { block: false, fs_type: fs_type.clone() },
    };
    let Some(first) = capabilities.first().map(form) else { return refused("is required") };
    for capability in capabilities {
        if capability.mode.many_nodes() {
            return refused("volumes of this driver are of one node");
        }
        let other = form(capability);
        if other.block != first.block {
            return refused("a volume is a folder or a block device, and not both");
        }
        if other != first {
            return refused("fs_type: a volume has one file system");
        }
    }
    Ok(first)
}

/// Whether a volume can be used so.
pub(super) fn matches(capability: &VolumeCapability, record: &VolumeRecord) -> Result<()> {
    let asked = usable(std::slice::from_ref(capability))?;
    let refused = |message: String| Err(Error::new(ErrorKind::Invalid, format!("volume_capability: {message}")));
    if asked.block != record.block {
        let kind = if record.block { "a block device" } else { "a folder" };
        return refused(format!("the volume is {kind}"));
    }
    if asked.fs_type.is_empty() || asked.fs_type == record.fs_type {
        return Ok(());
    }
    match record.kind() {
        Kind::System => refused(format!("fs_type: the volume has {}, not {}", record.fs_type, asked.fs_type)),
        _ => {
            refused(format!("fs_type: the volume is a folder without a file system of its own, not {}", asked.fs_type))
        }
    }
}

/// What has a key each.
type Keyed<T> = Vec<(String, T)>;

/// A page of what is sorted by key. Tokens are the last key of the page before.
pub(super) fn page<T>(
    kind: char,
    all: impl Iterator<Item = (String, T)>,
    limit: Option<u32>,
    token: Option<&str>,
) -> Result<(Keyed<T>, Option<String>)> {
    if let Some(token) = token.filter(|token| !is_key(kind, token)) {
        return Err(Refusal::Pending.error(format!("{token:?} is not where a page ended: begin anew")));
    }
    let mut rest: Vec<_> = all.filter(|(key, _)| token.is_none_or(|token| key.as_str() > token)).collect();
    let most = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let next = (rest.len() > most).then(|| rest[most - 1].0.clone());
    rest.truncate(most);
    Ok((rest, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_everything_once() {
        let keys: Vec<String> = (0..5).map(|n| super::super::records::key('v', &n.to_string())).collect();
        let mut sorted = keys.clone();
        sorted.sort();
        let (mut seen, mut token) = (Vec::new(), None::<String>);
        loop {
            let all = sorted.iter().map(|key| (key.clone(), ()));
            let (entries, next) = page('v', all, Some(2), token.as_deref()).unwrap();
            seen.extend(entries.into_iter().map(|(key, ())| key));
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, sorted);
        assert!(page('v', std::iter::empty::<(String, ())>(), None, Some("x")).is_err());
    }
}

//! Volumes: made, deleted, grown, attached and listed.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

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
    records::{SNAPSHOTS, SnapshotRecord, SourceRecord, VOLUMES, VolumeRecord, content_name, is_key},
    usage,
};
use crate::machine::{copy::copy, mounts};

/// How large a volume is where nobody says.
const USUAL: u64 = 1 << 30;

/// Block devices are whole numbers of this.
const SECTOR: u64 = 4096;

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
        let block = usable(&request.capabilities)?;
        let size = self.size(request.capacity, block)?;
        self.reachable(request)?;
        let source = request.source.as_ref().map(|source| match source {
            Source::Snapshot(id) => SourceRecord::Snapshot(id.to_string()),
            Source::Volume(id) => SourceRecord::Volume(id.to_string()),
        });
        if let Some(there) = self.store.read::<VolumeRecord>(VOLUMES, key)? {
            let same = there.name == request.name
                && there.block == block
                && there.parameters == request.parameters
                && there.source == source
                && request.capacity.contains(there.capacity);
            if same {
                return Ok(self.described(key, &there));
            }
            let message = format!("volume {} exists and is another", request.name);
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        let origin = source.as_ref().map(|source| self.origin(source)).transpose()?;
        let capacity = match &origin {
            Some((from, was_block, held)) => {
                if *was_block != block {
                    let message = "a block device is no copy of a folder, nor a folder of a block device";
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
                self.space_for_copy(from)?;
                self.at_least(request.capacity, size, *held)?
            }
            None => size,
        };
        self.space(capacity)?;
        let record = VolumeRecord {
            name: request.name.clone(),
            capacity,
            block,
            parameters: request.parameters.clone(),
            source,
            attached: Default::default(),
            ephemeral: false,
        };
        self.store.build(VOLUMES, key, &record, |apart| {
            self.fill(&apart.join(content_name(block)), &record, origin.as_ref().map(|(from, ..)| from.as_path()))
        })?;
        Ok(self.described(key, &record))
    }

    /// Makes a volume's content.
    pub(super) fn fill(&self, content: &Path, record: &VolumeRecord, from: Option<&Path>) -> Result<()> {
        let failed = |error| self.store.failed("fill", &record.name, error);
        if let Some(from) = from {
            copy(from, content)?;
        } else if !record.block {
            fs::create_dir(content).map_err(failed)?;
            // Whoever sees the folder has it mounted; who may write there is said by the pod.
            fs::set_permissions(content, fs::Permissions::from_mode(0o777)).map_err(failed)?;
        }
        if record.block {
            let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(content).map_err(failed)?;
            file.set_len(record.capacity).map_err(failed)?;
        }
        Ok(())
    }

    /// Where a source's content is, whether it is a block device, and how large.
    fn origin(&self, source: &SourceRecord) -> Result<(std::path::PathBuf, bool, u64)> {
        let (folder, key, block, capacity) = match source {
            SourceRecord::Volume(id) => {
                let record = self.volume(&id.as_str().into())?;
                (VOLUMES, id, record.block, record.capacity)
            }
            SourceRecord::Snapshot(id) => {
                let record: Option<SnapshotRecord> =
                    if is_key('s', id) { self.store.read(SNAPSHOTS, id)? } else { None };
                let record =
                    record.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}")))?;
                (SNAPSHOTS, id, record.block, record.capacity)
            }
        };
        Ok((self.store.content(folder, key, block), block, capacity))
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
        if let Some(mount) = self.shown_at(id.as_str(), record.block)?.first() {
            let message = format!("volume {id} is in use at {}", mount.at.display());
            return Err(Refusal::Precondition.error(message));
        }
        self.drop_volume(id.as_str(), record.block)
    }

    /// Takes a volume's devices and content away.
    pub(super) fn drop_volume(&self, key: &str, block: bool) -> Result<()> {
        if block {
            let file = self.store.content(VOLUMES, key, true);
            for device in devices::of(&file)? {
                devices::detach(&device, &file)?;
            }
        }
        self.store.discard(VOLUMES, key)
    }

    /// What mounts of a volume show: its folder, or its devices.
    pub(super) fn origins(&self, key: &str, block: bool) -> Result<Vec<mounts::Origin>> {
        let content = self.store.content(VOLUMES, key, block);
        if !block {
            return Ok(vec![mounts::origin(&content)?]);
        }
        devices::of(&content)?.iter().map(|device| mounts::origin(&device.path())).collect()
    }

    /// The mounts that show a volume.
    pub(super) fn shown_at(&self, key: &str, block: bool) -> Result<Vec<mounts::Mount>> {
        let origins = self.origins(key, block)?;
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
            matches_kind(capability, record.block)?;
        }
        let wanted = self.at_least(range, self.size(range, record.block)?, record.capacity)?;
        if wanted > record.capacity {
            self.space(wanted - record.capacity)?;
            if record.block {
                let file = self.store.content(VOLUMES, id.as_str(), true);
                let grown = fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(wanted));
                grown.map_err(|error| self.store.failed("expand", id.as_str(), error))?;
            }
            record.capacity = wanted;
            self.store.update(VOLUMES, id.as_str(), &record)?;
        }
        Ok(Expanded { capacity: record.capacity, node_expansion: record.block })
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
        matches_kind(&request.capability, record.block)?;
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
            .and_then(|_| request.capabilities.iter().try_for_each(|one| matches_kind(one, record.block)));
        if let Err(error) = refused {
            return Ok(Validated::Refused(error.message().into()));
        }
        Ok(request.confirm(&record.parameters))
    }

    /// A volume as it is.
    pub(super) fn state(&self, key: &str, record: &VolumeRecord) -> VolumeState {
        let there = self.store.content(VOLUMES, key, record.block).exists();
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
        if elsewhere || (!query.capabilities.is_empty() && usable(&query.capabilities).is_err()) {
            return Ok(AvailableCapacity::default());
        }
        let available = self.free()?;
        Ok(AvailableCapacity { available, maximum: Some(available), minimum: Some(1) })
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
    fn size(&self, range: CapacityRange, block: bool) -> Result<u64> {
        let wanted = range.required.unwrap_or_else(|| USUAL.min(range.limit.unwrap_or(USUAL)));
        let whole = if block { wanted.div_ceil(SECTOR).saturating_mul(SECTOR) } else { wanted };
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

/// Whether a volume of such capabilities is a block device. Volumes of one node cannot be shared by several.
pub(super) fn usable(capabilities: &[VolumeCapability]) -> Result<bool> {
    let refused = |why: &str| Err(Error::new(ErrorKind::Invalid, format!("volume_capabilities: {why}")));
    let Some(first) = capabilities.first() else { return refused("is required") };
    let block = first.access == Access::Block;
    for capability in capabilities {
        if capability.mode.many_nodes() {
            return refused("volumes of this driver are of one node");
        }
        if (capability.access == Access::Block) != block {
            return refused("a volume is a folder or a block device, and not both");
        }
    }
    Ok(block)
}

/// Whether a volume can be used so.
pub(super) fn matches_kind(capability: &VolumeCapability, block: bool) -> Result<()> {
    usable(std::slice::from_ref(capability)).and_then(|asked| {
        let kind = if block { "a block device" } else { "a folder" };
        let message = format!("volume_capability: the volume is {kind}");
        if asked == block { Ok(()) } else { Err(Error::new(ErrorKind::Invalid, message)) }
    })
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

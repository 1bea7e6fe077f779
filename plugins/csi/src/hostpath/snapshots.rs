//! Snapshots: copies of a volume's content, apart from it.

use windlass_kernel::{
    Error, ErrorKind, Result,
    volume::{CreateSnapshot, Page, Snapshot, SnapshotFilter, SnapshotId},
};

use super::{
    Inner,
    records::{SNAPSHOTS, SnapshotRecord, VOLUMES, is_key},
    volumes::page,
};
use crate::machine::copy::copy;

impl Inner {
    /// Cuts a snapshot, or answers the one that there is. What is written meanwhile may be in it or not; of a volume with a
    /// file system it is of one moment, and whoever writes waits.
    pub(super) fn snapshot(&self, key: &str, request: &CreateSnapshot) -> Result<Snapshot> {
        if let Some(there) = self.store.read::<SnapshotRecord>(SNAPSHOTS, key)? {
            if there.source == request.source.as_str() {
                return Ok(snapshot(key, &there));
            }
            let message = format!("snapshot {} exists and is of another volume", request.name);
            return Err(Error::new(ErrorKind::AlreadyExists, message));
        }
        let volume = self.volume(&request.source)?;
        let from = self.store.content(VOLUMES, request.source.as_str(), volume.kind());
        self.space(volume.capacity)?;
        self.space_for_copy(&from)?;
        let record = SnapshotRecord {
            name: request.name.clone(),
            source: request.source.to_string(),
            capacity: volume.capacity,
            block: volume.block,
            fs_type: volume.fs_type.clone(),
            created: self.clock.now(),
        };
        let name = record.kind().content();
        self.store.build(SNAPSHOTS, key, &record, |apart| {
            self.still(request.source.as_str(), record.kind(), || copy(&from, &apart.join(name)))
        })?;
        Ok(snapshot(key, &record))
    }

    /// Deletes a snapshot.
    pub(super) fn delete_snapshot(&self, id: &SnapshotId) -> Result<()> {
        if id.as_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "snapshot_id: is required"));
        }
        if is_key('s', id.as_str()) { self.store.discard(SNAPSHOTS, id.as_str()) } else { Ok(()) }
    }

    /// One page of the snapshots, in the order of their keys.
    pub(super) fn list_snapshots(&self, filter: &SnapshotFilter) -> Result<Page<Snapshot>> {
        let all = self.store.all::<SnapshotRecord>(SNAPSHOTS)?;
        let wanted = |key: &str, record: &SnapshotRecord| {
            filter.snapshot.as_ref().is_none_or(|id| id.as_str() == key)
                && filter.source.as_ref().is_none_or(|id| id.as_str() == record.source)
        };
        let all = all.into_iter().filter(|(key, record)| wanted(key, record));
        let (entries, next) = page('s', all, filter.limit, filter.token.as_deref())?;
        Ok(Page { entries: entries.iter().map(|(key, record)| snapshot(key, record)).collect(), next })
    }
}

fn snapshot(key: &str, record: &SnapshotRecord) -> Snapshot {
    Snapshot {
        id: key.into(),
        source: record.source.as_str().into(),
        size: Some(record.capacity),
        created: record.created,
        ready: true,
    }
}

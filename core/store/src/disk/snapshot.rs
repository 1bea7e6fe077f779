//! Snapshots: the whole state in one file, so that the log before it can go.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use windlass_kernel::store::{Entry, LeaseId, Op};

use super::{
    files::{File, Files},
    frame::{BadHeader, Frame, HEADER, Role, file_header, read, read_file_header},
    log::Counters,
    record::{Event, Records, write_entry, write_grant, write_state},
};
use crate::mvcc::{Head, History};

pub(super) const TEMPORARY: &str = "snapshot.tmp";
const FRAME_BYTES: usize = 256 << 10;

pub(super) fn snapshot_name(sequence: u64) -> String {
    format!("snapshot-{sequence:020}")
}

/// Writes the state that the frames up to `sequence` led to. It counts once this returns, and not before.
pub(super) fn write(files: &dyn Files, counters: &Counters, head: &Head, sequence: u64, bound: u64) -> io::Result<()> {
    let file = files.create(TEMPORARY)?;
    file.write_at(&file_header(Role::Snapshot, sequence), 0)?;
    let mut out = Out { file: &*file, offset: HEADER as u64, frames: 0, bound, frame: Frame::new() };
    write_state(out.frame.payload(), head.revision, head.last_lease);
    for (lease, held) in &head.leases {
        write_grant(out.frame.payload(), *lease, held.ttl);
        out.flush_if_large()?;
    }
    for (_, entry) in &head.entries {
        write_entry(out.frame.payload(), entry);
        out.flush_if_large()?;
    }
    out.flush()?;
    // An empty frame is the end.
    out.flush()?;
    file.sync()?;
    files.rename(TEMPORARY, &snapshot_name(sequence))?;
    files.sync()?;
    counters.bytes.fetch_add(out.offset, Ordering::Relaxed);
    counters.syncs.fetch_add(2, Ordering::Relaxed);
    counters.snapshots.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

struct Out<'a> {
    file: &'a dyn File,
    offset: u64,
    frames: u64,
    bound: u64,
    frame: Frame,
}

impl Out<'_> {
    fn flush_if_large(&mut self) -> io::Result<()> {
        if self.frame.len() >= FRAME_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let frame = std::mem::replace(&mut self.frame, Frame::new());
        let bytes = frame.seal(self.frames, self.bound);
        self.file.write_at(&bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        self.frames += 1;
        Ok(())
    }
}

/// Removes what a snapshot makes needless.
pub(super) fn remove_older(files: &dyn Files, sequence: u64, segments: &[String]) -> io::Result<()> {
    let snapshots = files.list()?.into_iter().filter(|name| {
        let number = name.strip_prefix("snapshot-").and_then(|number| number.parse::<u64>().ok());
        number.is_some_and(|number| number < sequence)
    });
    for name in snapshots.chain(segments.iter().cloned()) {
        files.remove(&name)?;
    }
    Ok(())
}

/// What a snapshot holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) head: Head,
    pub(super) sequence: u64,
    pub(super) bound: u64,
}

/// Why a snapshot cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    Io(io::Error),
    Damaged(u64),
    Version(u32),
}

/// Reads a snapshot as a whole, or not.
pub(super) fn load(files: &Arc<dyn Files>, name: &str) -> Result<Loaded, Unusable> {
    let file = files.open(name).map_err(Unusable::Io)?;
    let size = file.size().map_err(Unusable::Io)?;
    let mut header = [0; HEADER];
    let fetch = |buffer: &mut [u8], offset: u64| match offset + buffer.len() as u64 <= size {
        true => file.read_at(buffer, offset).map_err(Unusable::Io),
        false => Err(Unusable::Damaged(offset)),
    };
    fetch(&mut header, 0)?;
    let sequence = read_file_header(Role::Snapshot, &header).map_err(|bad| match bad {
        BadHeader::Damaged => Unusable::Damaged(0),
        BadHeader::Version(version) => Unusable::Version(version),
    })?;
    let mut loaded = Loaded { head: Head::default(), sequence, bound: 0 };
    let (mut offset, mut frames) = (HEADER as u64, 0);
    loop {
        fetch(&mut header, offset)?;
        let length = u32::from_le_bytes(header[8..12].try_into().expect("four bytes are four bytes")) as usize;
        let whole = (HEADER + length).next_multiple_of(8);
        if offset + whole as u64 > size {
            return Err(Unusable::Damaged(offset));
        }
        let mut bytes = vec![0; whole];
        fetch(&mut bytes, offset)?;
        let frame = read(&bytes, 0).filter(|frame| frame.sequence == frames).ok_or(Unusable::Damaged(offset))?;
        if frame.payload.is_empty() {
            loaded.head.history = History::after(loaded.head.revision);
            return Ok(loaded);
        }
        loaded.bound = frame.bound;
        for event in Records(frame.payload) {
            event.and_then(|event| restore(&mut loaded.head, event)).ok_or(Unusable::Damaged(offset))?;
        }
        offset += whole as u64;
        frames += 1;
    }
}

fn restore(head: &mut Head, event: Event) -> Option<()> {
    match event {
        Event::State { revision, last_lease } => {
            head.revision = revision;
            head.last_lease = last_lease;
        }
        Event::Grant { lease: LeaseId(id), ttl } if id <= head.last_lease => head.restore_lease(LeaseId(id), ttl),
        Event::Entry { created, modified, op: Op::Put { key, value, lease } } => {
            head.restore(Entry::new(key, created, modified, value, lease));
        }
        _ => return None,
    }
    Some(())
}

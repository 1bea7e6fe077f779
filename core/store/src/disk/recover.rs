//! Recovery: from what lies in the directory to the state, or to an error that says what to do.

use std::{io, sync::Arc};

use windlass_kernel::{Error, ErrorKind, Result, Revision};

use super::{
    DiskOptions,
    files::Files,
    frame::{BadHeader, HEADER, Role, VERSION, find_later, read, read_file_header},
    log::{Counters, Log, Segment, segment_name},
    record::{Event, Records},
    snapshot::{self, TEMPORARY, Unusable, snapshot_name},
};
use crate::mvcc::{Head, History};

/// What the directory holds.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) head: Head,
    /// Revisions up to here may have been given.
    pub(super) reserved: u64,
    pub(super) log: Log,
    /// The segment read last, and how far.
    read: Option<(String, usize)>,
}

pub(super) fn recover(files: &Arc<dyn Files>, counters: Arc<Counters>, options: &DiskOptions) -> Result<Recovered> {
    let names = files.list().map_err(|error| failed("list", &files.place(), error))?;
    let numbered = |prefix: &str| -> Vec<u64> {
        names.iter().filter_map(|name| name.strip_prefix(prefix)?.parse().ok()).collect()
    };
    if names.iter().any(|name| name == TEMPORARY) {
        // Left by a crash; the next snapshot replaces it.
        let _ = files.remove(TEMPORARY);
    }
    let (snapshots, segments) = (numbered("snapshot-"), numbered("log-"));
    let log = Log {
        files: Arc::clone(files),
        counters,
        segments: vec![],
        open: None,
        next: 1,
        segment_bytes: options.segment_bytes,
        since_snapshot: 0,
    };
    let mut found = Recovered { head: Head::default(), reserved: 0, log, read: None };
    let newest = found.load_snapshot(snapshots)?;
    found.replay(segments, options)?;
    if let Some((name, sequence)) = newest
        && found.log.next <= sequence
    {
        return Err(corrupt(&files.place(), &name, 0, "the log does not reach as far as this damaged snapshot did"));
    }
    found.skip_reserved();
    Ok(found)
}

impl Recovered {
    /// Loads the newest snapshot that can be read; the name and number of a newer one that cannot.
    fn load_snapshot(&mut self, mut snapshots: Vec<u64>) -> Result<Option<(String, u64)>> {
        snapshots.sort_unstable();
        let place = self.log.files.place();
        let mut damaged = None;
        while let Some(sequence) = snapshots.pop() {
            let name = snapshot_name(sequence);
            match snapshot::load(&self.log.files, &name) {
                Ok(loaded) => {
                    self.head = loaded.head;
                    self.reserved = loaded.bound;
                    self.log.next = loaded.sequence + 1;
                    return Ok(damaged);
                }
                Err(Unusable::Io(error)) => return Err(failed("read", &format!("{place}/{name}"), error)),
                Err(Unusable::Version(version)) => return Err(unknown_version(&place, &name, version)),
                Err(Unusable::Damaged(offset)) if snapshots.is_empty() && sequence > 0 && damaged.is_none() => {
                    // Perhaps the log still reaches back to the beginning.
                    tracing::warn!(place, name, offset, "a snapshot is damaged, reading the log instead");
                    damaged = Some((name, sequence));
                }
                Err(Unusable::Damaged(offset)) => {
                    tracing::warn!(place, name, offset, "a snapshot is damaged, trying an older one");
                    damaged.get_or_insert((name, sequence));
                }
            }
        }
        Ok(damaged)
    }

    fn replay(&mut self, mut segments: Vec<u64>, options: &DiskOptions) -> Result<()> {
        segments.sort_unstable();
        // Segments whose successor starts within the snapshot hold nothing new.
        let needless = segments.iter().skip(1).take_while(|first| **first <= self.log.next).count();
        for first in segments.drain(..needless) {
            let _ = self.log.files.remove(&segment_name(first));
        }
        let last = segments.len();
        for (index, first) in segments.into_iter().enumerate() {
            self.replay_segment(first, index + 1 == last, options)?;
        }
        Ok(())
    }

    fn replay_segment(&mut self, first: u64, last: bool, options: &DiskOptions) -> Result<()> {
        let (name, place) = (segment_name(first), self.log.files.place());
        let io_failed = |error| failed("read", &format!("{place}/{name}"), error);
        let file = self.log.files.open(&name).map_err(io_failed)?;
        let size = usize::try_from(file.size().map_err(io_failed)?)
            .map_err(|_| io_failed(io::ErrorKind::FileTooLarge.into()))?;
        let mut bytes = vec![0; size];
        file.read_at(&mut bytes, 0).map_err(io_failed)?;
        match read_file_header(Role::Log, &bytes) {
            Ok(named) if named == first => {}
            Err(BadHeader::Version(version)) => return Err(unknown_version(&place, &name, version)),
            Ok(_) | Err(BadHeader::Damaged) => {
                if !last || find_later(&bytes, 0, first).is_some() {
                    return Err(corrupt(&place, &name, 0, "the header cannot be read"));
                }
                // A crash came before the segment's first frame.
                return self.log.files.remove(&name).map_err(io_failed);
            }
        }
        if first > self.log.next {
            let what = format!("frame {} cannot be read, but {name} goes on with {first}", self.log.next);
            let (damaged, offset) = self.read.take().unwrap_or((name.clone(), HEADER));
            return Err(corrupt(&place, &damaged, offset, &what));
        }
        let mut end = HEADER;
        let mut sequence = first;
        while let Some(frame) = read(&bytes, end).filter(|frame| frame.sequence == sequence) {
            if sequence == self.log.next {
                self.apply(frame.payload).ok_or_else(|| corrupt(&place, &name, end, "a record makes no sense"))?;
                self.head.history.bound(options.history);
                self.reserved = frame.bound;
                self.log.next += 1;
                self.log.since_snapshot += (frame.end - end) as u64;
            }
            end = frame.end;
            sequence += 1;
        }
        if let Some(later) = find_later(&bytes, end, sequence) {
            let what = format!("frame {sequence} cannot be read, but a later one at {later} can");
            return Err(corrupt(&place, &name, end, &what));
        }
        self.log.segments.push(first);
        self.read = Some((name.clone(), end));
        if last {
            let torn = bytes[end..].iter().any(|byte| *byte != 0);
            if torn {
                tracing::info!(place, name, offset = end, "the log ends in a torn frame, cutting it off");
                file.truncate(end as u64).and_then(|()| file.sync()).map_err(io_failed)?;
            }
            let filled = if torn { end } else { size } as u64;
            self.log.open = (sequence == self.log.next).then_some(Segment { file, end: end as u64, filled });
        }
        Ok(())
    }

    fn apply(&mut self, payload: &[u8]) -> Option<()> {
        for event in Records(payload) {
            match event? {
                Event::Txn { revision, ops } if revision > self.head.revision => {
                    self.head.write(revision, ops);
                    self.head.revision = revision;
                }
                Event::Grant { lease, ttl } => self.head.restore_lease(lease, ttl),
                Event::End { lease } => drop(self.head.leases.remove(&lease)),
                Event::Txn { .. } | Event::Entry { .. } | Event::State { .. } => return None,
            }
        }
        Some(())
    }

    /// Steps over the revisions that relaxed writes may have been given before a crash undid them. Who has seen one
    /// must not resume as if nothing had happened, so history begins anew.
    fn skip_reserved(&mut self) {
        if self.reserved > self.head.revision.0 {
            self.head.revision = Revision(self.reserved);
            self.head.history = History::after(self.head.revision);
        }
        self.reserved = self.reserved.max(self.head.revision.0);
    }
}

fn failed(verb: &str, what: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot {verb} {what}")).with_source(error)
}

fn corrupt(place: &str, name: &str, offset: usize, what: &str) -> Error {
    let cure = "restore the directory from a backup, or, to lose this and everything later, move this file and those \
                with greater numbers away";
    Error::new(ErrorKind::Corrupt, format!("{place}/{name} is damaged at offset {offset}: {what}; {cure}"))
}

fn unknown_version(place: &str, name: &str, version: u32) -> Error {
    let cure = "use the build that wrote it, or a later one";
    Error::new(
        ErrorKind::NotSupported,
        format!("{place}/{name} has format version {version}, and this build reads version {VERSION} only; {cure}"),
    )
}

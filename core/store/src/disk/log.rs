//! The log: numbered frames in segment files, written and synced one at a time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    files::{File, Files},
    frame::{Frame, HEADER, Role, file_header},
};

/// The smallest and the largest step by which a segment is filled with zeros ahead of its frames. A sync that only
/// overwrites is several times faster than one that also grows the file.
const SMALLEST_STEP: u64 = 64 << 10;
const LARGEST_STEP: u64 = 4 << 20;
/// For how many frames like the one at hand a step makes room. Frames are small at rest and large under load, so that
/// a store at rest writes little however long its log is.
const FRAMES_AHEAD: u64 = 16;

/// What was written, for [`stats`](super::DiskStore::stats).
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) snapshots: AtomicU64,
}

/// Why a frame was not appended.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no space; the log is as it was.
    Full(io::Error),
    /// Whether the frame is durable is not known, and neither is what later ones would be worth.
    Broken(io::Error),
}

impl Failure {
    /// A failure before the frame could have come to the disk as a whole.
    fn early(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Broken(error),
        }
    }
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Box<dyn File>,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// Up to where the file is filled.
    pub(super) filled: u64,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) files: Arc<dyn Files>,
    pub(super) counters: Arc<Counters>,
    /// The first sequence number of each segment file.
    pub(super) segments: Vec<u64>,
    pub(super) open: Option<Segment>,
    /// The sequence number of the next frame.
    pub(super) next: u64,
    pub(super) segment_bytes: u64,
    /// The bytes of the frames that the newest snapshot does not cover.
    pub(super) since_snapshot: u64,
}

pub(super) fn segment_name(first: u64) -> String {
    format!("log-{first:020}")
}

impl Log {
    /// Appends a frame and makes it durable.
    pub(super) fn append(&mut self, frame: Frame, bound: u64) -> Result<(), Failure> {
        let length = frame.len().next_multiple_of(8) as u64;
        let used = self.open.as_ref().map_or(0, |segment| segment.end);
        if used == 0 || (used > HEADER as u64 && used + length > self.segment_bytes) {
            self.begin().map_err(Failure::early)?;
        }
        let bytes = frame.seal(self.next, bound);
        let segment = self.open.as_mut().expect("a segment was opened");
        if segment.end + length > segment.filled {
            segment.fill(length, &self.counters).map_err(Failure::early)?;
        }
        segment.file.write_at(&bytes, segment.end).map_err(Failure::early)?;
        segment.file.sync().map_err(Failure::Broken)?;
        segment.end += length;
        self.next += 1;
        self.since_snapshot += length;
        self.counters.bytes.fetch_add(length, Ordering::Relaxed);
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.frames.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Starts a segment for the next frame.
    fn begin(&mut self) -> io::Result<()> {
        self.open = None;
        let name = segment_name(self.next);
        let made = (|| {
            let mut first = file_header(Role::Log, self.next).to_vec();
            first.resize(SMALLEST_STEP as usize, 0);
            let file = self.files.create(&name)?;
            file.write_at(&first, 0)?;
            file.sync()?;
            self.files.sync()?;
            Ok(Segment { file, end: HEADER as u64, filled: SMALLEST_STEP })
        })();
        self.counters.bytes.fetch_add(SMALLEST_STEP, Ordering::Relaxed);
        self.counters.syncs.fetch_add(2, Ordering::Relaxed);
        match made {
            Ok(segment) => {
                self.open = Some(segment);
                if self.segments.last() != Some(&self.next) {
                    self.segments.push(self.next);
                }
                Ok(())
            }
            Err(error) => {
                // Without it the next attempt starts from the same point; with it, that attempt replaces it.
                let _ = self.files.remove(&name);
                Err(error)
            }
        }
    }

    /// Makes the next frame start a new segment.
    pub(super) fn rotate(&mut self) {
        self.open = None;
        self.since_snapshot = 0;
    }

    /// Takes the segments that hold no frame after `sequence` out of the log, after it was rotated there.
    pub(super) fn forget(&mut self, sequence: u64) -> Vec<String> {
        let (old, kept) = self.segments.iter().partition(|first| **first <= sequence);
        self.segments = kept;
        let old: Vec<u64> = old;
        old.into_iter().map(segment_name).collect()
    }
}

impl Segment {
    fn fill(&mut self, length: u64, counters: &Counters) -> io::Result<()> {
        let ahead = (FRAMES_AHEAD * length).clamp(SMALLEST_STEP, LARGEST_STEP);
        let step = ahead.max(length).next_multiple_of(4096);
        let zeros = vec![0; usize::try_from(step).map_err(|_| io::ErrorKind::FileTooLarge)?];
        self.file.write_at(&zeros, self.filled)?;
        self.file.sync()?;
        self.filled += step;
        counters.bytes.fetch_add(step, Ordering::Relaxed);
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

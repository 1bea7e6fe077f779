//! The recent changes, by sequence number and revision, bounded by count and bytes.
//!
//! Older states are not kept as such: they are read by undoing the changes after them.

use std::{sync::Arc, time::Duration};

use imbl::Vector;
use windlass_kernel::{Revision, store::Change};

/// How much history a store keeps for watches that resume and for reads of older states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// At most so many changes.
    pub changes: usize,
    /// At most so many bytes that nothing but the history holds: old values, and what a change itself takes.
    pub bytes: usize,
    /// Nothing much older than this, once later writes come.
    pub age: Duration,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { changes: 100_000, bytes: 32 << 20, age: Duration::from_secs(300) }
    }
}

/// What a change takes beyond the entries: its allocation and its place in the vector.
const CHANGE_BYTES: usize = 64;

/// Changes with consecutive sequence numbers, and the oldest revision whose state they lead back to.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    first: u64,
    floor: Revision,
    changes: Vector<Arc<Change>>,
    bytes: usize,
    /// Moments with the sequence number that the next change then had.
    marks: Vector<(Duration, u64)>,
}

/// How many marks there are within the age limit.
const MARKS: u32 = 16;

impl History {
    /// A history that begins after `floor`.
    pub(crate) fn after(floor: Revision) -> Self {
        Self { floor, ..Self::default() }
    }

    /// The oldest revision whose state can be read and after which a watch can start.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// The sequence number of the first change that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The sequence number that the next change gets.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Arc<Change>> {
        let index = sequence.checked_sub(self.first)?;
        self.changes.get(usize::try_from(index).ok()?)
    }

    /// The sequence number of the first change after `revision`.
    pub(crate) fn seek(&self, revision: Revision) -> u64 {
        let (mut low, mut high) = (0, self.changes.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.changes[middle].revision <= revision {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.first + low as u64
    }

    /// The changes from `sequence` on.
    pub(crate) fn from(&self, sequence: u64) -> impl Iterator<Item = (u64, &Arc<Change>)> {
        let skipped = usize::try_from(sequence.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let focus = self.changes.len().min(skipped);
        let first = self.first + focus as u64;
        // Counting from the end starts in the right chunk; skipping from the front would walk through all before it.
        let newest_first = self.changes.iter().rev().take(self.changes.len() - focus);
        let kept: Vec<_> = newest_first.collect();
        (first..).zip(kept.into_iter().rev())
    }

    pub(crate) fn push(&mut self, change: Arc<Change>) {
        self.bytes += weight(&change);
        self.changes.push_back(change);
    }

    /// Drops the oldest revisions until the limits hold, but nothing from `keep` on.
    pub(crate) fn prune(&mut self, limits: HistoryLimits, keep: u64, now: Duration) {
        if self.marks.back().is_none_or(|(last, _)| *last + limits.age / MARKS <= now) {
            self.marks.push_back((now, self.end()));
        }
        let mut old = 0;
        while let Some((moment, end)) = self.marks.front()
            && *moment + limits.age <= now
        {
            old = *end;
            self.marks.pop_front();
        }
        let old = old.min(keep);
        self.shrink(limits, keep, old);
    }

    /// Drops the oldest revisions until the limits of count and size hold.
    pub(crate) fn bound(&mut self, limits: HistoryLimits) {
        self.shrink(limits, self.end(), 0);
    }

    fn shrink(&mut self, limits: HistoryLimits, keep: u64, old: u64) {
        let too_much = |now: &Self| now.changes.len() > limits.changes || now.bytes > limits.bytes;
        while self.first < old || too_much(self) && self.first < keep {
            let Some(oldest) = self.changes.front() else { return };
            self.compact(oldest.revision);
        }
    }

    /// Drops the changes up to `revision`.
    pub(crate) fn compact(&mut self, revision: Revision) {
        while let Some(oldest) = self.changes.front()
            && oldest.revision <= revision
        {
            self.bytes -= weight(oldest);
            self.changes.pop_front();
            self.first += 1;
        }
        self.floor = self.floor.max(revision);
    }
}

fn weight(change: &Change) -> usize {
    let old = change.before.as_ref().map_or(0, |before| before.value.len() + CHANGE_BYTES);
    let deleted = if change.after.is_none() { change.key().as_str().len() + CHANGE_BYTES } else { 0 };
    CHANGE_BYTES + old + deleted
}

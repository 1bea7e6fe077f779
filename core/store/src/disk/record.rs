//! The inner form of files: what happened, as bytes. Integers are little-endian; texts and values carry their length.

use std::time::Duration;

use bytes::Bytes;
use windlass_kernel::{
    Revision,
    store::{Entry, Key, LeaseId, Op},
};

use crate::mvcc::Record;

const TXN: u8 = 1;
const GRANT: u8 = 2;
const END: u8 = 3;
const ENTRY: u8 = 4;
const STATE: u8 = 5;

/// The largest value, far above what the API admits, far below what a frame can hold.
pub(super) const MAX_TXN_BYTES: usize = 256 << 20;

/// A record as read.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    Txn {
        revision: Revision,
        ops: Vec<Op>,
    },
    Grant {
        lease: LeaseId,
        ttl: Duration,
    },
    End {
        lease: LeaseId,
    },
    Entry {
        created: Revision,
        modified: Revision,
        op: Op,
    },
    /// A snapshot's frame of reference.
    State {
        revision: Revision,
        last_lease: u64,
    },
}

pub(super) fn write(out: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Txn { revision, written, deleted } => {
            out.push(TXN);
            number(out, revision.0);
            number(out, (written.len() + deleted.len()) as u64);
            for entry in written {
                write_put(out, entry);
            }
            for entry in deleted {
                out.push(0);
                text(out, entry.key.as_str().as_bytes());
            }
        }
        Record::Grant { lease, ttl } => write_grant(out, *lease, *ttl),
        Record::End { lease } => {
            out.push(END);
            number(out, lease.0);
        }
    }
}

pub(super) fn write_grant(out: &mut Vec<u8>, lease: LeaseId, ttl: Duration) {
    out.push(GRANT);
    number(out, lease.0);
    number(out, u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX));
}

pub(super) fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(ENTRY);
    number(out, entry.created.0);
    number(out, entry.modified.0);
    write_put(out, entry);
}

pub(super) fn write_state(out: &mut Vec<u8>, revision: Revision, last_lease: u64) {
    out.push(STATE);
    number(out, revision.0);
    number(out, last_lease);
}

fn write_put(out: &mut Vec<u8>, entry: &Entry) {
    out.push(if entry.lease.is_some() { 2 } else { 1 });
    text(out, entry.key.as_str().as_bytes());
    if let Some(lease) = entry.lease {
        number(out, lease.0);
    }
    text(out, &entry.value);
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a payload's records one after the other. `None` is the end, `Some(None)` something that is no record.
#[derive(Debug)]
pub(super) struct Records<'a>(pub(super) &'a [u8]);

impl Iterator for Records<'_> {
    type Item = Option<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let event = self.event();
        if event.is_none() {
            self.0 = &[];
        }
        Some(event)
    }
}

impl<'a> Records<'a> {
    fn event(&mut self) -> Option<Event> {
        Some(match self.byte()? {
            TXN => {
                let revision = Revision(self.number()?);
                let count = self.number()?;
                let ops = (0..count).map(|_| self.op()).collect::<Option<Vec<Op>>>()?;
                Event::Txn { revision, ops }
            }
            GRANT => Event::Grant { lease: LeaseId(self.number()?), ttl: Duration::from_nanos(self.number()?) },
            END => Event::End { lease: LeaseId(self.number()?) },
            ENTRY => {
                let (created, modified) = (Revision(self.number()?), Revision(self.number()?));
                Event::Entry { created, modified, op: self.op()? }
            }
            STATE => Event::State { revision: Revision(self.number()?), last_lease: self.number()? },
            _ => return None,
        })
    }

    fn op(&mut self) -> Option<Op> {
        let kind = self.byte()?;
        let key = Key::from(std::str::from_utf8(self.text()?).ok()?);
        Some(match kind {
            0 => Op::Delete { key },
            1 | 2 => {
                let lease = if kind == 2 { Some(LeaseId(self.number()?)) } else { None };
                Op::Put { key, lease, value: Bytes::copy_from_slice(self.text()?) }
            }
            _ => return None,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn records_read_back_and_cut_ones_do_not() {
        let entry = Entry::new("/k".into(), Revision(3), Revision(4), "value".into(), Some(LeaseId(9)));
        let gone = Entry::new("/gone".into(), Revision(1), Revision(1), "".into(), None);
        let mut bytes = vec![];
        let txn = Record::Txn { revision: Revision(4), written: vec![Arc::new(entry)], deleted: vec![Arc::new(gone)] };
        write(&mut bytes, &txn);
        let put = Op::Put { key: "/k".into(), value: "value".into(), lease: Some(LeaseId(9)) };
        let expect = Event::Txn { revision: Revision(4), ops: vec![put, Op::Delete { key: "/gone".into() }] };
        assert_eq!(Records(&bytes).collect::<Vec<_>>(), [Some(expect)]);
        for end in 1..bytes.len() {
            assert_eq!(Records(&bytes[..end]).collect::<Vec<_>>(), [None], "cut at {end}");
        }
    }
}

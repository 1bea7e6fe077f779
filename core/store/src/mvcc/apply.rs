//! Mutations: what a write does to the newest state. Pure, apart from the time that leases are handed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use imbl::{OrdMap, OrdSet};
use windlass_kernel::{
    Error, ErrorKind, Result, Revision,
    store::{Condition, Entry, Key, LeaseId, Op, Txn, TxnOutcome},
};

use super::{Head, head::Written, in_the_future};

/// One call that changes the state.
#[derive(Debug)]
pub(crate) enum Mutation {
    Txn(Txn),
    Grant(Duration),
    /// Ends a lease whatever its time to live.
    Revoke(LeaseId),
    /// Ends a lease if its time has passed.
    Expire(LeaseId),
    Compact(Revision),
}

/// What its caller is told.
#[derive(Debug)]
pub(crate) enum Reply {
    Txn(TxnOutcome),
    Granted(LeaseId),
    Done,
}

impl Reply {
    pub(crate) fn into_outcome(self) -> TxnOutcome {
        match self {
            Self::Txn(outcome) => outcome,
            Self::Granted(_) | Self::Done => unreachable!("a transaction is answered with its outcome"),
        }
    }

    pub(crate) fn into_lease(self) -> LeaseId {
        match self {
            Self::Granted(lease) => lease,
            Self::Txn(_) | Self::Done => unreachable!("a grant is answered with its lease"),
        }
    }
}

/// What a log must hold to repeat a mutation.
#[derive(Debug)]
pub(crate) enum Record {
    Txn { revision: Revision, written: Vec<Arc<Entry>>, deleted: Vec<Arc<Entry>> },
    Grant { lease: LeaseId, ttl: Duration },
    End { lease: LeaseId },
}

/// A mutation's answer and its trace in the log.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) reply: Reply,
    pub(crate) records: Vec<Record>,
}

/// The newest state, acknowledged or not yet, and when its leases end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tip {
    pub(crate) head: Head,
    deadlines: OrdMap<LeaseId, Duration>,
    due: OrdSet<(Duration, LeaseId)>,
}

impl Tip {
    /// A state whose leases all start now.
    pub(crate) fn new(head: Head, now: Duration) -> Self {
        let mut tip = Self { head, ..Self::default() };
        for (lease, ttl) in tip.head.leases.iter().map(|(id, lease)| (*id, lease.ttl)).collect::<Vec<_>>() {
            tip.arm(lease, now.saturating_add(ttl));
        }
        tip
    }

    /// Applies a mutation at the time `now`. An error leaves everything as it was.
    pub(crate) fn apply(&mut self, mutation: Mutation, now: Duration) -> Result<Applied> {
        match mutation {
            Mutation::Txn(txn) => self.txn(txn),
            Mutation::Grant(ttl) => Ok(self.grant(ttl, now)),
            Mutation::Revoke(lease) => Ok(self.end(lease)),
            Mutation::Expire(lease) if self.deadlines.get(&lease).is_some_and(|end| *end <= now) => Ok(self.end(lease)),
            Mutation::Expire(_) => Ok(nothing()),
            Mutation::Compact(revision) if revision > self.head.revision => {
                Err(in_the_future(revision, self.head.revision))
            }
            Mutation::Compact(revision) => {
                self.head.history.compact(revision);
                Ok(nothing())
            }
        }
    }

    fn txn(&mut self, txn: Txn) -> Result<Applied> {
        self.check(&txn.ops)?;
        let current = |condition: &Condition| self.head.entries.get(condition.key());
        let holds = |condition: &Condition| match condition {
            Condition::Absent(_) => current(condition).is_none(),
            Condition::Unchanged(_, revision) => current(condition).is_some_and(|entry| entry.modified == *revision),
        };
        if !txn.conditions.iter().all(holds) {
            let found = txn.conditions.iter().map(|condition| current(condition).cloned()).collect();
            return Ok(Applied { reply: Reply::Txn(TxnOutcome::Refused(found)), records: vec![] });
        }
        let (Written { written, deleted }, records) = self.write(txn.ops);
        let outcome = TxnOutcome::Applied { revision: self.head.revision, written, deleted };
        Ok(Applied { reply: Reply::Txn(outcome), records })
    }

    fn check(&self, ops: &[Op]) -> Result<()> {
        let mut seen = BTreeSet::new();
        for op in ops {
            let (Op::Put { key, .. } | Op::Delete { key }) = op;
            if ops.len() > 1 && !seen.insert(key) {
                return Err(Error::new(ErrorKind::Invalid, format!("a transaction changes key {key:?} twice")));
            }
            if let Op::Put { lease: Some(lease), .. } = op
                && !self.head.leases.contains_key(lease)
            {
                return Err(no_lease(*lease));
            }
        }
        Ok(())
    }

    fn write(&mut self, ops: Vec<Op>) -> (Written, Vec<Record>) {
        let revision = Revision(self.head.revision.0 + 1);
        let done = self.head.write(revision, ops);
        let mut records = vec![];
        if self.head.revision == revision {
            let (written, deleted) = (done.written.clone(), done.deleted.clone());
            records.push(Record::Txn { revision, written, deleted });
        }
        (done, records)
    }

    fn grant(&mut self, ttl: Duration, now: Duration) -> Applied {
        let lease = LeaseId(self.head.last_lease + 1);
        self.head.restore_lease(lease, ttl);
        self.arm(lease, now.saturating_add(ttl));
        Applied { reply: Reply::Granted(lease), records: vec![Record::Grant { lease, ttl }] }
    }

    fn end(&mut self, lease: LeaseId) -> Applied {
        self.disarm(lease);
        let Some(ended) = self.head.leases.get(&lease) else { return nothing() };
        let deletions = ended.keys.iter().map(|key: &Key| Op::Delete { key: key.clone() }).collect();
        let (_, mut records) = self.write(deletions);
        self.head.leases.remove(&lease);
        records.push(Record::End { lease });
        Applied { reply: Reply::Done, records }
    }

    /// Starts a lease's time to live anew.
    pub(crate) fn renew(&mut self, lease: LeaseId, now: Duration) -> Result<()> {
        let ended = self.deadlines.get(&lease).is_none_or(|end| *end <= now);
        let ttl = self.head.leases.get(&lease).filter(|_| !ended).ok_or_else(|| no_lease(lease))?.ttl;
        self.arm(lease, now.saturating_add(ttl));
        Ok(())
    }

    /// The lease that ends first, and when.
    pub(crate) fn next_due(&self) -> Option<(Duration, LeaseId)> {
        self.due.get_min().copied()
    }

    fn arm(&mut self, lease: LeaseId, end: Duration) {
        self.disarm(lease);
        self.deadlines.insert(lease, end);
        self.due.insert((end, lease));
    }

    fn disarm(&mut self, lease: LeaseId) {
        if let Some(end) = self.deadlines.remove(&lease) {
            self.due.remove(&(end, lease));
        }
    }
}

fn nothing() -> Applied {
    Applied { reply: Reply::Done, records: vec![] }
}

fn no_lease(lease: LeaseId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no lease {}", lease.0))
}

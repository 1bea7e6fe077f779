//! What stands between a call and the log: the states a store is in at once, and who waits for which.

use std::{any::Any, mem, time::Duration};

use futures::channel::oneshot;
use windlass_kernel::{Error, ErrorKind, Result};

use crate::mvcc::{Reply, Tip};

/// By how much revisions are reserved ahead for relaxed writes.
const RESERVE: u64 = 10_000;
/// How many bytes of relaxed writes wait in memory at most.
pub(super) const CARRIED: usize = 1 << 20;
/// How many bytes of records wait for the log at most.
const QUEUED: usize = 1 << 30;
/// How long a full disk is believed to be full.
pub(super) const PROBE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Health {
    Good,
    /// Writes are refused until that time.
    Full(Duration),
    Broken,
    Closed,
}

pub(super) type Sender = oneshot::Sender<Result<Reply>>;

/// Everything between a call and the log.
pub(super) struct Pipeline {
    pub(super) tip: Tip,
    /// The state that is published, with its leases.
    pub(super) shown: Tip,
    /// The state that the sync under way leads to.
    pub(super) flying: Option<Tip>,
    /// Records that are acknowledged but not in the log.
    pub(super) carried: Vec<u8>,
    /// Records that wait together with their callers.
    pub(super) queued: Vec<u8>,
    pub(super) waiting: Vec<(Sender, Reply)>,
    /// Whether somebody waits for a sync.
    pub(super) durable: bool,
    pub(super) running: bool,
    pub(super) snapshotting: bool,
    /// Revisions up to here may be given to relaxed writes.
    pub(super) reserved: u64,
    pub(super) relaxed: bool,
    pub(super) health: Health,
    pub(super) lock: Option<Box<dyn Any + Send + Sync>>,
}

impl Pipeline {
    pub(super) fn new(tip: Tip, reserved: u64, lock: Box<dyn Any + Send + Sync>) -> Self {
        Self {
            shown: tip.clone(),
            tip,
            flying: None,
            carried: vec![],
            queued: vec![],
            waiting: vec![],
            durable: false,
            running: false,
            snapshotting: false,
            reserved,
            relaxed: false,
            health: Health::Good,
            lock: Some(lock),
        }
    }

    /// Whether writes are taken now.
    pub(super) fn admit(&mut self, place: &str, now: Duration) -> Result<()> {
        match &mut self.health {
            Health::Good if self.queued.len() > QUEUED => {
                Err(Error::new(ErrorKind::TooManyRequests, format!("too much waits for the log in {place}")))
            }
            Health::Good => Ok(()),
            Health::Full(until) if *until > now => Err(full(place)),
            Health::Full(until) => {
                // This one finds out; the others need not.
                *until = now + PROBE;
                Ok(())
            }
            Health::Broken => Err(broken(place)),
            Health::Closed => Err(Error::new(ErrorKind::Unavailable, format!("the store in {place} is closed"))),
        }
    }

    /// Up to which revision the next frame reserves.
    pub(super) fn bound(&self) -> u64 {
        let last = self.tip.head.revision.0;
        match self.health {
            Health::Closed => last,
            _ if self.relaxed && self.reserved < last + RESERVE / 2 => last + RESERVE,
            _ => self.reserved.max(last),
        }
    }

    pub(super) fn carry(&mut self) {
        self.carried.append(&mut self.queued);
    }

    /// Lines up for the next batch. Whether a writer must be started.
    pub(super) fn wait(&mut self, reply: Reply, durable: bool) -> (oneshot::Receiver<Result<Reply>>, bool) {
        let (sender, receiver) = oneshot::channel();
        self.waiting.push((sender, reply));
        self.durable |= durable;
        (receiver, !mem::replace(&mut self.running, true))
    }

    /// Forgets everything that is not published; those who still waited for it.
    pub(super) fn roll_back(&mut self) -> Vec<(Sender, Reply)> {
        self.flying = None;
        self.tip = self.shown.clone();
        self.queued.clear();
        self.durable = false;
        mem::take(&mut self.waiting)
    }
}

pub(super) fn full(place: &str) -> Error {
    Error::new(ErrorKind::Full, format!("cannot write to the log in {place}: the disk is full"))
}

pub(super) fn broken(place: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot write to the log in {place} until it is opened again"))
}

//! Group commit: writes queue up while one sync runs, and the next sync serves them all.
//!
//! Writes are applied to the newest state at once and in order, but nobody sees them before they are durable. The
//! writer is blocking work that starts with the first write of a burst and ends with the last: an idle store has no
//! thread and writes nothing.

use std::{
    any::Any,
    mem,
    sync::{Arc, Weak},
    time::Duration,
};

use event_listener::Event;
use futures::{
    channel::oneshot,
    future::{BoxFuture, FutureExt},
};
use parking_lot::Mutex;
use windlass_kernel::{Error, ErrorKind, Result, store::LeaseId};

use super::{
    DiskOptions,
    frame::Frame,
    log::{Counters, Failure, Log},
    pipeline::{CARRIED, Health, PROBE, Pipeline, Sender, broken, full},
    record, snapshot,
};
use crate::mvcc::{Applied, Head, LeaseKeeper, Mutation, Published, Reply, Tip, Writer};

/// What a write under way waits for.
enum Pending {
    Done(Reply),
    Wait(oneshot::Receiver<Result<Reply>>),
}

pub(super) struct Committer {
    pub(super) published: Arc<Published>,
    pub(super) leases: LeaseKeeper,
    pub(super) counters: Arc<Counters>,
    pub(super) options: DiskOptions,
    pub(super) place: String,
    pipeline: Mutex<Pipeline>,
    log: Mutex<Log>,
    idle: Event,
    me: Weak<Committer>,
}

impl Committer {
    pub(super) fn new(
        head: Head,
        reserved: u64,
        log: Log,
        lock: Box<dyn Any + Send + Sync>,
        leases: LeaseKeeper,
        options: DiskOptions,
    ) -> Arc<Self> {
        let pipeline = Pipeline::new(Tip::new(head, leases.clock().uptime()), reserved, lock);
        let committer = Arc::new_cyclic(|me| Self {
            published: Arc::new(Published::new(pipeline.tip.head.clone())),
            leases,
            counters: Arc::clone(&log.counters),
            options,
            place: log.files.place(),
            pipeline: Mutex::new(pipeline),
            log: Mutex::new(log),
            idle: Event::new(),
            me: Weak::clone(me),
        });
        if committer.next_due().is_some() {
            committer.leases.granted(committer.writer());
        }
        committer
    }

    pub(super) fn writer(&self) -> Weak<dyn Writer> {
        let me: Weak<Self> = Weak::clone(&self.me);
        me
    }

    /// Applies a mutation and waits until it is acknowledged. Dropping the future changes nothing about it.
    pub(super) async fn commit(&self, mutation: Mutation, relaxed: bool) -> Result<Reply> {
        match self.enqueue(mutation, relaxed)? {
            Pending::Done(reply) => Ok(reply),
            Pending::Wait(answer) => answer.await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Unavailable, "the writer of the store ended early").maybe_applied())
            }),
        }
    }

    fn enqueue(&self, mutation: Mutation, wants_relaxed: bool) -> Result<Pending> {
        let now = self.leases.clock().uptime();
        let mut guard = self.pipeline.lock();
        let pipeline = &mut *guard;
        pipeline.admit(&self.place, now)?;
        let Applied { reply, records } = pipeline.tip.apply(mutation, now)?;
        records.iter().for_each(|record| record::write(&mut pipeline.queued, record));
        let room = pipeline.queued.len() + pipeline.carried.len() <= CARRIED;
        let reserved = pipeline.tip.head.revision.0 <= pipeline.reserved;
        let relaxed = wants_relaxed && room && reserved && matches!(pipeline.health, Health::Good);
        pipeline.relaxed |= wants_relaxed;
        let durable = !records.is_empty() && !relaxed;
        if !pipeline.running && !durable {
            pipeline.carry();
            self.show(pipeline, now);
            return Ok(Pending::Done(reply));
        }
        let (receiver, start) = pipeline.wait(reply, durable);
        drop(guard);
        if start {
            self.start();
        }
        Ok(Pending::Wait(receiver))
    }

    /// Publishes the newest state. Only while no writer runs.
    fn show(&self, pipeline: &mut Pipeline, now: Duration) {
        let (old, new) = (&pipeline.shown.head, &mut pipeline.tip.head);
        let changed = (old.revision, old.history.floor()) != (new.revision, new.history.floor());
        if changed {
            new.history.prune(self.options.history, old.history.end(), now);
            self.published.publish(new.clone());
        }
        pipeline.shown = pipeline.tip.clone();
    }

    /// Starts a lease's time to live anew, in every state that may come to be the newest one.
    pub(super) fn renew(&self, lease: LeaseId) -> Result<()> {
        let now = self.leases.clock().uptime();
        let mut pipeline = self.pipeline.lock();
        pipeline.tip.renew(lease, now)?;
        // A state from before the grant does not know it.
        let _ = pipeline.shown.renew(lease, now);
        let _ = pipeline.flying.as_mut().map(|tip| tip.renew(lease, now));
        Ok(())
    }

    /// The published state with its leases.
    pub(super) fn shown(&self) -> Tip {
        self.pipeline.lock().shown.clone()
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.log.lock().since_snapshot
    }

    /// Writes what is only in memory, waits for work under way and gives the directory free. Later writes are refused.
    pub(super) async fn close(&self) -> Result<()> {
        let (answer, start) = {
            let mut pipeline = self.pipeline.lock();
            let ahead = !pipeline.carried.is_empty() || pipeline.reserved > pipeline.tip.head.revision.0;
            let good = matches!(mem::replace(&mut pipeline.health, Health::Closed), Health::Good);
            (good && ahead).then(|| pipeline.wait(Reply::Done, true)).unzip()
        };
        if start == Some(true) {
            self.start();
        }
        let written = match answer {
            Some(answer) => answer.await.unwrap_or_else(|_| Err(broken(&self.place))).map(drop),
            None => Ok(()),
        };
        loop {
            let listener = self.idle.listen();
            {
                let mut pipeline = self.pipeline.lock();
                if !pipeline.running && !pipeline.snapshotting {
                    pipeline.lock = None;
                    break;
                }
            }
            listener.await;
        }
        self.published.close();
        written
    }

    fn start(&self) {
        if let Some(me) = self.me.upgrade() {
            self.leases.spawn().blocking("store.commit", Box::new(move || me.run()));
        }
    }

    /// Commits batch after batch until nobody waits.
    fn run(&self) {
        let _unwinding = Unwinding(self);
        while let Some(batch) = self.take() {
            let written = match batch.frame {
                Some(frame) => self.log.lock().append(frame, batch.bound),
                None => Ok(()),
            };
            match written {
                Ok(()) => self.acknowledge(batch.waiting, batch.bound, batch.durable),
                Err(failure) => self.refuse(batch.waiting, failure),
            }
        }
    }

    fn take(&self) -> Option<Batch> {
        let now = self.leases.clock().uptime();
        let mut guard = self.pipeline.lock();
        let pipeline = &mut *guard;
        if pipeline.waiting.is_empty() {
            pipeline.running = false;
            self.idle.notify(usize::MAX);
            return None;
        }
        let shown = pipeline.shown.head.history.end();
        pipeline.tip.head.history.prune(self.options.history, shown, now);
        pipeline.flying = Some(pipeline.tip.clone());
        let (durable, bound) = (mem::take(&mut pipeline.durable), pipeline.bound());
        let waiting = mem::take(&mut pipeline.waiting);
        let frame = durable.then(|| {
            let mut frame = Frame::new();
            // Carried records stay where they are until this frame is durable.
            frame.payload().extend_from_slice(&pipeline.carried);
            frame.payload().append(&mut pipeline.queued);
            frame
        });
        pipeline.carry();
        Some(Batch { waiting, frame, bound, durable })
    }

    fn acknowledge(&self, waiting: Vec<(Sender, Reply)>, bound: u64, durable: bool) {
        let mut pipeline = self.pipeline.lock();
        if let Some(tip) = pipeline.flying.take() {
            pipeline.shown = tip;
        }
        if durable {
            pipeline.carried.clear();
            pipeline.reserved = bound;
            if matches!(pipeline.health, Health::Full(_)) {
                pipeline.health = Health::Good;
            }
        }
        let head = pipeline.shown.head.clone();
        drop(pipeline);
        self.published.publish(head.clone());
        for (sender, reply) in waiting {
            // A caller that went away does not need its answer.
            let _ = sender.send(Ok(reply));
        }
        if durable {
            self.snapshot_if_due(head, bound);
        }
    }

    /// Goes back to the published state; everyone who waits is told why.
    fn refuse(&self, waiting: Vec<(Sender, Reply)>, failure: Failure) {
        tracing::error!(place = self.place, ?failure, "cannot write to the log");
        let now = self.leases.clock().uptime();
        let mut pipeline = self.pipeline.lock();
        let later = pipeline.roll_back();
        let (unknown, error) = match failure {
            Failure::Full(error) => {
                if !matches!(pipeline.health, Health::Closed) {
                    pipeline.health = Health::Full(now + PROBE);
                }
                (false, full(&self.place).with_source(error))
            }
            Failure::Broken(error) => {
                pipeline.health = Health::Broken;
                (true, broken(&self.place).with_source(error))
            }
        };
        drop(pipeline);
        for (sender, _) in waiting {
            let error = error.duplicate();
            let _ = sender.send(Err(if unknown { error.maybe_applied() } else { error }));
        }
        for (sender, _) in later {
            let _ = sender.send(Err(error.duplicate()));
        }
    }

    /// Starts a snapshot when the log since the last one has grown past the state, so that its cost follows change.
    fn snapshot_if_due(&self, head: Head, bound: u64) {
        let mut log = self.log.lock();
        if log.since_snapshot < head.bytes.max(self.options.snapshot_bytes) {
            return;
        }
        if mem::replace(&mut self.pipeline.lock().snapshotting, true) {
            return;
        }
        log.rotate();
        let sequence = log.next - 1;
        let files = Arc::clone(&log.files);
        drop(log);
        let Some(me) = self.me.upgrade() else { return };
        let work = move || {
            let _done = Snapshotting(&me);
            let written = snapshot::write(&*files, &me.counters, &head, sequence, bound);
            let removed = written.and_then(|()| {
                let segments = me.log.lock().forget(sequence);
                snapshot::remove_older(&*files, sequence, &segments)
            });
            if let Err(error) = removed {
                // What was written of it takes space for nothing.
                let _ = files.remove(snapshot::TEMPORARY);
                tracing::warn!(place = me.place, %error, "cannot write a snapshot, the log is kept");
            }
        };
        self.leases.spawn().blocking("store.snapshot", Box::new(work));
    }
}

/// What one sync serves.
struct Batch {
    waiting: Vec<(Sender, Reply)>,
    frame: Option<Frame>,
    bound: u64,
    durable: bool,
}

/// Lets nobody wait for a writer that panicked.
struct Unwinding<'a>(&'a Committer);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut pipeline = self.0.pipeline.lock();
            pipeline.health = Health::Broken;
            pipeline.running = false;
            pipeline.roll_back();
            self.0.idle.notify(usize::MAX);
        }
    }
}

struct Snapshotting<'a>(&'a Committer);

impl Drop for Snapshotting<'_> {
    fn drop(&mut self) {
        self.0.pipeline.lock().snapshotting = false;
        self.0.idle.notify(usize::MAX);
    }
}

impl Writer for Committer {
    fn submit(&self, mutation: Mutation) -> BoxFuture<'_, Result<Reply>> {
        self.commit(mutation, false).boxed()
    }

    fn next_due(&self) -> Option<(Duration, LeaseId)> {
        self.pipeline.lock().tip.next_due()
    }
}

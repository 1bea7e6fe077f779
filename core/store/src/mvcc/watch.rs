//! A watch: a place in the shared history. It holds no queue, so one that is not read costs nothing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use event_listener::EventListener;
use futures::{FutureExt, Stream};
use windlass_kernel::{
    Result, Revision,
    store::{Change, Watch},
};

use super::{Published, compacted, topics::Topic};

#[derive(Debug)]
pub(super) struct Cursor {
    published: Arc<Published>,
    topic: Arc<Topic>,
    /// The sequence number before which everything was yielded.
    next: u64,
    /// The greatest progress that is known.
    progress: AtomicU64,
    listener: Option<EventListener>,
    ended: bool,
}

enum Step {
    /// Nothing is left up to the revision.
    Rest(Revision),
    Yield(u64, Arc<Change>),
    /// The next change is no longer kept; the oldest revision that is.
    Behind(Revision),
}

impl Cursor {
    pub(super) fn new(published: Arc<Published>, topic: Arc<Topic>, next: u64, after: Revision) -> Self {
        Self { published, topic, next, progress: AtomicU64::new(after.0), listener: None, ended: false }
    }

    fn step(&self) -> Step {
        let head = self.published.head();
        // Read after the state: the index then holds all changes of that state, perhaps later ones too.
        match self.topic.next(self.next).filter(|sequence| *sequence < head.history.end()) {
            None => Step::Rest(head.revision),
            Some(sequence) => match head.history.get(sequence) {
                Some(change) if self.topic.range.contains(change.key().as_str()) => {
                    Step::Yield(sequence, Arc::clone(change))
                }
                _ => Step::Behind(self.published.head().history.floor()),
            },
        }
    }
}

impl Stream for Cursor {
    type Item = Result<Arc<Change>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            match self.step() {
                Step::Yield(sequence, change) => {
                    self.next = sequence + 1;
                    return Poll::Ready(Some(Ok(change)));
                }
                Step::Behind(floor) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(compacted(self.progress(), floor))));
                }
                Step::Rest(_) if self.published.closed() => self.ended = true,
                Step::Rest(_) => match &mut self.listener {
                    // Registered first, then looked again: nothing slips in between.
                    None => self.listener = Some(self.topic.changed.listen()),
                    Some(listener) => {
                        ready!(listener.poll_unpin(context));
                        self.listener = None;
                    }
                },
            }
        }
    }
}

impl Watch for Cursor {
    fn progress(&self) -> Revision {
        let reached = match self.step() {
            Step::Rest(revision) => revision.0,
            Step::Yield(_, change) => change.revision.0 - 1,
            Step::Behind(_) => 0,
        };
        Revision(self.progress.fetch_max(reached, Ordering::SeqCst).max(reached))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.published.leave(&self.topic);
    }
}

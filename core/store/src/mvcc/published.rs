//! What readers and watchers see: the newest acknowledged state, swapped as a whole.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use windlass_kernel::{
    Result, Revision,
    store::{KeyRange, Pick, WatchStream},
};

use super::{
    Head, compacted, in_the_future,
    topics::{Topic, Topics},
    watch::Cursor,
};

/// The state that readers see. They never wait for a writer.
#[derive(Debug)]
pub(crate) struct Published {
    head: ArcSwap<Head>,
    topics: Mutex<Topics>,
    closed: AtomicBool,
}

impl Published {
    pub(crate) fn new(head: Head) -> Self {
        Self { head: ArcSwap::from_pointee(head), topics: Mutex::default(), closed: AtomicBool::new(false) }
    }

    pub(crate) fn head(&self) -> Arc<Head> {
        self.head.load_full()
    }

    /// Shows a later state. Only one caller at a time, in order.
    pub(crate) fn publish(&self, head: Head) {
        let topics = self.topics.lock();
        // The indices come first: whoever sees the new state finds its changes there.
        let touched = topics.note(&head.history, self.head.load().history.end());
        self.head.store(Arc::new(head));
        drop(topics);
        for topic in touched {
            topic.changed.notify(usize::MAX);
        }
    }

    pub(crate) fn watch(
        self: &Arc<Self>,
        range: &KeyRange,
        pick: Option<Pick>,
        after: Revision,
    ) -> Result<WatchStream> {
        let mut topics = self.topics.lock();
        let head = self.head.load();
        if after > head.revision {
            return Err(in_the_future(after, head.revision));
        }
        if after < head.history.floor() {
            return Err(compacted(after, head.history.floor()));
        }
        let next = head.history.seek(after);
        let topic = topics.join(range, pick, next, &head.history);
        Ok(Box::new(Cursor::new(Arc::clone(self), topic, next, after)))
    }

    pub(super) fn leave(&self, topic: &Arc<Topic>) {
        self.topics.lock().leave(topic);
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let topics = self.topics.lock().all();
        for topic in topics {
            topic.changed.notify(usize::MAX);
        }
    }

    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

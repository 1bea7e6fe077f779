//! The keys of a cache that changed, each once, in the order of their first change.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Weak},
};

use event_listener::Event;
use parking_lot::Mutex;
use windlass_kernel::controller::ObjectKey;

#[derive(Debug, Default)]
struct Pending {
    keys: Mutex<(VecDeque<ObjectKey>, BTreeSet<ObjectKey>)>,
    event: Event,
}

/// Changed keys. Memory is bounded by the number of objects, however slow the reader is.
#[derive(Debug)]
pub struct Subscription(Arc<Pending>);

pub(crate) struct Sender(Weak<Pending>);

impl Subscription {
    pub(crate) fn new() -> (Self, Sender) {
        let pending = Arc::<Pending>::default();
        let sender = Sender(Arc::downgrade(&pending));
        (Self(pending), sender)
    }

    /// The next changed key. Dropping the call loses nothing.
    pub async fn next(&self) -> ObjectKey {
        loop {
            let listener = self.0.event.listen();
            if let Some(key) = self.take() {
                return key;
            }
            listener.await;
        }
    }

    /// A changed key, if there is one now.
    pub fn take(&self) -> Option<ObjectKey> {
        let mut pending = self.0.keys.lock();
        let key = pending.0.pop_front()?;
        pending.1.remove(&key);
        Some(key)
    }
}

impl Sender {
    pub(crate) fn add(&self, key: &ObjectKey) {
        let Some(pending) = self.0.upgrade() else { return };
        let mut keys = pending.keys.lock();
        if keys.1.insert(key.clone()) {
            keys.0.push_back(key.clone());
            drop(keys);
            pending.event.notify(usize::MAX);
        }
    }
}

//! The latest objects that were decoded, held so that all who follow the same changes decode each of them once.

use std::{any::Any, collections::VecDeque, fmt, sync::Arc};

use parking_lot::Mutex;

use crate::store::Entry;

/// How far back an entry is looked for: those who follow the same changes are not far apart.
const JUST_NOW: usize = 8;

/// Holds what the latest documents were decoded to.
pub struct Recent {
    most: usize,
    held: Mutex<VecDeque<Held>>,
}

struct Held {
    entry: Arc<Entry>,
    typed: Option<Arc<dyn Any + Send + Sync>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.typed.take());
        self.entry.tidy();
    }
}

impl Recent {
    /// Holds so many at most.
    #[must_use]
    pub fn of(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// Holds a decoded form, unless one of the same entry was taken just now.
    pub(super) fn hold<T: Any + Send + Sync>(&self, entry: &Arc<Entry>, typed: &Arc<T>) {
        let mut held = self.held.lock();
        if held.iter().rev().take(JUST_NOW).any(|own| Arc::ptr_eq(&own.entry, entry)) {
            return;
        }
        held.push_back(Held { entry: Arc::clone(entry), typed: Some(Arc::clone(typed) as _) });
        let oldest = if held.len() > self.most { held.pop_front() } else { None };
        drop(held);
        // Large objects are taken apart where nobody waits.
        drop(oldest);
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("held", &self.held.lock().len()).finish()
    }
}

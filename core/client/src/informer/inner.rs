//! The state behind a cache, and how documents become projections in it. It knows no API.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use event_listener::Event;
use parking_lot::Mutex;
use windlass_kernel::{Document, Revision, controller::ObjectKey};

use super::{
    cache::{Index, Update},
    items::Items,
};

/// What a cache holds of an object; `None` is nothing.
pub(super) type Project<P> = dyn Fn(&Document) -> Option<P> + Send + Sync;

type Handler<P> = Box<dyn Fn(&Update<'_, P>) + Send + Sync>;

/// Who is told of documents: caches, whatever they hold.
pub(super) trait Sink: Send + Sync {
    /// The object is now this. All caches that are told share the key.
    fn put(&self, key: &Arc<ObjectKey>, document: &Document);

    /// The object is gone.
    fn gone(&self, key: &ObjectKey);

    /// A list is complete: objects that it did not hold are gone.
    fn listed(&self, present: &BTreeSet<ObjectKey>, revision: Revision);

    /// Everything up to the revision was told.
    fn progress(&self, revision: Revision);
}

pub(super) struct Held<P> {
    pub(super) projection: P,
    revision: Revision,
}

pub(super) struct State<P> {
    pub(super) items: Items<Held<P>>,
    pub(super) indexes: Vec<BTreeMap<String, BTreeSet<Arc<ObjectKey>>>>,
    pub(super) revision: Revision,
    pub(super) synced: bool,
}

pub(super) struct Inner<P> {
    pub(super) state: Mutex<State<P>>,
    pub(super) changed: Event,
    project: Box<Project<P>>,
    indexes: Vec<Index<P>>,
    // Held while handlers are called, so that each sees all changes in order; never taken inside `state`.
    handlers: Mutex<Vec<Handler<P>>>,
}

impl<P: Clone + Send + Sync + 'static> Inner<P> {
    pub(super) fn new(project: Box<Project<P>>, indexes: Vec<Index<P>>) -> Self {
        let state = State {
            items: Items::default(),
            indexes: indexes.iter().map(|_| BTreeMap::new()).collect(),
            revision: Revision(0),
            synced: false,
        };
        Self { state: Mutex::new(state), changed: Event::new(), project, indexes, handlers: Mutex::default() }
    }

    pub(super) fn place(&self, index: &str) -> Option<usize> {
        self.indexes.iter().position(|own| own.name == index)
    }

    pub(super) async fn until(&self, wanted: impl Fn(&State<P>) -> bool) {
        loop {
            let changed = self.changed.listen();
            if wanted(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn register(&self, handler: Handler<P>) {
        let mut handlers = self.handlers.lock();
        let present: Vec<_> =
            self.state.lock().items.iter().map(|(key, held)| (key.clone(), held.projection.clone())).collect();
        for (key, projection) in &present {
            tell(&handler, &Update { key, before: None, after: Some(projection) });
        }
        handlers.push(handler);
    }

    fn set(&self, key: &Arc<ObjectKey>, after: Option<P>, revision: Revision) {
        let handlers = self.handlers.lock();
        // What the handlers are shown is a copy, which without them nobody needs.
        let shown = if handlers.is_empty() { None } else { after.clone() };
        let before = self.state.lock().set(&self.indexes, key, after, revision);
        if before.is_some() || shown.is_some() {
            let update = Update { key, before: before.as_ref(), after: shown.as_ref() };
            handlers.iter().for_each(|handler| tell(handler, &update));
        }
        drop(handlers);
        self.changed.notify(usize::MAX);
    }

    fn project(&self, document: &Document) -> Option<P> {
        let projected = catch_unwind(AssertUnwindSafe(|| (self.project)(document)));
        projected.unwrap_or_else(|_| {
            tracing::error!(?document, "a projection panicked; its object is left out");
            None
        })
    }
}

impl<P: Clone> State<P> {
    fn set(&mut self, indexes: &[Index<P>], key: &Arc<ObjectKey>, after: Option<P>, revision: Revision) -> Option<P> {
        let now: Vec<Vec<String>> = indexes
            .iter()
            .map(|index| after.as_ref().map(|own| (index.values)(key, own)).unwrap_or_default())
            .collect();
        let before = match after {
            Some(projection) => self.items.insert(key, Held { projection, revision }),
            None => self.items.remove(key),
        };
        let before = before.map(|held| held.projection);
        for ((index, found), now) in indexes.iter().zip(&mut self.indexes).zip(now) {
            let was = before.as_ref().map(|own| (index.values)(key, own)).unwrap_or_default();
            for value in was.iter().filter(|value| !now.contains(value)) {
                if let Some(keys) = found.get_mut(value) {
                    keys.remove(&**key);
                    if keys.is_empty() {
                        found.remove(value);
                    }
                }
            }
            for value in now.into_iter().filter(|value| !was.contains(value)) {
                found.entry(value).or_default().insert(Arc::clone(key));
            }
        }
        before
    }
}

impl<P: Clone + Send + Sync + 'static> Sink for Inner<P> {
    fn put(&self, key: &Arc<ObjectKey>, document: &Document) {
        let revision = document.revision();
        let known = |key: &Arc<ObjectKey>, held: &Held<P>| (Arc::clone(key), held.revision);
        let held = self.state.lock().items.get_key_value(key).map(|(key, held)| known(key, held));
        if held.as_ref().is_none_or(|(_, held)| *held != revision) {
            // The key that is held goes on being the one that is held.
            self.set(held.as_ref().map_or(key, |(key, _)| key), self.project(document), revision);
        }
    }

    fn gone(&self, key: &ObjectKey) {
        let held = self.state.lock().items.get_key_value(key).map(|(key, _)| Arc::clone(key));
        if let Some(key) = held {
            self.set(&key, None, Revision(0));
        }
    }

    fn listed(&self, present: &BTreeSet<ObjectKey>, revision: Revision) {
        let gone: Vec<_> = self.state.lock().items.keys().filter(|key| !present.contains(&***key)).cloned().collect();
        gone.iter().for_each(|key| self.gone(key));
        self.state.lock().synced = true;
        self.progress(revision);
    }

    fn progress(&self, revision: Revision) {
        let mut state = self.state.lock();
        state.revision = state.revision.max(revision);
        drop(state);
        self.changed.notify(usize::MAX);
    }
}

fn tell<P>(handler: &Handler<P>, update: &Update<'_, P>) {
    if catch_unwind(AssertUnwindSafe(|| handler(update))).is_err() {
        tracing::error!(key = %update.key, "a handler of changes panicked");
    }
}

//! All informers of a component or process: one follower for each selection, one typed cache for each type.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use windlass_api::types::Resource;
use windlass_kernel::{Clock, Document, Entropy, Spawn, SpawnExt, Task};

use super::{
    cache::{Cache, Index},
    follow::{Follower, Sinks},
    inner::Inner,
};
use crate::{
    client::Client,
    select::{Select, Selection, gvr},
};

/// What informers and runners are made of: an API and the means to run.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Whose view it is.
    pub client: Client,
    /// Who runs the tasks.
    pub spawn: Arc<dyn Spawn>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The chance in delays.
    pub entropy: Arc<dyn Entropy>,
}

/// Shared informers. Clones share them.
///
/// A selection is followed from the first cache on until this set and all its caches are gone.
#[derive(Clone)]
pub struct Informers(Arc<Set>);

struct Set {
    parts: Parts,
    sources: Mutex<BTreeMap<Selection, Arc<Source>>>,
    typed: Mutex<BTreeMap<(Selection, TypeId), Box<dyn Any + Send>>>,
}

/// One selection and the task that follows it.
pub(super) struct Source {
    selection: Selection,
    sinks: Arc<Sinks>,
    _task: Task,
}

impl Source {
    pub(super) fn selection(&self) -> &Selection {
        &self.selection
    }
}

impl Informers {
    /// An empty set.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Set { parts, sources: Mutex::default(), typed: Mutex::default() }))
    }

    /// What the set is made of.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// The typed objects of a selection. Everyone who asks for the same gets the same cache.
    ///
    /// Whole objects are large: where a few facts of each will do, take a [`cache`](Self::cache) of those.
    #[must_use]
    pub fn typed<T: Resource>(&self, select: Select) -> Cache<Arc<T>> {
        let selection = select.of(gvr::<T>());
        let source = self.source(&selection);
        let mut typed = self.0.typed.lock();
        let place = (selection, TypeId::of::<T>());
        let held = typed.get(&place).and_then(|any| any.downcast_ref::<Weak<Inner<Arc<T>>>>()).and_then(Weak::upgrade);
        if let Some(inner) = held {
            return Cache { inner, source };
        }
        let inner = Arc::new(Inner::new(Box::new(decode::<T>), Vec::new()));
        typed.insert(place, Box::new(Arc::downgrade(&inner)));
        drop(typed);
        source.sinks.add(&inner);
        Cache { inner, source }
    }

    /// A cache of what `project` makes of each object of a selection; `None` leaves the object out.
    #[must_use]
    pub fn cache<P: Clone + Send + Sync + 'static>(
        &self,
        selection: &Selection,
        indexes: Vec<Index<P>>,
        project: impl Fn(&Document) -> Option<P> + Send + Sync + 'static,
    ) -> Cache<P> {
        let source = self.source(selection);
        let inner = Arc::new(Inner::new(Box::new(project), indexes));
        source.sinks.add(&inner);
        Cache { inner, source }
    }

    /// A cache of what `project` makes of each typed object of a selection; the decoded objects are shared, not kept.
    #[must_use]
    pub fn projected<T: Resource, P: Clone + Send + Sync + 'static>(
        &self,
        select: Select,
        indexes: Vec<Index<P>>,
        project: impl Fn(&T) -> Option<P> + Send + Sync + 'static,
    ) -> Cache<P> {
        self.cache(&select.of(gvr::<T>()), indexes, move |document| project(&*decode::<T>(document)?))
    }

    fn source(&self, selection: &Selection) -> Arc<Source> {
        let mut sources = self.0.sources.lock();
        let source = sources.entry(selection.clone()).or_insert_with(|| {
            let Parts { client, spawn, clock, entropy } = self.0.parts.clone();
            let sinks = Arc::<Sinks>::default();
            let selection = selection.clone();
            let follower = Follower { client, clock, entropy, selection: selection.clone(), sinks: Arc::clone(&sinks) };
            Arc::new(Source { selection, sinks, _task: spawn.spawn("client.informer", follower.run()) })
        });
        Arc::clone(source)
    }
}

impl fmt::Debug for Informers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.sources.lock().keys()).finish()
    }
}

fn decode<T: Resource>(document: &Document) -> Option<Arc<T>> {
    let decoded = document.typed::<T>();
    decoded.inspect_err(|error| tracing::error!(?document, %error, "an object cannot be decoded and is left out")).ok()
}

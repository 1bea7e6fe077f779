//! A cache: the projections of one selection's objects, by key and by index. What its owners and readers hold.

use std::{fmt, sync::Arc};

use windlass_kernel::{Revision, controller::ObjectKey};

use super::{inner::Inner, set::Source, subscription::Subscription};

/// A second way to find objects.
pub struct Index<P> {
    /// The index's name.
    pub name: &'static str,
    /// Under which values an object is found.
    pub values: fn(&ObjectKey, &P) -> Vec<String>,
}

impl<P> Clone for Index<P> {
    fn clone(&self) -> Self {
        Self { name: self.name, values: self.values }
    }
}

impl<P> fmt::Debug for Index<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({})", self.name)
    }
}

/// One change of a cache. At least one side is there.
#[derive(Debug)]
pub struct Update<'a, P> {
    /// The object.
    pub key: &'a ObjectKey,
    /// Its projection before; `None` where it was not held.
    pub before: Option<&'a P>,
    /// Its projection now; `None` where it is not held any more.
    pub after: Option<&'a P>,
}

/// Projections of a selection's objects. Clones share them; they are kept up to date while a clone exists.
///
/// Follows the API with a delay: what was just written may not be seen yet.
pub struct Cache<P> {
    pub(super) inner: Arc<Inner<P>>,
    pub(super) source: Arc<Source>,
}

impl<P> Clone for Cache<P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), source: Arc::clone(&self.source) }
    }
}

impl<P> fmt::Debug for Cache<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("of", self.source.selection()).finish_non_exhaustive()
    }
}

impl<P: Clone + Send + Sync + 'static> Cache<P> {
    /// One object's projection.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<P> {
        self.inner.state.lock().items.get(key).map(|held| held.projection.clone())
    }

    /// Whether an object is held.
    #[must_use]
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.inner.state.lock().items.contains(key)
    }

    /// How many objects are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.state.lock().items.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything, by key.
    #[must_use]
    pub fn list(&self) -> Vec<(ObjectKey, P)> {
        let state = self.inner.state.lock();
        state.items.iter().map(|(key, held)| (ObjectKey::clone(key), held.projection.clone())).collect()
    }

    /// All projections, by key.
    #[must_use]
    pub fn values(&self) -> Vec<P> {
        self.inner.state.lock().items.iter().map(|(_, held)| held.projection.clone()).collect()
    }

    /// Everything in a namespace, by name.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<(ObjectKey, P)> {
        self.with_in(namespace, |all| all.map(|(key, own)| (key.clone(), own.clone())).collect())
    }

    /// Reads everything in a namespace, by name, without copying it. `read` must not use the cache itself.
    pub fn with_in<R>(&self, namespace: &str, read: impl FnOnce(&mut dyn Iterator<Item = (&ObjectKey, &P)>) -> R) -> R {
        let state = self.inner.state.lock();
        read(&mut state.items.within(namespace).map(|(key, held)| (&**key, &held.projection)))
    }

    /// Everything that an index has under a value, by key. Empty where the cache has no such index.
    #[must_use]
    pub fn indexed(&self, index: &str, value: &str) -> Vec<P> {
        let state = self.inner.state.lock();
        let keys = self.inner.place(index).and_then(|place| state.indexes[place].get(value));
        let found = keys.into_iter().flatten().filter_map(|key| state.items.get(key));
        found.map(|held| held.projection.clone()).collect()
    }

    /// Reads everything without copying it. `read` must not use the cache itself.
    pub fn with<R>(&self, read: impl FnOnce(&mut dyn Iterator<Item = (&ObjectKey, &P)>) -> R) -> R {
        let state = self.inner.state.lock();
        read(&mut state.items.iter().map(|(key, held)| (&**key, &held.projection)))
    }

    /// Up to which revision changes were seen. 0 before the first list is complete.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.inner.state.lock().revision
    }

    /// Whether the objects that existed at the start are all there.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.inner.state.lock().synced
    }

    /// Waits until the objects that existed at the start are all there.
    pub async fn synced(&self) {
        self.inner.until(|state| state.synced).await;
    }

    /// Waits until the changes up to a revision were seen, such as that of one's own write.
    ///
    /// Where a selector keeps the changes away, this waits for the server's next bookmark.
    pub async fn caught_up(&self, revision: Revision) {
        self.inner.until(|state| state.synced && state.revision >= revision).await;
    }

    /// Waits until the cache holds what `wanted` asks for.
    pub async fn wait_until(&self, wanted: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.inner.changed.listen();
            if wanted(self) {
                return;
            }
            changed.await;
        }
    }

    /// Calls `handler` for everything held now, and then on each change, in order.
    ///
    /// Calls come one at a time, after the cache holds the change. The handler must be quick, and must not register
    /// another one with the same cache. A panic in it is logged and otherwise ignored.
    pub fn on_change(&self, handler: impl Fn(&Update<'_, P>) + Send + Sync + 'static) {
        self.inner.register(Box::new(handler));
    }

    /// The keys of what is held now, and then of what changes; each key once, however often it changes.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        let (subscription, sender) = Subscription::new();
        self.on_change(move |update| sender.add(update.key));
        subscription
    }
}

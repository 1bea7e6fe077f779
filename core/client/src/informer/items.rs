//! What a cache holds: found by a hash of the key, listed in the order of keys.

use std::{collections::BTreeSet, sync::Arc};

use indexmap::IndexMap;
use windlass_kernel::controller::ObjectKey;

/// Values by key.
///
/// Keys are looked for with each change and are seldom new. In a tree alone each look would compare with a dozen keys
/// that lie anywhere in memory; here the tree is touched only where a key comes or goes.
pub(super) struct Items<V> {
    // Its own order follows from what was removed, and is never shown.
    values: IndexMap<Arc<ObjectKey>, V>,
    keys: BTreeSet<Arc<ObjectKey>>,
}

impl<V> Default for Items<V> {
    fn default() -> Self {
        Self { values: IndexMap::new(), keys: BTreeSet::new() }
    }
}

impl<V> Items<V> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn contains(&self, key: &ObjectKey) -> bool {
        self.values.contains_key(key)
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<&V> {
        self.values.get(key)
    }

    /// A value, and its key as it is held.
    pub(super) fn get_key_value(&self, key: &ObjectKey) -> Option<(&Arc<ObjectKey>, &V)> {
        self.values.get_key_value(key)
    }

    /// Sets a value; what was there before.
    pub(super) fn insert(&mut self, key: &Arc<ObjectKey>, value: V) -> Option<V> {
        if let Some(held) = self.values.get_mut(&**key) {
            return Some(std::mem::replace(held, value));
        }
        self.keys.insert(Arc::clone(key));
        self.values.insert(Arc::clone(key), value)
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<V> {
        let held = self.values.swap_remove(key)?;
        self.keys.remove(key);
        Some(held)
    }

    /// All keys, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<ObjectKey>> {
        self.keys.iter()
    }

    /// Everything, in the order of keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<ObjectKey>, &V)> {
        self.keys.iter().filter_map(|key| self.values.get_key_value(&**key))
    }

    /// Everything in a namespace, by name.
    pub(super) fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a Arc<ObjectKey>, &'a V)> {
        let keys = self.keys.range::<ObjectKey, _>(ObjectKey::new(namespace, "")..);
        let own = keys.take_while(move |key| key.namespace == namespace);
        own.filter_map(|key| self.values.get_key_value(&**key))
    }
}

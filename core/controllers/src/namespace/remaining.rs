//! Custom objects that a namespace waits for: their resources are not known beforehand, so each is followed where and as
//! long as that matters.

use std::{collections::BTreeMap, sync::Arc};

use futures::{
    StreamExt,
    channel::mpsc::{self, UnboundedSender},
};
use parking_lot::Mutex;
use windlass_client::{Cache, Informers, Select};
use windlass_kernel::{
    api::GroupVersionResource,
    controller::{ObjectKey, Wakes},
};

use crate::resources::Deletable;

/// Follows what remains in namespaces.
#[derive(Debug)]
pub(super) struct Remaining {
    informers: Informers,
    /// By namespace.
    followed: Mutex<BTreeMap<String, BTreeMap<GroupVersionResource, Cache<()>>>>,
    wakes: Mutex<Option<UnboundedSender<ObjectKey>>>,
}

impl Remaining {
    pub(super) fn new(informers: &Informers) -> Self {
        Self { informers: informers.clone(), followed: Mutex::default(), wakes: Mutex::default() }
    }

    /// The namespaces in which something that is followed changed.
    pub(super) fn wakes(&self) -> Wakes {
        let (sender, receiver) = mpsc::unbounded();
        *self.wakes.lock() = Some(sender);
        receiver.boxed()
    }

    /// Follows these resources in a namespace, and no others. Says whether one is followed that was not before.
    pub(super) async fn follow(&self, namespace: &str, resources: &[Arc<Deletable>]) -> bool {
        let mut begun = Vec::new();
        {
            let mut all = self.followed.lock();
            let followed = all.entry(namespace.to_owned()).or_default();
            followed.retain(|resource, _| resources.iter().any(|own| own.resource == *resource));
            for resource in resources.iter().filter(|own| !followed.contains_key(&own.resource)) {
                begun.push((resource.resource.clone(), self.cache(namespace, resource)));
            }
            followed.extend(begun.iter().cloned());
        }
        for (_, cache) in &begun {
            cache.synced().await;
        }
        !begun.is_empty()
    }

    /// Follows nothing of a namespace any more.
    pub(super) fn forget(&self, namespace: &str) {
        self.followed.lock().remove(namespace);
    }

    fn cache(&self, namespace: &str, resource: &Deletable) -> Cache<()> {
        let selection = Select::namespace(namespace).of(resource.resource.clone());
        let cache = self.informers.cache(&selection, Vec::new(), |_| Some(()));
        let (key, wakes) = (ObjectKey::new("", namespace), self.wakes.lock().clone());
        cache.on_change(move |update| {
            if let (None, Some(wakes)) = (update.after, &wakes) {
                // Where nobody runs the controller any more, nobody needs to be woken.
                let _ = wakes.unbounded_send(key.clone());
            }
        });
        cache
    }
}

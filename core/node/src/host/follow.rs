//! Single objects, followed for as long as somebody wants to know: one watch each, however many pods use the object.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use windlass_client::{Cache, Informers, Select};
use windlass_kernel::{controller::ObjectKey, node::Versions};

use super::context::named;

type Place = (&'static str, ObjectKey);

/// The objects that are followed.
#[derive(Debug, Default)]
pub(super) struct Followed(Mutex<BTreeMap<Place, Weak<One>>>);

/// One object's version. The watch ends with the last who holds it.
#[derive(Debug)]
struct One {
    key: ObjectKey,
    version: Cache<String>,
}

impl Followed {
    /// The versions of an object, read as the identity of `informers`.
    pub(super) fn versions(&self, informers: &Informers, resource: &'static str, key: &ObjectKey) -> Versions {
        let one = self.one(informers, resource, key);
        let next = |(one, last): (Arc<One>, Option<Option<String>>)| async move {
            let fresh = |version: &Cache<String>| version.has_synced() && last.as_ref() != Some(&version.get(&one.key));
            one.version.wait_until(fresh).await;
            let now = one.version.get(&one.key);
            Some((now.clone(), (one, Some(now))))
        };
        stream::unfold((one, None), next).boxed()
    }

    fn one(&self, informers: &Informers, resource: &'static str, key: &ObjectKey) -> Arc<One> {
        let mut all = self.0.lock();
        let place = (resource, key.clone());
        if let Some(one) = all.get(&place).and_then(Weak::upgrade) {
            return one;
        }
        all.retain(|_, one| one.strong_count() > 0);
        // Informers follow a selection for as long as they live: a set of its own ends with its only cache.
        let alone = Informers::new(informers.parts().clone());
        let selection = Select::namespace(&key.namespace).named(&key.name).of(named(resource));
        let version = alone.cache(&selection, vec![], |document| Some(document.revision().to_string()));
        let one = Arc::new(One { key: key.clone(), version });
        all.insert(place, Arc::downgrade(&one));
        one
    }
}

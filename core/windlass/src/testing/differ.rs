//! In which objects two clusters differ.

use std::{collections::BTreeMap, sync::Arc};

use windlass_kernel::{
    Document, Result, Store,
    store::{Entry, Key, KeyRange, ListSpec, ReadAt},
};

/// What renews itself all the time, or tells of what happened rather than of what is.
const FLEETING: [&str; 3] =
    ["/registry/coordination.k8s.io/leases/", "/registry/core/events/", "/registry/events.k8s.io/events/"];
/// What are no objects.
const INNER: &str = "/registry/ranges/";

/// What one side has under a key.
type Side = Option<Arc<Entry>>;

/// One object that is not the same on both sides; `None` where a side has none.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The object as it is here.
    pub here: Option<Document>,
    /// The object as it is there.
    pub there: Option<Document>,
}

/// The objects in which two stores differ, in the order of their keys. Revisions are no difference; leases and events
/// are not looked at.
///
/// What forks share is recognized without a look at its bytes.
///
/// # Errors
///
/// Those of the stores, and of entries that are no objects.
pub async fn differences(here: &dyn Store, there: &dyn Store) -> Result<Vec<Difference>> {
    let (here, mut there) = (entries(here).await?, entries(there).await?);
    let mut pairs = BTreeMap::<Key, (Side, Side)>::new();
    for (key, own) in here {
        match there.remove(&key) {
            Some(other) if Arc::ptr_eq(&own, &other) || own.value == other.value => {}
            other => drop(pairs.insert(key, (Some(own), other))),
        }
    }
    pairs.extend(there.into_iter().map(|(key, other)| (key, (None, Some(other)))));
    let document = |entry: Side| entry.map(Document::stored).transpose();
    pairs.into_values().map(|(here, there)| Ok(Difference { here: document(here)?, there: document(there)? })).collect()
}

async fn entries(store: &dyn Store) -> Result<BTreeMap<Key, Arc<Entry>>> {
    let listing =
        store.list(&ListSpec { range: KeyRange::prefix("/registry/"), at: ReadAt::Latest, limit: None }).await?;
    let fleeting = |key: &Key| FLEETING.iter().any(|prefix| key.as_str().starts_with(prefix));
    let shown =
        listing.entries.into_iter().filter(|entry| !fleeting(&entry.key) && !entry.key.as_str().starts_with(INNER));
    Ok(shown.map(|entry| (entry.key.clone(), entry)).collect())
}

//! How many objects are stored of each resource, for metrics.

use std::collections::BTreeMap;

use windlass_kernel::{
    Result,
    store::{KeyRange, ListSpec, ReadAt},
};

use crate::server::ApiServer;

impl ApiServer {
    /// Every stored resource as `plural` or `plural.group` with the number of its objects, sorted by key.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn stored(&self) -> Result<Vec<(String, usize)>> {
        let mut resources = BTreeMap::new();
        for served in self.parts.registry.stored() {
            let (group, plural) = (&served.storage.group, &served.storage.plural);
            let name = if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") };
            resources.insert(served.collection(""), name);
        }
        let mut counts = Vec::with_capacity(resources.len());
        for (prefix, name) in resources {
            let range = KeyRange::prefix(&prefix);
            let listing = self.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: Some(1) }).await?;
            counts.push((name, listing.entries.len() + listing.remaining));
        }
        Ok(counts)
    }
}

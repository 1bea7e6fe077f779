//! What the authenticator of service-account tokens needs to know of objects, straight from the store.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use windlass_kernel::{Document, Store, api::GroupVersionResource, error::Result, store::ReadAt};

use crate::{access::Lookup, registry::Registry};

/// Looks objects up where the API server keeps them.
#[derive(Debug)]
pub struct StoreLookup {
    store: Arc<dyn Store>,
    registry: Registry,
}

impl StoreLookup {
    /// Looks in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, registry: Registry::built_in() }
    }
}

#[async_trait]
impl Lookup for StoreLookup {
    async fn metadata(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Option<Value>> {
        let GroupVersionResource { group, version, resource } = resource;
        let served = self.registry.known(group, version, resource)?;
        let entry = self.store.get(&served.key(namespace, name), ReadAt::Latest).await?;
        let Some(document) = entry.map(Document::stored).transpose()? else { return Ok(None) };
        let mut object = document.value()?;
        Ok(Some(object["metadata"].take()))
    }
}

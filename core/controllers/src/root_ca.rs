//! The root CA publisher: every namespace has the certificate that the API server is trusted by.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_api::{
    core::v1::{ConfigMap, Namespace},
    meta::v1::ObjectMeta,
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Controller, Document, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{claim, registry::Tools};

/// Pods find the certificate in this ConfigMap (`kube-api-access` volumes).
const NAME: &str = "kube-root-ca.crt";
const ENTRY: &str = "ca.crt";

/// Publishes the root certificate in every namespace that is not ending.
#[derive(Debug)]
pub struct RootCas {
    client: Client,
    certificate: String,
    namespaces: Cache<bool>,
    /// What is published: the map itself where it is wrong. It follows what the runner follows, so that it is never behind
    /// a change that woke this controller.
    published: Cache<Option<Arc<ConfigMap>>>,
}

impl RootCas {
    pub(crate) fn new(tools: &Tools) -> Self {
        let namespaces = tools.informers.projected::<Namespace, _>(Select::all(), vec![], |namespace| {
            Some(namespace.metadata.deletion_timestamp.is_none())
        });
        let certificate = tools.config.root_certificate.clone();
        let wanted = certificate.clone();
        let published = tools.informers.cache(&Select::all().of(gvr::<ConfigMap>()), vec![], move |document| {
            let named = claim::own_key(document).iter().any(|key| key.name == NAME);
            let map = named.then(|| document.typed::<ConfigMap>().ok()).flatten()?;
            Some((map.data.get(ENTRY) != Some(&wanted)).then_some(map))
        });
        Self { client: tools.client.clone(), certificate, namespaces, published }
    }
}

#[async_trait]
impl Controller for RootCas {
    fn name(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    fn watches(&self) -> Vec<Watched> {
        let of_map = |document: &Document| {
            let keys = claim::own_key(document).into_iter().filter(|key| key.name == NAME);
            keys.map(|key| ObjectKey::new("", key.namespace)).collect()
        };
        vec![
            Watched { resource: gvr::<Namespace>(), keys: claim::own_key },
            Watched { resource: gvr::<ConfigMap>(), keys: of_map },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.namespaces.synced().await;
        self.published.synced().await;
        if self.certificate.is_empty() || self.namespaces.get(key) != Some(true) {
            return Ok(Requeue::OnChange);
        }
        match self.published.get(&ObjectKey::new(key.name.clone(), NAME)) {
            Some(None) => {}
            Some(Some(wrong)) => {
                // It may write such maps and not read them one by one.
                let data = [(ENTRY.to_owned(), self.certificate.clone())].into();
                let mended = ConfigMap { data, ..ConfigMap::clone(&wrong) };
                claim::settled(self.client.update(&mended).await.map(drop))?;
            }
            None => {
                let metadata =
                    ObjectMeta { namespace: Some(key.name.clone()), name: Some(NAME.into()), ..ObjectMeta::default() };
                let data = [(ENTRY.to_owned(), self.certificate.clone())].into();
                let map = ConfigMap { metadata, data, ..ConfigMap::default() };
                claim::settled(self.client.create(&map).await.map(drop))?;
            }
        }
        Ok(Requeue::OnChange)
    }
}

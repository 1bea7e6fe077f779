//! The ServiceAccount controller: every namespace has an account named `default`.

use async_trait::async_trait;
use windlass_api::{
    core::v1::{Namespace, ServiceAccount},
    meta::v1::ObjectMeta,
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Controller, Document, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{claim, registry::Tools};

const DEFAULT: &str = "default";

/// Creates the account `default` in every namespace that is not ending.
#[derive(Debug)]
pub struct ServiceAccounts {
    client: Client,
    namespaces: Cache<bool>,
    accounts: Cache<()>,
}

impl ServiceAccounts {
    pub(crate) fn new(tools: &Tools) -> Self {
        let namespaces = tools.informers.projected::<Namespace, _>(Select::all(), vec![], |namespace| {
            Some(namespace.metadata.deletion_timestamp.is_none())
        });
        // What the runner follows too: such a cache is never behind a change that woke this controller.
        let accounts = Select::all().of(gvr::<ServiceAccount>());
        let accounts = tools.informers.cache(&accounts, vec![], |document| {
            claim::own_key(document).iter().any(|key| key.name == DEFAULT).then_some(())
        });
        Self { client: tools.client.clone(), namespaces, accounts }
    }
}

#[async_trait]
impl Controller for ServiceAccounts {
    fn name(&self) -> &'static str {
        "service-account-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        let of_account = |document: &Document| {
            claim::own_key(document).into_iter().map(|key| ObjectKey::new("", key.namespace)).collect()
        };
        vec![
            Watched { resource: gvr::<Namespace>(), keys: claim::own_key },
            Watched { resource: gvr::<ServiceAccount>(), keys: of_account },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.namespaces.synced().await;
        self.accounts.synced().await;
        let active = self.namespaces.get(key) == Some(true);
        if active && !self.accounts.contains(&ObjectKey::new(key.name.clone(), DEFAULT)) {
            let metadata =
                ObjectMeta { namespace: Some(key.name.clone()), name: Some(DEFAULT.into()), ..ObjectMeta::default() };
            let account = ServiceAccount { metadata, ..ServiceAccount::default() };
            claim::settled(self.client.create(&account).await.map(drop))?;
        }
        Ok(Requeue::OnChange)
    }
}

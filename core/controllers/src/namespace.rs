//! The namespace controller: empties a namespace that is being deleted, then lets it go.
//!
//! Pods go first (KEP-5080): nothing that runs is to lose its configuration or its policies under its feet. What the
//! status says meanwhile is decided in `conditions`.

mod conditions;
mod remaining;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, de::IgnoredAny};
use windlass_api::core::v1::Namespace;
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Clock, Controller, Document, ErrorKind, Result,
    api::{List, Options, Preconditions, Propagation, Verb},
    controller::{ObjectKey, Requeue, Wakes, Watched},
};

use self::{conditions::Remains, remaining::Remaining};
use crate::{
    claim,
    registry::Tools,
    resources::{self, Deletable},
};

/// The finalizer in a namespace's spec that this controller removes.
const FINALIZER: &str = "kubernetes";

/// Empties and finalizes namespaces.
#[derive(Debug)]
pub struct Namespaces {
    client: Client,
    clock: Arc<dyn Clock>,
    namespaces: Cache<Arc<Namespace>>,
    built_in: Vec<Arc<Deletable>>,
    custom: Cache<Arc<Deletable>>,
    remaining: Remaining,
}

/// What ordering a namespace's content needs of an object's metadata.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    namespace: String,
    finalizers: Vec<String>,
    deletion_timestamp: Option<IgnoredAny>,
}

impl Namespaces {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&tools.informers.parts().clock),
            namespaces: tools.informers.typed(Select::all()),
            built_in: resources::built_in().into_iter().filter(|own| own.namespaced).collect(),
            custom: resources::custom(&tools.informers),
            remaining: Remaining::new(&tools.informers),
        }
    }

    /// Deletes what is in a namespace, pods first; answers what remains.
    async fn empty(&self, namespace: &str) -> Remains {
        let mut remains = Remains::default();
        let (pods, others): (Vec<_>, Vec<_>) = self.built_in.iter().partition(|own| own.is_core("pods"));
        for resource in pods {
            self.empty_resource(namespace, resource, &mut remains).await;
        }
        if !remains.nothing() {
            return remains;
        }
        for resource in others {
            self.empty_resource(namespace, resource, &mut remains).await;
        }
        for resource in self.custom.values().iter().filter(|own| own.namespaced) {
            self.empty_resource(namespace, resource, &mut remains).await;
            if remains.holds(resource) {
                remains.custom.push(Arc::clone(resource));
            }
        }
        remains
    }

    async fn empty_resource(&self, namespace: &str, resource: &Arc<Deletable>, remains: &mut Remains) {
        match self.try_empty(namespace, resource).await {
            Ok(left) => remains.add(resource, left.iter().map(|meta| meta.finalizers.as_slice())),
            Err(error) => {
                tracing::warn!(namespace, resource = %resource.resource.resource, %error, "cannot delete content");
                remains.failed(&error);
            }
        }
    }

    async fn try_empty(&self, namespace: &str, resource: &Deletable) -> Result<Vec<Meta>> {
        let list = self.list(namespace, resource).await?;
        let mut left = read(&list)?;
        if left.iter().all(|meta| meta.deletion_timestamp.is_some()) {
            return Ok(left);
        }
        let options = Options { propagation: Some(Propagation::Background), ..Options::default() };
        if resource.collections {
            let request = self.client.request(Verb::DeleteCollection, resource.resource.clone());
            let mut request = request.in_namespace(namespace);
            request.options.propagation = options.propagation;
            self.client.call(request).await?;
        } else {
            for item in &list.items {
                let key = item.object_key()?;
                let deleted = self.client.dynamic(resource.resource.clone());
                match deleted.delete(&key.namespace, &key.name, options.clone()).await {
                    Err(error) if !error.is(ErrorKind::NotFound) => return Err(error),
                    _ => {}
                }
            }
        }
        left = read(&self.list(namespace, resource).await?)?;
        Ok(left)
    }

    async fn list(&self, namespace: &str, resource: &Deletable) -> Result<List> {
        let listed = self.client.dynamic(resource.resource.clone()).list(&Select::namespace(namespace)).await;
        match listed {
            // A custom resource may have gone with its definition.
            Err(error) if error.is(ErrorKind::NotFound) => Ok(List {
                api_version: String::new(),
                kind: String::new(),
                revision: windlass_kernel::Revision(0),
                continue_token: String::new(),
                remaining: None,
                items: Vec::new(),
            }),
            listed => listed,
        }
    }

    /// Says that a namespace is empty. With its last finalizer it goes.
    async fn finalize(&self, namespace: &Namespace) -> Result<()> {
        let mut finalized = namespace.clone();
        finalized.spec.finalizers.retain(|own| own != FINALIZER);
        let tree = serde_json::to_value(&finalized).unwrap_or_default();
        let name = namespace.metadata.name.clone().unwrap_or_default();
        let request = self.client.request(Verb::Update, gvr::<Namespace>()).named(name).subresource("finalize");
        self.client.call(request.body(tree)).await.map(drop)
    }

    async fn write_status(&self, namespace: &Namespace, remains: &Remains) -> Result<Option<Arc<Namespace>>> {
        let mut changed = namespace.clone();
        changed.status.phase = Some("Terminating".into());
        conditions::update(&mut changed.status.conditions, remains, self.clock.now());
        if changed.status == namespace.status {
            return Ok(None);
        }
        self.client.update_status(&changed).await.map(Some)
    }

    async fn terminate(&self, namespace: Arc<Namespace>) -> Result<Requeue> {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        if !namespace.spec.finalizers.iter().any(|own| own == FINALIZER) {
            if namespace.spec.finalizers.is_empty() && namespace.metadata.finalizers.is_empty() {
                let preconditions = Preconditions { uid: namespace.metadata.uid.clone(), resource_version: None };
                let options = Options { preconditions, ..Options::default() };
                self.client.delete_with::<Namespace>("", &name, options).await?;
            }
            return Ok(Requeue::OnChange);
        }
        let remains = self.empty(&name).await;
        let written = self.write_status(&namespace, &remains).await?;
        if let Some(error) = remains.error {
            return Err(error);
        }
        if remains.nothing() {
            self.finalize(written.as_ref().unwrap_or(&namespace)).await?;
        }
        // What goes wakes this controller: it watches everything that is being deleted.
        if self.remaining.follow(&name, &remains.custom).await {
            // What went before it was followed told nobody.
            return Ok(Requeue::After(Duration::ZERO));
        }
        Ok(Requeue::OnChange)
    }
}

#[async_trait]
impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        let contents = self.built_in.iter().filter(|own| !own.is_core("events"));
        let contents = contents.map(|own| Watched { resource: own.resource.clone(), keys: terminating_in });
        std::iter::once(Watched { resource: gvr::<Namespace>(), keys: claim::own_key }).chain(contents).collect()
    }

    fn wakes(&self) -> Option<Wakes> {
        Some(self.remaining.wakes())
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let Some(namespace) = self.namespaces.get(key) else {
            self.remaining.forget(&key.name);
            return Ok(Requeue::OnChange);
        };
        if namespace.metadata.deletion_timestamp.is_none() {
            return Ok(Requeue::OnChange);
        }
        match self.terminate(namespace).await {
            // Another change, or the end, comes with the watch.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(Requeue::OnChange),
            done => done,
        }
    }
}

/// The namespace of an object that is being deleted: its end may be what the namespace waits for.
fn terminating_in(document: &Document) -> Vec<ObjectKey> {
    // Hardly any object is, and telling that is cheap.
    let meta = document.mentions("\"deletionTimestamp\":").then(|| document.metadata::<Meta>().ok()).flatten();
    let meta = meta.filter(|meta| meta.deletion_timestamp.is_some());
    meta.map(|meta| ObjectKey::new("", meta.namespace)).into_iter().collect()
}

fn read(list: &List) -> Result<Vec<Meta>> {
    list.items.iter().map(Document::metadata).collect()
}

//! The ResourceQuota controller: counts what a namespace uses and says so in its quotas.
//!
//! The API server charges what is created, with the creation itself. Here it is given back what is gone: everything is
//! counted anew from the state after the quota that was read, and written only where that quota is unchanged. So no
//! charge is ever lost, however many are made meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use windlass_api::{
    core::v1::ResourceQuota,
    quota::{Usage, concerns, tracks, usage},
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Clock, Controller, Document, ErrorKind, Result,
    api::GroupVersionResource,
    controller::{ObjectKey, Requeue, Watched},
};

use crate::{
    registry::Tools,
    resources::{self, Deletable},
};

/// A namespace is counted at most so often, however much happens in it.
const PAUSE: Duration = Duration::from_secs(1);
/// After so long a namespace is counted anew whose quotas limit what is not watched, as upstream does for all.
const RESYNC: Duration = Duration::from_secs(300);

/// The resources whose changes are watched because quotas are likely to limit them.
const WATCHED: &[GroupVersionResource] = &[
    GroupVersionResource::of("", "v1", "resourcequotas"),
    GroupVersionResource::of("", "v1", "pods"),
    GroupVersionResource::of("", "v1", "services"),
    GroupVersionResource::of("", "v1", "persistentvolumeclaims"),
    GroupVersionResource::of("", "v1", "secrets"),
    GroupVersionResource::of("", "v1", "configmaps"),
    GroupVersionResource::of("", "v1", "replicationcontrollers"),
    GroupVersionResource::of("apps", "v1", "deployments"),
    GroupVersionResource::of("apps", "v1", "replicasets"),
    GroupVersionResource::of("apps", "v1", "statefulsets"),
    GroupVersionResource::of("apps", "v1", "daemonsets"),
    GroupVersionResource::of("batch", "v1", "jobs"),
    GroupVersionResource::of("batch", "v1", "cronjobs"),
    GroupVersionResource::of("networking.k8s.io", "v1", "ingresses"),
];

/// Counts what quotas limit.
#[derive(Debug)]
pub struct Quotas {
    client: Client,
    clock: Arc<dyn Clock>,
    quotas: Cache<Arc<Value>>,
    built_in: Vec<Arc<Deletable>>,
    custom: Cache<Arc<Deletable>>,
    /// When each namespace was counted, as uptime.
    counted: Mutex<BTreeMap<String, Duration>>,
}

/// What there is of a resource in a namespace.
type Objects = Vec<Value>;

impl Quotas {
    pub(crate) fn new(tools: &Tools) -> Self {
        let informers = &tools.informers;
        Self {
            client: tools.client.clone(),
            clock: Arc::clone(&informers.parts().clock),
            quotas: informers.cache(&Select::all().of(gvr::<ResourceQuota>()), Vec::new(), |document| {
                document.value().ok().map(Arc::new)
            }),
            built_in: resources::built_in(),
            custom: resources::custom(informers),
            counted: Mutex::default(),
        }
    }

    /// The resources that some name of `hard` is about.
    fn limited(&self, hard: &Usage) -> Vec<Arc<Deletable>> {
        let all = self.built_in.iter().cloned().chain(self.custom.values());
        let about = |own: &Arc<Deletable>| {
            let resource = &own.resource;
            own.namespaced && hard.names().any(|name| tracks(&resource.group, &resource.resource, name))
        };
        all.filter(about).collect()
    }

    async fn objects(&self, resource: &GroupVersionResource, namespace: &str) -> Result<Objects> {
        let list = self.client.documents(&Select::namespace(namespace).of(resource.clone())).await?;
        list.items.iter().map(Document::value).collect()
    }

    /// Counts for one quota. `seen` has what was listed already, all of it after every quota was read.
    async fn count(&self, quota: &Value, namespace: &str, seen: &mut BTreeMap<String, Objects>) -> Result<()> {
        let hard = Usage::read(&quota["spec"]["hard"]);
        let mut used = hard.zeroed();
        for own in self.limited(&hard) {
            let (group, plural) = (&*own.resource.group, &*own.resource.resource);
            let name = format!("{plural}.{group}");
            if !seen.contains_key(&name) {
                seen.insert(name.clone(), self.objects(&own.resource, namespace).await?);
            }
            for object in seen.get(&name).into_iter().flatten() {
                if concerns(quota, &hard, group, plural, object) {
                    used.add(&usage(group, plural, object).masked(&hard));
                }
            }
        }
        if Usage::read(&quota["status"]["hard"]) == hard && Usage::read(&quota["status"]["used"]) == used {
            return Ok(());
        }
        let mut counted = quota.clone();
        counted["status"] = serde_json::json!({"hard": hard.to_json(), "used": used.to_json()});
        let quotas = self.client.dynamic(gvr::<ResourceQuota>());
        match quotas.update_status(counted).await {
            Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
            written => written.map(drop),
        }
    }

    /// How long to wait before a namespace is counted again.
    fn pause(&self, namespace: &str) -> Duration {
        let now = self.clock.uptime();
        let mut counted = self.counted.lock();
        let left = counted.get(namespace).map_or(Duration::ZERO, |last| (*last + PAUSE).saturating_sub(now));
        if left.is_zero() {
            counted.insert(namespace.to_owned(), now);
        }
        left
    }
}

#[async_trait]
impl Controller for Quotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        WATCHED.iter().map(|resource| Watched { resource: resource.clone(), keys: namespace }).collect()
    }

    /// A key is a namespace.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        let quotas = self.quotas.in_namespace(&key.namespace);
        if quotas.is_empty() {
            self.counted.lock().remove(&key.namespace);
            return Ok(Requeue::OnChange);
        }
        let pause = self.pause(&key.namespace);
        if !pause.is_zero() {
            return Ok(Requeue::After(pause));
        }
        let mut seen = BTreeMap::new();
        let mut watched = true;
        for (_, quota) in &quotas {
            self.count(quota, &key.namespace, &mut seen).await?;
            let limited = self.limited(&Usage::read(&quota["spec"]["hard"]));
            watched &= limited.iter().all(|own| WATCHED.contains(&own.resource));
        }
        Ok(if watched { Requeue::OnChange } else { Requeue::After(RESYNC) })
    }
}

/// The key that stands for an object's namespace.
fn namespace(document: &Document) -> Vec<ObjectKey> {
    document.object_key().map(|key| ObjectKey::new(key.namespace, "")).into_iter().collect()
}

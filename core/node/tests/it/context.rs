//! A cluster for an agent under test: objects that were put there, and notices that were made.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use event_listener::Event;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::Value;
use windlass_api::core::v1::{Pod, Service};
use windlass_kernel::{
    Result,
    controller::ObjectKey,
    node::{About, NodeContext, Notice, Token, Versions},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Objects(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    objects: Mutex<BTreeMap<(String, String), Value>>,
    reads: Mutex<BTreeMap<String, usize>>,
    changed: Event,
    version: AtomicU64,
    notices: Mutex<Vec<(String, String, String)>>,
}

impl Shared {
    fn version(&self, place: &(String, String)) -> Option<String> {
        let objects = self.objects.lock();
        objects.get(place).and_then(|value| value["metadata"]["resourceVersion"].as_str().map(str::to_owned))
    }
}

impl Objects {
    pub(crate) fn put(&self, resource: &str, name: &str, value: Value) {
        let mut value = value;
        value["metadata"]["resourceVersion"] = self.0.version.fetch_add(1, Ordering::SeqCst).to_string().into();
        self.0.objects.lock().insert((resource.into(), name.into()), value);
        self.0.changed.notify(usize::MAX);
    }

    pub(crate) fn remove(&self, resource: &str, name: &str) {
        self.0.objects.lock().remove(&(resource.into(), name.into()));
        self.0.changed.notify(usize::MAX);
    }

    /// An object as it is.
    pub(crate) fn get(&self, resource: &str, name: &str) -> Value {
        self.0.objects.lock().get(&(resource.into(), name.into())).cloned().unwrap_or_default()
    }

    /// How often an object was read.
    pub(crate) fn reads(&self, name: &str) -> usize {
        self.0.reads.lock().get(name).copied().unwrap_or(0)
    }

    /// The notices about a pod, or `the node`, as `Reason: message`.
    pub(crate) fn notices(&self, pod: &str) -> Vec<String> {
        let all = self.0.notices.lock();
        all.iter().filter(|(of, ..)| of == pod).map(|(_, reason, text)| format!("{reason}: {text}")).collect()
    }
}

#[async_trait]
impl NodeContext for Objects {
    async fn read(&self, resource: &'static str, key: &ObjectKey) -> Result<Option<Value>> {
        *self.0.reads.lock().entry(key.name.clone()).or_default() += 1;
        Ok(self.0.objects.lock().get(&(resource.to_owned(), key.name.clone())).cloned())
    }

    fn versions(&self, resource: &'static str, key: &ObjectKey) -> Versions {
        let (shared, place) = (self.0.clone(), (resource.to_owned(), key.name.clone()));
        let next = move |last: Option<Option<String>>| {
            let (shared, place) = (shared.clone(), place.clone());
            async move {
                loop {
                    let changed = shared.changed.listen();
                    let now = shared.version(&place);
                    if last.as_ref() != Some(&now) {
                        return Some((now.clone(), Some(now)));
                    }
                    changed.await;
                }
            }
        };
        stream::unfold(None, next).boxed()
    }

    async fn patch_status(&self, resource: &'static str, key: &ObjectKey, patch: Value) -> Result<()> {
        let place = (resource.to_owned(), key.name.clone());
        let mut value = self.0.objects.lock().get(&place).cloned().expect("what is patched is there");
        merge(&mut value["status"], &patch["status"]);
        self.put(resource, &key.name, value);
        Ok(())
    }

    async fn services(&self, _: &str) -> Result<Vec<Arc<Service>>> {
        let objects = self.0.objects.lock();
        let services = objects.iter().filter(|((resource, _), _)| resource == "services").map(|(_, value)| value);
        Ok(services.map(|value| Arc::new(serde_json::from_value(value.clone()).expect("a service"))).collect())
    }

    async fn token(&self, pod: &Pod, audiences: &[String], _: Duration) -> Result<Token> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let expires = "2100-01-01T00:00:00Z".parse().expect("a time");
        Ok(Token { token: format!("token-of-{name}-for-{}", audiences.join("+")), expires })
    }

    fn notice(&self, notice: Notice) {
        let name = match &notice.about {
            About::Pod(pod) => pod.metadata.name.clone().unwrap_or_default(),
            About::Node => "the node".into(),
        };
        self.0.notices.lock().push((name, notice.reason, notice.message));
    }
}

/// As a merge patch does it (RFC 7396).
fn merge(value: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    for (name, field) in fields {
        if field.is_null() {
            value.as_object_mut().expect("an object").remove(name);
        } else {
            merge(&mut value[name], field);
        }
    }
}

//! A cluster for an agent under test: objects that were put there, and notices that were made.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use windlass_api::core::v1::{Pod, Service};
use windlass_kernel::{
    Result,
    controller::ObjectKey,
    node::{NodeContext, Notice, Token},
};

#[derive(Debug, Default)]
pub(crate) struct Objects {
    objects: Mutex<BTreeMap<(String, String), Value>>,
    notices: Mutex<Vec<(String, String, String)>>,
}

impl Objects {
    pub(crate) fn put(&self, resource: &str, name: &str, value: Value) {
        self.objects.lock().insert((resource.into(), name.into()), value);
    }

    /// The notices about a pod, as `Reason: message`.
    pub(crate) fn notices(&self, pod: &str) -> Vec<String> {
        let all = self.notices.lock();
        all.iter().filter(|(of, ..)| of == pod).map(|(_, reason, text)| format!("{reason}: {text}")).collect()
    }
}

#[async_trait]
impl NodeContext for Objects {
    async fn read(&self, resource: &'static str, key: &ObjectKey) -> Result<Option<Value>> {
        Ok(self.objects.lock().get(&(resource.to_owned(), key.name.clone())).cloned())
    }

    async fn services(&self, _: &str) -> Result<Vec<Arc<Service>>> {
        let objects = self.objects.lock();
        let services = objects.iter().filter(|((resource, _), _)| resource == "services").map(|(_, value)| value);
        Ok(services.map(|value| Arc::new(serde_json::from_value(value.clone()).expect("a service"))).collect())
    }

    async fn token(&self, pod: &Pod, audiences: &[String], _: Duration) -> Result<Token> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let expires = "2100-01-01T00:00:00Z".parse().expect("a time");
        Ok(Token { token: format!("token-of-{name}-for-{}", audiences.join("+")), expires })
    }

    fn notice(&self, notice: Notice) {
        let name = notice.pod.metadata.name.clone().unwrap_or_default();
        self.notices.lock().push((name, notice.reason, notice.message));
    }
}

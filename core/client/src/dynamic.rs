//! Calls on JSON trees, for resources whose types are not known at compile time.

use serde_json::Value;
use windlass_kernel::{
    Result,
    api::{GroupVersionResource, List, Options, PatchType, Request, Verb},
};

use crate::{
    client::{Client, Force, found},
    select::Select,
};

/// A resource of a client. Cluster-scoped objects have the namespace `""`.
#[derive(Clone, Debug)]
pub struct Dynamic {
    client: Client,
    resource: GroupVersionResource,
}

impl Dynamic {
    pub(crate) fn new(client: Client, resource: GroupVersionResource) -> Self {
        Self { client, resource }
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Value> {
        self.client.value(self.on(Verb::Get, namespace, name)).await
    }

    /// Reads an object, if there is one.
    ///
    /// # Errors
    ///
    /// Those of the API, but for a missing object.
    pub async fn get_opt(&self, namespace: &str, name: &str) -> Result<Option<Value>> {
        found(self.get(namespace, name).await)
    }

    /// Reads a part of the collection, undecoded and with its revision.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn list(&self, select: &Select) -> Result<List> {
        self.client.documents(&select.clone().of(self.resource.clone())).await
    }

    /// Creates an object in the namespace that its metadata names.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn create(&self, object: Value) -> Result<Value> {
        let (namespace, _) = key(&object);
        self.client.value(self.on(Verb::Create, &namespace, "").body(object)).await
    }

    /// Replaces an object.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn update(&self, object: Value) -> Result<Value> {
        let (namespace, name) = key(&object);
        self.client.value(self.on(Verb::Update, &namespace, &name).body(object)).await
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn update_status(&self, object: Value) -> Result<Value> {
        let (namespace, name) = key(&object);
        self.client.value(self.on(Verb::Update, &namespace, &name).subresource("status").body(object)).await
    }

    /// Patches an object.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn patch(&self, namespace: &str, name: &str, how: PatchType, patch: Value) -> Result<Value> {
        self.client.value(self.on(Verb::Patch(how), namespace, name).body(patch)).await
    }

    /// Applies an object (server-side).
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn apply(&self, object: Value, force: Force) -> Result<Value> {
        let (namespace, name) = key(&object);
        let mut request = self.on(Verb::Patch(PatchType::Apply), &namespace, &name).body(object);
        request.options.force = force == Force::Yes;
        self.client.value(self.client.owned(request)).await
    }

    /// Deletes an object, with the options that deletions have.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn delete(&self, namespace: &str, name: &str, options: Options) -> Result<()> {
        let mut request = self.on(Verb::Delete, namespace, name);
        request.options = options;
        self.client.call(request).await.map(drop)
    }

    fn on(&self, verb: Verb, namespace: &str, name: &str) -> Request {
        self.client.request(verb, self.resource.clone()).in_namespace(namespace).named(name)
    }
}

fn key(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

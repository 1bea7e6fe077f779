//! Typed calls over any [`Api`]: one method per verb, objects in and shared objects out.
//!
//! In this process the typed forms are shared with everyone who holds the same revision decoded. Following changes is
//! [`Informers`](crate::Informers)' business.

use std::{any::Any, fmt, sync::Arc};

use serde::Serialize;
use serde_json::{Value, json};
use windlass_api::types::Resource;
use windlass_kernel::{
    Api, Document, Error, ErrorKind, Identity, Result,
    api::{Answer, Events, GroupVersionResource, List, Options, PatchType, Request, Response, Verb},
};

use crate::{
    dynamic::Dynamic,
    select::{Select, Selection, gvr},
};

/// Whether an apply takes over fields that others own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It does.
    Yes,
    /// It is refused with [`Conflict`](ErrorKind::Conflict) where others own them.
    No,
}

/// Access to an API as one identity. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    api: Arc<dyn Api>,
    identity: Arc<Identity>,
    user_agent: Arc<str>,
    field_manager: Arc<str>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("identity", &self.identity.name).field("user_agent", &self.user_agent).finish()
    }
}

impl Client {
    /// A client that acts as `identity`.
    #[must_use]
    pub fn new(api: Arc<dyn Api>, identity: Arc<Identity>) -> Self {
        Self { api, identity, user_agent: "windlass".into(), field_manager: "".into() }
    }

    /// The same client under another name. Without a field manager of its own, the part before `/` owns what is written.
    #[must_use]
    pub fn with_user_agent(mut self, name: &str) -> Self {
        self.user_agent = name.into();
        self
    }

    /// The same client with a name for the owner of the fields that it writes.
    #[must_use]
    pub fn with_field_manager(mut self, name: &str) -> Self {
        self.field_manager = name.into();
        self
    }

    /// The same client as another identity.
    #[must_use]
    pub fn with_identity(mut self, identity: Arc<Identity>) -> Self {
        self.identity = identity;
        self
    }

    /// The API behind the client.
    #[must_use]
    pub fn api(&self) -> &Arc<dyn Api> {
        &self.api
    }

    /// Who the client acts as.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// A request with the client's identity and names, to be filled in and sent by [`call`](Self::call).
    #[must_use]
    pub fn request(&self, verb: Verb, resource: GroupVersionResource) -> Request {
        self.signed(Request::new(Arc::clone(&self.identity), verb, resource))
    }

    /// Sends any request.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn call(&self, request: Request) -> Result<Response> {
        self.api.call(request).await
    }

    /// Calls on JSON trees of any resource.
    #[must_use]
    pub fn dynamic(&self, resource: GroupVersionResource) -> Dynamic {
        Dynamic::new(self.clone(), resource)
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// Those of the API; [`NotFound`](ErrorKind::NotFound) where there is none.
    pub async fn get<T: Resource>(&self, namespace: &str, name: &str) -> Result<Arc<T>> {
        self.object(self.on::<T>(Verb::Get, namespace).named(name)).await
    }

    /// Reads an object, if there is one.
    ///
    /// # Errors
    ///
    /// Those of the API, but for [`NotFound`](ErrorKind::NotFound).
    pub async fn get_opt<T: Resource>(&self, namespace: &str, name: &str) -> Result<Option<Arc<T>>> {
        found(self.get(namespace, name).await)
    }

    /// Reads a part of a collection.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn list<T: Resource>(&self, select: &Select) -> Result<Vec<Arc<T>>> {
        let list = self.documents(&select.clone().of(gvr::<T>())).await?;
        list.items.iter().map(Document::typed).collect()
    }

    /// Reads a part of a collection, undecoded and with its revision.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn documents(&self, selection: &Selection) -> Result<List> {
        self.list_with(self.signed(selection.request(Arc::clone(&self.identity), Verb::List))).await
    }

    /// Follows a part of a collection. Most want [`Informers`](crate::Informers) instead, which resume and relist.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn watch(&self, selection: &Selection, options: Options) -> Result<Events> {
        let mut request = self.signed(selection.request(Arc::clone(&self.identity), Verb::Watch));
        let Options { label_selector, field_selector, .. } = request.options;
        request.options = Options { label_selector, field_selector, ..options };
        self.api.watch(request).await
    }

    /// Creates an object, or sends a review.
    ///
    /// # Errors
    ///
    /// Those of the API; [`AlreadyExists`](ErrorKind::AlreadyExists) where the name is taken.
    pub async fn create<T: Resource>(&self, object: &T) -> Result<Arc<T>> {
        let namespace = object.metadata().namespace.clone().unwrap_or_default();
        self.object(self.on::<T>(Verb::Create, &namespace).body(tree(object)?)).await
    }

    /// Replaces an object. With a resource version it must not have changed since.
    ///
    /// # Errors
    ///
    /// Those of the API; [`Conflict`](ErrorKind::Conflict) where it changed.
    pub async fn update<T: Resource>(&self, object: &T) -> Result<Arc<T>> {
        self.object(self.replacing(object, "")?).await
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    ///
    /// Those of [`update`](Self::update).
    pub async fn update_status<T: Resource>(&self, object: &T) -> Result<Arc<T>> {
        self.object(self.replacing(object, "status")?).await
    }

    /// Patches an object.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn patch<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        how: PatchType,
        patch: Value,
    ) -> Result<Arc<T>> {
        self.object(self.on::<T>(Verb::Patch(how), namespace).named(name).body(patch)).await
    }

    /// Patches an object's status.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn patch_status<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        how: PatchType,
        patch: Value,
    ) -> Result<Arc<T>> {
        self.object(self.on::<T>(Verb::Patch(how), namespace).named(name).subresource("status").body(patch)).await
    }

    /// Applies an object (server-side): states what the field manager wants, creating it where there is none.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn apply<T: Resource>(&self, object: &T, force: Force) -> Result<Arc<T>> {
        let meta = object.metadata();
        let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        let mut request = self.on::<T>(Verb::Patch(PatchType::Apply), &namespace).named(name).body(tree(object)?);
        request.options.force = force == Force::Yes;
        self.object(self.owned(request)).await
    }

    /// Deletes an object; a missing one is [`NotFound`](ErrorKind::NotFound).
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn delete<T: Resource>(&self, namespace: &str, name: &str) -> Result<()> {
        self.delete_with::<T>(namespace, name, Options::default()).await
    }

    /// Deletes an object with a grace period, a propagation, preconditions or as a dry run.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn delete_with<T: Resource>(&self, namespace: &str, name: &str, options: Options) -> Result<()> {
        let mut request = self.on::<T>(Verb::Delete, namespace).named(name);
        request.options = options;
        self.call(request).await.map(drop)
    }

    /// Deletes a part of a collection.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn delete_all<T: Resource>(&self, select: &Select) -> Result<()> {
        let selection = select.clone().of(gvr::<T>());
        self.call(self.signed(selection.request(Arc::clone(&self.identity), Verb::DeleteCollection))).await.map(drop)
    }

    /// How many replicas a scalable object wants, by its `scale` sub-resource.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn scale<T: Resource>(&self, namespace: &str, name: &str) -> Result<i32> {
        replicas(&self.value(self.on::<T>(Verb::Get, namespace).named(name).subresource("scale")).await?)
    }

    /// Sets how many replicas a scalable object wants, by its `scale` sub-resource.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn set_scale<T: Resource>(&self, namespace: &str, name: &str, wanted: i32) -> Result<i32> {
        let request = self.on::<T>(Verb::Patch(PatchType::Merge), namespace).named(name).subresource("scale");
        replicas(&self.value(request.body(json!({"spec": {"replicas": wanted}}))).await?)
    }

    /// Sends a request that is answered with one object.
    ///
    /// # Errors
    ///
    /// Those of the API; [`Internal`](ErrorKind::Internal) where the answer is no such object.
    pub async fn object<T: Resource>(&self, request: Request) -> Result<Arc<T>> {
        typed(self.call(request).await?.answer)
    }

    /// Sends a request that is answered with one JSON tree.
    ///
    /// # Errors
    ///
    /// Those of the API; [`Internal`](ErrorKind::Internal) where the answer is no object.
    pub async fn value(&self, request: Request) -> Result<Value> {
        match self.call(request).await?.answer {
            Answer::Object(document) => document.value(),
            Answer::Value(value) => Ok(value),
            Answer::List(_) | Answer::Stream(_) | Answer::Session(_) | Answer::Destination(_) => {
                Err(unexpected("an object"))
            }
        }
    }

    pub(crate) async fn list_with(&self, request: Request) -> Result<List> {
        match self.call(request).await?.answer {
            Answer::List(list) => Ok(list),
            Answer::Object(_) | Answer::Value(_) | Answer::Stream(_) | Answer::Session(_) | Answer::Destination(_) => {
                Err(unexpected("a list"))
            }
        }
    }

    /// A request about a type, in a namespace where it has one.
    pub(crate) fn on<T: Resource>(&self, verb: Verb, namespace: &str) -> Request {
        self.request(verb, gvr::<T>()).in_namespace(if T::NAMESPACED { namespace } else { "" })
    }

    /// Names the owner of what is written, which an apply must state itself.
    pub(crate) fn owned(&self, mut request: Request) -> Request {
        if request.options.field_manager.is_empty() {
            request.options.field_manager = self.user_agent.split('/').next().unwrap_or_default().into();
        }
        request
    }

    fn signed(&self, mut request: Request) -> Request {
        self.user_agent.as_ref().clone_into(&mut request.user_agent);
        if !matches!(request.verb, Verb::Get | Verb::List | Verb::Watch | Verb::Connect) {
            self.field_manager.as_ref().clone_into(&mut request.options.field_manager);
        }
        request
    }

    pub(crate) fn replacing<T: Resource>(&self, object: &T, subresource: &str) -> Result<Request> {
        let meta = object.metadata();
        let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        Ok(self.on::<T>(Verb::Update, &namespace).named(name).subresource(subresource).body(tree(object)?))
    }
}

/// Turns [`NotFound`](ErrorKind::NotFound) into `None`.
pub(crate) fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is(ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn tree(object: &impl Serialize) -> Result<Value> {
    serde_json::to_value(object)
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write an object as JSON").with_source(error))
}

fn typed<T: Resource + Any>(answer: Answer) -> Result<Arc<T>> {
    match answer {
        Answer::Object(document) => document.typed(),
        Answer::Value(value) => serde_json::from_value(value).map(Arc::new).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("the answer is no {}", T::KIND)).with_source(error)
        }),
        Answer::List(_) | Answer::Stream(_) | Answer::Session(_) | Answer::Destination(_) => Err(unexpected(T::KIND)),
    }
}

fn replicas(scale: &Value) -> Result<i32> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    i32::try_from(replicas).map_err(|_| unexpected("a Scale"))
}

pub(crate) fn unexpected(wanted: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the answer is not {wanted}")).maybe_applied()
}

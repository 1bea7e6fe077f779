//! The API server itself: authorizes a request, finds what it is about and hands it to its verb.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Weak},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use windlass_api::{features::Gates, selector::Fields};
use windlass_kernel::{
    Admission, Api, Authenticator, Authorizer, Clock, Dial, Entropy, Keys, Result, Spawn, Store,
    access::{Attributes, Decision},
    api::{Events, Request, Response, Verb},
    document::{Document, Recent},
    error::{Cause, Error, ErrorKind},
    node::NodeAgents,
    scheduler::Explainer,
    store::{Key, ReadAt},
};

use crate::{
    admission::{AdmissionConfiguration, Plugins},
    advertised,
    alloc::Ranges,
    builder::Builder,
    custom::{self, Cleaning},
    discovery::Versions,
    errors,
    events::EventLease,
    figures::{Figures, Step, Who},
    flows::{self, Flows},
    followed::Followed,
    registered::{self, Operation},
    registry::{Registry, Target},
    review::{self, RuleSource},
    sub, usage, verbs,
};

const MANAGER_MAX: usize = 128;

/// The feature gates that change something here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acting {
    /// `ManifestBasedAdmissionControlConfig`: whether files register webhooks and policies, whose names are reserved then.
    pub(crate) manifests: bool,
    /// `WatchList`: whether watches begin with what there is, where clients ask for it.
    pub(crate) watch_list: bool,
    /// `APIResponseCompression`: whether large answers are packed.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only answers over HTTP are packed"))]
    pub(crate) compresses: bool,
    /// `PodTopologyLabelsAdmission`: whether pods get the labels that say where their node is.
    pub(crate) topology: bool,
}

impl Acting {
    pub(crate) fn of(gates: &Gates) -> Self {
        Self {
            manifests: gates.enabled("ManifestBasedAdmissionControlConfig"),
            watch_list: gates.enabled("WatchList"),
            compresses: gates.enabled("APIResponseCompression"),
            topology: gates.enabled("PodTopologyLabelsAdmission"),
        }
    }
}

/// What a server is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) spawn: Option<Arc<dyn Spawn>>,
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only HTTPS calls go out"))]
    pub(crate) dial: Option<Arc<dyn Dial>>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) admission: Vec<Arc<dyn Admission>>,
    /// Which of upstream's plugins run, those among them that are no [`Admission`].
    pub(crate) plugins: Plugins,
    /// What files register.
    pub(crate) fixed: ArcSwap<registered::Fixed>,
    /// What feature gates say, as far as they act.
    pub(crate) gates: Acting,
    /// The webhooks and policies that objects register.
    pub(crate) registered: Followed<registered::Snapshot>,
    /// Flow schemas and priority levels.
    pub(crate) flows: Followed<Flows>,
    /// What admission, policies and the store took.
    pub(crate) figures: Figures,
    /// What the calls of webhooks came to.
    #[cfg(feature = "http")]
    pub(crate) calls: crate::webhook::Calls,
    #[cfg(feature = "http")]
    pub(crate) outgoing: crate::webhook::Outgoing,
    pub(crate) agents: Option<Arc<dyn NodeAgents>>,
    pub(crate) explainer: Option<Arc<dyn Explainer>>,
    pub(crate) keys: Option<Arc<dyn Keys>>,
    pub(crate) issuer: String,
    pub(crate) registry: Registry,
    /// Which built-in resources clients are shown.
    pub(crate) versions: Versions,
    pub(crate) ranges: Ranges,
    pub(crate) events: EventLease,
    /// What watches in this process decoded lately.
    pub(crate) recent: Arc<Recent>,
    pub(crate) rules: Option<Arc<dyn RuleSource>>,
    pub(crate) port: u16,
    /// The address that the server is reached at, where it has said one.
    pub(crate) address: Option<IpAddr>,
}

/// Serves the Kubernetes API from any [`Store`], in process.
///
/// It opens no socket and starts no task by itself: requests run in their callers, watches in their readers.
pub struct ApiServer {
    pub(crate) parts: Parts,
    pub(crate) cleaning: Cleaning,
    own: Weak<Self>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("store", &self.parts.store).finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Begins to assemble a server.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|own| Self { parts, cleaning: Cleaning::default(), own: own.clone() })
    }

    /// The server itself, for what outlives a request.
    pub(crate) fn own(&self) -> Option<Arc<Self>> {
        self.own.upgrade()
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// The clock it goes by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.parts.clock
    }

    /// Where its tasks run, where that was given.
    #[must_use]
    pub fn spawn(&self) -> Option<&Arc<dyn Spawn>> {
        self.parts.spawn.as_ref()
    }

    /// Keeps the service `kubernetes` and its endpoints as they have to be, against whoever changes or deletes them, for as
    /// long as the future is polled: upstream's kubernetes-service controller. Without an address to advertise there is
    /// nothing to do.
    pub async fn keep_advertised(&self) {
        if let Some(address) = self.parts.address {
            advertised::keep(self, address).await;
        }
    }

    /// Keeps the flow schemas and priority levels that every cluster has, for as long as the future is polled: those that
    /// somebody deletes come back, and those that nobody took over follow upstream's.
    pub async fn keep_flows(&self) {
        flows::keep(self).await;
    }

    /// Keeps the Lease by which clients see that there is a server on the machine of this name, and removes those of servers
    /// that are gone, for as long as the future is polled (`APIServerIdentity`).
    #[cfg(feature = "http")]
    pub async fn keep_identity(&self, hostname: &str) {
        crate::identity::keep(self, hostname).await;
    }

    /// Takes over the webhooks and policies that files have by now (KEP-5793), for the next request on; says whether they are
    /// others than before. Nothing else of a configuration changes while a server runs.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) with the file of the first object that may not be there, or without the gate
    /// `ManifestBasedAdmissionControlConfig`. What was registered then stays.
    pub fn renew_manifests(&self, configuration: AdmissionConfiguration) -> Result<bool> {
        if configuration.has_manifests() && !self.parts.gates.manifests {
            return Err(registered::without_gate());
        }
        registered::renew(self, configuration.fixed)
    }

    /// Who decides what an identity may do.
    #[must_use]
    pub fn authorizer(&self) -> &Arc<dyn Authorizer> {
        &self.parts.authorizer
    }

    /// Does a part of admission, and counts what it took.
    pub(crate) async fn admitting<T>(
        &self,
        what: (Who, Step, Operation),
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let started = self.parts.clock.uptime();
        let done = work.await;
        let took = self.parts.clock.uptime().saturating_sub(started);
        self.parts.figures.admitted(what, took, done.is_err());
        done
    }

    /// The object of a key as it is now.
    pub(crate) async fn read(&self, key: &Key) -> Result<Option<Document>> {
        self.parts.store.get(key, ReadAt::Latest).await?.map(Document::stored).transpose()
    }

    async fn authorize(&self, request: &Request) -> Result<()> {
        self.may(request, request.verb.as_str(), &request.subresource).await
    }

    /// Refuses a request whose identity may not use `verb` on what it names.
    pub(crate) async fn may(&self, request: &Request, verb: &str, subresource: &str) -> Result<()> {
        let mut attributes = Attributes {
            verb: verb.into(),
            group: request.resource.group.to_string(),
            version: request.resource.version.to_string(),
            resource: request.resource.resource.to_string(),
            subresource: subresource.into(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            field_selector: String::new(),
            path: String::new(),
        };
        narrow(&mut attributes, request);
        match self.parts.authorizer.authorize(&request.identity, &attributes).await? {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                Err(errors::unauthorized(&attributes, &request.identity.name, &reason))
            }
        }
    }

    /// Finds what a request is about; where it is nothing, a definition may have been written by someone else.
    async fn resolve(&self, request: &Request) -> Result<Target> {
        match self.parts.registry.resolve(request) {
            Err(error) if error.is(ErrorKind::NotFound) && custom::refresh(self).await? => {
                self.parts.registry.resolve(request)
            }
            resolved => resolved,
        }
    }

    /// Hands a request to its verb. Writes are boxed: every request would have to carry the room that they need.
    async fn dispatch(&self, target: &Target, request: Request) -> Result<Response> {
        let served = &*target.served;
        if let Some(subresource) = target.subresource {
            return Box::pin(sub::call(self, served, subresource, request)).await;
        }
        let verb = if request.verb == Verb::Connect { "connect" } else { request.verb.as_str() };
        if !served.info.serves(verb) {
            return Err(errors::no_such_verb(&request));
        }
        if served.info.group == usage::GROUP {
            return Box::pin(usage::read(self, served, &request)).await;
        }
        if !served.stored() {
            return Box::pin(review::create(self, served, request)).await;
        }
        match request.verb {
            Verb::Get => verbs::get(self, served, &request).await,
            Verb::List => verbs::list(self, served, &request).await,
            Verb::Create => Box::pin(verbs::create(self, served, request)).await,
            Verb::Update => Box::pin(verbs::update(self, served, request)).await,
            Verb::Patch(kind) => Box::pin(verbs::patch(self, served, kind, request)).await,
            Verb::Delete => Box::pin(verbs::delete(self, served, request)).await,
            Verb::DeleteCollection => Box::pin(verbs::delete_collection(self, served, request)).await,
            Verb::Watch | Verb::Connect => Err(errors::no_such_verb(&request)),
        }
    }
}

/// Says of a request all that its URL implies.
fn narrow(attributes: &mut Attributes, request: &Request) {
    if attributes.resource == "namespaces" && attributes.group.is_empty() && !attributes.name.is_empty() {
        // A namespace is its own namespace: roles inside it can speak of it.
        attributes.namespace.clone_from(&attributes.name);
    }
    let collection = matches!(request.verb, Verb::List | Verb::Watch | Verb::DeleteCollection);
    if collection {
        attributes.field_selector.clone_from(&request.options.field_selector);
    }
    if collection && attributes.name.is_empty() && request.options.field_selector.contains("metadata.name") {
        let fields = request.options.field_selector.parse::<Fields>().unwrap_or_default();
        attributes.name = fields.exact("metadata.name").unwrap_or_default().to_owned();
    }
}

/// Takes away the namespace that a request for a namespace may carry: its own name.
fn home(request: &mut Request) {
    if request.resource.resource == "namespaces" && request.resource.group.is_empty() {
        request.namespace.clear();
    }
}

/// Refuses names of field managers that cannot be written down.
fn check_manager(request: &Request) -> Result<()> {
    let manager = request.options.field_manager.as_str();
    let options = match request.verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch(_) => "PatchOptions",
        _ => return Ok(()),
    };
    let cause = if manager.len() > MANAGER_MAX {
        let message = format!("Too long: may not be more than {MANAGER_MAX} bytes");
        Cause { reason: "FieldValueTooLong".into(), message, field: "fieldManager".into() }
    } else if manager.chars().any(char::is_control) {
        errors::bad_value("fieldManager", format!("{manager:?}"), "should only contain printable characters")
    } else {
        return Ok(());
    };
    Err(errors::invalid("meta.k8s.io", options, "", vec![cause]))
}

#[async_trait]
impl Api for ApiServer {
    async fn call(&self, mut request: Request) -> Result<Response> {
        self.authorize(&request).await?;
        check_manager(&request)?;
        home(&mut request);
        let target = self.resolve(&request).await?;
        let writes = !matches!(request.verb, Verb::Get | Verb::List);
        let dispatched = self.dispatch(&target, request).await;
        if writes && self.parts.registry.is_followed(&target.served) {
            // Also after an error: what was deleted before one was met is gone.
            let followed = custom::after_write(self).await;
            if dispatched.is_ok() {
                followed.map_err(Error::maybe_applied)?;
            }
        }
        let mut response = dispatched?;
        response.warnings.extend(target.served.deprecation().map(str::to_owned));
        Ok(response)
    }

    async fn watch(&self, mut request: Request) -> Result<Events> {
        self.authorize(&request).await?;
        home(&mut request);
        let target = self.resolve(&request).await?;
        if target.subresource.is_some() || !target.served.info.serves("watch") {
            return Err(errors::no_such_verb(&request));
        }
        let own = self.own().ok_or_else(|| Error::new(ErrorKind::Unavailable, "the server is going away"))?;
        verbs::watch(&own, &target.served, &request).await
    }
}

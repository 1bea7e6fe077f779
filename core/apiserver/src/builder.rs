//! Assembling an API server from its parts. Starting it writes the objects that every cluster has.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use serde_json::Value;
use windlass_api::features::Gates;
use windlass_kernel::{
    Admission, Authenticator, Authorizer, Clock, Dial, Entropy, Error, ErrorKind, Keys, Result, Spawn, Store,
    document::Recent, node::NodeAgents, scheduler::Explainer,
};

use crate::{
    admission::{self, AdmissionConfiguration, Plugins},
    advertised,
    alloc::Ranges,
    bootstrap, custom,
    discovery::Versions,
    events::EventLease,
    figures::{self, Figures},
    flows,
    followed::Followed,
    registered,
    registry::Registry,
    review::RuleSource,
    server::{Acting, ApiServer, Parts},
    usage,
};

/// So many decoded objects are held for others who follow the same changes.
const RECENT: usize = 64;

/// What an API server is made of. Store, clock, entropy and authorizer are needed; the rest is optional.
#[derive(Debug, Default)]
pub struct Builder {
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    entropy: Option<Arc<dyn Entropy>>,
    spawn: Option<Arc<dyn Spawn>>,
    dial: Option<Arc<dyn Dial>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    admission: Vec<Arc<dyn Admission>>,
    agents: Option<Arc<dyn NodeAgents>>,
    explainer: Option<Arc<dyn Explainer>>,
    keys: Option<Arc<dyn Keys>>,
    ranges: Ranges,
    issuer: Option<String>,
    rules: Option<Arc<dyn RuleSource>>,
    bare: bool,
    port: Option<u16>,
    address: Option<IpAddr>,
    initial: Vec<Value>,
    versions: Versions,
    configuration: AdmissionConfiguration,
    plugins: Plugins,
    gates: Gates,
    #[cfg(feature = "http")]
    roots: String,
}

impl Builder {
    /// Where state lives.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// What time it is.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Where uids and generated names come from.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// Who runs tasks.
    #[must_use]
    pub fn spawn(mut self, spawn: Arc<dyn Spawn>) -> Self {
        self.spawn = Some(spawn);
        self
    }

    /// Who connects to webhooks.
    #[must_use]
    pub fn dial(mut self, dial: Arc<dyn Dial>) -> Self {
        self.dial = Some(dial);
        self
    }

    /// Who decides what an identity may do.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = Some(authorizer);
        self
    }

    /// Who answers token reviews.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Who lists what an identity may do.
    #[must_use]
    pub fn rules(mut self, rules: Arc<dyn RuleSource>) -> Self {
        self.rules = Some(rules);
        self
    }

    /// One more admission plugin; runs after the built-in ones, in the order given.
    #[must_use]
    pub fn admission(mut self, plugin: Arc<dyn Admission>) -> Self {
        self.admission.push(plugin);
        self
    }

    /// Where logs and sessions are served from, and what nodes and pods use (`metrics.k8s.io`).
    #[must_use]
    pub fn node_agents(mut self, agents: Arc<dyn NodeAgents>) -> Self {
        self.agents = Some(agents);
        self
    }

    /// Who says why pods are where they are. Without it, `pods/schedulingexplanation` is refused as not supported.
    #[must_use]
    pub fn explainer(mut self, explainer: Arc<dyn Explainer>) -> Self {
        self.explainer = Some(explainer);
        self
    }

    /// What signs service-account tokens.
    #[must_use]
    pub fn keys(mut self, keys: Arc<dyn Keys>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The issuer of service-account tokens, which is also their default audience.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// The addresses and ports that services are given.
    #[must_use]
    pub fn service_ranges(mut self, ranges: Ranges) -> Self {
        self.ranges = ranges;
        self
    }

    /// The port that the server is reached at, as the service `kubernetes` says; 6443 unless set.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The address that the server is reached at, as the endpoints of the service `kubernetes` say; none are written
    /// unless it is set. [`ApiServer::keep_advertised`] keeps them so.
    #[must_use]
    pub fn advertise(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// How the built-in admission plugins are configured.
    #[must_use]
    pub fn admission_configuration(mut self, configuration: AdmissionConfiguration) -> Self {
        self.configuration = configuration;
        self
    }

    /// Which of upstream's admission plugins run: the usual ones unless set.
    #[must_use]
    pub fn admission_plugins(mut self, plugins: Plugins) -> Self {
        self.plugins = plugins;
        self
    }

    /// Upstream's feature gates. `APIResponseCompression`, `ManifestBasedAdmissionControlConfig`, `PodTopologyLabelsAdmission`
    /// and `WatchList` act here; others change nothing. Whether there is a Lease (`APIServerIdentity`) is the choice of
    /// whoever polls [`ApiServer::keep_identity`].
    #[must_use]
    pub fn feature_gates(mut self, gates: Gates) -> Self {
        self.gates = gates;
        self
    }

    /// Which built-in resources clients are shown: stable versions unless set. What runs in this process sees all.
    #[must_use]
    pub fn versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// The certificates (PEM) that vouch for webhooks whose configuration has no `caBundle`. Without them such webhooks
    /// cannot be called.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn trusted_certificates(mut self, pem: impl Into<String>) -> Self {
        self.roots = pem.into();
        self
    }

    /// Objects beyond the built-in ones to write at start where they do not exist, such as roles.
    #[must_use]
    pub fn initial_objects(mut self, objects: Vec<Value>) -> Self {
        self.initial.extend(objects);
        self
    }

    /// Starts with what the store holds: writes no initial objects.
    #[must_use]
    pub fn without_initial_objects(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) where a needed part is missing or the advertised address is one that others cannot
    /// use; those of the store.
    pub async fn start(self) -> Result<Arc<ApiServer>> {
        let mut configuration = self.configuration;
        let needed = |what: &str| Error::new(ErrorKind::Invalid, format!("an API server needs {what}"));
        let store = self.store.ok_or_else(|| needed("a store"))?;
        let clock = self.clock.ok_or_else(|| needed("a clock"))?;
        let entropy = self.entropy.ok_or_else(|| needed("entropy"))?;
        let authorizer = self.authorizer.ok_or_else(|| needed("an authorizer"))?;
        if let Some(address) = self.address {
            advertised::advertisable(address)?;
        }
        let (store, calls) = figures::measured(store, &clock);
        let registry = Registry::built_in();
        let manifests = std::mem::take(&mut configuration.fixed);
        let gates = Acting::of(&self.gates);
        if !manifests.is_empty() && !gates.manifests {
            return Err(registered::without_gate());
        }
        let fixed = registered::fixed(manifests, &registry)?;
        let mut chosen = self.plugins;
        if !gates.topology {
            chosen = chosen.without("PodTopologyLabels");
        }
        let means = admission::Means { store: &store, clock: &clock, entropy: &entropy, authorizer: &authorizer };
        let mut plugins = admission::built_in(&means, &chosen, configuration);
        plugins.extend(self.admission);
        let figures = Figures::new(plugins.iter().map(|plugin| plugin.name()), calls);
        // Who has no agents to ask does not say that it can tell.
        let registry = if self.agents.is_some() { registry } else { registry.without(usage::GROUP) };
        let begin = registered::Snapshot::beside(&fixed);
        let registered = Followed::beginning_with(Arc::clone(&store), registered::PREFIX, begin);
        let flows = Followed::new(Arc::clone(&store), flows::PREFIX);
        let parts = Parts {
            flows,
            figures,
            #[cfg(feature = "http")]
            calls: crate::webhook::Calls::default(),
            #[cfg(feature = "http")]
            outgoing: crate::webhook::Outgoing::new(self.roots),
            events: EventLease::new(Arc::clone(&store), Arc::clone(&clock)),
            recent: Arc::new(Recent::of(RECENT)),
            store,
            clock,
            entropy,
            spawn: self.spawn,
            dial: self.dial,
            authorizer,
            authenticator: self.authenticator,
            admission: plugins,
            plugins: chosen,
            fixed: ArcSwap::from_pointee(fixed),
            gates,
            registered,
            agents: self.agents,
            explainer: self.explainer,
            keys: self.keys,
            issuer: self.issuer.unwrap_or_else(|| "https://kubernetes.default.svc.cluster.local".into()),
            registry,
            versions: self.versions,
            ranges: self.ranges,
            rules: self.rules,
            port: self.port.unwrap_or(6443),
            address: self.address,
        };
        let server = ApiServer::new(parts);
        if !self.bare {
            bootstrap::run(&server, self.initial).await?;
            if let Some(address) = self.address {
                advertised::begin(&server, address).await?;
            }
        }
        custom::after_write(&server).await?;
        Ok(server)
    }
}

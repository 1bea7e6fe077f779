//! What a cluster is to be made of.

use std::{fmt, net::SocketAddr, sync::Arc};

use windlass_api::features::Gates;
use windlass_apiserver::{
    AdmissionConfiguration, ApiServer, Plugins, Ranges,
    access::{Escalation, InTurn, NodeAuthorizer, Rbac},
    discovery::Versions,
};
use windlass_client::leader::Timing;
use windlass_controllers::{
    Config, NamedDriver,
    autoscaler::MetricSource,
    certificates::Signer,
    node_ipam::PodRanges,
    snapshotter::{self, Rules},
};
use windlass_kernel::{
    Admission, Authenticator, Authorizer, Clock, Controller, Dial, Entropy, Error, ErrorKind, Keys, Result, Spawn,
    SpawnExt, Stop, Store, VolumeDriver,
};
use windlass_scheduler::Explaining;
use windlass_store::MemoryStore;

use super::{Cluster, Ending, NodeSource};
use crate::{
    agents::Agents,
    components::{self, Candidacy, Components},
    reach::ClusterDial,
    rim::{SystemClock, SystemDial, SystemEntropy, TokioSpawn},
};

/// What pods trust where there is nothing to be trusted.
#[cfg(feature = "fake")]
const NO_CERTIFICATE: &str = "# The API of this cluster has no certificate: it is asked in process.\n";

/// Assembles a [`Cluster`]. Every part has a sensible default.
#[derive(Default)]
pub struct Builder {
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    entropy: Option<Arc<dyn Entropy>>,
    spawn: Option<Arc<dyn Spawn>>,
    dial: Option<Arc<dyn Dial>>,
    keys: Option<Arc<dyn Keys>>,
    authenticator: Option<Arc<dyn Authenticator>>,
    authorizer: Option<Arc<dyn Authorizer>>,
    admission: Vec<Arc<dyn Admission>>,
    controllers: Vec<Arc<dyn Controller>>,
    scheduling: windlass_scheduler::Config,
    nodes: Vec<Box<dyn NodeSource>>,
    config: Config,
    ranges: Option<Ranges>,
    reached_at: Option<SocketAddr>,
    hostname: Option<String>,
    candidacy: Option<Candidacy>,
    versions: Versions,
    admission_configuration: AdmissionConfiguration,
    admission_plugins: Plugins,
    gates: Gates,
    #[cfg(feature = "http")]
    trusted_certificates: String,
    /// Names of drivers that are told which claim a call is for.
    telling: Vec<String>,
    bare: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("store", &self.store).field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl Builder {
    /// Where the state lives. The default is a [`MemoryStore`].
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// As [`store`](Self::store), for one that is shared.
    #[must_use]
    pub fn shared_store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// The time. The default is the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Randomness. The default is the operating system's.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// Where tasks run. The default is the tokio runtime that [`start`](Self::start) is called on.
    #[must_use]
    pub fn spawn(mut self, spawn: Arc<dyn Spawn>) -> Self {
        self.spawn = Some(spawn);
        self
    }

    /// Connections to hosts: those of nodes and pods that have addresses. The default is the machine's.
    #[must_use]
    pub fn dial(mut self, dial: Arc<dyn Dial>) -> Self {
        self.dial = Some(dial);
        self
    }

    /// Who signs service-account tokens. Without it, asking for a token is refused.
    #[must_use]
    pub fn keys(mut self, keys: Arc<dyn Keys>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Who knows the identities behind credentials, for TokenReview.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Who decides what an identity may do. The default is the authorizer of nodes, then RBAC.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = Some(authorizer);
        self
    }

    /// Keys of tests where there are none, so that pods have tokens. Nobody outside of this process can use them.
    #[cfg(feature = "fake")]
    pub(crate) fn keys_or_fake(mut self) -> Self {
        if self.keys.is_none() {
            self.keys = Some(Arc::new(windlass_testkit::FakeKeys::default()));
            if self.config.root_certificate.is_empty() {
                NO_CERTIFICATE.clone_into(&mut self.config.root_certificate);
            }
        }
        self
    }

    /// Adds an admission plugin behind the built-in ones.
    #[must_use]
    pub fn admission(mut self, plugin: impl Admission) -> Self {
        self.admission.push(Arc::new(plugin));
        self
    }

    /// Adds a controller beside the built-in ones.
    #[must_use]
    pub fn controller(mut self, controller: impl Controller) -> Self {
        self.controllers.push(Arc::new(controller));
        self
    }

    /// Which schedulers there are, by the names that pods ask for. Without it, the default one.
    #[must_use]
    pub fn scheduling(mut self, scheduling: windlass_scheduler::Config) -> Self {
        self.scheduling = scheduling;
        self
    }

    /// The certificate (PEM) that pods trust the API server by: every namespace gets it as `kube-root-ca.crt`.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<String>) -> Self {
        self.config.root_certificate = pem.into();
        self
    }

    /// Who signs certificate requests that are approved.
    #[must_use]
    pub fn signer(mut self, signer: Arc<dyn Signer>) -> Self {
        self.config.signer = Some(signer);
        self
    }

    /// Gives each node a block of each of these ranges, as `spec.podCIDRs`. Without it, nodes have none.
    #[must_use]
    pub fn pod_ranges(mut self, ranges: PodRanges) -> Self {
        self.config.pod_ranges = Some(ranges);
        self
    }

    /// The addresses and node ports that services are given.
    #[must_use]
    pub fn service_ranges(mut self, ranges: Ranges) -> Self {
        self.ranges = Some(ranges);
        self
    }

    /// The name of the machine that the API server runs on. Where it is set the server says by a Lease that it is there
    /// (`APIServerIdentity`), and keeps the flow schemas and priority levels that every cluster has.
    #[must_use]
    pub fn hostname(mut self, name: impl Into<String>) -> Self {
        self.hostname = Some(name.into());
        self
    }

    /// Where pods reach the API, as the service `kubernetes` and its endpoints say; they are kept so. An address that others
    /// cannot use, such as the loopback address, is refused when the cluster starts.
    #[must_use]
    pub fn reached_at(mut self, address: SocketAddr) -> Self {
        self.reached_at = Some(address);
        self
    }

    /// Adds a node.
    #[must_use]
    pub fn node(mut self, node: impl NodeSource + 'static) -> Self {
        self.nodes.push(Box::new(node));
        self
    }

    /// One control plane of several over the same state: its controllers act only while it holds the lease
    /// `kube-controller-manager` in `kube-system`, its scheduler while it holds `kube-scheduler`. `name` tells it from the
    /// others. Without it, this is the only one, and begins at once.
    #[must_use]
    pub fn candidate(self, name: impl Into<String>) -> Self {
        self.candidate_with(name, Timing::default())
    }

    /// As [`candidate`](Self::candidate), in another rhythm than upstream's: the same for all candidates.
    #[must_use]
    pub fn candidate_with(mut self, name: impl Into<String>, timing: Timing) -> Self {
        self.candidacy = Some(Candidacy { name: name.into(), timing });
        self
    }

    /// Where autoscalers get metrics of the types `Pods`, `Object` and `External` from. Without it those are refused.
    #[must_use]
    pub fn metrics(mut self, source: impl MetricSource) -> Self {
        self.config.metrics = Some(Arc::new(source));
        self
    }

    /// How the built-in admission plugins are configured.
    #[must_use]
    pub fn admission_configuration(mut self, configuration: AdmissionConfiguration) -> Self {
        self.admission_configuration = configuration;
        self
    }

    /// Which of upstream's admission plugins run. Without it, those that run unless somebody says otherwise.
    #[must_use]
    pub fn admission_plugins(mut self, plugins: Plugins) -> Self {
        self.admission_plugins = plugins;
        self
    }

    /// Upstream's feature gates; [`ApiServer`]'s builder says which act.
    #[must_use]
    pub fn feature_gates(mut self, gates: Gates) -> Self {
        self.gates = gates;
        self
    }

    /// The certificates (PEM) that vouch for webhooks without a `caBundle`, such as those of this machine
    /// ([`rim::trusted_certificates`](crate::rim::trusted_certificates)). Without it such webhooks cannot be called.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn trusted_certificates(mut self, pem: impl Into<String>) -> Self {
        self.trusted_certificates = pem.into();
        self
    }

    /// Which built-in resources clients are shown. Without it, those of stable versions.
    #[must_use]
    pub fn versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// A driver that makes, grows, attaches and deletes volumes for claims of the classes that name it as their provisioner. May
    /// be called several times. What brings the volumes to a node is the node's
    /// ([`NodeSource::find_drivers`](crate::NodeSource::find_drivers)).
    ///
    /// Where it cuts snapshots, the kinds of `snapshot.storage.k8s.io` are defined unless they are, and snapshots are cut
    /// and deleted, too.
    #[must_use]
    pub fn volume_driver(mut self, name: impl Into<String>, driver: impl VolumeDriver) -> Self {
        let (name, driver) = (name.into(), Arc::new(driver));
        self.config.volume_drivers.push(NamedDriver { name, driver, knows_claims: false });
        self
    }

    /// Has the volume drivers of that name told which claim, volume or snapshot a call is for, in parameters that begin with
    /// `csi.storage.k8s.io/`, as upstream's sidecars do with `--extra-create-metadata`. A name that no driver has is refused at
    /// the start.
    #[must_use]
    pub fn telling_claims(mut self, driver: impl Into<String>) -> Self {
        self.telling.push(driver.into());
        self
    }

    /// Starts the API server alone: no controllers, no scheduler.
    #[must_use]
    pub fn without_controllers(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Starts the cluster. It answers when this returns; nodes register soon after.
    ///
    /// # Errors
    ///
    /// Those of the store and of the nodes' sources.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, where no [`spawn`](Self::spawn) was given.
    pub async fn start(mut self) -> Result<Cluster> {
        for name in &self.telling {
            let named = self.config.volume_drivers.iter_mut().find(|own| own.name == *name);
            let named =
                named.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("no volume driver is named {name:?}")))?;
            named.knows_claims = true;
        }
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let entropy = self.entropy.unwrap_or_else(|| Arc::new(SystemEntropy));
        let spawn = self.spawn.unwrap_or_else(|| Arc::new(TokioSpawn::current()));
        let memory = || Arc::new(MemoryStore::new(Arc::clone(&clock), Arc::clone(&spawn))) as _;
        let store: Arc<dyn Store> = self.store.unwrap_or_else(memory);
        let agents = Arc::new(Agents::default());
        let machine = self.dial.unwrap_or_else(|| Arc::new(SystemDial));
        let dial = Arc::new(ClusterDial::new(Arc::clone(&agents), machine));

        let mut server = ApiServer::builder()
            .store(Arc::clone(&store))
            .clock(Arc::clone(&clock))
            .entropy(Arc::clone(&entropy))
            .spawn(Arc::clone(&spawn))
            .node_agents(Arc::clone(&agents) as _);
        let (explaining, questions) = Explaining::new(Arc::clone(&clock), Arc::clone(&spawn));
        if !self.bare {
            server = server.explainer(Arc::new(explaining));
        }
        server = match self.authorizer {
            Some(own) => server.authorizer(own),
            None => {
                let nodes = Arc::new(NodeAuthorizer::new(&store));
                let rbac = Arc::new(Rbac::new(store));
                let authorizer = Arc::new(InTurn::new().then(nodes).then(Arc::clone(&rbac) as _));
                let escalation = Escalation::new(Arc::clone(&rbac), Arc::clone(&authorizer) as _);
                server.rules(rbac).authorizer(authorizer).admission(Arc::new(escalation))
            }
        };
        let identified = self.gates.enabled("APIServerIdentity");
        server = server
            .dial(Arc::clone(&dial) as _)
            .versions(self.versions)
            .admission_configuration(self.admission_configuration)
            .admission_plugins(self.admission_plugins)
            .feature_gates(self.gates);
        #[cfg(feature = "http")]
        {
            server = server.trusted_certificates(self.trusted_certificates);
        }
        if let Some(keys) = self.keys {
            server = server.keys(keys);
        }
        if let Some(authenticator) = self.authenticator {
            server = server.authenticator(authenticator);
        }
        if let Some(address) = self.reached_at {
            server = server.advertise(address.ip()).port(address.port());
        }
        if let Some(ranges) = self.ranges {
            server = server.service_ranges(ranges);
        }
        for plugin in self.admission {
            server = server.admission(plugin);
        }
        let server = server.start().await?;
        dial.of(&server);

        let (stop, tasks) = (Stop::new(), Vec::new());
        let (_ending, controlled) = (Some(Ending(Arc::clone(&agents))), !self.bare);
        let scheduled = controlled.then(windlass_scheduler::Metrics::default);
        let mut cluster =
            Cluster { server, agents, dial, clock, entropy, spawn, stop, tasks, controlled, scheduled, _ending };
        if self.reached_at.is_some() {
            let (server, stop) = (Arc::clone(&cluster.server), cluster.stop.clone());
            let keeping = async move { _ = stop.race(server.keep_advertised()).await };
            cluster.tasks.push(cluster.spawn.spawn("apiserver.advertised", keeping));
        }
        if let Some(hostname) = self.hostname {
            let (server, stop) = (Arc::clone(&cluster.server), cluster.stop.clone());
            let keeping = async move { _ = stop.race(server.keep_flows()).await };
            cluster.tasks.push(cluster.spawn.spawn("apiserver.flows", keeping));
            #[cfg(feature = "http")]
            if identified {
                let (server, stop) = (Arc::clone(&cluster.server), cluster.stop.clone());
                let keeping = async move { _ = stop.race(server.keep_identity(&hostname)).await };
                cluster.tasks.push(cluster.spawn.spawn("apiserver.identity", keeping));
            }
            #[cfg(not(feature = "http"))]
            drop((hostname, identified));
        }
        if !self.bare {
            define_snapshots(&cluster, &self.config).await?;
            let components = Components {
                controllers: self.controllers,
                config: self.config,
                scheduling: self.scheduling,
                questions,
                candidacy: self.candidacy,
            };
            cluster.tasks.extend(components::start(&cluster, components));
        }
        for node in &self.nodes {
            let task = super::node::run(&cluster, node.as_ref()).await?;
            cluster.tasks.push(task);
        }
        tracing::info!(nodes = self.nodes.len(), "cluster started");
        Ok(cluster)
    }
}

/// Defines the kinds that snapshots are, where a driver cuts any. What is defined already is left as it is.
async fn define_snapshots(cluster: &Cluster, config: &Config) -> Result<()> {
    if !config.volume_drivers.iter().any(|own| snapshotter::snapshots(&*own.driver)) {
        return Ok(());
    }
    let definitions = cluster.client().with_field_manager("windlass").dynamic(snapshotter::DEFINITIONS);
    let rules = if cfg!(feature = "cel") { Rules::Kept } else { Rules::LeftOut };
    for definition in snapshotter::definitions(rules) {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        // Where it is there nothing is written, which a webhook that is away could keep from being.
        if definitions.get_opt("", name).await?.is_some() {
            continue;
        }
        match definitions.create(definition).await {
            Err(error) if error.is(ErrorKind::AlreadyExists) => {}
            done => done.map(drop)?,
        }
    }
    Ok(())
}

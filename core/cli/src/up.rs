//! `windlass up`: opens the data directory, assembles the cluster, serves it, and waits to be told to end.

mod manifests;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use windlass::{
    Cluster,
    api::features::Gates,
    apiserver::{AdmissionConfiguration, Plugins, access::EcdsaKeys, discovery::Versions, stream::Sessions},
    csi::hostpath,
    kernel::{Authenticator, Clock, Error, ErrorKind, Spawn, SpawnExt},
    node::EvictionLimits,
    real::{
        CLUSTER_RANGE, ContainerNode, PodRanges, Routes, Services, announce_volumes, let_nodes_follow_services,
        open_volumes, pod_ranges, primary_address,
    },
    rim::{SystemClock, TokioSpawn, trusted_certificates},
    scheduler,
    serve::{self, Https, Pki, RequestSigner},
    simulate::Simulation,
    store::DiskStore,
};

use crate::{
    args::{Range, Runtime, Up},
    containers,
    data::{DataDir, write_private},
    foreground,
    texts::Published,
};

/// Runs until a signal ends it.
pub(crate) fn run(up: &Up, started: Instant) -> Result<()> {
    foreground::run(serve(up, started))
}

async fn serve(up: &Up, started: Instant) -> Result<()> {
    let wishes = Wishes::read(up)?;
    let mut ground = Ground::lay(up).await?;
    let address = primary_address();
    let mut node = match up.runtime {
        Runtime::Fake => None,
        _ => Some(containers::node(&ground.data, &up.runtime)?),
    };
    if let Some(node) = &mut node {
        node.address = address;
        node.api = (address.to_string(), up.listen.port());
        node.eviction = wishes.eviction.clone();
        up.of_node.tell(node)?;
        up.pod_network.tell(node);
    }
    let _held = node.is_some().then(|| ground.data.take_node()).transpose()?;
    let listener = tokio::net::TcpListener::bind(up.listen).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot listen on {}", up.listen)).with_source(error)
    })?;
    let bound = listener.local_addr().context("cannot tell where the API listens")?;
    let simulation = wishes.simulation.clone();
    let mut cluster = assemble(wishes, &mut ground, node.as_mut(), bound, address).await?;
    let_nodes_follow_services(&cluster.client().with_field_manager("windlass")).await?;
    follow_files(up, &ground, &mut cluster)?;
    if node.is_none() {
        for task in simulation.start(&cluster, up.nodes).await? {
            cluster.keep(task);
        }
    }
    // Pods cannot reach the loopback address.
    let also = node.is_some().then_some(address).filter(|address| !address.is_loopback());
    let store = Arc::clone(&ground.store);
    let bound = open_doors(up, ground, &mut cluster, listener, also).await?;
    let millis = started.elapsed().as_millis();
    if let Some(file) = &up.ready_file {
        std::fs::write(file, format!("{millis}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(node) = node {
        let services = Services { node: node.name.clone(), address };
        for task in services.start(&cluster).await? {
            cluster.keep(task);
        }
        if let Some(routes) = Routes::of(&node) {
            let task = routes.start(&cluster);
            cluster.keep(task);
        }
        cluster.add_node(node).await.context("cannot start the node; --runtime fake needs no containers")?;
    }
    println!("windlass is up at https://{} after {millis} ms", reachable(bound));
    println!("  export KUBECONFIG={}", up.kubeconfig.clone().unwrap_or(DataDir::of(&up.place).kubeconfig()).display());

    foreground::interrupted().await?;
    println!("windlass ends; what runs in containers goes on, and `windlass up` finds it again");
    cluster.shut_down().await;
    store.close().await?;
    Ok(())
}

/// What the command line and the files that it names ask for. What is wrong with it is told before anything starts.
struct Wishes {
    versions: Versions,
    admission: AdmissionConfiguration,
    gates: Gates,
    plugins: Plugins,
    advertised: Option<IpAddr>,
    simulation: Simulation,
    scheduling: scheduler::Config,
    eviction: EvictionLimits,
    /// What nodes are given parts of for their pods.
    pod_ranges: Option<PodRanges>,
}

impl Wishes {
    fn read(up: &Up) -> Result<Self> {
        let fake = up.runtime == Runtime::Fake;
        if up.nodes.is_some_and(|nodes| nodes > 1) && !fake {
            return Err(Error::new(ErrorKind::Invalid, "more than one node needs --runtime fake").into());
        }
        if !up.simulate.is_empty() && !fake {
            return Err(Error::new(ErrorKind::Invalid, "--simulate needs --runtime fake").into());
        }
        let serving = &up.serving;
        serving.later.refuse()?;
        let wishes = Self {
            versions: serving.versions()?,
            admission: serving.admission()?,
            gates: serving.gates()?,
            plugins: serving.plugins()?,
            advertised: serving.advertised()?,
            simulation: simulation(&up.simulate)?,
            scheduling: scheduling(up.scheduler_config.as_deref())?,
            eviction: up.eviction.limits()?,
            pod_ranges: pod_ranges_of(up)?,
        };
        wishes.simulation.nodes(up.nodes)?;
        if fake && wishes.eviction != EvictionLimits::default() {
            let message =
                "--eviction-hard and its like need real containers: nodes of --runtime fake run out of nothing";
            return Err(Error::new(ErrorKind::Invalid, message).into());
        }
        up.of_node.check(&up.runtime)?;
        if !fake {
            containers::need_root("use sudo, or --runtime fake")?;
        }
        Ok(wishes)
    }
}

/// What a cluster stands on: its data directory with the state, keys and certificates, and this machine's time and tasks.
struct Ground {
    data: DataDir,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    pki: Pki,
    /// The certificates by which the server is trusted.
    trusted: String,
    keys: Arc<EcdsaKeys>,
    store: Arc<DiskStore>,
    authenticator: Arc<dyn Authenticator>,
}

impl Ground {
    async fn lay(up: &Up) -> Result<Self> {
        let data = DataDir::of(&up.place);
        data.create()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let spawn: Arc<dyn Spawn> = Arc::new(TokioSpawn::current());
        let pki = Pki::open(&data.pki(), clock.now())?;
        let trusted = up.serving.trusted(&pki.authority.pem().certificate)?;
        let keys = Arc::new(EcdsaKeys::from_pkcs8(&pki.token_key, &[])?);
        let store = Arc::new(DiskStore::open(data.store(), Arc::clone(&clock), Arc::clone(&spawn)).await?);
        let authenticator = serve::authenticator(Arc::clone(&keys) as _, Arc::clone(&clock), Arc::clone(&store) as _);
        Ok(Self { data, clock, spawn, pki, trusted, keys, store, authenticator })
    }
}

/// Reads the files of webhooks and policies again when they change, for as long as the cluster lives.
fn follow_files(up: &Up, ground: &Ground, cluster: &mut Cluster) -> Result<()> {
    let followed = up.serving.followed()?;
    if !followed.is_empty() {
        let tools = (Arc::clone(&ground.clock), Arc::clone(cluster.spawn()));
        let following = manifests::follow(up.serving.clone(), followed, Arc::clone(cluster.server()), tools);
        let stop = cluster.stopping().clone();
        let task = cluster.spawn().spawn("admission.files", async move { _ = stop.race(following).await });
        cluster.keep(task);
    }
    Ok(())
}

/// Starts the control plane, with what a node with real containers needs of it.
async fn assemble(
    wishes: Wishes,
    ground: &mut Ground,
    node: Option<&mut ContainerNode>,
    bound: SocketAddr,
    address: IpAddr,
) -> Result<Cluster> {
    let real = node.is_some();
    let mut builder = Cluster::builder()
        .shared_store(Arc::clone(&ground.store) as _)
        .clock(Arc::clone(&ground.clock))
        .spawn(Arc::clone(&ground.spawn))
        .keys(Arc::clone(&ground.keys) as _)
        .root_certificate(&ground.trusted)
        .signer(Arc::new(RequestSigner::new(&ground.pki)?))
        .versions(wishes.versions)
        .admission_configuration(wishes.admission)
        .admission_plugins(wishes.plugins)
        .feature_gates(wishes.gates)
        .trusted_certificates(trusted_certificates())
        .authenticator(Arc::clone(&ground.authenticator))
        .scheduling(wishes.scheduling);
    if let Some(ranges) = wishes.pod_ranges {
        builder = builder.pod_ranges(ranges);
    }
    if let Some(node) = node {
        let (clock, spawn) = (Arc::clone(&ground.clock), Arc::clone(&ground.spawn));
        let volumes = open_volumes(&node.data_dir, &node.name, clock, spawn)?;
        builder = builder.volume_driver(hostpath::NAME, volumes.clone());
        node.drivers.push(Arc::new(volumes));
    }
    if let Some(advertised) = advertised(wishes.advertised, bound, real, address) {
        ground.pki.extra_names.push(advertised.ip().to_string());
        builder = builder.reached_at(advertised);
    }
    if let Some(name) = containers::hostname() {
        builder = builder.hostname(name);
    }
    let cluster = builder.start().await?;
    if real {
        announce_volumes(&cluster.client().with_field_manager("windlass")).await?;
    }
    Ok(cluster)
}

/// Serves the cluster, also at another address of this machine, and writes down how an administrator gets in. Says where it
/// is served.
async fn open_doors(
    up: &Up,
    ground: Ground,
    cluster: &mut Cluster,
    listener: tokio::net::TcpListener,
    also: Option<IpAddr>,
) -> Result<SocketAddr> {
    let Ground { data, clock, pki, trusted, keys, authenticator, .. } = ground;
    let admin = pki.authority.client("kubernetes-admin", &["system:masters"], clock.now())?;
    let https = Https {
        pki: Arc::new(pki),
        authenticator,
        certificate: up.serving.certificate(),
        connector: Arc::new(Sessions),
        texts: Arc::new(Published),
        keys,
    };
    let bound = cluster.serve_on(listener, &https).await?;
    if let Some(address) = also.filter(|_| bound.ip().is_loopback()) {
        cluster.serve((address, bound.port()).into(), &https).await?;
    }
    let config = serve::kubeconfig(&format!("https://{}", reachable(bound)), &trusted, "kubernetes-admin", &admin);
    write_private(&data.kubeconfig(), &config)?;
    if let Some(file) = &up.kubeconfig {
        write_private(file, &config)?;
    }
    Ok(bound)
}

/// Where the service `kubernetes` leads: the address that was named, or one that others can use; `None` where the API is at
/// the loopback address only, which nobody else reaches.
fn advertised(named: Option<IpAddr>, bound: SocketAddr, real: bool, primary: IpAddr) -> Option<SocketAddr> {
    let usable = |address: IpAddr| (!address.is_loopback() && !address.is_unspecified()).then_some(address);
    let chosen = match named {
        Some(named) => Some(named),
        // With real nodes the API is served at the machine's address, too.
        None if real || bound.ip().is_unspecified() => usable(primary),
        None => usable(bound.ip()),
    };
    chosen.map(|address| SocketAddr::new(address, bound.port()))
}

/// What nodes are given parts of. Fake ones have no use of it, and pods of another's runtime have addresses as that says.
fn pod_ranges_of(up: &Up) -> Result<Option<PodRanges>> {
    let usual = match up.runtime {
        Runtime::Auto | Runtime::Containerd(_) => Some(CLUSTER_RANGE),
        Runtime::Cri(_) | Runtime::Fake => None,
    };
    let range = up.pod_network.cluster_cidr.map(|Range(range)| range).or(usual);
    Ok(range.map(|range| pod_ranges(range, up.node_cidr_mask_size)).transpose()?)
}

/// How pods are scheduled, as a file says, or as usual.
fn scheduling(file: Option<&Path>) -> Result<scheduler::Config> {
    let Some(file) = file else { return Ok(scheduler::Config::default()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    scheduler::Config::read(&text).with_context(|| format!("cannot schedule as {} says", file.display()))
}

/// What files say is to be simulated.
fn simulation(files: &[PathBuf]) -> Result<Simulation> {
    let mut simulation = Simulation::default();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        simulation.read(&text).with_context(|| format!("cannot simulate what {} says", file.display()))?;
    }
    Ok(simulation)
}

/// Where clients on this machine reach a server that listens at `bound`.
fn reachable(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() { ([127, 0, 0, 1], bound.port()).into() } else { bound }
}

//! `windlass up`: opens the data directory, assembles the cluster, serves it, and waits to be told to end.

mod manifests;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use windlass::{
    Cluster,
    apiserver::{access::EcdsaKeys, stream::Sessions},
    csi::hostpath,
    kernel::{Clock, Error, ErrorKind, Spawn, SpawnExt},
    real::{ContainerNode, Services, announce_volumes, open_volumes, primary_address, socket_note},
    rim::{SystemClock, TokioSpawn, trusted_certificates},
    scheduler,
    serve::{self, Https, Pki, RequestSigner},
    simulate::Simulation,
    store::DiskStore,
};

use crate::{
    args::{Runtime, Up},
    data::{DataDir, write_private},
    texts::Published,
};

/// Runs until a signal ends it.
pub(crate) fn run(up: &Up, started: Instant) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WINDLASS_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(serve(up, started))
}

async fn serve(up: &Up, started: Instant) -> Result<()> {
    let fake = up.runtime == Runtime::Fake;
    if up.nodes.is_some_and(|nodes| nodes > 1) && !fake {
        return Err(Error::new(ErrorKind::Invalid, "more than one node needs --runtime fake").into());
    }
    if !up.simulate.is_empty() && !fake {
        return Err(Error::new(ErrorKind::Invalid, "--simulate needs --runtime fake").into());
    }
    let (versions, admission) = (up.serving.versions()?, up.serving.admission()?);
    let (gates, plugins, named) = (up.serving.gates()?, up.serving.plugins()?, up.serving.advertised()?);
    let simulation = simulation(&up.simulate)?;
    // What is wrong with them is told before anything starts.
    simulation.nodes(up.nodes)?;
    let scheduling = scheduling(up.scheduler_config.as_deref())?;
    if !fake && !nix::unistd::geteuid().is_root() {
        let message = "real containers need root: use sudo, or --runtime fake";
        return Err(Error::new(ErrorKind::Unavailable, message).into());
    }
    let data = DataDir::of(&up.place);
    data.create()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let spawn: Arc<dyn Spawn> = Arc::new(TokioSpawn::current());
    let mut pki = Pki::open(&data.pki(), clock.now())?;
    let trusted = up.serving.trusted(&pki.authority.pem().certificate)?;
    let keys = Arc::new(EcdsaKeys::from_pkcs8(&pki.token_key, &[])?);
    let store = Arc::new(DiskStore::open(data.store(), Arc::clone(&clock), Arc::clone(&spawn)).await?);
    let authenticator = serve::authenticator(Arc::clone(&keys) as _, Arc::clone(&clock), Arc::clone(&store) as _);

    let address = primary_address();
    let mut node = match &up.runtime {
        Runtime::Fake => None,
        Runtime::Auto => Some(container_node(up, &data, address, None)?),
        Runtime::Cri(socket) => Some(container_node(up, &data, address, Some(socket.clone()))?),
    };
    let listener = tokio::net::TcpListener::bind(up.listen).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot listen on {}", up.listen)).with_source(error)
    })?;
    let bound = listener.local_addr().context("cannot tell where the API listens")?;
    let volumes = match &node {
        Some(node) => Some(open_volumes(&node.data_dir, &node.name, Arc::clone(&clock), Arc::clone(&spawn))?),
        None => None,
    };
    let mut builder = Cluster::builder()
        .shared_store(Arc::clone(&store) as _)
        .clock(Arc::clone(&clock))
        .spawn(spawn)
        .keys(Arc::clone(&keys) as _)
        .root_certificate(&trusted)
        .signer(Arc::new(RequestSigner::new(&pki)?))
        .versions(versions)
        .admission_configuration(admission)
        .admission_plugins(plugins)
        .feature_gates(gates)
        .trusted_certificates(trusted_certificates())
        .authenticator(Arc::clone(&authenticator))
        .scheduling(scheduling);
    if let (Some(node), Some(volumes)) = (&mut node, &volumes) {
        builder = builder.volume_driver(hostpath::NAME, volumes.clone());
        node.drivers.push(Arc::new(volumes.clone()));
    }
    if let Some(node) = &node
        && let Some(ranges) = node.pod_ranges()?
    {
        builder = builder.pod_ranges(ranges);
    }
    if let Some(advertised) = advertised(named, bound, node.is_some(), address) {
        pki.extra_names.push(advertised.ip().to_string());
        builder = builder.reached_at(advertised);
    }
    if let Some(name) = hostname() {
        builder = builder.hostname(name);
    }
    let mut cluster = builder.start().await?;
    if volumes.is_some() {
        announce_volumes(&cluster.client().with_field_manager("windlass")).await?;
    }
    let followed = up.serving.followed()?;
    if !followed.is_empty() {
        let tools = (Arc::clone(&clock), Arc::clone(cluster.spawn()));
        let following = manifests::follow(up.serving.clone(), followed, Arc::clone(cluster.server()), tools);
        let task = cluster.spawn().spawn("admission.files", following);
        cluster.keep(task);
    }
    if fake {
        for task in simulation.start(&cluster, up.nodes).await? {
            cluster.keep(task);
        }
    }

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
    if node.is_some() && bound.ip().is_loopback() && !address.is_loopback() {
        // Pods cannot reach the loopback address.
        cluster.serve((address, bound.port()).into(), &https).await?;
    }
    let config = serve::kubeconfig(&format!("https://{}", reachable(bound)), &trusted, "kubernetes-admin", &admin);
    write_private(&data.kubeconfig(), &config)?;
    if let Some(file) = &up.kubeconfig {
        write_private(file, &config)?;
    }
    let millis = started.elapsed().as_millis();
    if let Some(file) = &up.ready_file {
        std::fs::write(file, format!("{millis}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(node) = node {
        let services = Services { node: node.name.clone(), address };
        for task in services.start(&cluster).await? {
            cluster.keep(task);
        }
        cluster.add_node(node).await.context("cannot start the node; --runtime fake needs no containers")?;
    }
    println!("windlass is up at https://{} after {millis} ms", reachable(bound));
    println!("  export KUBECONFIG={}", up.kubeconfig.as_ref().unwrap_or(&data.kubeconfig()).display());

    interrupted().await?;
    println!("windlass ends; what runs in containers goes on, and `windlass up` finds it again");
    cluster.shut_down().await;
    store.close().await?;
    Ok(())
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

/// What this machine calls itself.
fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok())
}

/// A node with real containers on this machine.
fn container_node(up: &Up, data: &DataDir, address: IpAddr, socket: Option<PathBuf>) -> Result<ContainerNode> {
    let name = hostname();
    let path = std::path::absolute(data.path()).context("cannot tell where the data directory is")?;
    // `windlass down` has to find what runs there, or in a containerd of our own.
    let note = socket_note(&path);
    let noted = match &socket {
        Some(socket) => std::fs::write(&note, socket.as_os_str().as_encoded_bytes()),
        None if note.exists() => std::fs::remove_file(&note),
        None => Ok(()),
    };
    noted.with_context(|| format!("cannot change {}", note.display()))?;
    Ok(ContainerNode {
        name: name.map_or_else(|| "node-1".into(), |name| name.to_lowercase()),
        address,
        images: path.join("images"),
        data_dir: path,
        socket,
        drivers: Vec::new(),
        api_port: up.listen.port(),
    })
}

/// Where clients on this machine reach a server that listens at `bound`.
fn reachable(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() { ([127, 0, 0, 1], bound.port()).into() } else { bound }
}

/// Waits for Ctrl-C or a request to terminate.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    futures::future::select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await;
    Ok(())
}

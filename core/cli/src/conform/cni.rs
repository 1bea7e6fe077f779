//! The network suite against CNI plugins: binaries in folders, joined by a configuration, in namespaces of this process.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use futures::FutureExt;
use serde_json::{Map, Value};
use windlass::{
    cni::{
        host::{CniNetwork, Exchange, Settings},
        lab::Lab,
        wire::{NetworkList, Version},
    },
    kernel::{
        Clock, Error, ErrorKind, PodNetwork, Spawn,
        network::{Attachment, AttachmentKey},
    },
    rim::{SystemClock, TokioSpawn},
};
use windlass_conformance::{
    network::{Fixture, Hurry, Offers, Raw, RawAnswer, RawCall, Seen, Surroundings, Traced, cases},
    report::Trace,
};

use super::Suite;
use crate::args::ConformCni;

pub(super) fn run(args: &ConformCni) -> Result<ExitCode> {
    if let Some(missing) = Lab::missing() {
        return Err(Error::new(ErrorKind::Unavailable, missing).into());
    }
    // Read before the lab hides what is in /var/lib/cni.
    let list = list(&args.conf)?;
    let lab = Arc::new(Lab::enter()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let suite = suite(args, &list, lab).await?;
        super::report(suite, &args.reports).await
    })
}

/// The configuration: a file, or the first of a folder.
fn list(path: &Path) -> Result<NetworkList> {
    let settings = |config_dir: PathBuf| Settings { config_dir, ..Settings::usual() };
    if path.is_dir() {
        return Ok(settings(path.to_owned()).network()?);
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let list = NetworkList::parse(&text);
    Ok(list.map_err(|why| Error::new(ErrorKind::Invalid, format!("{}: {why}", path.display())))?)
}

async fn suite(args: &ConformCni, list: &NetworkList, lab: Arc<Lab>) -> Result<Suite> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let spawn: Arc<dyn Spawn> = Arc::new(TokioSpawn::current());
    let trace = Trace::default();
    let config_dir = lab.folder("conf")?;
    fs::write(config_dir.join("10-net.conflist"), serde_json::to_vec(list)?).context("cannot write to the lab")?;
    let settings = Settings {
        config_dir,
        network: None,
        plugin_dirs: args.bin_dir.clone(),
        cache_dir: lab.folder("cache")?,
        deadline: Duration::from_secs(30),
    };
    let network = {
        let (clock, spawn, trace) = (Arc::clone(&clock), Arc::clone(&spawn), trace.clone());
        move |deadline: Duration| {
            let settings = Settings { deadline, ..settings.clone() };
            let network = CniNetwork::new(settings, Arc::clone(&clock), Arc::clone(&spawn));
            let trace = trace.clone();
            network.observed(Arc::new(move |exchange| note(&trace, exchange)))
        }
    };
    let usual = network(Duration::from_secs(30));
    let around = Arc::new(Around(lab));
    let offers = offers(list, &usual, &around).await?;
    let raw = raw(list, &args.bin_dir)?;
    let traced: Arc<dyn PodNetwork> = Arc::new(Traced::new(Arc::new(usual), trace.clone()));
    let hurry: Hurry = Arc::new(move |span| Arc::new(network(span)));
    let own = Arc::clone(&clock);
    let cases = cases(|prefix| Fixture {
        network: Arc::clone(&traced),
        surroundings: around.clone(),
        clock: Arc::clone(&own),
        prefix,
        offers,
        hurry: Some(Arc::clone(&hurry)),
        raw: Some(raw.clone()),
    });
    let plugins: Vec<_> = list.plugins.iter().map(kind).collect();
    let subject = format!("CNI network {:?} of {}", list.name, plugins.join(", "));
    Ok(Suite { subject, cases, trace, clock })
}

/// What the plugins declare, and where the node is reached: tried with one pod.
async fn offers(list: &NetworkList, network: &CniNetwork, around: &Around) -> Result<Offers> {
    let declared = |name: &str| list.plugins.iter().any(|plugin| plugin["capabilities"][name] == true);
    let declared = |name: &str| list.plugins.iter().any(|plugin| plugin.contains_key("capabilities")) && declared(name);
    let namespace = around.pod("probe");
    let key = AttachmentKey::new("probe", "eth0");
    let probe = Attachment { key, namespace: Some(namespace.clone()), ..Attachment::default() };
    let attached = network.attach(&probe).await.context("a first pod cannot be attached")?;
    network.detach(&probe).await.context("a first pod cannot be detached")?;
    around.remove_pod(&namespace);
    let gateway: Option<IpAddr> = attached.addresses.iter().find_map(|address| address.gateway);
    let version = list.version().unwrap_or(Version::V0_3_0);
    Ok(Offers {
        ports: gateway.filter(|_| declared("portMappings")),
        bandwidth: declared("bandwidth"),
        check: version >= Version::V0_4_0 && !list.disable_check,
    })
}

fn kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The first plugin of the list, to talk to directly.
fn raw(list: &NetworkList, folders: &[PathBuf]) -> Result<Raw> {
    let first = list.plugins.first().context("the network has no plugins")?;
    let program = folders.iter().map(|folder| folder.join(kind(first))).find(|path| path.is_file());
    let program =
        program.with_context(|| format!("there is no plugin {:?} in the folders of --bin-dir", kind(first)))?;
    let path = std::env::join_paths(folders).context("a folder of --bin-dir has ':' in its name")?;
    let mut config = first.clone();
    config.remove("capabilities");
    config.insert("name".into(), list.name.as_str().into());
    let run = move |call: RawCall| {
        let mut command = Command::new(&program);
        command.env("CNI_PATH", &path).envs(call.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let done = command.spawn().and_then(|mut child| {
            // One that refuses may end before it has read all.
            let _ = child.stdin.take().map(|mut input| input.write_all(&call.input));
            child.wait_with_output()
        });
        let answer = done.map(|done| RawAnswer { code: done.status.code(), output: done.stdout }).unwrap_or_default();
        futures::future::ready(answer).boxed()
    };
    Ok(Raw { run: Arc::new(run), config: config.into() })
}

/// One run of a plugin, as the trace of a failure shows it.
fn note(trace: &Trace, exchange: &Exchange) {
    let words: Vec<_> = exchange.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let plugin = exchange.plugin.display();
    trace.note(format!("$ CNI_COMMAND={} {} {plugin}", exchange.verb, words.join(" ")));
    trace.note(format!("  stdin: {}", exchange.input));
    for (name, text) in [("stdout", &exchange.output), ("stderr", &exchange.errors)] {
        if !text.is_empty() {
            trace.note(format!("  {name}: {text}"));
        }
    }
    trace.note(format!("  {} after {} ms", exchange.end, exchange.took.as_millis()));
}

/// The lab as the suite sees it. What it cannot do fails the check that asks.
#[derive(Debug)]
struct Around(Arc<Lab>);

impl Surroundings for Around {
    fn pod(&self, name: &str) -> PathBuf {
        self.0.pod(name).expect("the lab makes a pod")
    }

    fn remove_pod(&self, pod: &Path) {
        self.0.remove_pod(pod).expect("the lab removes a pod");
    }

    fn interface(&self, pod: &Path, name: &str) -> Option<Seen> {
        let seen = self.0.interface(pod, name).expect("the lab looks into a pod")?;
        Some(Seen { up: seen.up, addresses: seen.addresses })
    }

    fn cut(&self, pod: &Path, name: &str) {
        self.0.cut(pod, name).expect("the lab takes an interface away");
    }

    fn connects(&self, from: Option<&Path>, to: SocketAddr, server: &Path, port: u16) -> bool {
        self.0.connects(from, to, server, port).expect("the lab listens in a pod")
    }

    fn inventory(&self) -> BTreeSet<String> {
        self.0.inventory().expect("the lab takes an inventory")
    }
}

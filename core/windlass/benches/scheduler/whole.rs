//! Whole clusters: controllers, the scheduler and simulated nodes together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::json;
use windlass::{
    Cluster,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Node, Pod},
    },
    client::{Cache, Select},
    kernel::{Clock, ClockExt, Result, api::PatchType},
    testkit::FakeNode,
};

use super::rig::{create_all, object};

/// What this process has used: seconds of CPU, and resident megabytes now and at most.
fn used() -> (f64, f64, f64) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let (stat, status) = (read("stat"), read("status"));
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').skip(11).take(2)).into_iter().flatten();
    // Linux counts hundredths of a second.
    let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
    let megabytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_ascii_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    };
    (ticks / 100.0, megabytes("VmRSS:"), megabytes("VmHWM:"))
}

/// How many pods run, followed by a watch.
struct Counted {
    cache: Cache<()>,
    running: Arc<AtomicUsize>,
}

impl Counted {
    fn pods(cluster: &Cluster) -> Self {
        let informers = cluster.informers(cluster.client());
        let running = Arc::new(AtomicUsize::new(0));
        let runs = |pod: &Pod| (pod.status.phase.as_deref() == Some("Running")).then_some(());
        let cache = informers.projected(Select::all(), Vec::new(), runs);
        let count = Arc::clone(&running);
        cache.on_change(move |update| match (update.before, update.after) {
            (None, Some(())) => drop(count.fetch_add(1, SeqCst)),
            (Some(()), None) => drop(count.fetch_sub(1, SeqCst)),
            _ => {}
        });
        Self { cache, running }
    }

    async fn reach(&self, pods: usize) {
        self.cache.wait_until(|_| self.running.load(SeqCst) >= pods).await;
    }
}

/// A cluster of simulated nodes, all of which are ready.
async fn cluster(nodes: usize) -> Result<Cluster> {
    let mut builder = Cluster::builder();
    for at in 0..nodes {
        builder = builder.node(FakeNode::new(format!("node-{at:05}"), u16::try_from(at).unwrap_or(u16::MAX)));
    }
    let cluster = builder.start().await?;
    let informers = cluster.informers(cluster.client());
    let ready = informers.projected(Select::all(), Vec::new(), |node: &Node| {
        let ready = node.status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        (ready && node.spec.taints.is_empty()).then_some(())
    });
    ready.wait_until(|ready| ready.len() == nodes).await;
    Ok(cluster)
}

fn deployment_of(pods: usize) -> Deployment {
    object(json!({
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "replicas": pods, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{
                    "name": "web", "image": "web:1",
                    "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}},
                }]},
            },
        },
    }))
}

/// A Deployment, from its creation to all pods running.
pub(super) async fn deployment(nodes: usize, pods: usize) -> Result<()> {
    let started = super::now();
    let cluster = cluster(nodes).await?;
    let counted = Counted::pods(&cluster);
    eprintln!("{nodes} nodes are ready after {:.1} s", started.elapsed().as_secs_f64());
    let (cpu, before, _) = used();
    let started = super::now();
    cluster.client().create(&deployment_of(pods)).await?;
    counted.reach(pods).await;
    let took = started.elapsed().as_secs_f64();
    let (cpu_after, resident, most) = used();
    println!(
        "nodes={nodes} pods={pods} seconds={took:.2} cpu={:.2} before_mb={before:.0} resident_mb={resident:.0} most_mb={most:.0}",
        cpu_after - cpu,
    );
    std::process::exit(0);
}

/// An owner is deleted; the time until its dependents are gone.
pub(super) async fn garbage(dependents: usize) -> Result<()> {
    let cluster = Cluster::builder().start().await?;
    let client = cluster.client();
    let owner =
        client.create(&object::<ConfigMap>(json!({"metadata": {"namespace": "default", "name": "owner"}}))).await?;
    let uid = owner.metadata.uid.clone();
    let dependent = |at: usize| {
        object::<ConfigMap>(json!({"metadata": {
            "namespace": "default", "name": format!("dependent-{at:06}"),
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}],
        }}))
    };
    create_all(&client, (0..dependents).map(dependent)).await?;
    let informers = cluster.informers(client.clone());
    let left = informers.projected(Select::namespace("default"), Vec::new(), |map: &ConfigMap| {
        map.metadata.name.as_deref().is_some_and(|name| name.starts_with("dependent-")).then_some(())
    });
    left.wait_until(|left| left.len() == dependents).await;
    let (cpu, ..) = used();
    let started = super::now();
    client.delete::<ConfigMap>("default", "owner").await?;
    left.wait_until(Cache::is_empty).await;
    let took = started.elapsed().as_secs_f64();
    println!("dependents={dependents} seconds={took:.2} cpu={:.2}", used().0 - cpu);
    std::process::exit(0);
}

/// A cluster where everything runs, with a hundred changes of pods in a second.
pub(super) async fn steady(nodes: usize, pods: usize) -> Result<()> {
    const SECONDS: u32 = 20;
    let cluster = cluster(nodes).await?;
    let (client, clock) = (cluster.client(), Arc::clone(cluster.clock()));
    let counted = Counted::pods(&cluster);
    client.create(&deployment_of(pods)).await?;
    counted.reach(pods).await;
    settle(&*clock).await;
    let names: Vec<String> = {
        let all = client.documents(&Select::namespace("default").of(windlass::client::gvr::<Pod>())).await?;
        let every = (pods / 2000).max(1);
        let keys = all.items.iter().step_by(every).map(windlass::kernel::Document::object_key);
        keys.map(|key| key.map(|key| key.name)).collect::<Result<_>>()?
    };
    let (idle, ..) = used();
    clock.sleep(Duration::from_secs(SECONDS.into())).await;
    let idle = used().0 - idle;
    let (cpu, ..) = used();
    let started = clock.uptime();
    let mut answered = Duration::ZERO;
    for at in 0..SECONDS * 100 {
        clock.sleep_until(started + Duration::from_millis(10) * at).await;
        let name = &names[usize::try_from(at).unwrap_or_default() % names.len()];
        let patch = json!({"metadata": {"annotations": {"bench.windlass.dev/at": at.to_string()}}});
        let asked = super::now();
        client.patch::<Pod>("default", name, PatchType::Merge, patch).await?;
        answered = answered.max(asked.elapsed());
    }
    let seconds = (clock.uptime() - started).as_secs_f64();
    let busy = used().0 - cpu;
    println!(
        "nodes={nodes} pods={pods} idle_percent={:.2} percent={:.2} slowest_ms={:.2} resident_mb={:.0}",
        idle / f64::from(SECONDS) * 100.0,
        busy / seconds * 100.0,
        answered.as_secs_f64() * 1e3,
        used().1,
    );
    std::process::exit(0);
}

/// Waits until this process rests.
async fn settle(clock: &dyn Clock) {
    for _ in 0..150 {
        let (before, ..) = used();
        clock.sleep(Duration::from_secs(2)).await;
        if used().0 - before < 0.1 {
            return;
        }
    }
    eprintln!("the cluster is still busy after five minutes; what follows is not rest");
}

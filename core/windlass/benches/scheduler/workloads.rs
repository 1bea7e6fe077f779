//! The workloads of upstream's scheduler_perf that the limits are about.

use serde_json::{Value, json};
use windlass::{
    api::core::v1::Pod,
    kernel::{Error, ErrorKind, Result},
    scheduler::Framework,
};

use super::rig::{Rig, object};

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

/// What a workload is made of.
struct Workload {
    zones: usize,
    /// Bound before the clock starts; so many for each measured pod, in thousandths.
    first: usize,
    before: fn(usize) -> Value,
    measured: fn(usize) -> Value,
    /// With upstream's 5,000 nodes.
    pods: usize,
    /// Whether the first pods find a node.
    fit: bool,
}

fn pod(namespace: &str, at: usize, labels: &Value, cpu: &str, more: Value) -> Value {
    let mut spec = json!({"containers": [{
        "name": "pause", "image": "registry.k8s.io/pause:3.10",
        "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": cpu, "memory": "500Mi"}, "limits": {"cpu": cpu, "memory": "500Mi"}},
    }]});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    json!({"metadata": {"namespace": namespace, "name": format!("pod-{at:06}"), "labels": labels}, "spec": spec})
}

fn plain(namespace: &str, at: usize) -> Value {
    pod(namespace, at, &json!({}), "100m", json!({}))
}

fn near(at: usize, namespace: &str, kind: &str, topology: &str, color: &str) -> Value {
    let term = json!([{
        "labelSelector": {"matchLabels": {"color": color}}, "topologyKey": topology, "namespaces": ["first", "measured"],
    }]);
    let affinity = json!({(kind): {"requiredDuringSchedulingIgnoredDuringExecution": term}});
    pod(namespace, at, &json!({"color": color}), "100m", json!({"affinity": affinity}))
}

fn spread(at: usize) -> Value {
    let constraint = json!([{
        "maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"color": "blue"}},
    }]);
    pod("measured", at, &json!({"color": "blue"}), "100m", json!({"topologySpreadConstraints": constraint}))
}

fn find(name: &str) -> Result<Workload> {
    let first = |at| plain("first", at);
    let basic =
        Workload { zones: 1, first: 100, before: first, measured: |at| plain("measured", at), pods: 10_000, fit: true };
    Ok(match name {
        "SchedulingBasic" | "SchedulingBasicDurable" => basic,
        "TopologySpreading" => Workload { zones: 3, first: 1000, measured: spread, pods: 5000, ..basic },
        "SchedulingPodAntiAffinity" => Workload {
            first: 500,
            before: |at| near(at, "first", "podAntiAffinity", HOST, "green"),
            measured: |at| near(at, "measured", "podAntiAffinity", HOST, "green"),
            pods: 2000,
            ..basic
        },
        "SchedulingPodAffinity" => Workload {
            first: 1000,
            before: |at| near(at, "first", "podAffinity", ZONE, "blue"),
            measured: |at| near(at, "measured", "podAffinity", ZONE, "blue"),
            pods: 5000,
            ..basic
        },
        "PreemptionAsync" => Workload {
            first: 4000,
            before: |at| pod("first", at, &json!({}), "900m", json!({"terminationGracePeriodSeconds": 0})),
            measured: |at| pod("measured", at, &json!({}), "3", json!({"priorityClassName": "high"})),
            pods: 5000,
            ..basic
        },
        "Unschedulable" => {
            Workload { first: 20, before: |at| pod("first", at, &json!({}), "9", json!({})), fit: false, ..basic }
        }
        other => return Err(Error::new(ErrorKind::Invalid, format!("there is no workload {other}"))),
    })
}

/// Runs a workload and prints what it took.
pub(super) async fn run(name: &str, nodes: usize, pods: Option<usize>) -> Result<()> {
    let workload = find(name)?;
    let pods = pods.unwrap_or(workload.pods * nodes / 5000);
    let folder = std::env::temp_dir().join(format!("windlass-bench-{}", std::process::id()));
    let durable = (name == "SchedulingBasicDurable").then_some(&*folder);
    let done = measure(&workload, nodes, pods, durable).await;
    if durable.is_some() {
        // What is left there is in a temporary folder.
        let _ = std::fs::remove_dir_all(&folder);
    }
    done
}

async fn measure(workload: &Workload, nodes: usize, pods: usize, durable: Option<&std::path::Path>) -> Result<()> {
    let framework = if std::env::var_os("SEARCH").is_some() {
        Framework::default().without_classes()
    } else {
        Framework::default()
    };
    let mut rig = Rig::start(durable, framework).await?;
    rig.namespace("first").await?;
    rig.namespace("measured").await?;
    let class = json!({"metadata": {"name": "high"}, "value": 1000});
    rig.client.create(&object::<windlass::api::scheduling::v1::PriorityClass>(class)).await?;
    rig.nodes(nodes, workload.zones).await?;
    let first = pods * workload.first / 1000;
    rig.create((0..first).map(|at| object::<Pod>((workload.before)(at)))).await?;
    if workload.fit && first > 0 {
        rig.scheduler().await;
        rig.bind(first).await;
        rig.stop_scheduler().await;
    }
    rig.create((0..pods).map(|at| object::<Pod>((workload.measured)(at)))).await?;
    rig.scheduler().await;
    let events = rig.events();
    let took = rig.bind(pods).await;
    let rate = pods as f64 / took.as_secs_f64();
    let saved = rig.framework.savings();
    println!(
        "nodes={nodes} pods={pods} seconds={:.3} rate={rate:.1} events={} shared={} searched={} built={} refreshed={}",
        took.as_secs_f64(),
        rig.events() - events,
        saved.shared,
        saved.searched,
        saved.built,
        saved.refreshed,
    );
    std::process::exit(0);
}

//! What a cluster in this process takes: to be built, started and asked; to create a pod; to read one.
//!
//! `cargo xtask bench` reads what it prints. For profilers, the argument `requests` makes it only create and read, and
//! `running` only run pods on a fake node; the variable `PODS` says how many.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use windlass::{
    Cluster,
    api::core::v1::{Namespace, Pod, ServiceAccount},
    api::meta::v1::ObjectMeta,
    client::{Select, gvr},
    kernel::{
        Api, ClockExt, Identity, Result,
        api::{Body, Request, Verb},
    },
    testkit::FakeNode,
};

const WARM: usize = 20;
const PODS: usize = 10_000;
const SIZE: usize = 1536;

#[allow(clippy::disallowed_methods, reason = "a benchmark measures with the machine's clock")]
fn now() -> Instant {
    Instant::now()
}

async fn start() -> Result<Duration> {
    let started = now();
    let cluster = Cluster::builder().start().await?;
    cluster.client().get::<Namespace>("", "default").await?;
    let took = started.elapsed();
    cluster.shut_down().await;
    Ok(took)
}

/// A pod of 1.5 KB as a client sends it.
fn pod(at: usize) -> String {
    let text = |pad: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("bench-{at:07}"), "labels": {"app": "bench", "tier": "load"},
                "annotations": {"bench.windlass.dev/pad": pad},
            },
            "spec": {
                "automountServiceAccountToken": false, "schedulerName": "bench",
                "containers": [{
                    "name": "main", "image": "registry.example/app:1",
                    "env": [{"name": "MODE", "value": "bench"}, {"name": "PORT", "value": "8080"}],
                    "ports": [{"containerPort": 8080, "name": "http"}],
                    "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
                }],
            },
        })
        .to_string()
    };
    text(&"x".repeat(SIZE.saturating_sub(text("").len())))
}

/// The time that a create with full admission and a read take, one after the other, without controllers.
async fn requests(pods: usize) -> Result<(Duration, Duration)> {
    let cluster = Cluster::builder().without_controllers().start().await?;
    let client = cluster.client();
    let account = ObjectMeta { name: Some("default".into()), namespace: Some("default".into()), ..Default::default() };
    client.create(&ServiceAccount { metadata: account, ..Default::default() }).await?;
    let (api, identity): (Arc<dyn Api>, _) = (cluster.api(), Arc::new(Identity::new("bench", &["system:masters"])));
    let request = |verb| Request::new(Arc::clone(&identity), verb, gvr::<Pod>()).in_namespace("default");
    let bodies: Vec<_> = (0..pods).map(|at| pod(at).into_bytes()).collect();
    let started = now();
    for bytes in bodies {
        let mut request = request(Verb::Create);
        request.body = Body::Bytes { media_type: "application/json".into(), bytes: bytes.into() };
        api.call(request).await?;
    }
    let created = started.elapsed();
    let started = now();
    for at in 0..pods {
        api.call(request(Verb::Get).named(format!("bench-{at:07}"))).await?;
    }
    let read = started.elapsed();
    cluster.shut_down().await;
    let each = u32::try_from(pods).unwrap_or(u32::MAX);
    Ok((created / each, read / each))
}

/// Runs pods on a fake node and ends the process where they all run: for profilers of memory.
async fn running(pods: usize) -> Result<()> {
    let cluster = Cluster::builder().node(FakeNode::new("node-1", 1)).start().await?;
    let client = cluster.client();
    for at in 0..pods {
        let mut pod: Pod = serde_json::from_str(&pod(at)).expect("it was just written");
        pod.metadata.namespace = Some("default".into());
        pod.spec.node_name = Some("node-1".into());
        client.create(&pod).await?;
    }
    let run = Select::all().fields("status.phase=Running").of(gvr::<Pod>());
    while client.documents(&run).await?.items.len() < pods {
        cluster.clock().sleep(Duration::from_millis(100)).await;
    }
    std::process::exit(0);
}

async fn measure(only: &str) -> Result<()> {
    let pods = std::env::var("PODS").ok().and_then(|text| text.parse().ok()).unwrap_or(PODS);
    if only == "running" {
        return running(pods).await;
    }
    if only != "requests" {
        let first = start().await?;
        let mut more = Vec::new();
        for _ in 0..WARM {
            more.push(start().await?);
        }
        more.sort_unstable();
        println!("first_us={} median_us={}", first.as_micros(), more[WARM / 2].as_micros());
    }
    let (created, read) = requests(pods).await?;
    println!("create_ns={} get_ns={}", created.as_nanos(), read.as_nanos());
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&std::env::args().nth(1).unwrap_or_default()))?;
    Ok(())
}

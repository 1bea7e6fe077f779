//! A scheduler plugin in one small trait implementation, and a whole scheduler in another, side by side in one cluster.
//!
//! `cargo run -p windlass-examples --example custom_scheduler`

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use windlass::{
    Cluster,
    api::core::v1::Pod,
    client::{Force, Select},
    kernel::{
        Result, Scheduler,
        scheduler::{Cycle, Decision, Explanation, NodeView, Nowhere, Placement, PodView, Score, ScorePlugin, Turn},
    },
    scheduler::{Config, Framework, Profile},
    testkit::FakeNode,
};

/// Prefers nodes that run on sunlight.
#[derive(Debug)]
struct PreferSolar;

impl ScorePlugin for PreferSolar {
    fn name(&self) -> &'static str {
        "PreferSolar"
    }

    fn score(&self, _: &Cycle, _: &PodView, node: &NodeView) -> Score {
        if node.labels.contains_key("example.org/solar") { Score::MAX } else { Score::MIN }
    }
}

/// A whole scheduler: each pod goes to the last node, in the order of their names, that has CPU enough.
#[derive(Debug)]
struct LastByName;

#[async_trait]
impl Scheduler for LastByName {
    async fn schedule(&self, turn: Turn<'_>) -> Result<Decision> {
        let wanted = turn.pod.requests.cpu;
        let fits = |node: &NodeView| node.allocatable.cpu - node.used.cpu >= wanted;
        let possible = turn.nodes.all().iter().enumerate().filter(|(_, node)| fits(node));
        let feasible = possible.clone().count();
        let Some((place, node)) = possible.max_by(|(_, a), (_, b)| a.name.cmp(&b.name)) else {
            let explanation = Explanation { nodes: turn.nodes.len(), ..Explanation::default() };
            return Ok(Decision::Nowhere(Box::new(Nowhere { explanation, preemption: None })));
        };
        let node = Arc::clone(&node.name);
        Ok(Decision::Place(Placement { place, node, evaluated: turn.nodes.len(), feasible }))
    }
}

fn node(at: u16, labels: &[(&str, &str)]) -> FakeNode {
    let mut node = FakeNode::new(format!("n{at}"), at);
    node.labels.extend(labels.iter().map(|(key, value)| ((*key).into(), (*value).into())));
    node
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let profiles = vec![
        Profile::default(),
        Profile::new("solar", Framework::default().score(100, PreferSolar)),
        Profile::new("last", LastByName),
    ];
    let cluster = Cluster::builder()
        .scheduling(Config { profiles, ..Config::default() })
        .node(node(0, &[]))
        .node(node(1, &[("example.org/solar", "yes")]))
        .node(node(2, &[]))
        .start()
        .await?;
    cluster.ready().await?;
    let client = cluster.client().with_field_manager("custom_scheduler");
    for scheduler in ["solar", "last"] {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": scheduler, "namespace": "default"},
            "spec": {
                "schedulerName": scheduler,
                "containers": [{"name": "a", "image": "registry.local/a:v1", "resources": {"requests": {"cpu": "1"}}}],
            },
        }))?;
        client.apply(&pod, Force::No).await?;
    }

    let pods = cluster.informers(client).typed::<Pod>(Select::namespace("default"));
    pods.wait_until(|cache| cache.values().iter().filter(|pod| pod.spec.node_name.is_some()).count() == 2).await;
    for (key, pod) in pods.list() {
        println!("{} is on {}", key.name, pod.spec.node_name.as_deref().unwrap_or_default());
    }
    cluster.shut_down().await;
    Ok(())
}

//! A Deployment, a rollout, and a node that dies: at the end all replicas of the new version are available.

use std::time::Duration;

use serde_json::json;
use windlass::{
    api::{apps::v1::Deployment, core::v1::Pod},
    client::{Client, Force, Select},
};

use crate::world::{History, World};

const REPLICAS: i32 = 4;

/// Runs the scenario.
///
/// # Panics
///
/// Where the cluster does not heal in time; the message names what did not come about.
#[must_use]
pub fn run(seed: u64) -> History {
    let mut world = World::new(seed);
    for (at, name) in ["n1", "n2", "n3"].into_iter().enumerate() {
        world.add_node(name, u16::try_from(at).expect("three nodes"));
    }
    let client = world.client();

    world.run(client.apply(&deployment("v1"), Force::No)).expect("the deployment is applied");
    world.wait("v1 is available", Duration::from_secs(120), async |client| available(client, "v1").await);

    world.run(client.apply(&deployment("v2"), Force::No)).expect("the new version is applied");
    world.wait("v2 is rolled out", Duration::from_secs(120), async |client| available(client, "v2").await);

    let victim = world.run(busiest(&client)).expect("pods run somewhere");
    world.kill_node(&victim);
    world.wait("the survivors run everything", Duration::from_secs(900), async |client| {
        available(client, "v2").await && !uses(client, &victim).await
    });
    world.end()
}

fn deployment(version: &str) -> Deployment {
    let object = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": format!("registry.local/web:{version}")}]},
            },
        },
    });
    serde_json::from_value(object).expect("the text above is a deployment")
}

/// Whether as many pods of a version as wanted are ready, and the Deployment says so.
async fn available(client: &Client, version: &str) -> bool {
    let Ok(web) = client.get::<Deployment>("default", "web").await else { return false };
    let image = format!("registry.local/web:{version}");
    let ready = pods(client)
        .await
        .into_iter()
        .filter(|pod| pod.spec.containers.iter().any(|own| own.image.as_deref() == Some(&image)) && is_ready(pod));
    let status = &web.status;
    ready.count() == usize::try_from(REPLICAS).expect("a few")
        && status.updated_replicas == Some(REPLICAS)
        && status.available_replicas == Some(REPLICAS)
        && status.replicas == Some(REPLICAS)
}

/// Whether a pod that is not ending is still placed on a node.
async fn uses(client: &Client, node: &str) -> bool {
    let pods = pods(client).await;
    pods.iter().any(|pod| pod.metadata.deletion_timestamp.is_none() && pod.spec.node_name.as_deref() == Some(node))
}

/// The node that runs most pods; the first of them by name.
async fn busiest(client: &Client) -> Option<String> {
    let pods = pods(client).await;
    let nodes = pods.iter().filter_map(|pod| pod.spec.node_name.clone());
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for node in nodes {
        *counts.entry(node).or_default() += 1;
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(node, _)| node)
}

async fn pods(client: &Client) -> Vec<std::sync::Arc<Pod>> {
    client.list::<Pod>(&Select::namespace("default").labels("app=web")).await.unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    pod.status.conditions.iter().any(|own| own.type_ == "Ready" && own.status == "True")
}

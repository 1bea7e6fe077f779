//! A whole cluster inside this process: no socket, no container, no file.
//!
//! `cargo run -p windlass-examples --example embed`

use serde_json::json;
use windlass::{
    Cluster,
    api::{apps::v1::Deployment, core::v1::Pod},
    client::{Force, Select},
    testkit::FakeNode,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::builder().node(FakeNode::new("n1", 0)).node(FakeNode::new("n2", 1)).start().await?;
    let client = cluster.client().with_field_manager("embed");

    let web: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "registry.local/web:v1"}]},
            },
        },
    }))?;
    client.apply(&web, Force::No).await?;

    let deployments = cluster.informers(client.clone()).typed::<Deployment>(Select::namespace("default"));
    deployments.wait_until(|cache| cache.values().iter().any(|own| own.status.available_replicas == Some(3))).await;

    for pod in client.list::<Pod>(&Select::namespace("default").labels("app=web")).await? {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let node = pod.spec.node_name.as_deref().unwrap_or_default();
        println!("{name} is {} on {node}", pod.status.phase.as_deref().unwrap_or_default());
    }
    cluster.shut_down().await;
    Ok(())
}

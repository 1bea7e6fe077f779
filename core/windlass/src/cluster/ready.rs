//! When a fresh cluster can be used: pods of the default namespace have their account, and nodes take them.

use std::collections::BTreeSet;

use futures::StreamExt;
use windlass_api::core::v1::{Node, ServiceAccount};
use windlass_client::{Client, Select, Selection, gvr};
use windlass_kernel::{
    Document, Error, ErrorKind, Result,
    api::{Options, WatchEvent},
};

use super::Cluster;

/// The taint of nodes that take no pods yet (KEP 166, well-known taints).
const NOT_READY: &str = "node.kubernetes.io/not-ready";

impl Cluster {
    /// Waits until a pod that is created in the namespace `default` is admitted and can be placed: the account of the
    /// namespace exists, and every node of this process is `Ready` and takes pods.
    ///
    /// Of a cluster without controllers only the nodes are waited for. Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// Those of the API.
    pub async fn ready(&self) -> Result<()> {
        let client = self.client();
        if self.controlled {
            let account = Select::namespace("default").named("default").of(gvr::<ServiceAccount>());
            until(&client, &account, |_| Ok(true)).await?;
        }
        let mut awaited: BTreeSet<String> = self.agents.names().collect();
        if awaited.is_empty() {
            return Ok(());
        }
        let all = Selection::all::<Node>();
        until(&client, &all, |document| {
            let node = document.typed::<Node>()?;
            let ready = node.status.conditions.iter().any(|own| own.type_ == "Ready" && own.status == "True");
            // The taint outlives the condition until its controller has seen that.
            let shunned = self.controlled && node.spec.taints.iter().any(|own| own.key == NOT_READY);
            if ready && !shunned {
                awaited.remove(node.metadata.name.as_deref().unwrap_or_default());
            }
            Ok(awaited.is_empty())
        })
        .await
    }
}

/// Shows every present and coming object to `enough` until it says so.
async fn until(
    client: &Client,
    selection: &Selection,
    mut enough: impl FnMut(&Document) -> Result<bool>,
) -> Result<()> {
    // Without a resource version a watch begins with what is there.
    let mut events = client.watch(selection, Options::default()).await?;
    while let Some(event) = events.next().await {
        if let WatchEvent::Added(document) | WatchEvent::Modified(document) = event?
            && enough(&document)?
        {
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "cannot wait for the cluster any more: it is ending"))
}

#[cfg(all(test, feature = "fake"))]
mod tests {
    use windlass_api::core::v1::{Container, Pod, PodSpec};
    use windlass_testkit::{FakeNode, sim::Executor};

    use super::*;

    #[test]
    fn a_ready_cluster_admits_pods_and_its_nodes_take_them() {
        let executor = Executor::new(7);
        let builder = Cluster::builder().clock(executor.clock()).spawn(executor.spawn()).entropy(executor.entropy());
        executor.run_until(async {
            let cluster = builder.node(FakeNode::new("n1", 0)).node(FakeNode::new("n2", 1)).start().await.unwrap();
            cluster.ready().await.unwrap();
            let client = cluster.client();
            let nodes = client.list::<Node>(&Select::all()).await.unwrap();
            assert_eq!(nodes.len(), 2);
            assert!(nodes.iter().all(|node| node.spec.taints.is_empty()), "{nodes:?}");
            let mut pod = Pod::default();
            (pod.metadata.namespace, pod.metadata.name) = (Some("default".into()), Some("p".into()));
            let container = Container { name: "c".into(), image: Some("i".into()), ..Container::default() };
            pod.spec = PodSpec { containers: vec![container], ..PodSpec::default() };
            client.create(&pod).await.unwrap();
        });
    }

    #[test]
    fn a_cluster_without_controllers_waits_for_its_nodes_only() {
        let executor = Executor::new(7);
        let builder = Cluster::builder().clock(executor.clock()).spawn(executor.spawn()).entropy(executor.entropy());
        executor.run_until(async {
            let cluster = builder.node(FakeNode::new("n1", 0)).without_controllers().start().await.unwrap();
            cluster.ready().await.unwrap();
        });
    }
}

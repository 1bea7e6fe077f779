//! What was acknowledged is there after the process was killed in the middle of writing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::future::join_all;
use serde_json::json;
use windlass::{
    api::core::v1::ConfigMap,
    kernel::Identity,
    rim::{SystemClock, SystemDial, TokioSpawn},
};
use windlass_client::{
    Client, Select,
    https::{HttpsApi, Means},
    kubeconfig::Kubeconfig,
};

use crate::{Test, cluster::Cluster};

pub(crate) const TESTS: &[Test] =
    &[("every_acknowledged_object_survives_a_kill", every_acknowledged_object_survives_a_kill)];

const WRITERS: usize = 16;

/// A client over HTTPS, on the runtime that this is called on.
pub(crate) fn client(cluster: &Cluster) -> Client {
    let access = Kubeconfig::read(cluster.kubeconfig()).expect("a kubeconfig").access("").expect("a context");
    let spawn = Arc::new(TokioSpawn::current());
    let means = Means { dial: Arc::new(SystemDial), spawn, clock: Arc::new(SystemClock::new()) };
    let api = HttpsApi::new(&access, means).expect("a usable kubeconfig");
    Client::new(Arc::new(api), Arc::new(Identity::anonymous()))
}

fn every_acknowledged_object_survives_a_kill() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut cluster = Cluster::fake(&[]);
    for round in 0..3 {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writing = {
            let (client, acknowledged) = (runtime.block_on(async { client(&cluster) }), Arc::clone(&acknowledged));
            runtime.handle().spawn(async move {
                join_all((0..WRITERS).map(|writer| write(&client, round, writer, &acknowledged))).await
            })
        };
        crate::cluster::until_so("some were acknowledged", || acknowledged.load(Ordering::Relaxed) > 100);
        cluster.end(false);
        let written: Vec<String> = runtime.block_on(writing).expect("the writers end").concat();
        cluster.up();
        let found = runtime.block_on(async {
            let found = client(&cluster).list::<ConfigMap>(&Select::namespace("default")).await;
            found.expect("a list")
        });
        let found: std::collections::BTreeSet<_> = found.iter().filter_map(|map| map.metadata.name.clone()).collect();
        let lost: Vec<_> = written.iter().filter(|name| !found.contains(*name)).collect();
        assert!(lost.is_empty(), "lost {lost:?} of {} acknowledged", written.len());
    }
}

/// Creates objects until the server is gone; returns the names of those that it acknowledged.
async fn write(client: &Client, round: usize, writer: usize, acknowledged: &AtomicUsize) -> Vec<String> {
    let mut names = Vec::new();
    for number in 0.. {
        let name = format!("r{round}-w{writer}-{number}");
        let map = json!({"metadata": {"name": name, "namespace": "default"}, "data": {"text": "x".repeat(500)}});
        let map: ConfigMap = serde_json::from_value(map).expect("a ConfigMap");
        if client.create(&map).await.is_err() {
            break;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
        names.push(name);
    }
    names
}

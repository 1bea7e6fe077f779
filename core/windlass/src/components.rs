//! The components that every cluster runs beside its API server: controllers and the scheduler, each as itself.

use std::sync::Arc;

use windlass_client::runner::run_controllers;
use windlass_kernel::{Controller, Identity, SpawnExt, Task};

use crate::cluster::Cluster;

/// Starts the components. They end when the cluster stops.
pub(crate) fn start(cluster: &Cluster, own: Vec<Arc<dyn Controller>>) -> Vec<Task> {
    let manager = Identity::new("system:kube-controller-manager", &["system:authenticated"]);
    let informers = cluster.informers(cluster.client_as(manager).with_user_agent("kube-controller-manager"));
    let stop = cluster.stopping().clone();
    let controllers = async move { run_controllers(own, &informers, stop).await };
    vec![cluster.spawn().spawn("controllers", controllers)]
}

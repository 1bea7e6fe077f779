//! The components that every cluster runs beside its API server: controllers and the scheduler, each as itself.

use std::sync::Arc;

use windlass_client::run_controllers;
use windlass_controllers::Config;
use windlass_kernel::{Controller, Identity, SpawnExt, Task};
use windlass_scheduler::{Config as Scheduling, Questions};

use crate::cluster::Cluster;

/// Starts the components. They end when the cluster stops.
pub(crate) fn start(
    cluster: &Cluster,
    own: Vec<Arc<dyn Controller>>,
    (scheduling, questions): (Scheduling, Questions),
    config: &Config,
) -> Vec<Task> {
    let manager = Identity::new("system:kube-controller-manager", &["system:authenticated"]);
    let informers = cluster.informers(cluster.client_as(manager).with_user_agent("kube-controller-manager"));
    let stop = cluster.stopping().clone();
    let mut controllers = windlass_controllers::all(&informers, config);
    controllers.extend(own);
    let collector = windlass_controllers::collector(&informers).run(stop.clone());
    let controllers = async move {
        futures::join!(run_controllers(controllers, &informers, stop), collector);
    };

    let client = cluster.client_as(windlass_scheduler::identity()).with_user_agent("kube-scheduler");
    let scheduler = windlass_scheduler::Host::new(&cluster.informers(client), scheduling).answering(questions);
    let scheduler = scheduler.run(cluster.stopping().clone());
    vec![cluster.spawn().spawn("controllers", controllers), cluster.spawn().spawn("scheduler", scheduler)]
}

#[cfg(all(test, feature = "fake"))]
mod tests;

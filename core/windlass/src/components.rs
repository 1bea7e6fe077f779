//! The components that every cluster runs beside its API server: controllers and the scheduler, each as itself.
//!
//! Of several control planes over one store only one acts at a time: each set of components runs for a lease of its own
//! (ADR 38).

use std::{future::Future, sync::Arc};

use windlass_client::{
    Informers,
    informer::Parts,
    leader::{Election, Timing},
    run_controllers,
};
use windlass_controllers::Config;
use windlass_kernel::{Controller, Identity, SpawnExt, Stop, Task};
use windlass_scheduler::{Config as Scheduling, Questions};

use crate::cluster::Cluster;

/// Where upstream's components hold their leases.
const PLACE: &str = "kube-system";

/// How components act where there are several control planes.
#[derive(Clone, Debug)]
pub(crate) struct Candidacy {
    /// What tells this control plane from the others.
    pub(crate) name: String,
    pub(crate) timing: Timing,
}

/// What components are made of.
pub(crate) struct Components {
    pub(crate) controllers: Vec<Arc<dyn Controller>>,
    pub(crate) config: Config,
    pub(crate) scheduling: Scheduling,
    /// What the scheduler is asked about its decisions.
    pub(crate) questions: Questions,
    /// `None` where this is the only control plane.
    pub(crate) candidacy: Option<Candidacy>,
}

/// Starts the components. They end when the cluster stops.
pub(crate) fn start(cluster: &Cluster, components: Components) -> Vec<Task> {
    let Components { controllers: own, config, scheduling, questions, candidacy } = components;
    let manager = Identity::new("system:kube-controller-manager", &["system:authenticated"]);
    let parts = cluster.parts(cluster.client_as(manager).with_user_agent("kube-controller-manager"));
    let control = move |parts: Parts, stop: Stop| {
        let informers = Informers::new(parts);
        let mut controllers = windlass_controllers::all(&informers, &config);
        controllers.extend(own.iter().cloned());
        async move {
            let collector = windlass_controllers::collector(&informers).run(stop.clone());
            futures::join!(run_controllers(controllers, &informers, stop), collector);
        }
    };
    let controllers = lead(cluster, "kube-controller-manager", parts, candidacy.clone(), control);

    let client = cluster.client_as(windlass_scheduler::identity()).with_user_agent("kube-scheduler");
    let metrics = cluster.scheduled().cloned().unwrap_or_default();
    let schedule = move |parts: Parts, stop: Stop| {
        let host = windlass_scheduler::Host::new(&Informers::new(parts), scheduling.clone()).counting(metrics.clone());
        host.answering(questions.clone()).run(stop)
    };
    let scheduler = lead(cluster, "kube-scheduler", cluster.parts(client), candidacy, schedule);
    vec![cluster.spawn().spawn("controllers", controllers), cluster.spawn().spawn("scheduler", scheduler)]
}

/// Does the work of a set of components: whenever it holds the lease of that name, where there are other candidates.
///
/// What the work is made of is made anew each time, so that nothing that was known before an interruption is acted on.
fn lead<F: Future<Output = ()> + Send + 'static>(
    cluster: &Cluster,
    lease: &'static str,
    parts: Parts,
    candidacy: Option<Candidacy>,
    work: impl Fn(Parts, Stop) -> F + Send + Sync + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let stop = cluster.stopping().clone();
    async move {
        let Some(Candidacy { name, timing }) = candidacy else { return work(parts, stop).await };
        let time = (Arc::clone(&parts.clock), Arc::clone(&parts.entropy));
        let election = Election::new(parts.client.clone(), time, (PLACE, lease), name).timing(timing);
        election.run(&stop, |stop| work(parts.clone(), stop)).await;
    }
}

#[cfg(all(test, feature = "fake"))]
mod tests;

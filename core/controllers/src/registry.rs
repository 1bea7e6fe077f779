//! The list of controllers, the identities that they act under, and running them.

use std::sync::Arc;

use windlass_client::{Client, Informers, events::Recorder, informer::Parts, run_controllers};
use windlass_kernel::{Controller, Identity, Stop};

use crate::{
    deployment::Deployments,
    endpoints::{EndpointSlices, LegacyEndpoints},
    node_lifecycle::Nodes,
    pods::Pods,
    replicaset::ReplicaSets,
    root_ca::RootCas,
    service_account::ServiceAccounts,
    sets::Sets,
    taint_eviction::TaintEvictions,
};

/// What controllers are told beside what the API says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The certificate (PEM) that pods trust the API server by; empty publishes none.
    pub root_certificate: String,
}

/// Who owns the fields that controllers write, as upstream's do.
const FIELD_MANAGER: &str = "kube-controller-manager";

/// Makes a controller.
type Make = fn(&Tools) -> Arc<dyn Controller>;

/// The controllers that keys drive, one line each, by the name of their service account.
const CONTROLLERS: &[(&str, Make)] = &[
    ("deployment-controller", |tools| Arc::new(Deployments::new(tools))),
    ("replicaset-controller", |tools| Arc::new(ReplicaSets::new(tools))),
    ("endpoint-controller", |tools| Arc::new(LegacyEndpoints::new(tools))),
    ("endpointslice-controller", |tools| Arc::new(EndpointSlices::new(tools))),
    ("node-controller", |tools| Arc::new(Nodes::new(tools))),
    ("node-controller", |tools| Arc::new(TaintEvictions::new(tools))),
    ("root-ca-cert-publisher", |tools| Arc::new(RootCas::new(tools))),
    ("service-account-controller", |tools| Arc::new(ServiceAccounts::new(tools))),
];

/// The names of all controllers, each of which has an [`identity`].
pub const NAMES: &[&str] = &[
    "deployment-controller",
    "replicaset-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "node-controller",
    "root-ca-cert-publisher",
    "service-account-controller",
];

/// What a controller is made of.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) name: &'static str,
    pub(crate) informers: Informers,
    /// A client that acts as the controller.
    pub(crate) client: Client,
    pub(crate) pods: Pods,
    pub(crate) sets: Sets,
    pub(crate) config: Config,
}

impl Tools {
    fn new(name: &'static str, informers: &Informers, (pods, sets): (&Pods, &Sets), config: &Config) -> Self {
        let client = informers.parts().client.clone();
        let client = client.with_identity(Arc::new(identity(name))).with_field_manager(FIELD_MANAGER);
        Self {
            name,
            informers: informers.clone(),
            client,
            pods: pods.clone(),
            sets: sets.clone(),
            config: config.clone(),
        }
    }

    /// A recorder of events in the controller's name.
    pub(crate) fn recorder(&self) -> Recorder {
        let parts = Parts { client: self.client.clone(), ..self.informers.parts().clone() };
        Recorder::start(&parts, self.name, "")
    }
}

/// The identity that the controller of that name acts under: its service account in `kube-system`, as upstream.
#[must_use]
pub fn identity(name: &str) -> Identity {
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"];
    Identity::new(&format!("system:serviceaccount:kube-system:{name}"), &groups)
}

/// All controllers that keys drive. `informers` read for all of them; each writes as itself.
#[must_use]
pub fn all(informers: &Informers, config: &Config) -> Vec<Arc<dyn Controller>> {
    let (pods, sets) = (Pods::new(informers), Sets::new(informers));
    CONTROLLERS.iter().map(|(name, make)| make(&Tools::new(name, informers, (&pods, &sets), config))).collect()
}

/// Runs all controllers until `stop`.
pub async fn run(informers: &Informers, config: &Config, stop: Stop) {
    run_controllers(all(informers, config), informers, stop).await;
}

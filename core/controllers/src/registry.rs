//! The list of controllers, the identities that they act under, and running them.

use std::sync::Arc;

use windlass_api::{
    apps::v1::{ControllerRevision, ReplicaSet},
    batch::v1::Job,
    core::v1::ReplicationController,
};
use windlass_client::{Client, Informers, events::Recorder, informer::Parts, run_controllers};
use windlass_kernel::{Controller, Identity, Stop};

use crate::{
    attach_detach::AttachDetach,
    attacher::Attacher,
    autoscaler::{Autoscalers, MetricSource},
    bootstrap_tokens::BootstrapTokens,
    certificates::{Certificates, Signer},
    cluster_roles::ClusterRoles,
    collector::Collector,
    cronjob::CronJobs,
    daemonset::DaemonSets,
    deployment::Deployments,
    disruption::Budgets,
    endpoints::{EndpointSlices, LegacyEndpoints, MirroredSlices, Views},
    ephemeral_volume::EphemeralVolumes,
    job::Jobs,
    namespace::Namespaces,
    node_ipam::{NodeRanges, PodRanges},
    node_lifecycle::Nodes,
    owned::Owned,
    podgc::PodCollector,
    pods::Pods,
    provisioner::{NamedDriver, Provisioner},
    replicaset::ReplicaSets,
    resizer::Resizer,
    resource_quota::Quotas,
    root_ca::RootCas,
    service_account::ServiceAccounts,
    service_cidrs::ServiceRanges,
    service_ips::ServiceAddresses,
    snapshotter::{self, Snapshotter},
    statefulset::StatefulSets,
    taint_eviction::TaintEvictions,
    ttl_after_finished::EndedJobs,
    volume_binder::Binder,
    volume_protection::{ClaimProtection, VolumeProtection},
};

/// What controllers are told beside what the API says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The certificate (PEM) that pods trust the API server by; empty publishes none.
    pub root_certificate: String,
    /// Who signs certificate requests; without one they are only removed when their time is up.
    pub signer: Option<Arc<dyn Signer>>,
    /// Where autoscalers get metrics from that are not of what containers use; without it those are refused.
    pub metrics: Option<Arc<dyn MetricSource>>,
    /// The drivers that volumes are made by for claims of their classes.
    pub volume_drivers: Vec<NamedDriver>,
    /// The ranges that pods have addresses of, where each node is given a block of each.
    pub pod_ranges: Option<PodRanges>,
}

/// Who owns the fields that controllers write, as upstream's do.
const FIELD_MANAGER: &str = "kube-controller-manager";

/// Makes a controller.
type Make = fn(&Tools) -> Arc<dyn Controller>;

/// The controllers that keys drive, one line each, by the name of their service account.
const CONTROLLERS: &[(&str, Make)] = &[
    ("attachdetach-controller", |tools| Arc::new(AttachDetach::new(tools))),
    ("certificate-controller", |tools| Arc::new(Certificates::new(tools))),
    ("clusterrole-aggregation-controller", |tools| Arc::new(ClusterRoles::new(tools))),
    ("cronjob-controller", |tools| Arc::new(CronJobs::new(tools))),
    ("daemon-set-controller", |tools| Arc::new(DaemonSets::new(tools))),
    ("deployment-controller", |tools| Arc::new(Deployments::new(tools))),
    ("disruption-controller", |tools| Arc::new(Budgets::new(tools))),
    ("endpoint-controller", |tools| Arc::new(LegacyEndpoints::new(tools))),
    ("endpointslice-controller", |tools| Arc::new(EndpointSlices::new(tools))),
    ("endpointslicemirroring-controller", |tools| Arc::new(MirroredSlices::new(tools))),
    ("ephemeral-volume-controller", |tools| Arc::new(EphemeralVolumes::new(tools))),
    ("horizontal-pod-autoscaler", |tools| Arc::new(Autoscalers::new(tools))),
    ("ipallocator-repair-controller", |tools| Arc::new(ServiceAddresses::new(tools))),
    ("job-controller", |tools| Arc::new(Jobs::new(tools))),
    ("namespace-controller", |tools| Arc::new(Namespaces::new(tools))),
    ("node-controller", |tools| Arc::new(NodeRanges::new(tools))),
    ("node-controller", |tools| Arc::new(Nodes::new(tools))),
    ("node-controller", |tools| Arc::new(TaintEvictions::new(tools))),
    ("persistent-volume-binder", |tools| Arc::new(Binder::new(tools))),
    ("pod-garbage-collector", |tools| Arc::new(PodCollector::new(tools))),
    ("pv-protection-controller", |tools| Arc::new(VolumeProtection::new(tools))),
    ("pvc-protection-controller", |tools| Arc::new(ClaimProtection::new(tools))),
    ("replicaset-controller", |tools| Arc::new(ReplicaSets::<ReplicaSet>::new(tools))),
    ("replication-controller", |tools| Arc::new(ReplicaSets::<ReplicationController>::new(tools))),
    ("resourcequota-controller", |tools| Arc::new(Quotas::new(tools))),
    ("root-ca-cert-publisher", |tools| Arc::new(RootCas::new(tools))),
    ("service-account-controller", |tools| Arc::new(ServiceAccounts::new(tools))),
    ("service-cidrs-controller", |tools| Arc::new(ServiceRanges::new(tools))),
    ("statefulset-controller", |tools| Arc::new(StatefulSets::new(tools))),
    ("token-cleaner", |tools| Arc::new(BootstrapTokens::new(tools))),
    ("ttl-after-finished-controller", |tools| Arc::new(EndedJobs::new(tools))),
];

/// Attaching is the right of an identity that is ours alone.
const ATTACHER: &str = "csi-attacher";

/// So is reading what making and growing volumes needs beside claims: secrets and snapshots.
const PROVISIONER: &str = "csi-provisioner";

/// Snapshots are not upstream's controllers' business either; the name is that of the project's own.
const SNAPSHOTTER: &str = "snapshot-controller";

const COLLECTOR: &str = "generic-garbage-collector";

/// What a controller is made of.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) name: &'static str,
    pub(crate) informers: Informers,
    /// A client that acts as the controller.
    pub(crate) client: Client,
    pub(crate) pods: Pods,
    pub(crate) views: Views,
    pub(crate) sets: Owned<ReplicaSet>,
    pub(crate) jobs: Owned<Job>,
    pub(crate) revisions: Owned<ControllerRevision>,
    pub(crate) config: Config,
}

impl Tools {
    /// A recorder of events in the controller's name.
    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder_as(self.name)
    }

    /// A recorder of events in another name, where upstream's component is not called as its account.
    pub(crate) fn recorder_as(&self, component: &str) -> Recorder {
        recorder(&self.informers, &self.client, component)
    }
}

fn client(informers: &Informers, name: &str) -> Client {
    let client = informers.parts().client.clone();
    client.with_identity(Arc::new(identity(name))).with_field_manager(FIELD_MANAGER)
}

fn recorder(informers: &Informers, client: &Client, name: &str) -> Recorder {
    Recorder::start(&Parts { client: client.clone(), ..informers.parts().clone() }, name, "")
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
    let (pods, views, revisions) = (Pods::new(informers), Views::new(informers), Owned::whole(informers));
    let (sets, jobs) = (Owned::whole(informers), Owned::whole(informers));
    let tools = |name: &'static str| Tools {
        name,
        informers: informers.clone(),
        client: client(informers, name),
        pods: pods.clone(),
        sets: sets.clone(),
        views: views.clone(),
        jobs: jobs.clone(),
        revisions: revisions.clone(),
        config: config.clone(),
    };
    let mut all: Vec<_> = CONTROLLERS.iter().map(|(name, make)| make(&tools(name))).collect();
    if !config.volume_drivers.is_empty() {
        // Making and growing volumes is the binder's right, as it was when drivers were part of upstream's.
        let binder = tools("persistent-volume-binder");
        let reader = tools(PROVISIONER);
        all.push(Arc::new(Provisioner::new(&binder, &reader)));
        all.push(Arc::new(Resizer::new(&binder, &reader)));
        all.push(Arc::new(Attacher::new(&tools(ATTACHER))));
        if config.volume_drivers.iter().any(|own| snapshotter::snapshots(&*own.driver)) {
            all.push(Arc::new(Snapshotter::new(&tools(SNAPSHOTTER))));
        }
    }
    all
}

/// The garbage collector, which follows all resources by itself instead of being driven by keys.
#[must_use]
pub fn collector(informers: &Informers) -> Collector {
    let client = client(informers, COLLECTOR);
    let recorder = recorder(informers, &client, COLLECTOR);
    Collector::new(informers, client, recorder)
}

/// Runs all controllers until `stop`.
pub async fn run(informers: &Informers, config: &Config, stop: Stop) {
    let collecting = collector(informers).run(stop.clone());
    futures::join!(run_controllers(all(informers, config), informers, stop), collecting);
}

/// The names of all controllers, each of which has an [`identity`].
pub fn names() -> impl Iterator<Item = &'static str> {
    CONTROLLERS.iter().map(|(name, _)| *name).chain([ATTACHER, PROVISIONER, SNAPSHOTTER, COLLECTOR])
}

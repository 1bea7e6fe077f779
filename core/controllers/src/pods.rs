//! Pods as controllers see them: a few facts of each, in one cache that they share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use windlass_api::{
    core::v1::{ContainerStatus, Pod},
    meta::v1::LabelSelector,
};
use windlass_client::{Cache, Informers, Select, informer::Index};
use windlass_kernel::controller::ObjectKey;

use crate::claim;

/// The annotation that says how costly it is to delete a pod, compared with its siblings.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const BY_CONTROLLER: &str = "controller";
const BY_NODE: &str = "node";

/// The facts of a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodView {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The uid of the controller.
    pub(crate) controller: Option<String>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) deleting: bool,
    pub(crate) node: String,
    pub(crate) phase: Phase,
    pub(crate) ready: bool,
    /// Since when it is ready, or not.
    pub(crate) ready_since: Option<Timestamp>,
    pub(crate) deletion_cost: i32,
    /// The most restarts of one container, and of one sidecar.
    pub(crate) restarts: (i32, i32),
}

/// A pod's phase, in the order in which controllers let go of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

impl PodView {
    pub(crate) fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let ready = pod.status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let most = |statuses: &[ContainerStatus]| statuses.iter().map(|own| own.restart_count).max().unwrap_or(0);
        let sidecars = pod.spec.init_containers.iter().filter(|own| own.restart_policy.as_deref() == Some("Always"));
        let sidecars: Vec<&str> = sidecars.map(|own| own.name.as_str()).collect();
        let of_sidecars: Vec<ContainerStatus> = pod
            .status
            .init_container_statuses
            .iter()
            .filter(|own| sidecars.contains(&own.name.as_str()))
            .cloned()
            .collect();
        Self {
            key: claim::key(meta),
            uid: meta.uid.clone().unwrap_or_default(),
            labels: meta.labels.clone(),
            controller: claim::controller_of(meta).map(|owner| owner.uid.clone()),
            created: meta.creation_timestamp.map(|time| time.0),
            deleting: meta.deletion_timestamp.is_some(),
            node: pod.spec.node_name.clone().unwrap_or_default(),
            phase: phase(pod.status.phase.as_deref()),
            ready: ready.is_some_and(|condition| condition.status == "True"),
            ready_since: ready.and_then(|condition| condition.last_transition_time).map(|time| time.0),
            deletion_cost: meta.annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
            restarts: (most(&pod.status.container_statuses), most(&of_sidecars)),
        }
    }

    /// Whether it ran to its end.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether it counts as a replica.
    pub(crate) fn active(&self) -> bool {
        !self.ended() && !self.deleting
    }

    /// How long it has yet to be ready until it is available; `None` while it is not ready.
    pub(crate) fn available_in(&self, min_ready: Duration, now: Timestamp) -> Option<Duration> {
        if !self.ready || min_ready.is_zero() {
            return self.ready.then_some(Duration::ZERO);
        }
        let end = self.ready_since?.checked_add(min_ready).ok()?;
        Some(Duration::try_from(end.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}

fn phase(phase: Option<&str>) -> Phase {
    match phase {
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Unknown") => Phase::Unknown,
        _ => Phase::Pending,
    }
}

/// All pods, findable by controller and by node; those without a controller by their labels.
#[derive(Clone, Debug)]
pub(crate) struct Pods(pub(crate) Cache<Arc<PodView>>);

impl Pods {
    pub(crate) fn new(informers: &Informers) -> Self {
        let by_controller = Index {
            name: BY_CONTROLLER,
            values: |key, pod: &Arc<PodView>| match &pod.controller {
                Some(uid) => vec![uid.clone()],
                None => {
                    let labels = pod.labels.iter();
                    let labels = labels.map(|(label, value)| claim::labelled(&key.namespace, label, value));
                    labels.chain([claim::orphans_of(&key.namespace)]).collect()
                }
            },
        };
        let by_node = Index { name: BY_NODE, values: |_, pod: &Arc<PodView>| vec![pod.node.clone()] };
        Self(
            informers.projected::<Pod, _>(Select::all(), vec![by_controller, by_node], |pod| {
                Some(Arc::new(PodView::of(pod)))
            }),
        )
    }

    /// The pods whose controller has the uid, by name.
    pub(crate) fn controlled_by(&self, uid: &str) -> Vec<Arc<PodView>> {
        self.0.indexed(BY_CONTROLLER, uid).into_iter().map(|(_, pod)| pod).collect()
    }

    /// The pods of a namespace that nobody controls and that a selector may match, by name. There may be thousands
    /// of others.
    pub(crate) fn orphans(&self, namespace: &str, selector: &LabelSelector) -> Vec<Arc<PodView>> {
        let first = selector.match_labels.iter().next();
        let by_label = first.map(|(label, value)| claim::labelled(namespace, label, value));
        self.controlled_by(&by_label.unwrap_or_else(|| claim::orphans_of(namespace)))
    }

    /// The pods on a node; those on none for an empty name.
    pub(crate) fn on_node(&self, node: &str) -> Vec<Arc<PodView>> {
        self.0.indexed(BY_NODE, node).into_iter().map(|(_, pod)| pod).collect()
    }
}

//! A Job's pods as its controller sees them: what counts towards completion, and what a failure was.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use windlass_api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod, PodStatus},
    meta::v1::ObjectMeta,
    types::Resource,
};
use windlass_client::{Cache, Informers, Select, informer::Index};
use windlass_kernel::controller::ObjectKey;

use crate::{
    claim,
    pods::{Phase, PodView},
};

/// The finalizer that keeps a pod until its Job has counted it.
pub(super) const TRACKED: &str = "batch.kubernetes.io/job-tracking";
/// The annotation and label with a pod's completion index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The annotation with how often the pod's index failed before.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// The annotation with how many failures of the pod's index were ignored.
pub(super) const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
const BY_JOB: &str = "job";

/// The facts of a Job's pod.
#[derive(Clone, Debug, Default)]
pub(super) struct JobPod {
    pub(super) view: Arc<PodView>,
    /// The name of the Job that controls it.
    pub(super) job: String,
    /// Whether it waits to be counted.
    pub(super) tracked: bool,
    pub(super) index: Option<u32>,
    /// How often its index failed before, and how many failures of it were ignored.
    pub(super) failures: (u32, u32),
    /// The restarts of all its containers.
    pub(super) restarts: i32,
    /// When it ended, or began to.
    pub(super) finished: Option<Timestamp>,
    /// The exit codes of the containers that ended.
    pub(super) exits: Vec<(String, i32)>,
    /// Types and statuses of its conditions.
    pub(super) conditions: Vec<(String, String)>,
}

impl JobPod {
    /// The facts of a pod that a Job controls, or that waits to be counted by one.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let meta = &pod.metadata;
        let owner = claim::controller_of(meta);
        let job = owner.filter(|owner| owner.kind == Job::KIND && claim::group(&owner.api_version) == Job::GROUP);
        let tracked = is_tracked(meta);
        if job.is_none() && !(tracked && owner.is_none()) {
            return None;
        }
        let status = &pod.status;
        let all = || status.init_container_statuses.iter().chain(&status.container_statuses);
        let exit = |own: &ContainerStatus| Some((own.name.clone(), own.state.terminated.as_ref()?.exit_code));
        let number = |key: &str| meta.annotations.get(key).and_then(|text| text.parse().ok());
        // What a pod costs is a matter of ReplicaSets.
        let view = Arc::new(PodView { deletion_cost: 0, ..PodView::of(pod) });
        Some(Self {
            view,
            job: job.map(|owner| owner.name.clone()).unwrap_or_default(),
            tracked,
            index: number(INDEX),
            failures: (number(FAILURES).unwrap_or(0), number(IGNORED).unwrap_or(0)),
            restarts: all().map(|own| own.restart_count).sum(),
            finished: finished(meta, status),
            exits: all().filter_map(exit).collect(),
            conditions: status.conditions.iter().map(|own| (own.type_.clone(), own.status.clone())).collect(),
        })
    }

    pub(super) fn succeeded(&self) -> bool {
        self.view.phase == Phase::Succeeded
    }

    /// Whether it failed; with `terminating`, also where it is going before it ended.
    pub(super) fn failed(&self, terminating: bool) -> bool {
        self.view.phase == Phase::Failed || terminating && self.view.deleting && !self.succeeded()
    }

    /// Whether it is on its way out and has not ended yet.
    pub(super) fn terminating(&self) -> bool {
        self.view.deleting && !self.view.ended()
    }

    /// How often its index failed before it, in all.
    pub(super) fn failures_before(&self) -> u32 {
        self.failures.0.saturating_add(self.failures.1)
    }
}

pub(super) fn is_tracked(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().any(|own| own == TRACKED)
}

/// When all containers had ended; else the best that is known.
fn finished(meta: &ObjectMeta, status: &PodStatus) -> Option<Timestamp> {
    let ended = |own: &ContainerStatus| own.state.terminated.as_ref()?.finished_at;
    let all: Option<Vec<_>> = status.container_statuses.iter().map(ended).collect();
    let last = all.and_then(|times| times.into_iter().max());
    let unready = || {
        let ready = status.conditions.iter().find(|own| own.type_ == "Ready" && own.status == "False");
        ready.and_then(|own| own.last_transition_time)
    };
    let deleted = || {
        let grace = jiff::SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
        meta.deletion_timestamp.and_then(|time| time.0.checked_sub(grace).ok())
    };
    let time = last.or_else(unready).map(|time| time.0);
    time.or_else(deleted).or(meta.creation_timestamp.map(|time| time.0))
}

/// The pods of all Jobs, and those that wait for a Job which does not control them.
#[derive(Clone, Debug)]
pub(super) struct JobPods(pub(super) Cache<Arc<JobPod>>);

impl JobPods {
    pub(super) fn new(informers: &Informers) -> Self {
        let by_job = Index {
            name: BY_JOB,
            values: |key, pod: &Arc<JobPod>| vec![ObjectKey::new(key.namespace.clone(), pod.job.clone()).to_string()],
        };
        Self(informers.projected::<Pod, _>(Select::all(), vec![by_job], |pod| JobPod::of(pod).map(Arc::new)))
    }

    /// The pods that a Job of that name controls, also one that had the name before.
    pub(super) fn of(&self, job: &ObjectKey) -> Vec<Arc<JobPod>> {
        self.0.indexed(BY_JOB, &job.to_string())
    }

    /// The pods of a namespace that wait to be counted and that nobody controls.
    pub(super) fn strays(&self, namespace: &str) -> Vec<Arc<JobPod>> {
        self.of(&ObjectKey::new(namespace, ""))
    }
}

/// The labels of a Job's pods, where the Job has a selector.
pub(super) fn selector(job: &Job) -> BTreeMap<String, String> {
    job.spec.selector.as_ref().map(|selector| selector.match_labels.clone()).unwrap_or_default()
}

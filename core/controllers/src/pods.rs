//! Pods as controllers see them: a few facts of each, in one cache that they share.

mod changes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, channel::mpsc};
use jiff::Timestamp;
use windlass_api::{
    core::v1::{ContainerStatus, Pod},
    meta::v1::OwnerReference,
    types::Resource,
};
use windlass_client::{Informers, Select, informer::Index};
use windlass_kernel::controller::{ObjectKey, Wakes};

pub(crate) use self::changes::{Changes, delete, from_template, worse};
use crate::{
    claim::{self, ORPHANS},
    owned::Owned,
};

/// The annotation that says how costly it is to delete a pod, compared with its siblings.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const BY_NODE: &str = "node";

/// The facts of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodView {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The uid of the controller.
    pub(crate) controller: Option<String>,
    /// The controller's group, kind and name as one text, because there are many pods.
    pub(crate) owner: Box<str>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) deleting: bool,
    pub(crate) node: String,
    /// While it is on no node: the only one that its affinity accepts, where that names one.
    pub(crate) meant_for: String,
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
            owner: claim::controller_of(meta).map(Owner::pack).unwrap_or_default(),
            created: meta.creation_timestamp.map(|time| time.0),
            deleting: meta.deletion_timestamp.is_some(),
            node: pod.spec.node_name.clone().unwrap_or_default(),
            meant_for: meant_for(pod).unwrap_or_default(),
            phase: phase(pod.status.phase.as_deref()),
            ready: ready.is_some_and(|condition| condition.status == "True"),
            ready_since: ready.and_then(|condition| condition.last_transition_time).map(|time| time.0),
            deletion_cost: meta.annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
            restarts: (most(&pod.status.container_statuses), most(&of_sidecars)),
        }
    }

    /// Who controls it, by name.
    pub(crate) fn owner(&self) -> Option<Owner<'_>> {
        let mut parts = self.owner.splitn(3, '/');
        Some(Owner { group: parts.next()?, kind: parts.next()?, name: parts.next()? })
    }

    /// The key of what controls it, where that is of the kind; the namespace's [`ORPHANS`] where nobody does.
    fn controller_key<K: Resource>(&self) -> Option<ObjectKey> {
        let key = |name: &str| ObjectKey::new(self.key.namespace.clone(), name);
        match self.owner() {
            None => Some(key(ORPHANS)),
            Some(owner) => owner.is::<K>().then(|| key(owner.name)),
        }
    }

    /// The node that it is on or waits for; empty where any will do.
    pub(crate) fn target(&self) -> &str {
        if self.node.is_empty() { &self.meant_for } else { &self.node }
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

/// An object that controls a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
}

impl Owner<'_> {
    fn pack(owner: &OwnerReference) -> Box<str> {
        format!("{}/{}/{}", claim::group(&owner.api_version), owner.kind, owner.name).into()
    }

    pub(crate) fn is<T: Resource>(&self) -> bool {
        self.group == T::GROUP && self.kind == T::KIND
    }
}

fn meant_for(pod: &Pod) -> Option<String> {
    if pod.spec.node_name.as_ref().is_some_and(|node| !node.is_empty()) {
        return None;
    }
    let near = pod.spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &near.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut fields = terms.iter().flat_map(|term| &term.match_fields);
    let name = fields.find(|own| own.key == "metadata.name" && own.operator == "In" && own.values.len() == 1)?;
    name.values.first().cloned()
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

/// How long changes of an owner's pods are gathered before all of them are counted again: a fiftieth of a millisecond
/// for each, some ten times of what that takes. Nothing for as many as most have.
pub(crate) fn rest(pods: usize) -> Duration {
    const MANY: usize = 200;
    if pods < MANY { Duration::ZERO } else { Duration::from_micros(20) * u32::try_from(pods).unwrap_or(u32::MAX) }
}

/// After which time the next ready pod becomes available, if there is one that is not yet.
pub(crate) fn available_next(pods: &[Arc<PodView>], min_ready: Duration, now: Timestamp) -> Option<Duration> {
    let waits = pods.iter().filter(|pod| pod.active()).filter_map(|pod| pod.available_in(min_ready, now));
    waits.filter(|wait| !wait.is_zero()).min()
}

/// The keys of the objects of a kind that a change of a pod concerns.
fn concerned<K: Resource>(before: Option<&PodView>, after: Option<&PodView>) -> BTreeSet<ObjectKey> {
    let both = [before, after].into_iter().flatten().filter(|_| before != after);
    both.filter_map(PodView::controller_key::<K>).collect()
}

/// All pods, findable by controller and by node.
pub(crate) type Pods = Owned<PodView>;

impl Pods {
    pub(crate) fn new(informers: &Informers) -> Self {
        let by_node = Index { name: BY_NODE, values: |_, pod: &Arc<PodView>| vec![pod.node.clone()] };
        Self(
            informers.projected::<Pod, _>(Select::all(), vec![Self::index(), by_node], |pod| {
                Some(Arc::new(PodView::of(pod)))
            }),
        )
    }

    /// The keys of objects of a kind for each of their pods, now and whenever a fact of it changes; those of [`ORPHANS`]
    /// for pods that nobody controls.
    pub(crate) fn wakes<K: Resource>(&self) -> Wakes {
        let (sender, receiver) = mpsc::unbounded();
        self.0.on_change(move |update| {
            for key in concerned::<K>(update.before.map(|pod| &**pod), update.after.map(|pod| &**pod)) {
                // Where nobody listens any more, the controller has ended.
                let _ = sender.unbounded_send(key);
            }
        });
        receiver.boxed()
    }

    /// The pods on a node; those on none for an empty name.
    pub(crate) fn on_node(&self, node: &str) -> Vec<Arc<PodView>> {
        self.0.indexed(BY_NODE, node)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_api::apps::v1::{ReplicaSet, StatefulSet};

    use super::*;

    fn pod(owner: &str, ready: bool, noted: &str) -> PodView {
        let owners = match owner {
            "" => json!([]),
            name => {
                json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": name, "controller": true}])
            }
        };
        let ready = if ready { "True" } else { "False" };
        let pod = json!({
            "metadata": {"namespace": "ns", "name": "p", "annotations": {"noted": noted}, "ownerReferences": owners},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        });
        PodView::of(&serde_json::from_value(pod).unwrap())
    }

    #[track_caller]
    fn check(before: Option<PodView>, after: Option<PodView>, expect: &[&str]) {
        let names = |keys: BTreeSet<ObjectKey>| keys.into_iter().map(|key| key.name).collect::<Vec<_>>();
        let keys = concerned::<ReplicaSet>(before.as_ref(), after.as_ref());
        assert!(keys.iter().all(|key| key.namespace == "ns"));
        assert_eq!(names(keys), expect);
        let others = names(concerned::<StatefulSet>(before.as_ref(), after.as_ref()));
        assert!(others.iter().all(|name| name == ORPHANS), "{others:?}");
    }

    #[test]
    fn owners_are_woken_by_what_they_count_and_nothing_else() {
        let web = || pod("web", false, "");
        check(None, Some(web()), &["web"]);
        check(Some(web()), None, &["web"]);
        check(Some(web()), Some(pod("web", true, "")), &["web"]);
        check(Some(web()), Some(pod("web", false, "something")), &[]);
        check(Some(web()), Some(pod("api", false, "")), &["api", "web"]);
        check(Some(web()), Some(pod("", false, "")), &[ORPHANS, "web"]);
    }
}

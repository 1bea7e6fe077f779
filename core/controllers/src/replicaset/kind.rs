//! The kinds that ask for so many pods of a template, seen as ReplicaSets by the one machinery for all of them.

use std::sync::Arc;

use windlass_api::{
    apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus},
    core::v1::{
        ReplicationController, ReplicationControllerCondition, ReplicationControllerSpec, ReplicationControllerStatus,
    },
    meta::v1::LabelSelector,
    types::Resource,
};
use windlass_client::Select;

use crate::{owned::Owned, registry::Tools};

/// A kind that can be seen as a ReplicaSet.
pub(crate) trait Replicas: Resource {
    /// The name of its controller.
    const CONTROLLER: &'static str;

    /// Whether its status counts the pods that end.
    const COUNTS_TERMINATING: bool;

    /// All its objects, seen so.
    fn sets(tools: &Tools) -> Owned<ReplicaSet>;

    /// The object that a ReplicaSet is the view of.
    fn from_set(set: ReplicaSet) -> Self;
}

impl Replicas for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    const COUNTS_TERMINATING: bool = true;

    fn sets(tools: &Tools) -> Owned<ReplicaSet> {
        tools.sets.clone()
    }

    fn from_set(set: ReplicaSet) -> Self {
        set
    }
}

impl Replicas for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";
    const COUNTS_TERMINATING: bool = false;

    fn sets(tools: &Tools) -> Owned<ReplicaSet> {
        let view = |controller: &Self| Some(Arc::new(to_set(controller)));
        Owned(tools.informers.projected::<Self, _>(Select::all(), vec![Owned::<ReplicaSet>::index()], view))
    }

    fn from_set(set: ReplicaSet) -> Self {
        let (spec, status) = (set.spec, set.status);
        let condition = |own: ReplicaSetCondition| ReplicationControllerCondition {
            type_: own.type_,
            status: own.status,
            reason: own.reason,
            message: own.message,
            last_transition_time: own.last_transition_time,
        };
        Self {
            metadata: set.metadata,
            spec: ReplicationControllerSpec {
                min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
                replicas: spec.replicas,
                selector: spec.selector.match_labels,
                template: Some(Box::new(spec.template)),
            },
            status: ReplicationControllerStatus {
                replicas: status.replicas,
                fully_labeled_replicas: status.fully_labeled_replicas,
                ready_replicas: status.ready_replicas,
                available_replicas: status.available_replicas,
                observed_generation: status.observed_generation,
                conditions: status.conditions.into_iter().map(condition).collect(),
            },
        }
    }
}

fn to_set(controller: &ReplicationController) -> ReplicaSet {
    let (spec, status) = (&controller.spec, &controller.status);
    let condition = |own: &ReplicationControllerCondition| ReplicaSetCondition {
        type_: own.type_.clone(),
        status: own.status.clone(),
        reason: own.reason.clone(),
        message: own.message.clone(),
        last_transition_time: own.last_transition_time,
    };
    ReplicaSet {
        metadata: controller.metadata.clone(),
        spec: ReplicaSetSpec {
            min_ready_seconds: Some(spec.min_ready_seconds),
            replicas: spec.replicas,
            selector: LabelSelector { match_labels: spec.selector.clone(), ..LabelSelector::default() },
            template: spec.template.as_deref().cloned().unwrap_or_default(),
        },
        status: ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            terminating_replicas: None,
            observed_generation: status.observed_generation,
            conditions: status.conditions.iter().map(condition).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_replication_controller_survives_being_seen_as_a_set() {
        let object: ReplicationController = serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "u"},
            "spec": {"replicas": 2, "minReadySeconds": 3, "selector": {"app": "web"},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}},
            "status": {"replicas": 2, "readyReplicas": 1, "observedGeneration": 4,
                "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]},
        }))
        .unwrap();
        assert_eq!(ReplicationController::from_set(to_set(&object)), object);
    }
}

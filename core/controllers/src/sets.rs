//! ReplicaSets in one cache that their own controller and the Deployments' share.

use std::sync::Arc;

use windlass_api::apps::v1::ReplicaSet;
use windlass_client::{Cache, Informers, Selection, informer::Index};

use crate::claim;

const BY_CONTROLLER: &str = "controller";

/// All ReplicaSets, findable by controller.
#[derive(Clone, Debug)]
pub(crate) struct Sets(pub(crate) Cache<Arc<ReplicaSet>>);

impl Sets {
    pub(crate) fn new(informers: &Informers) -> Self {
        let by_controller = Index {
            name: BY_CONTROLLER,
            values: |key, set: &Arc<ReplicaSet>| {
                let controller = claim::controller_of(&set.metadata).map(|owner| owner.uid.clone());
                vec![controller.unwrap_or_else(|| claim::orphans_of(&key.namespace))]
            },
        };
        Self(informers.cache(&Selection::all::<ReplicaSet>(), vec![by_controller], |document| {
            let set = document.typed::<ReplicaSet>();
            set.inspect_err(|error| tracing::error!(?document, %error, "a ReplicaSet cannot be decoded")).ok()
        }))
    }

    /// The ReplicaSets whose controller has the uid, by name.
    pub(crate) fn controlled_by(&self, uid: &str) -> Vec<Arc<ReplicaSet>> {
        self.0.indexed(BY_CONTROLLER, uid).into_iter().map(|(_, set)| set).collect()
    }

    /// The ReplicaSets of a namespace that nobody controls, by name.
    pub(crate) fn orphans(&self, namespace: &str) -> Vec<Arc<ReplicaSet>> {
        self.controlled_by(&claim::orphans_of(namespace))
    }
}

//! Volumes: a pod goes where its volumes are, or can be made. Pods without claims are none of these plugins' business.

mod limits;
mod restrictions;
mod zone;

use std::sync::Arc;

use windlass_kernel::scheduler::{
    Change, Cure, Cycle, Detail, Edit, Filter, Fit, NodeView, Nodes, PodView, PreFilter, Prepared, Reason, Reasons,
};

pub use self::{limits::NodeVolumeLimits, restrictions::VolumeRestrictions, zone::VolumeZone};
use crate::storage::{Claimed, Storage, Stored, Unready, reason};

/// Sends pods to where their volumes can be used, and claims that wait to where a volume can be found or made.
#[derive(Clone, Copy, Debug)]
pub struct VolumeBinding;

const NAME: &str = "VolumeBinding";
/// What a host calls a change of claims, volumes or storage classes.
pub(crate) const CHANGED: &str = "storage";

/// What the filter remembers.
#[derive(Clone)]
struct Known {
    storage: Arc<Storage>,
    claimed: Claimed,
}

pub(super) fn stored(cycle: &Cycle) -> Arc<Storage> {
    cycle.get::<Stored>().map(|Stored(storage)| Arc::clone(storage)).unwrap_or_default()
}

/// What is said of claims that are not ready, in the words that users of Kubernetes know.
fn said(unready: &Unready, namespace: &str, pod: &str) -> Reason {
    match unready {
        Unready::Missing(name, false) => Reason::Told(format!("persistentvolumeclaim {name:?} not found").into()),
        Unready::Missing(name, true) => {
            let wait = "waiting for ephemeral volume controller to create the persistentvolumeclaim";
            Reason::Told(format!("{wait} {name:?}").into())
        }
        Unready::Lost(name, volume) => Reason::Told(
            format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}").into(),
        ),
        Unready::Leaving(name) => Reason::Told(format!("persistentvolumeclaim {name:?} is being deleted").into()),
        Unready::Foreign(name) => Reason::Told(
            format!("PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)").into(),
        ),
        Unready::Unbound(_) => reason::UNBOUND.into(),
    }
}

impl PreFilter for VolumeBinding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter(&self, cycle: &mut Cycle, pod: &PodView, _: &Nodes<'_>) -> Prepared {
        if pod.claims.is_empty() {
            return Prepared::Skip;
        }
        let storage = stored(cycle);
        match storage.claims(pod) {
            Ok(claimed) => {
                cycle.set(Known { storage, claimed });
                Prepared::Ask
            }
            Err(unready) => Prepared::Never(said(&unready, &pod.key.namespace, &pod.key.name)),
        }
    }

    /// To have the claim that is not ready made and bound.
    fn cures(&self, cycle: &Cycle, pod: &PodView, _: &Nodes<'_>) -> Vec<Cure> {
        let claim = match stored(cycle).claims(pod) {
            Ok(_) => return Vec::new(),
            Err(Unready::Unbound(name)) => Edit::BindClaim(name),
            Err(
                Unready::Missing(name, _) | Unready::Lost(name, _) | Unready::Leaving(name) | Unready::Foreign(name),
            ) => Edit::CreateClaim(name),
        };
        vec![vec![claim]]
    }
}

impl Filter for VolumeBinding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, cycle: &Cycle, _: &PodView, node: &NodeView) -> Fit {
        let Some(Known { storage, claimed }) = cycle.get() else { return Fit::Yes };
        match storage.plan(claimed, node) {
            Ok(_) => Fit::Yes,
            Err(reasons) => Fit::Never(match reasons.as_slice() {
                [one] => (*one).into(),
                _ => Reasons::Many(reasons.into_iter().map(Reason::Text).collect()),
            }),
        }
    }

    fn helped_by(&self, _: &PodView, change: &Change<'_>) -> bool {
        match change {
            Change::NodeAdded(_) | Change::Other(CHANGED) => true,
            Change::NodeChanged { before, after } => before.labels != after.labels,
            _ => false,
        }
    }

    fn details(&self, cycle: &Cycle, _: &PodView, node: &NodeView) -> Vec<Detail> {
        let Some(Known { storage, claimed }) = cycle.get() else { return Vec::new() };
        let told = |claim: &str, volume: &str| format!("claim {claim} has volume {volume}, which is not for this node");
        let bound = claimed.bound.iter().filter_map(|claim| {
            let volume = storage.volumes.get(claim.volume.as_deref()?)?;
            (!volume.reaches(node)).then(|| Detail::Told(told(&claim.key.name, &volume.name)))
        });
        bound.collect()
    }

    /// To do without the claims that keep the pod from the node.
    fn cures(&self, cycle: &Cycle, _: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        let Some(Known { storage, claimed }) = cycle.get() else { return Vec::new() };
        let alone = |claim: &Arc<crate::storage::Claim>| {
            let one = vec![Arc::clone(claim)];
            let asked = if claim.bound {
                Claimed { bound: one, ..Claimed::default() }
            } else {
                Claimed { waiting: one, ..Claimed::default() }
            };
            storage.plan(&asked, node).is_err()
        };
        let all: Vec<_> = claimed.bound.iter().chain(&claimed.waiting).collect();
        let drop = |claim: &&Arc<crate::storage::Claim>| Edit::DropClaim(claim.key.name.clone());
        let some: Cure = all.iter().copied().filter(|claim| alone(claim)).map(|claim| drop(&claim)).collect();
        // Two claims may want the only volume.
        let waiting = || claimed.waiting.iter().map(|claim| drop(&claim)).collect();
        vec![if some.is_empty() { waiting() } else { some }]
    }
}

#[cfg(test)]
mod tests;

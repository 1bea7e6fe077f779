//! Volumes that say by labels in which zone and region they are.

use std::sync::Arc;

use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{Change, Cure, Cycle, Edit, Filter, Fit, NodeView, Nodes, PodView, PreFilter, Prepared},
};

use super::{CHANGED, stored};
use crate::storage::{Claim, Storage};

/// Keeps pods in the zones of their volumes.
#[derive(Clone, Copy, Debug)]
pub struct VolumeZone;

/// The pod's claims whose volume is in another zone than a node.
fn elsewhere<'a>(storage: &'a Storage, pod: &'a PodView, node: &'a NodeView) -> impl Iterator<Item = &'a Arc<Claim>> {
    let claims = pod
        .claims
        .iter()
        .filter_map(|asked| storage.claims.get(&ObjectKey::new(pod.key.namespace.clone(), asked.name.clone())));
    claims.filter(|claim| {
        let volume = claim.volume.as_ref().and_then(|name| storage.volumes.get(name));
        volume.is_some_and(|volume| !volume.is_in_zone_of(node))
    })
}

impl PreFilter for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn pre_filter(&self, _: &mut Cycle, pod: &PodView, _: &Nodes<'_>) -> Prepared {
        if pod.claims.is_empty() { Prepared::Skip } else { Prepared::Ask }
    }
}

impl Filter for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn filter(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        let fits = elsewhere(&stored(cycle), pod, node).next().is_none();
        Fit::or_never(fits, "node(s) had no available volume zone")
    }

    fn helped_by(&self, _: &PodView, change: &Change<'_>) -> bool {
        match change {
            Change::NodeAdded(_) | Change::Other(CHANGED) => true,
            Change::NodeChanged { before, after } => before.labels != after.labels,
            _ => false,
        }
    }

    fn cures(&self, cycle: &Cycle, pod: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        vec![elsewhere(&stored(cycle), pod, node).map(|claim| Edit::DropClaim(claim.key.name.clone())).collect()]
    }
}

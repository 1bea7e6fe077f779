//! What a DaemonSet's status says of its nodes and pods.

use windlass_api::apps::v1::DaemonSetStatus;

use super::{nodes::Fit, plan::Seen};
use crate::amount::{number, some};

/// The status that nodes and pods make. Of several pods on a node the oldest counts.
pub(super) fn of(seen: &Seen<'_>) -> DaemonSetStatus {
    let (set, on_nodes) = (seen.set, seen.on_nodes());
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: set.status.collision_count,
        conditions: set.status.conditions.clone(),
        desired_number_scheduled: number(seen.desired()),
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for (node, fit) in seen.nodes {
        let Some(pod) = on_nodes.get(node.as_str()).and_then(|pods| pods.first()) else { continue };
        if *fit != Fit::Run {
            status.number_misscheduled += 1;
            continue;
        }
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(pod.ready);
        available += i32::from(seen.available(pod));
        updated += i32::from(seen.fresh(pod));
    }
    status.number_available = some(available);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    status.updated_number_scheduled = some(updated);
    status
}

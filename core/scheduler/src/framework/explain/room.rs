//! Whose leaving is considered where a pod fits nowhere, and who would have to leave.

use std::sync::Arc;

use windlass_kernel::scheduler::{Explanation, Nodes, Reasons, Refusal, Room};

use super::study::Study;

/// What those who make room say, and the node that they choose.
pub(super) fn considered(study: &Study<'_>, nodes: &Nodes<'_>) -> (Option<Room>, Option<Arc<str>>) {
    let refusals = nodes.all().iter().enumerate().filter_map(|(place, node)| {
        let refusal = study.refusal(place).filter(|refusal| refusal.filter.is_some())?;
        let (plugin, curable, reasons) = (refusal.plugin, refusal.curable, Reasons::Many(refusal.reasons));
        Some(Refusal { place, node: Arc::clone(&node.name), plugin, reasons, curable })
    });
    let mut explanation = Explanation { nodes: nodes.len(), refusals: refusals.collect(), ..Explanation::default() };
    let plugins = &study.given.framework.post_filters;
    if plugins.is_empty() {
        return (None, None);
    }
    let (what_if, mut room) = (study.what_if(), Room::default());
    for plugin in plugins {
        study.given.at.set(plugin.name());
        room.candidates.extend(plugin.considered(&study.cycle, study.pod, nodes, &what_if, &explanation));
        let preemption = plugin.post_filter(&study.cycle, study.pod, nodes, &what_if, &mut explanation);
        if let Some(preemption) = preemption {
            room.chosen = Some(preemption.node);
            break;
        }
    }
    room.said = explanation.room;
    let chosen = room.chosen.clone();
    (Some(room), chosen)
}

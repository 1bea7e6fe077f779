//! How a DaemonSet's pods are replaced by those of its present template. Pure.

use std::{collections::BTreeMap, sync::Arc};

use windlass_api::types::IntOrString;

use super::{
    nodes::Fit,
    plan::{Plan, Seen},
};
use crate::{
    amount::{Round, number, share},
    pods::PodView,
};

/// How many nodes may have a pod more than one while a set rolls.
pub(super) fn surge(seen: &Seen<'_>) -> i32 {
    let rolling = seen.set.spec.update_strategy.rolling_update.as_ref();
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    part(seen, if rolls(seen) { surge } else { None }, 0)
}

/// On how many nodes no pod may be available while a set rolls; at least one where no node may have two.
fn unavailable(seen: &Seen<'_>) -> i32 {
    let rolling = seen.set.spec.update_strategy.rolling_update.as_ref();
    part(seen, rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), 1).max(1)
}

fn part(seen: &Seen<'_>, of: Option<&IntOrString>, default: i32) -> i32 {
    of.map_or(default, |of| share(of, number(seen.desired()), Round::Up))
}

fn rolls(seen: &Seen<'_>) -> bool {
    seen.set.spec.update_strategy.type_.as_deref() != Some("OnDelete")
}

/// Adds what replaces pods of former templates. Those that are no good are replaced first: that costs nobody anything.
pub(super) fn roll(seen: &Seen<'_>, on_nodes: &BTreeMap<&str, Vec<Arc<PodView>>>, plan: &mut Plan) {
    if !rolls(seen) {
        return;
    }
    let pods = on_nodes.iter().map(|(node, pods)| {
        let mut live = pods.iter().filter(|pod| !pod.deleting);
        (*node, live.clone().find(|pod| seen.fresh(pod)), live.find(|pod| !seen.fresh(pod)))
    });
    let surge = surge(seen);
    let (mut used, mut free, mut costly) = (0, Vec::new(), Vec::new());
    for (node, new, old) in pods {
        match (new, old) {
            // The only pod of its node: it goes before, or after, its successor comes.
            (None, Some(old)) if seen.available(old) => costly.push((node, old)),
            (None, Some(old)) => {
                used += i32::from(surge == 0);
                free.push((node, old));
            }
            (Some(new), _) => used += i32::from(!seen.available(new)),
            (None, None) => used += i32::from(surge == 0),
        }
    }
    let most = if surge == 0 { unavailable(seen) } else { surge };
    let left = usize::try_from(most - used).unwrap_or(0);
    let chosen = free.into_iter().chain(costly.into_iter().take(left));
    if surge == 0 {
        plan.delete.extend(chosen.map(|(_, pod)| Arc::clone(pod)));
    } else {
        let runs = |node: &str| seen.nodes.get(node) == Some(&Fit::Run);
        plan.create.extend(chosen.filter(|(node, _)| runs(node)).map(|(node, _)| node.to_owned()));
    }
}

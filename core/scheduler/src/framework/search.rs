//! Looking for possible nodes, one after the other, and for room where there is none.

use std::sync::Arc;

use windlass_kernel::scheduler::{
    Cycle, Explanation, Filter, Fit, NodeView, Nominated, Nowhere, PodView, Prepared, Reason, Reasons, Recheck,
    Refusal, Turn,
};

use super::{
    Framework,
    pick::{below, enough},
    share::Known,
    watch::At,
};
use crate::classes::Refused;

/// A result, or the explanation why there is none.
pub(super) type Settled<T> = Result<T, Box<Explanation>>;

/// What is asked of nodes, after all that looks at them together.
pub(super) struct Asked<'a> {
    pub(super) filters: Vec<&'a dyn Filter>,
    pub(super) only: Option<(Vec<usize>, &'static str)>,
}

impl Framework {
    /// Asks what looks at all nodes together. `Err` where that already settles it.
    pub(super) fn prepare(&self, at: &At, turn: &mut Turn<'_>) -> Settled<Asked<'_>> {
        let nodes = turn.nodes;
        let mut skipped = Vec::new();
        let mut only: Option<(Vec<usize>, &'static str)> = None;
        for plugin in &self.pre_filters {
            at.set(plugin.name());
            match plugin.pre_filter(turn.cycle, turn.pod, &nodes) {
                Prepared::Ask => {}
                Prepared::Skip => skipped.push(plugin.name()),
                Prepared::Only(names) => {
                    let mut places: Vec<_> = names.iter().filter_map(|name| nodes.index().place(name)).collect();
                    places.sort_unstable();
                    if let Some((before, _)) = only {
                        places.retain(|place| before.binary_search(place).is_ok());
                    }
                    only = Some((places, plugin.name()));
                }
                Prepared::Never(reason) => {
                    let overall = Some((plugin.name(), reason));
                    return Err(Box::new(Explanation { nodes: nodes.len(), overall, ..Explanation::default() }));
                }
            }
        }
        let filters = self.filters.iter().filter(|filter| !skipped.contains(&filter.name()));
        Ok(Asked { filters: filters.map(|filter| &**filter).collect(), only })
    }

    /// The places of possible nodes, and how many were looked at. Nodes that are known to be refused are not asked about
    /// again.
    pub(super) fn find(
        &self,
        at: &At,
        asked: &Asked<'_>,
        turn: &Turn<'_>,
        known: Option<&Known>,
    ) -> Settled<(Vec<usize>, usize)> {
        let total = turn.nodes.len();
        let only = asked.only.as_ref().map(|(places, _)| places.as_slice());
        // The node where room was made for the pod is looked at first: nothing is better than what was paid for.
        let nominated = turn.pod.nominated.as_ref().and_then(|name| turn.nodes.index().place(name));
        let nominated = nominated.filter(|place| only.is_none_or(|only| only.contains(place)));
        let refusal = |place: usize| {
            let known = known.and_then(|known| known.of(place));
            self.refusal(at, asked, turn, place, known)
        };
        if let Some(place) = nominated.filter(|place| refusal(*place).is_none()) {
            return Ok((vec![place], 1));
        }
        let sampled = if self.extenders.is_empty() { enough(total, self.sample) } else { total };
        let wanted = only.map_or(sampled, <[usize]>::len);
        let start = if wanted < total && only.is_none() { below(turn.entropy, total) } else { 0 };
        let all = (start..total).chain(0..start).filter(|_| only.is_none());
        let (mut found, mut refusals) = (Vec::with_capacity(wanted), Vec::new());
        for place in only.into_iter().flatten().copied().chain(all) {
            match refusal(place) {
                None => found.push(place),
                Some(refusal) => refusals.push(refusal),
            }
            if found.len() >= wanted {
                break;
            }
        }
        if !found.is_empty() {
            let evaluated = found.len() + refusals.len();
            return Ok((found, evaluated));
        }
        let absent = asked.only.as_ref().map(|(_, plugin)| {
            let text = format!("node(s) didn't satisfy plugin(s) [{plugin}]");
            (*plugin, Reason::Told(text.into()))
        });
        Err(Box::new(Explanation { nodes: total, refusals, absent, ..Explanation::default() }))
    }

    /// Why a node is refused, if it is: as it is, or with those pods on it that room was made for.
    fn refusal(&self, at: &At, asked: &Asked<'_>, turn: &Turn<'_>, place: usize, known: Refused) -> Option<Refusal> {
        let node = &turn.nodes.all()[place];
        let refused = known.or_else(|| self.obstacle(at, &asked.filters, turn.cycle, turn.pod, node));
        refused.map(|(plugin, fit)| {
            let (reasons, curable) = match fit {
                Fit::No(reasons) => (reasons, true),
                Fit::Never(reasons) => (reasons, false),
                Fit::Yes => (Reasons::Many(Vec::new()), true),
            };
            Refusal { place, node: Arc::clone(&node.name), plugin, reasons, curable }
        })
    }

    /// Who refuses a node, as it is or with those pods on it that room was made for.
    pub(super) fn obstacle(
        &self,
        at: &At,
        filters: &[&dyn Filter],
        cycle: &Cycle,
        pod: &PodView,
        node: &NodeView,
    ) -> Option<(&'static str, Fit)> {
        let refused = first_refusal(at, filters, cycle, pod, node);
        if refused.is_some() {
            return refused;
        }
        let mut others = cycle.get::<Nominated>()?.before(pod, &node.name).peekable();
        others.peek()?;
        let (mut cycle, mut node) = (cycle.clone(), node.clone());
        let what_if = WhatIf { framework: self, at, filters };
        others.for_each(|other| what_if.put(&mut cycle, pod, other, &mut node));
        first_refusal(at, filters, &cycle, pod, &node)
    }

    pub(super) fn make_room(&self, at: &At, asked: &Asked<'_>, turn: &Turn<'_>, explanation: Explanation) -> Nowhere {
        let what_if = WhatIf { framework: self, at, filters: &asked.filters };
        let mut nowhere = Nowhere { explanation, preemption: None };
        for plugin in &self.post_filters {
            at.set(plugin.name());
            let explanation = &mut nowhere.explanation;
            nowhere.preemption = plugin.post_filter(turn.cycle, turn.pod, &turn.nodes, &what_if, explanation);
            if nowhere.preemption.is_some() {
                break;
            }
        }
        nowhere
    }
}

fn first_refusal(
    at: &At,
    filters: &[&dyn Filter],
    cycle: &Cycle,
    pod: &PodView,
    node: &NodeView,
) -> Option<(&'static str, Fit)> {
    filters.iter().find_map(|filter| {
        at.set(filter.name());
        let fit = filter.filter(cycle, pod, node);
        (!fit.fits()).then(|| (filter.name(), fit))
    })
}

pub(super) struct WhatIf<'a> {
    pub(super) framework: &'a Framework,
    pub(super) at: &'a At,
    pub(super) filters: &'a [&'a dyn Filter],
}

impl Recheck for WhatIf<'_> {
    fn recheck(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> bool {
        self.framework.obstacle(self.at, self.filters, cycle, pod, node).is_none()
    }

    fn take(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &mut NodeView) {
        node.remove(&other.uid);
        self.framework.pre_filters.iter().for_each(|plugin| plugin.removed(cycle, pod, other, node));
    }

    fn put(&self, cycle: &mut Cycle, pod: &PodView, other: &Arc<PodView>, node: &mut NodeView) {
        node.add(Arc::clone(other));
        self.framework.pre_filters.iter().for_each(|plugin| plugin.added(cycle, pod, other, node));
    }
}

//! One pod and one state of the nodes, looked at by all filters.

use std::sync::Arc;

use windlass_kernel::scheduler::{
    Cycle, Filter, Fit, NodeView, Nodes, Nominated, PodView, Prepared, Reason, Reasons, Recheck,
};

use super::Given;
use crate::framework::search::WhatIf;

/// What filters have found out before nodes are asked about.
pub(super) struct Study<'a> {
    pub(super) given: Given<'a>,
    pub(super) pod: &'a PodView,
    pub(super) cycle: Cycle,
    pub(super) filters: Vec<&'a dyn Filter>,
    pub(super) overall: Option<(&'static str, Reason)>,
    pub(super) nodes: Nodes<'a>,
    only: Option<(Vec<usize>, &'static str)>,
}

/// One filter's refusal of one node.
pub(super) struct Refusal<'a> {
    pub(super) plugin: &'static str,
    /// `None` where the node was ruled out before filters were asked.
    pub(super) filter: Option<&'a dyn Filter>,
    pub(super) reasons: Vec<Reason>,
    pub(super) curable: bool,
    /// Whether it comes of pods that room was made for there.
    pub(super) nominated: bool,
}

impl<'a> Study<'a> {
    pub(super) fn new(given: Given<'a>, pod: &'a PodView, nodes: &Nodes<'a>) -> Self {
        let mut cycle = given.facts.clone();
        let (mut skipped, mut only, mut overall) = (Vec::new(), None::<(Vec<usize>, _)>, None);
        for plugin in &given.framework.pre_filters {
            given.at.set(plugin.name());
            match plugin.pre_filter(&mut cycle, pod, nodes) {
                Prepared::Ask => {}
                Prepared::Skip => skipped.push(plugin.name()),
                Prepared::Only(names) => {
                    let places = names.iter().filter_map(|name| nodes.index().place(name));
                    let before = only.take().map(|(places, _)| places);
                    let kept = places.filter(|place| before.as_ref().is_none_or(|before| before.contains(place)));
                    only = Some((kept.collect(), plugin.name()));
                }
                Prepared::Never(reason) => {
                    overall = Some((plugin.name(), reason));
                    break;
                }
            }
        }
        let filters = given.framework.filters.iter().filter(|filter| !skipped.contains(&filter.name()));
        Self { given, pod, cycle, filters: filters.map(|own| &**own).collect(), overall, nodes: *nodes, only }
    }

    /// Whether any node may be asked about.
    fn ruled_out(&self, place: usize) -> Option<Refusal<'a>> {
        let outside = |plugin, reasons| Refusal { plugin, filter: None, reasons, curable: false, nominated: false };
        if let Some((plugin, reason)) = &self.overall {
            return Some(outside(*plugin, vec![reason.clone()]));
        }
        let (_, plugin) = self.only.as_ref().filter(|(places, _)| !places.contains(&place))?;
        let text = format!("node(s) didn't satisfy plugin(s) [{plugin}]");
        Some(outside(*plugin, vec![Reason::Told(text.into())]))
    }

    /// The first refusal of a node, as the cycle finds it.
    pub(super) fn refusal(&self, place: usize) -> Option<Refusal<'a>> {
        self.ruled_out(place).or_else(|| self.refusals(&self.nodes.all()[place]).into_iter().next())
    }

    /// Every filter's refusal of a node: as it is, and of those that accept it so, with the pods on it that room was
    /// made for.
    pub(super) fn refusals(&self, node: &NodeView) -> Vec<Refusal<'a>> {
        let mut all = self.refused(&self.cycle, node, false);
        if all.is_empty() && !self.nominated(node).is_empty() {
            all = self.with_nominated(node, true, |cycle, node| self.refused(cycle, node, true));
        }
        all
    }

    fn refused(&self, cycle: &Cycle, node: &NodeView, nominated: bool) -> Vec<Refusal<'a>> {
        let refusal = |filter: &&'a dyn Filter| {
            self.given.at.set(filter.name());
            let (reasons, curable) = match filter.filter(cycle, self.pod, node) {
                Fit::Yes => return None,
                Fit::No(reasons) => (reasons, true),
                Fit::Never(reasons) => (reasons, false),
            };
            let reasons = match reasons {
                Reasons::One(reason) => vec![reason],
                Reasons::Many(reasons) => reasons,
            };
            Some(Refusal { plugin: filter.name(), filter: Some(*filter), reasons, curable, nominated })
        };
        self.filters.iter().filter_map(refusal).collect()
    }

    /// The pods that room was made for on a node, and that this one may not push aside.
    fn nominated(&self, node: &NodeView) -> Vec<&Arc<PodView>> {
        let nominated = self.given.facts.get::<Nominated>().and_then(|nominated| nominated.0.get(&*node.name));
        let others = nominated.into_iter().flatten();
        others.filter(|other| other.uid != self.pod.uid && other.priority >= self.pod.priority).collect()
    }

    /// Looks at a node as it is, or with the pods on it that room was made for.
    pub(super) fn with_nominated<T>(
        &self,
        node: &NodeView,
        nominated: bool,
        look: impl FnOnce(&Cycle, &NodeView) -> T,
    ) -> T {
        if !nominated {
            return look(&self.cycle, node);
        }
        let (mut cycle, mut there) = (self.cycle.clone(), node.clone());
        let what_if = self.what_if();
        for other in self.nominated(node) {
            what_if.put(&mut cycle, self.pod, other, &mut there);
        }
        look(&cycle, &there)
    }

    pub(super) fn what_if(&self) -> WhatIf<'_> {
        WhatIf { framework: self.given.framework, at: self.given.at, filters: &self.filters }
    }
}

//! Turns that alike pods share: what the framework asks is sorted by what it depends on, and a class remembers the rest.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use windlass_kernel::scheduler::{Fit, Nominated, Placement, Prepared, Scope, Turn};

use super::{At, Framework};
use crate::classes::{Class, Gauged, Refused, Rules};

/// What the class of a pod knows.
pub(super) enum Shared {
    /// Where the pod goes.
    Placed(Placement),
    /// That nodes themselves refuse it, as far as looked at.
    Refused(Known),
    /// Nothing.
    Unknown,
}

/// Who is known to refuse which node.
pub(super) struct Known {
    /// Nodes as they are.
    nodes: Arc<Vec<Refused>>,
    /// Nodes with those pods on them that room was made for.
    taken: Taken,
}

impl Known {
    /// Who refuses the node at a place; `None` where it has to be asked.
    pub(super) fn of(&self, place: usize) -> Refused {
        self.nodes.get(place).cloned().flatten().or_else(|| self.taken.get(&place).cloned())
    }
}

/// Who refuses nodes because room was made there for others.
type Taken = BTreeMap<usize, (&'static str, Fit)>;

impl Framework {
    /// What the class of the pod knows. Nothing for pods that are one of a kind, and where somebody has to be asked anew
    /// each time.
    pub(super) fn share(&self, at: &At, turn: &mut Turn<'_>) -> Shared {
        let Some(classes) = &self.classes else { return Shared::Unknown };
        let shared = self.shared(at, turn).unwrap_or(Shared::Unknown);
        let searched = matches!(shared, Shared::Unknown);
        let counter = if searched { &classes.counters.searched } else { &classes.counters.shared };
        counter.fetch_add(1, Relaxed);
        shared
    }

    fn shared(&self, at: &At, turn: &mut Turn<'_>) -> Option<Shared> {
        let classes = self.classes.as_ref()?;
        // Claims change without the nodes, and alike names may mean a claim for each pod.
        if !turn.pod.claims.is_empty() {
            return None;
        }
        if self.extenders.iter().any(|(_, extender)| extender.interested(turn.pod)) {
            return None;
        }
        let skipped = self.skipped(at, turn)?;
        let rules = self.rules(at, &skipped)?;
        let mut visit = classes.visit(turn, &skipped)?;
        let (pod, nodes) = (turn.pod, turn.nodes);
        let mut class = visit.class(|| Class::new(&rules, turn));
        let looked = match class.follow(&rules, pod, &nodes) {
            Some(looked) => looked,
            None => {
                visit.forget();
                class = visit.class(|| Class::new(&rules, turn));
                nodes.len()
            }
        };
        // Where room was made for the pod on a node, that is looked at before all others.
        let free = pod.nominated.is_none() && !class.holds_none();
        let taken = if free { self.taken(&rules, class, turn) } else { None };
        let chosen = taken.as_ref().and_then(|taken| class.choose(&rules, turn.entropy, taken.keys().copied()));
        let shared = match chosen {
            Some(chosen) => {
                let node = Arc::clone(&nodes.all()[chosen.place].name);
                let placement = Placement { place: chosen.place, node, evaluated: looked, feasible: chosen.possible };
                Some(Shared::Placed(placement))
            }
            None if class.picky() => None,
            None => {
                turn.cycle.set(class.rooms().clone());
                Some(Shared::Refused(Known { nodes: class.refused(), taken: taken.unwrap_or_default() }))
            }
        };
        classes.back(visit);
        shared
    }

    /// Whose filters have nothing to say about the pod. `None` where somebody wants to look at all nodes together, and
    /// has no gauge for that.
    fn skipped(&self, at: &At, turn: &mut Turn<'_>) -> Option<Vec<&'static str>> {
        let mut skipped = Vec::new();
        for plugin in &self.pre_filters {
            let name = plugin.name();
            let gauged = self.gauges.iter().any(|gauge| gauge.name() == name);
            let local = || self.filters.iter().any(|filter| filter.name() == name && filter.scope() == Scope::Node);
            if gauged && !local() {
                continue;
            }
            at.set(name);
            match plugin.pre_filter(turn.cycle, turn.pod, &turn.nodes) {
                Prepared::Ask => {}
                Prepared::Skip => skipped.push(name),
                Prepared::Only(_) | Prepared::Never(_) => return None,
            }
        }
        Some(skipped)
    }

    /// What is asked, by what it depends on; `None` where something depends on more than classes know.
    fn rules<'a>(&'a self, at: &'a At, skipped: &[&'static str]) -> Option<Rules<'a>> {
        let counters = &*self.classes.as_ref()?.counters;
        let mut rules = Rules { filters: Vec::new(), scores: Vec::new(), gauges: Vec::new(), at, counters };
        let mut gauges: Vec<_> = self.gauges.iter().map(|gauge| (&**gauge, false, 0)).collect();
        for filter in self.filters.iter().filter(|filter| !skipped.contains(&filter.name())) {
            if filter.scope() == Scope::Node {
                rules.filters.push(&**filter);
            } else {
                gauges.iter_mut().find(|(gauge, ..)| gauge.name() == filter.name())?.1 = true;
            }
        }
        for (weight, plugin) in &self.scores {
            if plugin.scope() == Scope::Node {
                rules.scores.push((*weight, &**plugin));
            } else {
                gauges.iter_mut().find(|(gauge, ..)| gauge.name() == plugin.name())?.2 += weight;
            }
        }
        let used = gauges.into_iter().filter(|(_, filters, weight)| *filters || *weight != 0);
        rules.gauges = used.map(|(gauge, filters, weight)| Gauged { gauge, filters, weight }).collect();
        Some(rules)
    }

    /// Possible nodes where room was made for pods at least as important, and that do not hold both. `None` where that
    /// depends on more than the nodes.
    fn taken(&self, rules: &Rules<'_>, class: &mut Class, turn: &Turn<'_>) -> Option<Taken> {
        let Some(nominated) = turn.cycle.get::<Nominated>() else { return Some(Taken::new()) };
        let mut taken = Taken::new();
        for name in nominated.0.keys() {
            let Some(place) = turn.nodes.index().place(name).filter(|place| class.holds(*place)) else { continue };
            let prior: Vec<_> = nominated.before(turn.pod, name).collect();
            if prior.is_empty() {
                continue;
            }
            if class.picky() {
                return None;
            }
            let node = &turn.nodes.all()[place];
            let ask = || self.obstacle(rules.at, &rules.filters, turn.cycle, turn.pod, node);
            if let Some(refused) = class.promised(place, &prior, ask) {
                taken.insert(place, refused);
            }
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests;

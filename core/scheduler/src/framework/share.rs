//! Turns that alike pods share: what the framework asks is sorted by what it depends on, and a class remembers the rest.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use windlass_kernel::scheduler::{Nominated, Placement, PodView, Prepared, Scope, Turn};

use super::{At, Framework};
use crate::classes::{Class, Gauged, Rules};

impl Framework {
    /// Where the pod goes, from what its class knows. `None` where that has to be searched for: for pods that are one of
    /// a kind, those that fit nowhere, and where somebody has to be asked anew each time.
    pub(super) fn share(&self, at: &At, turn: &mut Turn<'_>) -> Option<Placement> {
        let classes = self.classes.as_ref()?;
        let placement = self.shared(at, turn);
        let counter = if placement.is_some() { &classes.counters.shared } else { &classes.counters.searched };
        counter.fetch_add(1, Relaxed);
        placement
    }

    fn shared(&self, at: &At, turn: &mut Turn<'_>) -> Option<Placement> {
        let classes = self.classes.as_ref()?;
        // Claims change without the nodes, and alike names may mean a claim for each pod.
        if !turn.pod.claims.is_empty() {
            return None;
        }
        if turn.pod.nominated.is_some() || self.extenders.iter().any(|(_, extender)| extender.interested(turn.pod)) {
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
        let chosen = self.taken(&rules, class, turn).and_then(|taken| class.choose(&rules, turn.entropy, &taken));
        classes.back(visit);
        let chosen = chosen?;
        let node = Arc::clone(&nodes.all()[chosen.place].name);
        Some(Placement { place: chosen.place, node, evaluated: looked, feasible: chosen.possible })
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
    fn taken(&self, rules: &Rules<'_>, class: &Class, turn: &Turn<'_>) -> Option<Vec<usize>> {
        let Some(Nominated(nominated)) = turn.cycle.get::<Nominated>() else { return Some(Vec::new()) };
        let prior = |other: &Arc<PodView>| other.uid != turn.pod.uid && other.priority >= turn.pod.priority;
        let mut taken = Vec::new();
        for (name, pods) in nominated.iter() {
            let Some(place) = turn.nodes.index().place(name).filter(|place| class.holds(*place)) else { continue };
            if !pods.iter().any(prior) {
                continue;
            }
            if class.picky() {
                return None;
            }
            let node = &turn.nodes.all()[place];
            if self.obstacle(rules.at, &rules.filters, turn.cycle, turn.pod, node).is_some() {
                taken.push(place);
            }
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests;

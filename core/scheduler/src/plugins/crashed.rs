//! Not again where it crashed before: a workload's pods avoid nodes where others of it failed, unless nothing else fits.

use std::{collections::BTreeMap, sync::Arc};

use windlass_kernel::scheduler::{Cycle, NodeView, Nodes, PodView, Relevance, Score, ScorePlugin};

use crate::classes::{Gauge, Ground, Group, Reading};

/// A fact from the host: how often pods of the pod's workload crashed lately, by node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crashes(pub(crate) Arc<BTreeMap<String, i64>>);

/// Prefers nodes where the pod's workload did not crash so often lately.
#[derive(Clone, Copy, Debug)]
pub struct CrashedBefore {
    /// So many crashes speak against a node.
    pub times: u32,
}

impl CrashedBefore {
    fn speaks_against(self, crashes: &Crashes, node: &NodeView) -> bool {
        crashes.0.get(&*node.name).is_some_and(|count| *count >= self.times.into())
    }
}

impl ScorePlugin for CrashedBefore {
    fn name(&self) -> &'static str {
        "CrashedBefore"
    }

    fn prepare(&self, cycle: &mut Cycle, _: &PodView, _: &Nodes<'_>) -> Relevance {
        let some = cycle.get::<Crashes>().is_some_and(|crashes| !crashes.0.is_empty());
        if some { Relevance::Relevant } else { Relevance::Skip }
    }

    fn score(&self, cycle: &Cycle, _: &PodView, node: &NodeView) -> Score {
        let against = cycle.get::<Crashes>().is_some_and(|crashes| self.speaks_against(crashes, node));
        if against { Score::MIN } else { Score::MAX }
    }

    /// How often the workload crashed there lately: less is better.
    fn raw(&self, cycle: &Cycle, _: &PodView, node: &NodeView) -> i64 {
        cycle.get::<Crashes>().and_then(|crashes| crashes.0.get(&*node.name)).copied().unwrap_or_default()
    }
}

#[derive(Debug)]
struct Known(CrashedBefore, Crashes);

impl Gauge for CrashedBefore {
    fn name(&self) -> &'static str {
        ScorePlugin::name(self)
    }

    // Crashes are a part of what makes a class, so they stay as long as it does.
    fn begin(&self, _: &PodView, cycle: &Cycle, _: &Nodes<'_>, _: &mut Ground) -> Option<Box<dyn Reading>> {
        let crashes = cycle.get::<Crashes>().filter(|crashes| !crashes.0.is_empty())?;
        Some(Box::new(Known(*self, crashes.clone())))
    }
}

impl Reading for Known {
    fn width(&self) -> usize {
        1
    }

    fn sign(&self, _: usize, node: &NodeView, _: &Ground, numbers: &mut Vec<i64>) {
        numbers.push(if self.0.speaks_against(&self.1, node) { Score::MIN } else { Score::MAX }.get());
    }

    fn score(&self, weight: i64, groups: &mut [Group<'_>]) {
        groups.iter_mut().for_each(|group| group.score += weight * group.numbers[0]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{node, pod, scored};

    #[test]
    fn nodes_where_the_workload_crashed_often_come_last() {
        let nodes = ["a", "b", "c"].map(|name| node(name, &[], json!({})));
        let mut cycle = Cycle::new();
        assert_eq!(scored(&CrashedBefore { times: 2 }, Cycle::new(), &pod(json!({})), &nodes), Vec::<i64>::new());
        cycle.set(Crashes(Arc::new([("a".into(), 2), ("b".into(), 1)].into())));
        assert_eq!(scored(&CrashedBefore { times: 2 }, cycle, &pod(json!({})), &nodes), [0, 100, 100]);
    }
}

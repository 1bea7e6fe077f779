//! How full nodes are to be: upstream's scoring strategies `LeastAllocated`, `MostAllocated` and
//! `RequestedToCapacityRatio` of NodeResourcesFit.

use std::sync::Arc;

use windlass_kernel::scheduler::{Cycle, NodeView, PodView, Scope, Score, ScorePlugin};

/// Scores nodes by how much of some resources would be taken. Its name is that of [`NodeResourcesFit`](super::NodeResourcesFit),
/// whose score it replaces: see [`Framework::fit_scoring`](crate::Framework::fit_scoring).
#[derive(Clone, Debug)]
pub struct FitScoring {
    strategy: Strategy,
    /// Each resource and how much it counts.
    resources: Vec<(Arc<str>, i64)>,
}

#[derive(Clone, Debug)]
enum Strategy {
    Least,
    Most,
    /// Scores (0 to 10) at shares taken (0 to 100), by share; between them on a line.
    Ratio(Vec<(i64, i64)>),
}

impl FitScoring {
    fn new(strategy: Strategy) -> Self {
        Self { strategy, resources: vec![("cpu".into(), 1), ("memory".into(), 1)] }
    }

    /// Spreads pods: the emptier, the better (`LeastAllocated`).
    #[must_use]
    pub fn least_allocated() -> Self {
        Self::new(Strategy::Least)
    }

    /// Fills nodes up: the fuller, the better (`MostAllocated`).
    #[must_use]
    pub fn most_allocated() -> Self {
        Self::new(Strategy::Most)
    }

    /// Scores from 0 to 10 at shares from 0 to 100, on lines between them (`RequestedToCapacityRatio`).
    #[must_use]
    pub fn ratio(shape: &[(i64, i64)]) -> Self {
        let mut shape = shape.to_vec();
        shape.sort_unstable();
        Self::new(Strategy::Ratio(shape))
    }

    /// The resources that count, each with how much; CPU and memory alike unless set. Others than those two count for
    /// pods that ask for them.
    #[must_use]
    pub fn of(mut self, resources: &[(&str, i64)]) -> Self {
        self.resources = resources.iter().map(|(name, weight)| ((*name).into(), *weight)).collect();
        self
    }
}

/// What would be taken of a resource, and what there is; `None` where the pod does not care or the node has none.
fn taken(name: &str, pod: &PodView, node: &NodeView) -> Option<(i64, i64)> {
    let (wanted, offered) = match name {
        "cpu" => (pod.estimated.cpu + node.estimated.cpu, node.allocatable.cpu),
        "memory" => (pod.estimated.memory + node.estimated.memory, node.allocatable.memory),
        "ephemeral-storage" => (pod.requests.ephemeral + node.used.ephemeral, node.allocatable.ephemeral),
        other => {
            let own = pod.requests.extended(other);
            if own == 0 {
                return None;
            }
            (own + node.used.extended(other), node.allocatable.extended(other))
        }
    };
    (offered > 0).then_some((wanted, offered))
}

/// The value at `at` of the lines through some points.
fn line(shape: &[(i64, i64)], at: i64) -> i64 {
    let after = shape.iter().position(|(share, _)| at <= *share);
    match after {
        None => shape.last().map_or(0, |(_, score)| *score),
        Some(0) => shape[0].1,
        Some(next) => {
            let ((x0, y0), (x1, y1)) = (shape[next - 1], shape[next]);
            y0 + (y1 - y0) * (at - x0) / (x1 - x0)
        }
    }
}

impl ScorePlugin for FitScoring {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn score(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        let (mut sum, mut weights) = (0, 0);
        for (name, weight) in &self.resources {
            let Some((wanted, offered)) = taken(name, pod, node) else { continue };
            let score = match &self.strategy {
                Strategy::Least => Score::share((offered - wanted).max(0), offered).get(),
                Strategy::Most => Score::share(wanted.min(offered), offered).get(),
                Strategy::Ratio(shape) => {
                    let share = if wanted > offered { 100 } else { wanted.saturating_mul(100) / offered };
                    let scaled: Vec<_> = shape.iter().map(|(share, score)| (*share, score * 10)).collect();
                    let score = line(&scaled, share);
                    // A resource that scores nothing does not count, as upstream has it.
                    if score == 0 {
                        continue;
                    }
                    score
                }
            };
            sum += score * weight;
            weights += weight;
        }
        match self.strategy {
            Strategy::Ratio(_) if weights > 0 => Score::saturating((sum + weights / 2) / weights),
            _ => sum.checked_div(weights).map_or(Score::MIN, Score::saturating),
        }
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::{
        NodeResourcesFit,
        fixture::{asking, node, scored, with},
    };

    #[track_caller]
    fn check(scoring: &FitScoring, expect: [i64; 3]) {
        let nodes = [
            with(node("a", &[], json!({})), [asking(2000, 2048)]),
            node("b", &[], json!({})),
            with(node("c", &[], json!({})), [asking(3000, 6144)]),
        ];
        assert_eq!(scored(scoring, Cycle::new(), &asking(1000, 2048), &nodes), expect);
    }

    #[test]
    fn the_three_strategies_score_as_upstream_does() {
        check(&FitScoring::least_allocated(), [37, 75, 0]);
        check(&FitScoring::most_allocated(), [62, 25, 100]);
        check(&FitScoring::most_allocated().of(&[("cpu", 3), ("memory", 1)]), [68, 25, 100]);
        check(&FitScoring::ratio(&[(0, 0), (100, 10)]), [63, 25, 100]);
        check(&FitScoring::ratio(&[(0, 10), (100, 0)]), [38, 75, 0]);
        check(&FitScoring::ratio(&[(0, 0), (50, 10), (100, 0)]), [75, 50, 0]);
    }

    #[test]
    fn the_default_score_is_that_of_the_least_allocated() {
        let nodes = [with(node("a", &[], json!({})), [asking(2100, 1000)]), node("b", &[], json!({}))];
        let pod = asking(333, 777);
        let least = scored(&FitScoring::least_allocated(), Cycle::new(), &pod, &nodes);
        assert_eq!(scored(&NodeResourcesFit, Cycle::new(), &pod, &nodes), least);
    }
}

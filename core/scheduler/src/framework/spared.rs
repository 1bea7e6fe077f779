//! Scoring without the plugins that fail: a preference is no reason to keep a pod from every node.

use windlass_kernel::scheduler::{Relevance, Turn};

use super::{
    Framework,
    watch::{Faults, Watch, guarded},
};

impl Framework {
    /// The totals of all scores but those whose plugin panics or scores out of range, which the host is told of.
    pub(super) fn totals_of_sound(&self, watch: Option<&Watch>, turn: &mut Turn<'_>, places: &[usize]) -> Vec<i64> {
        let nodes = turn.nodes.at(places);
        let (mut totals, mut faults) = (vec![0; places.len()], Vec::new());
        for (weight, plugin) in &self.scores {
            let scored = guarded(watch, |at| {
                at.set(plugin.name());
                let relevant = plugin.prepare(turn.cycle, turn.pod, &nodes) == Relevance::Relevant;
                relevant.then(|| nodes.iter().map(|node| plugin.score(turn.cycle, turn.pod, node).get()).collect())
            });
            match scored {
                Ok(scores) => {
                    let scores: Vec<i64> = scores.unwrap_or_default();
                    totals.iter_mut().zip(scores).for_each(|(total, score)| *total += weight * score);
                }
                Err(error) => faults.push(error.to_string()),
            }
        }
        turn.cycle.set(Faults(faults));
        totals
    }
}

//! How full nodes are to be, as one choice: as empty as can be, as full as can be, or so that nothing is left stranded.

use windlass_kernel::scheduler::{Cycle, NodeView, PodView, Scope, Score, ScorePlugin};

/// Which nodes are preferred by what is left on them. The words are those of Borg's authors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// The emptiest: load is spread and leaves headroom everywhere, and large pods may find no node (worst fit).
    Worst,
    /// The fullest: whole nodes stay free, and pods that use more than they ask for suffer (best fit).
    Best,
    /// Those where CPU and memory run out together: what is left of one without the other is of use to nobody.
    Hybrid,
}

impl ScorePlugin for Packing {
    fn name(&self) -> &'static str {
        "Packing"
    }

    fn score(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        let (own, used, offered) = (&pod.estimated, &node.estimated, &node.allocatable);
        let share = |own: i64, used: i64, offered: i64| Score::share(own.saturating_add(used), offered).get();
        let cpu = share(own.cpu, used.cpu, offered.cpu);
        let memory = share(own.memory, used.memory, offered.memory);
        let full = (cpu + memory) / 2;
        Score::saturating(match self {
            Self::Worst => 100 - full,
            Self::Best => full,
            // Stranded is what one has left beyond the other.
            Self::Hybrid => (full + 2 * (100 - (cpu - memory).abs())) / 3,
        })
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{asking, node, scored, with};

    #[test]
    fn each_policy_has_its_favourite() {
        // Half full evenly, empty, and with CPU used up much further than memory.
        let nodes = [
            with(node("a", &[], json!({})), [asking(2000, 4096)]),
            node("b", &[], json!({})),
            with(node("c", &[], json!({})), [asking(3500, 1024)]),
        ];
        let pod = asking(400, 819);
        let scores = |packing: Packing| scored(&packing, Cycle::new(), &pod, &nodes);
        assert_eq!(scores(Packing::Worst), [41, 91, 41]);
        assert_eq!(scores(Packing::Best), [59, 9, 59]);
        assert_eq!(scores(Packing::Hybrid), [85, 69, 36]);
    }
}

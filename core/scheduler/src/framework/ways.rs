//! Ways to schedule that a profile chooses: how nodes are filled, who evicts whom, what kin is spread over, what is shared.

use std::sync::Arc;

use windlass_kernel::scheduler::{Cycle, PostFilter, ScorePlugin, Spread};

use super::Framework;
use crate::{classes::Savings, plugins};

impl Framework {
    /// Scores the filling of nodes in another way, with the same weight.
    #[must_use]
    pub fn fit_scoring(mut self, scoring: plugins::FitScoring) -> Self {
        let scoring: Arc<dyn ScorePlugin> = Arc::new(scoring);
        for (_, plugin) in self.scores.iter_mut().filter(|(_, plugin)| plugin.name() == scoring.name()) {
            *plugin = Arc::clone(&scoring);
        }
        self
    }

    /// Prefers nodes by how full they are, in place of the usual preference for empty and balanced ones.
    #[must_use]
    pub fn packing(mut self, packing: plugins::Packing) -> Self {
        let usual = ["NodeResourcesFit", "NodeResourcesBalancedAllocation", "Packing"];
        self.scores.retain(|(_, plugin)| !usual.contains(&plugin.name()));
        self.score(2, packing)
    }

    /// Pods avoid nodes where others of their controller crashed at least so often lately; where no other node fits they
    /// go there all the same. A crash counts half after half an hour.
    #[must_use]
    pub fn avoiding_crashes(self, times: u32) -> Self {
        // More than all other scores together.
        let rest: i64 = self.scores.iter().map(|(weight, _)| weight).sum();
        let weight = u32::try_from(rest + 1).unwrap_or(u32::MAX);
        let plugin = plugins::CrashedBefore { times };
        self.score(weight, plugin).gauge(plugin)
    }

    /// Spreads pods of one service or controller over domains that fail as one, such as zones, racks and power feeds,
    /// by the node labels that name them. Domains of one label differ by at most `max_skew` such pods.
    ///
    /// For pods that state no topology spread constraints, in place of the usual ones for hosts and zones.
    #[must_use]
    pub fn failure_domains(mut self, labels: &[&str], max_skew: i64, spreading: plugins::Spreading) -> Self {
        self.usual = Some(plugins::Usual::domains(labels, max_skew, spreading));
        self
    }

    /// Spreads pods that state no topology spread constraints by these, in place of the usual ones for hosts and zones
    /// (`defaultConstraints` of upstream's `PodTopologySpreadArgs`). Whom they select is the pods of the same services
    /// and controller, whatever their own selector says.
    #[must_use]
    pub fn default_constraints(mut self, constraints: &[Spread]) -> Self {
        self.usual = Some(plugins::Usual { spreads: constraints.into(), all_labels: true });
        self
    }

    /// Pods of at least this priority never evict each other, whatever their priorities: they are one band.
    ///
    /// Without [`DefaultPreemption`](plugins::DefaultPreemption) nobody is evicted anyway.
    #[must_use]
    pub fn band(mut self, from: i32) -> Self {
        let plugin = plugins::BandedPreemption { from, enough: plugins::Enough::default() };
        let all = self.post_filters.len();
        self.post_filters.retain(|own| own.name() != plugin.name());
        if self.post_filters.len() < all { self.post_filter(plugin) } else { self }
    }

    /// Searches the nodes for every pod. Without this, alike pods share what was found out: a turn looks only at nodes
    /// that changed since the last pod of its class, and chooses as a search of all nodes would.
    #[must_use]
    pub fn without_classes(mut self) -> Self {
        self.classes = None;
        self
    }

    /// What classes have saved so far. Clones count together.
    #[must_use]
    pub fn savings(&self) -> Savings {
        self.classes.as_ref().map(|classes| classes.counters.read()).unwrap_or_default()
    }

    /// A search looks for possible nodes until so many in a hundred are found. The default depends on the number of
    /// nodes. Pods of a known class need no search.
    #[must_use]
    pub const fn sample(mut self, percentage: usize) -> Self {
        self.sample = Some(percentage);
        self
    }

    /// Adds what the profile says about spreading to the host's facts.
    pub(super) fn tell_usual(&self, cycle: &mut Cycle) {
        if let Some(usual) = &self.usual {
            cycle.set(usual.clone());
        }
    }
}

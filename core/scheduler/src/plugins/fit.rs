//! Whether a node has enough of what a pod asks for; and the preference for nodes with the most left over.

mod ignoring;
mod lack;
mod scoring;

use std::sync::Arc;

pub use self::{ignoring::FitIgnoring, scoring::FitScoring};
use windlass_kernel::scheduler::{
    Change, Cure, Cycle, Detail, Filter, Fit, NodeView, Nodes, PodView, Reason, Reasons, Resources, Scope, Score,
    ScorePlugin,
};

/// Keeps pods from nodes without enough room, and prefers the emptiest.
#[derive(Clone, Copy, Debug)]
pub struct NodeResourcesFit;

/// Collects reasons; allocates only when there are any.
#[derive(Default)]
struct Missing {
    reasons: Vec<Reason>,
    never: bool,
}

impl Missing {
    fn look(&mut self, asked: i64, used: i64, offered: i64, reason: impl FnOnce() -> Reason) {
        if asked > 0 && asked > offered.saturating_sub(used) {
            self.reasons.push(reason());
            self.never |= asked > offered;
        }
    }
}

impl Missing {
    fn fit(self) -> Fit {
        let Self { mut reasons, never } = self;
        let Some(last) = reasons.pop() else { return Fit::Yes };
        let reasons = if reasons.is_empty() {
            Reasons::One(last)
        } else {
            reasons.push(last);
            Reasons::Many(reasons)
        };
        if never { Fit::Never(reasons) } else { Fit::No(reasons) }
    }
}

/// Whether a change leaves more room, where somebody tells which nodes have enough.
fn helped(change: &Change<'_>, enough: impl Fn(&NodeView) -> bool) -> bool {
    match change {
        Change::NodeAdded(node) => enough(node),
        Change::NodeChanged { before, after } => {
            (before.allocatable != after.allocatable || before.max_pods != after.max_pods) && enough(after)
        }
        Change::PodGone(_) => true,
        Change::PodChanged { before, after } => before.requests != after.requests,
        Change::PodPlaced(_) | Change::Other(_) => false,
    }
}

/// What a node lacks to take a pod, of the resources that count.
fn missing(pod: &Resources, node: &NodeView, counts: impl Fn(&str) -> bool) -> Missing {
    let (used, offered) = (&node.used, &node.allocatable);
    let mut missing = Missing::default();
    let pods = i64::try_from(node.pods().len()).unwrap_or(i64::MAX);
    if pods.saturating_add(1) > node.max_pods {
        missing.reasons.push(Reason::Text("Too many pods"));
        missing.never |= node.max_pods < 1;
    }
    missing.look(pod.cpu, used.cpu, offered.cpu, || Reason::Lacks("cpu"));
    missing.look(pod.memory, used.memory, offered.memory, || Reason::Lacks("memory"));
    missing.look(pod.ephemeral, used.ephemeral, offered.ephemeral, || Reason::Lacks("ephemeral-storage"));
    for (name, asked) in pod.others().filter(|(name, _)| counts(name)) {
        let (used, offered) = (used.extended(name), offered.extended(name));
        missing.look(asked, used, offered, || Reason::Insufficient(Arc::clone(name)));
    }
    missing
}

impl Filter for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        missing(&pod.requests, node, |_| true).fit()
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        helped(change, |node| missing(&pod.requests, node, |_| true).reasons.is_empty())
    }

    fn details(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        lack::of(pod, node, |_| true).into_iter().map(lack::Lack::detail).collect()
    }

    fn cures(&self, _: &Cycle, pod: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        lack::cures(pod, node, |_| true)
    }
}

impl ScorePlugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    /// The mean, over CPU and memory, of the share that is left.
    fn score(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        let (own, used, offered) = (&pod.estimated, &node.estimated, &node.allocatable);
        let pairs = [(own.cpu + used.cpu, offered.cpu), (own.memory + used.memory, offered.memory)];
        let (mut sum, mut count) = (0, 0);
        for (wanted, offered) in pairs.into_iter().filter(|(_, offered)| *offered > 0) {
            sum += Score::share((offered - wanted).max(0), offered).get();
            count += 1;
        }
        sum.checked_div(count).map_or(Score::MIN, Score::saturating)
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{asking, filtered, node, pod, scored, with};

    #[track_caller]
    fn check(pod: &PodView, others: &[(i64, i64)], expect: &str) {
        let node = with(node("a", &[], json!({})), others.iter().map(|(cpu, memory)| asking(*cpu, *memory)));
        assert_eq!(filtered(&NodeResourcesFit, &Cycle::new(), pod, &[node]), [expect], "{others:?}");
    }

    #[test]
    fn what_is_asked_for_must_be_left() {
        check(&asking(1000, 1024), &[(3000, 7 * 1024)], "yes");
        check(&asking(1001, 1024), &[(3000, 7 * 1024)], "no: Insufficient cpu");
        check(&asking(1001, 1025), &[(3000, 7 * 1024)], "no: Insufficient cpu, Insufficient memory");
        check(&asking(4001, 1), &[(1, 1)], "never: Insufficient cpu");
        check(&asking(0, 0), &[(4000, 9000)], "yes");
        check(&asking(0, 0), &[(1, 1); 10], "no: Too many pods");
        let gpu = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"acme.io/gpu": "1"}}}]}));
        check(&gpu, &[], "never: Insufficient acme.io/gpu");
    }

    #[test]
    fn init_containers_count_where_they_ask_for_more() {
        let ask = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let spec = json!({
            "containers": [{"name": "a", "resources": ask("1")}, {"name": "b", "resources": ask("1")}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": ask("500m")},
                {"name": "i", "resources": ask("3")},
            ],
            "overhead": {"cpu": "250m"},
        });
        assert_eq!(pod(spec).requests.cpu, 3750);
    }

    #[test]
    fn the_emptiest_node_is_best() {
        let nodes = [
            with(node("a", &[], json!({})), [asking(2000, 2048)]),
            node("b", &[], json!({})),
            with(node("c", &[], json!({})), [asking(4000, 8192)]),
        ];
        assert_eq!(scored(&NodeResourcesFit, Cycle::new(), &asking(1000, 2048), &nodes), [37, 75, 0]);
    }

    #[test]
    fn pods_that_ask_for_nothing_are_spread_all_the_same() {
        let idle = || pod(json!({}));
        let nodes = [with(node("a", &[], json!({})), [idle(), idle()]), node("b", &[], json!({}))];
        assert_eq!(scored(&NodeResourcesFit, Cycle::new(), &idle(), &nodes), [92, 97]);
    }
}

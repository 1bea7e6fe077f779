//! The filter for profiles in which somebody else looks after some resources.

use windlass_kernel::scheduler::{Change, Cure, Cycle, Detail, Filter, Fit, NodeView, Nodes, PodView, Scope};

use super::{helped, lack, missing};

/// As the filter of [`NodeResourcesFit`](super::NodeResourcesFit), whose name it has, without regard to some resources
/// (`ignoredResources` and `ignoredResourceGroups` of upstream's `NodeResourcesFitArgs`).
#[derive(Clone, Debug)]
pub struct FitIgnoring {
    resources: Vec<String>,
    groups: Vec<String>,
}

impl FitIgnoring {
    /// Ignores these resources, and those of these groups: the group of `example.com/device` is `example.com`. CPU,
    /// memory and local storage always count.
    #[must_use]
    pub const fn new(resources: Vec<String>, groups: Vec<String>) -> Self {
        Self { resources, groups }
    }

    fn counts(&self, name: &str) -> bool {
        let grouped = || name.split_once('/').is_some_and(|(group, _)| self.groups.iter().any(|own| own == group));
        !self.resources.iter().any(|own| own == name) && !grouped()
    }
}

impl Filter for FitIgnoring {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        missing(&pod.requests, node, |name| self.counts(name)).fit()
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        helped(change, |node| missing(&pod.requests, node, |name| self.counts(name)).reasons.is_empty())
    }

    fn details(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        lack::of(pod, node, |name| self.counts(name)).into_iter().map(lack::Lack::detail).collect()
    }

    fn cures(&self, _: &Cycle, pod: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        lack::cures(pod, node, |name| self.counts(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{filtered, node, pod};

    #[test]
    fn resources_that_are_ignored_may_be_missing() {
        let asking = |resource: &str| {
            pod(json!({"containers": [{"name": "c", "resources": {"requests": {resource: "9", "cpu": "1"}}}]}))
        };
        let plugin = FitIgnoring::new(vec!["a.io/x".into()], vec!["b.io".into()]);
        let said = |pod: &PodView| filtered(&plugin, &Cycle::new(), pod, &[node("n", &[], json!({}))]).remove(0);
        assert_eq!(said(&asking("a.io/x")), "yes");
        assert_eq!(said(&asking("a.io/y")), "never: Insufficient a.io/y");
        assert_eq!(said(&asking("b.io/z")), "yes");
        assert_eq!(said(&asking("ephemeral-storage")), "never: Insufficient ephemeral-storage");
    }
}

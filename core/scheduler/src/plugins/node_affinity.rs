//! Node selectors and node affinity.

mod added;
mod gauge;

use std::sync::Arc;

use windlass_kernel::scheduler::{
    Change, Cure, Cycle, Detail, Edit, Filter, Fit, NodeTerms, NodeView, Nodes, PodView, PreFilter, Prepared,
    Relevance, Scope, Score, ScorePlugin,
};

use self::added::Added;

/// Sends pods to nodes that their selector and affinity accept, and prefers those they prefer.
#[derive(Clone, Debug, Default)]
pub struct NodeAffinity {
    added: Option<Arc<Added>>,
}

const NAME: &str = "NodeAffinity";

/// The highest sum of preferences among the possible nodes.
#[derive(Clone)]
struct Highest(i64);

impl NodeAffinity {
    /// What the profile asks of nodes, of every pod.
    fn demands(&self) -> Option<&NodeTerms> {
        self.added.as_ref()?.terms.as_ref()
    }

    /// The weights of all preferences that a node answers to, the pod's and the profile's.
    fn preference(&self, pod: &PodView, node: &NodeView) -> i64 {
        let added = self.added.iter().flat_map(|added| &added.preferences);
        pod.node_preferences.iter().chain(added).filter(|p| p.term.matches(node)).map(|p| p.weight).sum()
    }

    fn prefers(&self, pod: &PodView) -> bool {
        !pod.node_preferences.is_empty() || self.added.as_ref().is_some_and(|added| !added.preferences.is_empty())
    }

    fn accepts(&self, pod: &PodView, node: &NodeView) -> bool {
        self.demands().is_none_or(|terms| terms.matches(node)) && pod.accepts(node)
    }
}

impl PreFilter for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter(&self, _: &mut Cycle, pod: &PodView, _: &Nodes<'_>) -> Prepared {
        if pod.node_selector.is_empty() && pod.node_terms.is_none() && self.demands().is_none() {
            return Prepared::Skip;
        }
        match pod.node_terms.as_ref().and_then(|terms| terms.names()) {
            Some(names) if !names.is_empty() => Prepared::Only(names.into_iter().map(Into::into).collect()),
            _ => Prepared::Ask,
        }
    }
}

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        if self.demands().is_some_and(|terms| !terms.matches(node)) {
            return Fit::Never("node(s) didn't match scheduler-enforced node affinity".into());
        }
        Fit::or_never(pod.accepts(node), "node(s) didn't match Pod's node affinity/selector")
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        match change {
            Change::NodeAdded(node) => self.accepts(pod, node),
            Change::NodeChanged { before, after } => before.labels != after.labels && self.accepts(pod, after),
            _ => false,
        }
    }

    fn details(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        let found = |key: &str| node.labels.get(key).cloned();
        let selected = selector(pod, node)
            .map(|(key, value)| Detail::Label { wanted: format!("{key}={value}"), found: found(key) });
        let all = self.demands().into_iter().chain(&pod.node_terms);
        let terms = all.filter(|terms| !terms.matches(node)).flat_map(|terms| &terms.0);
        let unmet = terms.flat_map(|term| term.unmet(node));
        let asked = unmet.map(|asked| Detail::Label { wanted: asked.to_string(), found: found(asked.key()) });
        selected.chain(asked).collect()
    }

    /// To label the node as one of the terms asks, or to ask for less. What the profile asks for cannot be less.
    fn cures(&self, _: &Cycle, pod: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        let label = |key: String, value: String| Edit::LabelNode { node: Arc::clone(&node.name), key, value };
        if let Some(terms) = self.demands().filter(|terms| !terms.matches(node)) {
            let lacks = terms.0.iter().filter_map(|term| term.lacks(node));
            return lacks.map(|all| all.into_iter().map(|(key, value)| label(key, value)).collect()).collect();
        }
        let labels = || selector(pod, node).map(|(key, value)| label(key.clone(), value.clone()));
        let drops = || selector(pod, node).map(|(key, _)| Edit::DropSelector(key.clone()));
        let Some(terms) = pod.node_terms.as_ref().filter(|terms| !terms.matches(node)) else {
            return vec![labels().collect(), drops().collect()];
        };
        // The node as the selector wants it, without what is on it: a term may want the same labels otherwise.
        let mut selected = NodeView::named(&node.name);
        selected.labels.clone_from(&node.labels);
        selected.labels.extend(pod.node_selector.clone());
        let answered = terms.0.iter().filter_map(|term| {
            let (lacks, mut labelled) = (term.lacks(&selected)?, selected.clone());
            labelled.labels.extend(lacks.iter().cloned());
            pod.accepts(&labelled).then_some(lacks)
        });
        let mut cures: Vec<Cure> = answered
            .map(|lacks| labels().chain(lacks.into_iter().map(|(key, value)| label(key, value))).collect())
            .collect();
        cures.push(labels().chain([Edit::DropNodeAffinity]).collect());
        cures.push(drops().chain([Edit::DropNodeAffinity]).collect());
        cures
    }
}

/// What the node selector asks for and a node has not.
fn selector<'a>(pod: &'a PodView, node: &'a NodeView) -> impl Iterator<Item = (&'a String, &'a String)> {
    pod.node_selector.iter().filter(|(key, value)| node.labels.get(*key) != Some(*value))
}

impl ScorePlugin for NodeAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Relevance {
        if !self.prefers(pod) {
            return Relevance::Skip;
        }
        let highest = nodes.iter().map(|node| self.preference(pod, node)).max().unwrap_or_default();
        cycle.set(Highest(highest));
        if highest == 0 { Relevance::Skip } else { Relevance::Relevant }
    }

    fn score(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Score {
        Score::share(self.preference(pod, node), cycle.get::<Highest>().map_or(0, |highest| highest.0))
    }

    /// The sum of the preferences that the node answers to.
    fn raw(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> i64 {
        self.preference(pod, node)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugins::fixture::{node, pod, prepared, scored};

    fn nodes() -> [NodeView; 3] {
        [("a", "1"), ("b", "5"), ("c", "10")].map(|(name, size)| node(name, &[("size", size), (name, "")], json!({})))
    }

    fn required(terms: &Value) -> Value {
        let required = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    }

    /// Which nodes accept the pod, or what is said before any is asked.
    #[track_caller]
    fn check(spec: Value, expect: &str) {
        let nodes = nodes();
        let text = spec.to_string();
        let said = prepared(&NodeAffinity::default(), &pod(spec), &nodes);
        let told = match said.len() {
            1 => said[0].clone(),
            _ => nodes.iter().zip(&said).filter(|(_, said)| *said == "yes").map(|(node, _)| &*node.name).collect(),
        };
        assert_eq!(told, expect, "{text}");
    }

    #[test]
    fn selectors_and_terms_must_both_accept() {
        check(json!({}), "skip");
        check(json!({"nodeSelector": {"size": "5"}}), "b");
        check(required(&json!([{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["4"]}]}])), "bc");
        check(required(&json!([{"matchExpressions": [{"key": "size", "operator": "NotIn", "values": ["5"]}]}])), "ac");
        check(required(&json!([{"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}])), "a");
        check(required(&json!([])), "");
        check(required(&json!([{"matchExpressions": [{"key": "size", "operator": "Like", "values": ["5"]}]}])), "");
        let mut both = required(&json!([{"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}]));
        both["nodeSelector"] = json!({"size": "10"});
        check(both, "c");
    }

    #[test]
    fn nodes_asked_for_by_name_are_the_only_ones_looked_at() {
        let field =
            |names: Value| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": names}]});
        check(required(&json!([field(json!(["b"])), field(json!(["a", "b"]))])), "only a b");
        check(
            required(&json!([{"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["b"]}]}])),
            "ac",
        );
    }

    #[test]
    fn preferences_add_up_and_the_best_is_a_hundred() {
        let preferred = json!([
            {"weight": 30, "preference": {"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["4"]}]}},
            {"weight": 10, "preference": {"matchExpressions": [{"key": "c", "operator": "Exists"}]}},
        ]);
        let spec =
            json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}});
        assert_eq!(scored(&NodeAffinity::default(), Cycle::new(), &pod(spec), &nodes()), [0, 75, 100]);
    }
}

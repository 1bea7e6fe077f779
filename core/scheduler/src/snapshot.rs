//! The nodes as the next turn sees them: what the API shows, and the pods that were placed a moment ago.
//!
//! Changes are applied in place, so a turn copies nothing and a change costs what it touches. It decides nothing.

use std::{collections::BTreeMap, sync::Arc};

use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{NodeIndex, NodeView, Nodes, PodView},
};

/// A pod that has a node.
#[derive(Clone, Debug)]
struct Placed {
    pod: Arc<PodView>,
    node: String,
    /// Whether the API does not show it there yet.
    assumed: bool,
}

/// How a node changed.
#[derive(Debug)]
pub(crate) enum NodeChange {
    Added,
    /// What was said of the node before, without its pods.
    Changed(Box<NodeView>),
    Gone,
    Same,
}

/// How a placed pod changed.
#[derive(Debug)]
pub(crate) enum PodChange {
    Placed,
    Changed(Arc<PodView>),
    Gone(Arc<PodView>),
    Same,
}

/// All nodes and the pods on them.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    nodes: Vec<NodeView>,
    index: NodeIndex,
    placed: BTreeMap<ObjectKey, Placed>,
    /// Pods on nodes that are not known (yet, or any more).
    strays: BTreeMap<String, Vec<Arc<PodView>>>,
}

impl Snapshot {
    pub(crate) fn nodes(&self) -> Nodes<'_> {
        Nodes::new(&self.nodes, &self.index)
    }

    /// Takes over what the API says of a node.
    pub(crate) fn set_node(&mut self, name: &str, node: Option<&NodeView>) -> NodeChange {
        match (self.index.place(name), node) {
            (None, None) => NodeChange::Same,
            (None, Some(node)) => {
                let mut node = node.clone();
                self.strays.remove(name).into_iter().flatten().for_each(|pod| node.add(pod));
                self.index.insert(self.nodes.len(), &node);
                self.nodes.push(node);
                NodeChange::Added
            }
            (Some(place), Some(node)) => {
                self.index.remove(&self.nodes[place]);
                let before = self.nodes[place].refresh(node.clone());
                self.index.insert(place, &self.nodes[place]);
                NodeChange::Changed(Box::new(before))
            }
            (Some(place), None) => {
                let last = self.nodes.len() - 1;
                self.index.remove(&self.nodes[place]);
                if place != last {
                    self.index.remove(&self.nodes[last]);
                }
                let gone = self.nodes.swap_remove(place);
                if let Some(moved) = self.nodes.get(place) {
                    self.index.insert(place, moved);
                }
                if !gone.pods().is_empty() {
                    self.strays.insert(name.into(), gone.pods().to_vec());
                }
                NodeChange::Gone
            }
        }
    }

    /// Takes over what the API says of a pod. One without a node is no news for a pod that is on its way.
    pub(crate) fn set_pod(&mut self, key: &ObjectKey, pod: Option<&Arc<PodView>>) -> PodChange {
        let before = self.placed.get(key).cloned();
        let (pod, node) = match (pod, &before) {
            (Some(pod), Some(before)) if pod.node.is_none() && before.assumed && before.pod.uid == pod.uid => {
                return PodChange::Same;
            }
            (Some(pod), _) => (pod, pod.node.clone()),
            (None, _) => {
                return before.map_or(PodChange::Same, |before| {
                    self.lift(key);
                    PodChange::Gone(before.pod)
                });
            }
        };
        let Some(node) = node else {
            // Another pod of the same name that has no node yet.
            return before.map_or(PodChange::Same, |before| {
                self.lift(key);
                PodChange::Gone(before.pod)
            });
        };
        self.lift(key);
        self.put(key, Placed { pod: Arc::clone(pod), node, assumed: false });
        match before {
            Some(before) if before.pod.uid == pod.uid => PodChange::Changed(before.pod),
            _ => PodChange::Placed,
        }
    }

    /// Counts a pod in that is on its way to a node.
    pub(crate) fn assume(&mut self, pod: &Arc<PodView>, node: &str) {
        self.lift(&pod.key);
        self.put(&pod.key, Placed { pod: Arc::clone(pod), node: node.into(), assumed: true });
    }

    /// Counts a pod out that did not get to its node. `false` where the API showed it there meanwhile.
    pub(crate) fn forget(&mut self, pod: &PodView) -> bool {
        let assumed = self.placed.get(&pod.key).is_some_and(|placed| placed.assumed && placed.pod.uid == pod.uid);
        if assumed {
            self.lift(&pod.key);
        }
        assumed
    }

    fn put(&mut self, key: &ObjectKey, placed: Placed) {
        match self.index.place(&placed.node) {
            Some(place) => self.nodes[place].add(Arc::clone(&placed.pod)),
            None => self.strays.entry(placed.node.clone()).or_default().push(Arc::clone(&placed.pod)),
        }
        self.placed.insert(key.clone(), placed);
    }

    fn lift(&mut self, key: &ObjectKey) {
        let Some(placed) = self.placed.remove(key) else { return };
        match self.index.place(&placed.node) {
            Some(place) => {
                self.nodes[place].remove(&placed.pod.uid);
            }
            None => {
                if let Some(strays) = self.strays.get_mut(&placed.node) {
                    strays.retain(|stray| stray.uid != placed.pod.uid);
                    if strays.is_empty() {
                        self.strays.remove(&placed.node);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::fixture::{asking, named, node};

    fn pod(name: &str, on: Option<&str>) -> Arc<PodView> {
        let mut pod = named(name, asking(1000, 1));
        pod.node = on.map(Into::into);
        Arc::new(pod)
    }

    /// Each node with the CPU that its pods ask for, in thousandths.
    #[track_caller]
    fn check(snapshot: &Snapshot, expect: &[(&str, i64)]) {
        let mut used: Vec<_> = snapshot.nodes().iter().map(|node| (&*node.name, node.used.cpu)).collect();
        used.sort_unstable();
        assert_eq!(used, expect);
        for (place, node) in snapshot.nodes.iter().enumerate() {
            assert_eq!(snapshot.index.place(&node.name), Some(place));
        }
    }

    fn with_nodes(names: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for name in names {
            snapshot.set_node(name, Some(&node(name, &[], json!({}))));
        }
        snapshot
    }

    #[test]
    fn an_assumed_pod_counts_until_it_is_forgotten() {
        let mut snapshot = with_nodes(&["a", "b"]);
        let unbound = pod("p", None);
        snapshot.assume(&unbound, "a");
        check(&snapshot, &[("a", 1000), ("b", 0)]);
        assert!(matches!(snapshot.set_pod(&unbound.key, Some(&unbound)), PodChange::Same));
        check(&snapshot, &[("a", 1000), ("b", 0)]);
        assert!(snapshot.forget(&unbound));
        check(&snapshot, &[("a", 0), ("b", 0)]);
    }

    #[test]
    fn the_api_has_the_last_word_on_where_a_pod_is() {
        let mut snapshot = with_nodes(&["a", "b"]);
        let (unbound, bound) = (pod("p", None), pod("p", Some("b")));
        snapshot.assume(&unbound, "a");
        snapshot.set_pod(&bound.key, Some(&bound));
        check(&snapshot, &[("a", 0), ("b", 1000)]);
        assert!(!snapshot.forget(&unbound));
        snapshot.set_pod(&bound.key, None);
        check(&snapshot, &[("a", 0), ("b", 0)]);
    }

    #[test]
    fn pods_of_a_node_that_is_gone_count_when_it_returns() {
        let mut snapshot = with_nodes(&["a", "b", "c"]);
        for (name, on) in [("p", "a"), ("q", "c")] {
            let pod = pod(name, Some(on));
            snapshot.set_pod(&pod.key, Some(&pod));
        }
        snapshot.set_node("a", None);
        check(&snapshot, &[("b", 0), ("c", 1000)]);
        snapshot.set_node("a", Some(&node("a", &[], json!({}))));
        check(&snapshot, &[("a", 1000), ("b", 0), ("c", 1000)]);
    }

    #[test]
    fn a_pod_seen_before_its_node_counts_once_the_node_is_there() {
        let mut snapshot = Snapshot::default();
        let early = pod("p", Some("a"));
        snapshot.set_pod(&early.key, Some(&early));
        check(&snapshot, &[]);
        snapshot.set_node("a", Some(&node("a", &[], json!({}))));
        check(&snapshot, &[("a", 1000)]);
    }
}

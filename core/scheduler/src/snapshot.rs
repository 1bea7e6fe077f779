//! The nodes as the next turn sees them: what the API shows, and the pods that were placed a moment ago.
//!
//! Changes are applied in place, so a turn copies nothing and a change costs what it touches. Each is noted, so that
//! schedulers look again only at what changed. It decides nothing.

use std::{collections::BTreeMap, sync::Arc};

use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{Changes, NodeIndex, NodeView, Nodes, PodView, Step},
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    nodes: Vec<NodeView>,
    index: NodeIndex,
    changes: Changes,
    placed: BTreeMap<ObjectKey, Placed>,
    /// Pods on nodes that are not known (yet, or any more).
    strays: BTreeMap<String, Vec<Arc<PodView>>>,
}

impl Snapshot {
    pub(crate) fn nodes(&self) -> Nodes<'_> {
        Nodes::new(&self.nodes, &self.index).changed(&self.changes)
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
                self.changes.reshape();
                NodeChange::Added
            }
            (Some(place), Some(node)) => {
                let own = &self.nodes[place];
                let offers = own.allocatable == node.allocatable && own.max_pods == node.max_pods;
                let is = own.labels == node.labels
                    && own.taints == node.taints
                    && own.unschedulable == node.unschedulable
                    && own.images == node.images;
                match (is, offers) {
                    (true, true) => return NodeChange::Same,
                    (true, false) => self.changes.push(Step::Offers(place)),
                    (false, _) => self.changes.reshape(),
                }
                self.index.remove(own);
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
                self.changes.reshape();
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
        if let Some(before) = &before
            && node.as_deref() == Some(&*before.node)
            && counts_alike(&before.pod, pod)
            && self.renew(key, pod)
        {
            // Who waits for the pod was not woken when it was only on its way.
            return if before.assumed { PodChange::Placed } else { PodChange::Same };
        }
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
            Some(before) if before.pod.uid == pod.uid && !before.assumed => PodChange::Changed(before.pod),
            _ => PodChange::Placed,
        }
    }

    /// The node that a pod is on its way to.
    pub(crate) fn on_its_way(&self, pod: &PodView) -> Option<String> {
        let placed = self.placed.get(&pod.key).filter(|placed| placed.pod.uid == pod.uid);
        placed.map(|placed| placed.node.clone())
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

    /// Takes over what is new about a pod that stays where it is and counts as it did.
    fn renew(&mut self, key: &ObjectKey, pod: &Arc<PodView>) -> bool {
        let Some(placed) = self.placed.get_mut(key) else { return false };
        let Some(place) = self.index.place(&placed.node) else { return false };
        let known = self.nodes[place].renew(pod);
        if known {
            (placed.pod, placed.assumed) = (Arc::clone(pod), false);
        }
        known
    }

    fn put(&mut self, key: &ObjectKey, placed: Placed) {
        match self.index.place(&placed.node) {
            Some(place) => {
                self.nodes[place].add(Arc::clone(&placed.pod));
                self.changes.push(Step::Came(place, Arc::clone(&placed.pod)));
            }
            None => self.strays.entry(placed.node.clone()).or_default().push(Arc::clone(&placed.pod)),
        }
        self.placed.insert(key.clone(), placed);
    }

    fn lift(&mut self, key: &ObjectKey) {
        let Some(placed) = self.placed.remove(key) else { return };
        match self.index.place(&placed.node) {
            Some(place) => {
                self.nodes[place].remove(&placed.pod.uid);
                self.changes.push(Step::Left(place, placed.pod));
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

/// Whether two views of a placed pod are the same to other pods, but for what only those who make room look at.
fn counts_alike(before: &PodView, after: &PodView) -> bool {
    before.uid == after.uid
        && before.terminating == after.terminating
        && before.labels == after.labels
        && before.requests == after.requests
        && before.estimated == after.estimated
        && before.ports == after.ports
        && before.affinity == after.affinity
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
    fn news_about_a_pod_that_counts_the_same_touches_no_node() {
        let mut snapshot = with_nodes(&["a"]);
        let bound = pod("p", Some("a"));
        snapshot.assume(&bound, "a");
        let end = |snapshot: &Snapshot| snapshot.nodes().changes().unwrap().end();
        let assumed = end(&snapshot);
        assert!(matches!(snapshot.set_pod(&bound.key, Some(&bound)), PodChange::Placed));
        let started = PodView { started: Some(jiff::Timestamp::UNIX_EPOCH), ..PodView::clone(&bound) };
        assert!(matches!(snapshot.set_pod(&bound.key, Some(&Arc::new(started.clone()))), PodChange::Same));
        assert_eq!(snapshot.nodes().get("a").unwrap().pods()[0].started, started.started);
        assert_eq!(end(&snapshot), assumed);
        let going = PodView { terminating: true, ..started };
        assert!(matches!(snapshot.set_pod(&bound.key, Some(&Arc::new(going))), PodChange::Changed(_)));
        assert_eq!(end(&snapshot), assumed + 2);
        check(&snapshot, &[("a", 1000)]);
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

//! What keeps a pod from a node for the sake of other pods, and what would change that. For explanations.

use std::sync::Arc;

use windlass_kernel::scheduler::{Cure, Detail, Edit, NodeView, Nodes, PodTerm, PodView};

use super::{Known, aversions, means, needs};

impl Known {
    /// The needs that nobody meets near a node.
    fn unmet<'a>(&'a self, pod: &'a PodView, node: &'a NodeView) -> impl Iterator<Item = &'a PodTerm> {
        // The first of a group need not be met by others, but has to be in some place.
        let first = self.wanted.is_empty() && needs(pod).iter().all(|term| means(term, pod, &self.namespaces));
        needs(pod)
            .iter()
            .filter(move |term| !node.labels.contains_key(&term.topology) || !first && self.wanted.at(term, node) == 0)
    }

    /// What the pod must not meet and would meet.
    fn met<'a>(&'a self, pod: &'a PodView, node: &'a NodeView) -> impl Iterator<Item = &'a PodTerm> {
        aversions(pod).iter().filter(|term| self.unwanted.at(term, node) > 0)
    }

    pub(super) fn details(&self, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        let told = |what: &str, term: &PodTerm| {
            Detail::Told(format!("{what} pods with {} over {}", term.selector, term.topology))
        };
        let unmet = self.unmet(pod, node).map(|term| told("wants to be near", term));
        let met = self.met(pod, node).map(|term| told("must not be near", term));
        let unwelcome = self.unwelcome.reach(node);
        let unwelcome = unwelcome.then(|| Detail::Told("pods nearby must not be near this pod".into()));
        unmet.chain(met).chain(unwelcome).collect()
    }

    /// To do without the terms that do not hold, and without the pods that do not put up with this one.
    pub(super) fn cure(&self, pod: &PodView, node: &NodeView, nodes: &Nodes<'_>) -> Cure {
        let needs = self.unmet(pod, node).map(|term| Edit::DropPodAffinity(Box::new(term.clone())));
        let aversions = self.met(pod, node).map(|term| Edit::DropPodAntiAffinity(Box::new(term.clone())));
        let mut cure: Cure = needs.chain(aversions).collect();
        if self.unwelcome.reach(node) {
            cure.extend(nodes.all().iter().filter(|other| other.has_affinity()).flat_map(|other| {
                let averse = other.pods().iter().filter(|own| self.repels(own, pod, other, node));
                averse.map(|own| Edit::RemovePod { pod: own.key.clone(), node: Arc::clone(&other.name) })
            }));
        }
        cure
    }

    /// Whether a pod that is there must not meet the pod, and would on a node.
    fn repels(&self, there: &PodView, pod: &PodView, at: &NodeView, node: &NodeView) -> bool {
        aversions(there).iter().filter(|term| means(term, pod, &self.namespaces)).any(|term| {
            let place = at.labels.get(&term.topology);
            place.is_some() && place == node.labels.get(&term.topology)
        })
    }
}

//! Where nodes are: for each node label that somebody asks about, the domain of every node, as small numbers.

use std::collections::BTreeMap;

use windlass_kernel::scheduler::NodeView;

/// The domains of one node label.
#[derive(Debug)]
struct Topology {
    key: String,
    /// By place; none (0) where the node has no such label.
    domains: Vec<usize>,
    count: usize,
    own: bool,
}

/// The domains of all labels that were asked about, for nodes that do not change meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Ground(Vec<Topology>);

impl Ground {
    /// The number of a label's topology.
    pub(crate) fn topology(&mut self, key: &str, nodes: &[NodeView]) -> usize {
        if let Some(known) = self.0.iter().position(|topology| topology.key == key) {
            return known;
        }
        let mut values = BTreeMap::<&str, usize>::new();
        let mut domains = Vec::with_capacity(nodes.len());
        for node in nodes {
            let next = values.len() + 1;
            domains.push(node.labels.get(key).map_or(0, |value| *values.entry(value.as_str()).or_insert(next)));
        }
        let labelled = nodes.iter().filter(|node| node.labels.contains_key(key)).count();
        let (count, own) = (values.len(), values.len() == labelled);
        self.0.push(Topology { key: key.into(), domains, count, own });
        self.0.len() - 1
    }

    /// The domain of the node at a place; 0 for none.
    pub(crate) fn domain(&self, topology: usize, place: usize) -> usize {
        self.0[topology].domains[place]
    }

    /// One more than the largest domain.
    pub(crate) fn size(&self, topology: usize) -> usize {
        self.0[topology].count + 1
    }

    /// Whether every node has a domain of its own, as with host names: what is known of the domain is then known of
    /// the node.
    pub(crate) fn own(&self, topology: usize) -> bool {
        self.0[topology].own
    }
}

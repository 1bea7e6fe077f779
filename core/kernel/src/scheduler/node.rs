//! What a scheduler sees of nodes: one, all of them as a batch, and what changed about them.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::{changes::Changes, pod::PodView, resources::Resources, taint::Taint};

/// What a scheduler sees of a node, with the pods that are there or on their way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeView {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether an operator keeps new pods away.
    pub unschedulable: bool,
    /// What it offers to pods.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub max_pods: i64,
    /// What its pods ask for.
    pub used: Resources,
    /// What its pods are taken to use, with a guess for those that do not say: for scores only.
    pub estimated: Resources,
    /// The images it holds, normalized, and their sizes in bytes.
    pub images: BTreeMap<String, i64>,
    pods: Vec<Arc<PodView>>,
    with_ports: usize,
    with_affinity: usize,
}

impl NodeView {
    /// An empty node without resources.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same node with so much to offer.
    #[must_use]
    pub fn offering(mut self, allocatable: Resources, max_pods: i64) -> Self {
        self.allocatable = allocatable;
        self.max_pods = max_pods;
        self
    }

    /// The same node with a label.
    #[must_use]
    pub fn labelled(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The pods that are there or on their way.
    #[must_use]
    pub fn pods(&self) -> &[Arc<PodView>] {
        &self.pods
    }

    /// Whether any of its pods takes ports of the node.
    #[must_use]
    pub fn has_ports(&self) -> bool {
        self.with_ports > 0
    }

    /// Whether any of its pods cares which pods are nearby.
    #[must_use]
    pub fn has_affinity(&self) -> bool {
        self.with_affinity > 0
    }

    /// Counts a pod in.
    pub fn add(&mut self, pod: Arc<PodView>) {
        self.used.add(&pod.requests);
        self.estimated.add(&pod.estimated);
        self.with_ports += usize::from(!pod.ports.is_empty());
        self.with_affinity += usize::from(pod.affinity.is_some());
        self.pods.push(pod);
    }

    /// Counts a pod out; `false` where it was not counted.
    pub fn remove(&mut self, uid: &str) -> bool {
        let Some(at) = self.pods.iter().position(|pod| pod.uid == uid) else { return false };
        let pod = self.pods.swap_remove(at);
        self.used.subtract(&pod.requests);
        self.estimated.subtract(&pod.estimated);
        self.with_ports -= usize::from(!pod.ports.is_empty());
        self.with_affinity -= usize::from(pod.affinity.is_some());
        true
    }

    /// Takes over a newer view of a pod that is counted in and counts the same; `false` where it is not counted in.
    pub fn renew(&mut self, pod: &Arc<PodView>) -> bool {
        let known = self.pods.iter_mut().find(|known| known.uid == pod.uid);
        known.is_some_and(|known| {
            *known = Arc::clone(pod);
            true
        })
    }

    /// Takes over what another view says of the node itself, and keeps the pods. Gives back what was said before.
    pub fn refresh(&mut self, mut node: Self) -> Self {
        std::mem::swap(&mut self.labels, &mut node.labels);
        std::mem::swap(&mut self.taints, &mut node.taints);
        std::mem::swap(&mut self.unschedulable, &mut node.unschedulable);
        std::mem::swap(&mut self.allocatable, &mut node.allocatable);
        std::mem::swap(&mut self.max_pods, &mut node.max_pods);
        std::mem::swap(&mut self.images, &mut node.images);
        node
    }
}

/// The names of images.
#[derive(Clone, Copy, Debug)]
pub struct Image;

impl Image {
    /// The name with a tag: `latest` where it has neither tag nor digest.
    #[must_use]
    pub fn normalized(name: &str) -> Cow<'_, str> {
        let last = name.rsplit('/').next().unwrap_or(name);
        if last.contains(':') || last.contains('@') { name.into() } else { format!("{name}:latest").into() }
    }
}

/// What finds nodes without looking at all of them. Kept up to date by whoever owns the views.
#[derive(Clone, Debug, Default)]
pub struct NodeIndex {
    names: BTreeMap<Arc<str>, usize>,
    images: BTreeMap<String, usize>,
}

impl NodeIndex {
    /// The index of these nodes.
    #[must_use]
    pub fn of(nodes: &[NodeView]) -> Self {
        let mut index = Self::default();
        for (place, node) in nodes.iter().enumerate() {
            index.insert(place, node);
        }
        index
    }

    /// Takes in a node that stands at a place.
    pub fn insert(&mut self, place: usize, node: &NodeView) {
        self.names.insert(Arc::clone(&node.name), place);
        for image in node.images.keys() {
            *self.images.entry(image.clone()).or_default() += 1;
        }
    }

    /// Forgets a node, as it was when it was taken in.
    pub fn remove(&mut self, node: &NodeView) {
        self.names.remove(&node.name);
        for image in node.images.keys() {
            if let Some(count) = self.images.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.images.remove(image);
                }
            }
        }
    }

    /// Where a node stands.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// How many nodes hold an image.
    #[must_use]
    pub fn holders(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or_default()
    }
}

/// A batch of nodes: all of them, or some of all of them. Copying it copies references.
#[derive(Clone, Copy, Debug)]
pub struct Nodes<'a> {
    all: &'a [NodeView],
    index: &'a NodeIndex,
    some: Option<&'a [usize]>,
    changes: Option<&'a Changes>,
}

impl<'a> Nodes<'a> {
    /// All nodes, with their index.
    #[must_use]
    pub const fn new(all: &'a [NodeView], index: &'a NodeIndex) -> Self {
        Self { all, index, some: None, changes: None }
    }

    /// The same, with what changed about all nodes.
    #[must_use]
    pub const fn changed(self, changes: &'a Changes) -> Self {
        Self { changes: Some(changes), ..self }
    }

    /// What changed about all nodes, where the owner of the views keeps account of it.
    #[must_use]
    pub const fn changes(&self) -> Option<&'a Changes> {
        self.changes
    }

    /// Those of all nodes that stand at these places.
    #[must_use]
    pub const fn at(self, places: &'a [usize]) -> Self {
        Self { some: Some(places), ..self }
    }

    /// All nodes, of which the batch may be a part.
    #[must_use]
    pub const fn all(&self) -> &'a [NodeView] {
        self.all
    }

    /// What finds nodes.
    #[must_use]
    pub const fn index(&self) -> &'a NodeIndex {
        self.index
    }

    /// How many the batch holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.some.map_or(self.all.len(), <[usize]>::len)
    }

    /// Whether the batch is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batch, in its order.
    pub fn iter(&self) -> impl Iterator<Item = &'a NodeView> + use<'a> {
        let (all, some) = (self.all, self.some);
        (0..self.len()).map(move |at| &all[some.map_or(at, |places| places[at])])
    }

    /// A node by its name, whether in the batch or not.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a NodeView> {
        self.index.place(name).map(|place| &self.all[place])
    }
}

/// A change that may help pods which fitted nowhere.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// A node appeared.
    NodeAdded(&'a NodeView),
    /// A node is not what it was.
    NodeChanged {
        /// As it was, without pods.
        before: &'a NodeView,
        /// As it is.
        after: &'a NodeView,
    },
    /// A pod was placed, by whomever.
    PodPlaced(&'a PodView),
    /// A placed pod is not what it was.
    PodChanged {
        /// As it was.
        before: &'a PodView,
        /// As it is.
        after: &'a PodView,
    },
    /// A placed pod is gone.
    PodGone(&'a PodView),
    /// Something else that pods may wait for, such as a volume.
    Other(&'static str),
}

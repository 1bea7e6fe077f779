//! The search for the smallest change: filters propose cures, the cheapest candidates are tried, what really lets the
//! pod in is kept.

use std::sync::Arc;

use windlass_kernel::scheduler::{Cost, Cure, Edit, NodeIndex, NodeView, Nodes, PodView, Remedy};

use super::{
    Given, shapes,
    study::{Refusal, Study},
};

/// So many candidates are tried, the cheapest first; nearly always the first does.
const TRIES: usize = 32;
/// So often a candidate that does not do yet is cured of what was found then.
const ROUNDS: usize = 8;

/// Edits that are expected to let the pod in on a node, or that were seen to.
struct Candidate {
    cost: Cost,
    remedy: Remedy,
    /// Whether the node is one of the edits.
    is_new: bool,
}

impl Candidate {
    fn new(edits: Vec<Edit>, node: &Arc<str>, is_new: bool) -> Self {
        let remedy = Remedy { edits, node: Arc::clone(node) };
        Self { cost: remedy.cost(), remedy, is_new }
    }
}

/// The smallest change after which the pod fits somewhere; `None` where it fits already, or none is known.
pub(super) fn smallest(given: Given<'_>, pod: &PodView, nodes: &[NodeView]) -> Option<Remedy> {
    let gates: Vec<_> = pod.gates.iter().cloned().map(Edit::RemoveGate).collect();
    let index = NodeIndex::of(nodes);
    let all = Nodes::new(nodes, &index);
    let first = opened(given, pod, &all, gates)?;
    let open = changed(pod, &first);
    let study = Study::new(given, &open, &all);
    if study.overall.is_some() {
        return None;
    }
    if let Some(place) = (0..nodes.len()).find(|place| study.refusal(*place).is_none()) {
        let remedy = Remedy { edits: first, node: Arc::clone(&nodes[place].name) };
        return Some(remedy).filter(|remedy| !remedy.edits.is_empty());
    }
    let there = nodes.iter().enumerate().filter_map(|(place, node)| {
        // What rules a node out before filters are asked can be cured by the filter of the same name only.
        let asked = study.refusal(place).is_none_or(|refusal| {
            refusal.filter.is_some() || study.filters.iter().any(|filter| filter.name() == refusal.plugin)
        });
        asked.then(|| estimate(&study, node, first.clone(), false)).flatten()
    });
    let added = shapes::additions(nodes).into_iter().filter_map(|edit| {
        let Edit::AddNode { node, .. } = &edit else { return None };
        let node = Arc::clone(node);
        estimate(&study, &node, [first.clone(), vec![edit]].concat(), true)
    });
    let mut candidates: Vec<_> = there.chain(added).collect();
    candidates.sort_by(|a, b| a.cost.cmp(&b.cost));
    let mut best: Option<Candidate> = None;
    for candidate in candidates.into_iter().take(TRIES) {
        if best.as_ref().is_some_and(|best| best.cost <= candidate.cost) {
            break;
        }
        if let Some(found) = tried(given, pod, nodes, candidate) {
            best = match best {
                Some(best) if best.cost <= found.cost => Some(best),
                _ => Some(found),
            };
        }
    }
    best.map(|best| best.remedy)
}

/// Adds what has to change before any node is asked about.
fn opened(given: Given<'_>, pod: &PodView, nodes: &Nodes<'_>, mut edits: Vec<Edit>) -> Option<Vec<Edit>> {
    for _ in 0..ROUNDS {
        let open = changed(pod, &edits);
        let study = Study::new(given, &open, nodes);
        let Some((plugin, _)) = &study.overall else { return Some(edits) };
        let plugin = given.framework.pre_filters.iter().find(|own| own.name() == *plugin)?;
        let mut cures = plugin.cures(&study.cycle, &open, nodes);
        if cures.is_empty() {
            return None;
        }
        edits.extend(cures.remove(0));
    }
    None
}

fn changed(pod: &PodView, edits: &[Edit]) -> PodView {
    let mut pod = pod.clone();
    edits.iter().for_each(|edit| edit.change(&mut pod));
    pod
}

/// The cheapest cures of all that refuse a node, added to some edits.
fn estimate(study: &Study<'_>, node: &NodeView, mut edits: Vec<Edit>, is_new: bool) -> Option<Candidate> {
    for refusal in study.refusals(node) {
        edits.extend(cure(study, node, &refusal, is_new)?);
    }
    Some(Candidate::new(merged(edits), &node.name, is_new))
}

/// The cheapest cure of a refusal that may be suggested.
fn cure(study: &Study<'_>, node: &NodeView, refusal: &Refusal<'_>, is_new: bool) -> Option<Cure> {
    let filter = refusal.filter?;
    let cures =
        study.with_nominated(node, refusal.nominated, |cycle, node| filter.cures(cycle, study.pod, node, &study.nodes));
    let allowed = cures.into_iter().filter(|cure| !cure.is_empty() && cure.iter().all(|edit| may(edit, is_new)));
    allowed.min_by_key(|cure| Cost::of(cure, &node.name))
}

/// Whether an edit may be suggested. Facts about a machine that is there are not for its users to change; one that is
/// yet to be added can be anything.
fn may(edit: &Edit, is_new: bool) -> bool {
    match edit {
        Edit::LabelNode { key, .. } => is_new || !is_fact(key),
        Edit::GrowNode { .. } => is_new,
        _ => true,
    }
}

/// Whether a label is one of those by which Kubernetes says what a machine is.
fn is_fact(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    ["kubernetes.io", "k8s.io"]
        .iter()
        .any(|known| domain.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Does what a candidate says, looks again, and cures what is still refused.
fn tried(given: Given<'_>, pod: &PodView, nodes: &[NodeView], mut candidate: Candidate) -> Option<Candidate> {
    for _ in 0..ROUNDS {
        let remedy = &candidate.remedy;
        let changed = remedy.pod(pod);
        let copy = remedy.is_of_cluster().then(|| {
            let mut nodes = nodes.to_vec();
            remedy.change_nodes(&mut nodes);
            nodes
        });
        let nodes = copy.as_deref().unwrap_or(nodes);
        let index = NodeIndex::of(nodes);
        let study = Study::new(given, &changed, &Nodes::new(nodes, &index));
        if study.overall.is_some() {
            return None;
        }
        let place = index.place(&remedy.node)?;
        let Some(first) = study.refusal(place) else { return Some(candidate) };
        first.filter?;
        let mut edits = remedy.edits.clone();
        for refusal in study.refusals(&nodes[place]) {
            edits.extend(cure(&study, &nodes[place], &refusal, candidate.is_new)?);
        }
        candidate = Candidate::new(merged(edits), &candidate.remedy.node, candidate.is_new);
    }
    None
}

/// Says everything once; a request that was lowered twice is one edit.
fn merged(edits: Vec<Edit>) -> Vec<Edit> {
    let mut kept: Vec<Edit> = Vec::with_capacity(edits.len());
    for edit in edits {
        let Edit::LowerRequest { resource, to, .. } = &edit else {
            if !kept.contains(&edit) {
                kept.push(edit);
            }
            continue;
        };
        let before = kept.iter_mut().find_map(|own| match own {
            Edit::LowerRequest { resource: same, to, .. } if same == resource => Some(to),
            _ => None,
        });
        match before {
            Some(before) => *before = *to,
            None => kept.push(edit),
        }
    }
    kept
}

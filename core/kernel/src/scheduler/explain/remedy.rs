//! The smallest change that lets a pod in, and what "smallest" means.

use std::{fmt, sync::Arc};

use super::edit::Edit;
use crate::scheduler::{NodeView, PodView};

/// Edits that together let a pod in.
#[derive(Clone, Debug, PartialEq)]
pub struct Remedy {
    /// What to do, in this order.
    pub edits: Vec<Edit>,
    /// Where the pod fits then.
    pub node: Arc<str>,
}

/// How large a change is; the smallest is suggested.
///
/// Fewer edits are smaller. Of equally many, those are smaller that take less from what was asked for, by the sum of
/// these: a gate removed or a claim made or bound 0, a request lowered by at most half 1, a taint tolerated 2, a node uncordoned 3, a node
/// labelled 4, a port dropped or a spread made a preference 5, a selector, an affinity or a claim dropped 6, a node added 7 and
/// grown 1, a request lowered by more than half 8, another pod removed 9. Then the smaller loss of requests, in
/// thousandths of each, and at last the node's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    edits: usize,
    weight: u32,
    loss: i64,
    node: Arc<str>,
}

/// What a request loses, in thousandths.
fn loss(edit: &Edit) -> i64 {
    match edit {
        Edit::LowerRequest { from, to, .. } => {
            from.saturating_sub(*to).saturating_mul(1000).checked_div(*from).unwrap_or_default()
        }
        _ => 0,
    }
}

fn weight(edit: &Edit) -> u32 {
    match edit {
        Edit::RemoveGate(_) | Edit::CreateClaim(_) | Edit::BindClaim(_) => 0,
        Edit::GrowNode { .. } => 1,
        Edit::LowerRequest { .. } if loss(edit) <= 500 => 1,
        Edit::Tolerate(_) => 2,
        Edit::Uncordon(_) => 3,
        Edit::LabelNode { .. } => 4,
        Edit::DropPort(_) | Edit::RelaxSpread { .. } | Edit::StateSpread(_) => 5,
        Edit::DropSelector(_)
        | Edit::DropNodeAffinity
        | Edit::DropClaim(_)
        | Edit::DropPodAffinity(_)
        | Edit::DropPodAntiAffinity(_) => 6,
        Edit::AddNode { .. } => 7,
        Edit::LowerRequest { .. } => 8,
        Edit::RemovePod { .. } => 9,
    }
}

impl Cost {
    /// The size of edits for a node.
    #[must_use]
    pub fn of(edits: &[Edit], node: &Arc<str>) -> Self {
        Self {
            edits: edits.len(),
            weight: edits.iter().map(weight).sum(),
            loss: edits.iter().map(loss).sum(),
            node: Arc::clone(node),
        }
    }
}

impl Remedy {
    /// How large it is.
    #[must_use]
    pub fn cost(&self) -> Cost {
        Cost::of(&self.edits, &self.node)
    }

    /// The pod as it would be.
    #[must_use]
    pub fn pod(&self, pod: &PodView) -> PodView {
        let mut pod = pod.clone();
        self.edits.iter().for_each(|edit| edit.change(&mut pod));
        pod
    }

    /// Changes the nodes to be as they would be. A node that is added comes last.
    pub fn change_nodes(&self, nodes: &mut Vec<NodeView>) {
        self.edits.iter().for_each(|edit| edit.change_nodes(nodes));
    }

    /// Whether it changes nodes or other pods, rather than the pod alone.
    #[must_use]
    pub fn is_of_cluster(&self) -> bool {
        self.edits.iter().any(Edit::is_of_cluster)
    }
}

/// What to do, as a command.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, edit) in self.edits.iter().enumerate() {
            let glue = match at {
                0 => "",
                _ if at + 1 == self.edits.len() => " and ",
                _ => ", ",
            };
            write!(f, "{glue}{edit}")?;
        }
        if self.is_of_cluster() { Ok(()) } else { write!(f, " (node {})", self.node) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::{Effect, Taint};

    /// The cheapest of some changes.
    #[track_caller]
    fn check(changes: &[&[Edit]], expect: &str) {
        let remedies = changes.iter().map(|edits| Remedy { edits: edits.to_vec(), node: "n".into() });
        assert_eq!(remedies.min_by_key(Remedy::cost).unwrap().to_string(), expect);
    }

    fn cpu(from: i64, to: i64) -> Edit {
        Edit::LowerRequest { resource: "cpu".into(), from, to }
    }

    #[test]
    fn fewer_and_milder_changes_are_smaller() {
        let tolerate = Edit::Tolerate(Taint::new("k", "v", Effect::NoSchedule));
        let add = Edit::AddNode { like: Some("n".into()), node: Arc::new(NodeView::named("new-node")) };
        check(&[&[cpu(2000, 1500)], std::slice::from_ref(&tolerate)], "request cpu 1500m instead of 2 (node n)");
        let said = "tolerate the taint {k: v} (NoSchedule) (node n)";
        check(&[&[cpu(2000, 500)], std::slice::from_ref(&tolerate)], said);
        check(&[&[cpu(2000, 500)], std::slice::from_ref(&add)], "add one more node like n (new-node)");
        check(&[&[cpu(2000, 1500), tolerate.clone()], &[add]], "add one more node like n (new-node)");
        check(
            &[&[cpu(2000, 1500), tolerate, Edit::RemoveGate("g".into())]],
            "request cpu 1500m instead of 2, tolerate the taint {k: v} (NoSchedule) and remove the scheduling gate g \
             (node n)",
        );
        check(&[&[cpu(2000, 1200)], &[cpu(2000, 1800)]], "request cpu 1800m instead of 2 (node n)");
    }
}

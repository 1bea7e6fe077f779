//! Claims that one pod at a time may use.

use std::{collections::BTreeMap, sync::Arc};

use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{Change, Cure, Cycle, Edit, Filter, Fit, NodeView, Nodes, PodView, PreFilter, Prepared},
};

use super::{CHANGED, stored};

/// Keeps a pod waiting while another uses a claim that only one may use (`ReadWriteOncePod`).
#[derive(Clone, Copy, Debug)]
pub struct VolumeRestrictions;

const NAME: &str = "VolumeRestrictions";

/// The pod's exclusive claims, and how many other pods use each.
#[derive(Clone)]
struct Users(BTreeMap<String, usize>);

impl Users {
    fn count(&mut self, pod: &PodView, other: &PodView, gone: bool) {
        if other.key.namespace != pod.key.namespace || other.uid == pod.uid {
            return;
        }
        for claim in &other.claims {
            if let Some(users) = self.0.get_mut(&claim.name) {
                *users = if gone { users.saturating_sub(1) } else { *users + 1 };
            }
        }
    }
}

impl PreFilter for VolumeRestrictions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter(&self, cycle: &mut Cycle, pod: &PodView, nodes: &Nodes<'_>) -> Prepared {
        if pod.claims.is_empty() {
            return Prepared::Skip;
        }
        let storage = stored(cycle);
        let exclusive = pod.claims.iter().filter(|asked| {
            let key = ObjectKey::new(pod.key.namespace.clone(), asked.name.clone());
            storage.claims.get(&key).is_some_and(|claim| claim.exclusive)
        });
        let mut users = Users(exclusive.map(|asked| (asked.name.clone(), 0)).collect());
        if users.0.is_empty() {
            return Prepared::Skip;
        }
        nodes.all().iter().flat_map(NodeView::pods).for_each(|other| users.count(pod, other, false));
        cycle.set(users);
        Prepared::Ask
    }

    fn added(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, _: &NodeView) {
        if let Some(users) = cycle.get_mut::<Users>() {
            users.count(pod, other, false);
        }
    }

    fn removed(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, _: &NodeView) {
        if let Some(users) = cycle.get_mut::<Users>() {
            users.count(pod, other, true);
        }
    }
}

impl Filter for VolumeRestrictions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, cycle: &Cycle, _: &PodView, _: &NodeView) -> Fit {
        let used = cycle.get::<Users>().is_some_and(|users| users.0.values().any(|users| *users > 0));
        Fit::or_no(
            !used,
            "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
        )
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        match change {
            Change::PodGone(other) => {
                other.key.namespace == pod.key.namespace && other.claims.iter().any(|claim| pod.claims.contains(claim))
            }
            Change::Other(CHANGED) => true,
            _ => false,
        }
    }

    /// That those who use the claim go.
    fn cures(&self, cycle: &Cycle, pod: &PodView, _: &NodeView, nodes: &Nodes<'_>) -> Vec<Cure> {
        let Some(Users(users)) = cycle.get() else { return Vec::new() };
        let uses = |other: &PodView| {
            other.key.namespace == pod.key.namespace
                && other.uid != pod.uid
                && other.claims.iter().any(|claim| users.contains_key(&claim.name))
        };
        let gone = nodes.all().iter().flat_map(|node| {
            let users = node.pods().iter().filter(|other| uses(other));
            users.map(|other| Edit::RemovePod { pod: other.key.clone(), node: Arc::clone(&node.name) })
        });
        vec![gone.collect()]
    }
}

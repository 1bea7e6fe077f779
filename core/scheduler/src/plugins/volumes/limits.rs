//! How many volumes of a driver a node takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{Change, Cure, Cycle, Detail, Edit, Filter, Fit, NodeView, Nodes, PodView, PreFilter, Prepared},
};

use super::{CHANGED, stored};
use crate::storage::{Claim, Storage, csi::Limits};

/// Keeps pods from nodes that take no more volumes of a driver, as their CSINode says.
#[derive(Clone, Copy, Debug)]
pub struct NodeVolumeLimits;

const NAME: &str = "NodeVolumeLimits";

/// The volumes of one driver, each known by its handle, or by the claim that it is to be made for.
type Handles = BTreeSet<String>;

/// Volumes by the driver that they are of, where that has a limit on a node.
#[derive(Default)]
struct Volumes<'a>(BTreeMap<&'a str, Handles>);

impl<'a> Volumes<'a> {
    fn add(&mut self, storage: &'a Storage, claim: &Claim, limits: &'a Limits) {
        let named = claim.volume.as_ref().and_then(|name| storage.volumes.get(name));
        let (driver, handle) = match named {
            Some(volume) => match &volume.driver {
                Some((driver, handle)) => (driver.as_str(), handle.clone()),
                None => return,
            },
            // It is to be made.
            None => match claim.class.as_ref().and_then(|name| storage.classes.get(name)) {
                Some(class) => (class.provisioner.as_str(), format!("{}/{}", claim.key.namespace, claim.key.name)),
                None => return,
            },
        };
        if let Some((driver, _)) = limits.0.get_key_value(driver) {
            self.0.entry(driver).or_default().insert(handle);
        }
    }

    /// Those of a pod.
    fn of(storage: &'a Storage, pod: &PodView, limits: &'a Limits) -> Self {
        let mut all = Self::default();
        claims(storage, pod).for_each(|claim| all.add(storage, claim, limits));
        all
    }

    /// Those that a node has already, for its pods or left over from others.
    fn on(storage: &'a Storage, node: &NodeView, limits: &'a Limits) -> Self {
        let mut all = Self::default();
        for other in node.pods().iter().filter(|other| !other.claims.is_empty()) {
            claims(storage, other).for_each(|claim| all.add(storage, claim, limits));
        }
        let attached = storage.attachments.get(&*node.name).into_iter().flat_map(BTreeMap::values);
        let attached = attached.filter_map(|name| storage.volumes.get(name)?.driver.as_ref());
        for (driver, handle) in attached {
            if let Some((driver, _)) = limits.0.get_key_value(driver) {
                all.0.entry(driver).or_default().insert(handle.clone());
            }
        }
        all
    }
}

fn claims<'a>(storage: &'a Storage, pod: &'a PodView) -> impl Iterator<Item = &'a Arc<Claim>> {
    let key = |name: &str| ObjectKey::new(pod.key.namespace.clone(), name);
    pod.claims.iter().filter_map(move |asked| storage.claims.get(&key(&asked.name)))
}

/// A driver of which a node would have too many volumes.
struct Excess<'a> {
    driver: &'a str,
    there: usize,
    more: usize,
    limit: usize,
}

fn excess<'a>(storage: &'a Storage, pod: &PodView, node: &NodeView) -> Option<Excess<'a>> {
    let limits = storage.limits.get(&*node.name)?;
    let own = Volumes::of(storage, pod, limits);
    if own.0.is_empty() {
        return None;
    }
    let there = Volumes::on(storage, node, limits);
    own.0.into_iter().find_map(|(driver, handles)| {
        let there = there.0.get(driver);
        let more = handles.iter().filter(|handle| there.is_none_or(|there| !there.contains(*handle))).count();
        let (there, limit) = (there.map_or(0, BTreeSet::len), *limits.0.get(driver)?);
        // A pod whose volumes are all there already takes no more room.
        (more > 0 && there + more > limit).then_some(Excess { driver, there, more, limit })
    })
}

impl PreFilter for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter(&self, _: &mut Cycle, pod: &PodView, _: &Nodes<'_>) -> Prepared {
        if pod.claims.is_empty() { Prepared::Skip } else { Prepared::Ask }
    }
}

impl Filter for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        Fit::or_no(excess(&stored(cycle), pod, node).is_none(), "node(s) exceed max volume count")
    }

    fn helped_by(&self, _: &PodView, change: &Change<'_>) -> bool {
        match change {
            Change::NodeAdded(_) | Change::Other(CHANGED) => true,
            Change::PodGone(other) => !other.claims.is_empty(),
            _ => false,
        }
    }

    fn details(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        let storage = stored(cycle);
        let told = excess(&storage, pod, node).map(|Excess { driver, there, more, limit }| {
            let limit = format!("the node takes {limit} volumes of driver {driver}");
            Detail::Told(format!("{limit}: it has {there}, and the pod needs {more} more"))
        });
        told.into_iter().collect()
    }

    /// To do without the claims whose volumes are too many.
    fn cures(&self, cycle: &Cycle, pod: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        let storage = stored(cycle);
        let Some(limits) = storage.limits.get(&*node.name) else { return Vec::new() };
        let Some(Excess { driver, .. }) = excess(&storage, pod, node) else { return Vec::new() };
        let there = Volumes::on(&storage, node, limits);
        let mut drops = Vec::new();
        for claim in claims(&storage, pod) {
            let mut own = Volumes::default();
            own.add(&storage, claim, limits);
            let new = |handle: &String| there.0.get(driver).is_none_or(|there| !there.contains(handle));
            if own.0.get(driver).is_some_and(|handles| handles.iter().any(new)) {
                drops.push(Edit::DropClaim(claim.key.name.clone()));
            }
        }
        vec![drops]
    }
}

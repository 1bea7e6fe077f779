//! What the scheduler sees of claims, volumes, storage classes and drivers, and which volume a claim would get on a node.
//!
//! Pure: `host::storage` follows the API and writes decisions down.

pub mod csi;
pub(crate) mod views;

use std::{collections::BTreeMap, sync::Arc};

use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{NodeView, PodView},
};

use self::csi::{Attachment, Capacity, Driver, Limits};
pub use self::views::{Claim, Class, Volume};

/// Who provisions nothing.
const NOBODY: &str = "kubernetes.io/no-provisioner";

/// A fact from the host: all claims, volumes, storage classes, and what drivers say.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// The claims.
    pub claims: BTreeMap<ObjectKey, Arc<Claim>>,
    /// The volumes, by name.
    pub volumes: BTreeMap<String, Arc<Volume>>,
    /// The storage classes, by name.
    pub classes: BTreeMap<String, Arc<Class>>,
    /// The drivers, by name.
    pub drivers: BTreeMap<String, Arc<Driver>>,
    /// How much room there is for volumes, and where.
    pub capacities: BTreeMap<ObjectKey, Arc<Capacity>>,
    /// How many volumes nodes take, by node.
    pub limits: BTreeMap<String, Arc<Limits>>,
    /// The volumes that are attached to nodes: by node, and by the attachment's name.
    pub attachments: BTreeMap<String, BTreeMap<String, String>>,
}

/// The same, as a turn remembers it.
#[derive(Clone, Debug, Default)]
pub struct Stored(pub Arc<Storage>);

/// Why a pod's claims keep it from a node, in the words that users of Kubernetes know.
pub(crate) mod reason {
    pub(crate) const CONFLICT: &str = "node(s) didn't match PersistentVolume's node affinity";
    pub(crate) const NO_MATCH: &str = "node(s) didn't find available persistent volumes to bind";
    pub(crate) const NO_ROOM: &str = "node(s) did not have enough free storage";
    pub(crate) const NO_VOLUME: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
    pub(crate) const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";
}

/// What has to be written before a pod can go to a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Claims, and the volume that each is to get.
    pub(crate) bind: Vec<(Arc<Claim>, Arc<Volume>)>,
    /// Claims that a provisioner is to make a volume for, where the pod goes.
    pub(crate) provision: Vec<Arc<Claim>>,
}

/// A pod's claims: those with a volume, and those that get one once the pod has a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claimed {
    pub(crate) bound: Vec<Arc<Claim>>,
    pub(crate) waiting: Vec<Arc<Claim>>,
}

/// What a pod's claims lack before any node can be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unready {
    Missing(String, bool),
    Lost(String, String),
    Leaving(String),
    Foreign(String),
    Unbound(String),
}

impl Storage {
    /// The pod's claims, if each is as it has to be.
    pub(crate) fn claims(&self, pod: &PodView) -> Result<Claimed, Unready> {
        let (mut claimed, mut unbound) = (Claimed::default(), None);
        for asked in &pod.claims {
            let name = || asked.name.clone();
            let key = ObjectKey::new(pod.key.namespace.clone(), name());
            let Some(claim) = self.claims.get(&key) else { return Err(Unready::Missing(name(), asked.ephemeral)) };
            if claim.lost {
                return Err(Unready::Lost(name(), claim.volume.clone().unwrap_or_default()));
            }
            if claim.terminating {
                return Err(Unready::Leaving(name()));
            }
            if asked.ephemeral && claim.owner.as_deref() != Some(&pod.uid) {
                return Err(Unready::Foreign(name()));
            }
            if claim.bound {
                claimed.bound.push(Arc::clone(claim));
            } else if self.waits(claim) && claim.volume.is_none() {
                claimed.waiting.push(Arc::clone(claim));
            } else {
                unbound.get_or_insert_with(name);
            }
        }
        unbound.map_or(Ok(claimed), |name| Err(Unready::Unbound(name)))
    }

    /// Whether a claim gets its volume once a pod that uses it has a node.
    fn waits(&self, claim: &Claim) -> bool {
        claim.class.as_ref().and_then(|name| self.classes.get(name)).is_some_and(|class| class.waits)
    }

    /// What has to be written for a pod to go to a node, or why it cannot.
    pub(crate) fn plan(&self, claimed: &Claimed, node: &NodeView) -> Result<Plan, Vec<&'static str>> {
        let mut reasons = Vec::new();
        let mut there = true;
        for claim in &claimed.bound {
            match self.volumes.get(claim.volume.as_deref().unwrap_or_default()) {
                None => there = false,
                Some(volume) if !volume.reaches(node) && !reasons.contains(&reason::CONFLICT) => {
                    reasons.push(reason::CONFLICT);
                }
                Some(_) => {}
            }
        }
        let plan = self.found(&claimed.waiting, node);
        if let Err(reason) = &plan {
            reasons.push(*reason);
        }
        if !there {
            reasons.push(reason::NO_VOLUME);
        }
        match plan {
            Ok(plan) if reasons.is_empty() => Ok(plan),
            _ => Err(reasons),
        }
    }

    /// A volume for each claim, or that one can be provisioned on the node. The smallest claims choose first.
    fn found(&self, waiting: &[Arc<Claim>], node: &NodeView) -> Result<Plan, &'static str> {
        let mut plan = Plan::default();
        let mut waiting: Vec<_> = waiting.iter().collect();
        waiting.sort_by_key(|claim| claim.size);
        for claim in waiting {
            match &claim.selected {
                Some(selected) if *selected != *node.name => return Err(reason::NO_MATCH),
                Some(_) => {}
                None => {
                    if let Some(volume) = self.best(claim, node, &plan.bind) {
                        plan.bind.push((Arc::clone(claim), volume));
                        continue;
                    }
                }
            }
            self.provisions(claim, node)?;
            plan.provision.push(Arc::clone(claim));
        }
        Ok(plan)
    }

    /// The smallest volume that suits a claim and can be used on a node: one that is for the claim comes first.
    fn best(&self, claim: &Claim, node: &NodeView, taken: &[(Arc<Claim>, Arc<Volume>)]) -> Option<Arc<Volume>> {
        let suits = |volume: &&Arc<Volume>| {
            volume.suits(claim) && volume.reaches(node) && !taken.iter().any(|(_, other)| other.name == volume.name)
        };
        let rank = |volume: &&Arc<Volume>| (volume.claim.is_none(), volume.size, volume.name.clone());
        self.volumes.values().filter(suits).min_by_key(rank).map(Arc::clone)
    }

    /// Whether a volume can be made for a claim on a node, as far as is told.
    fn provisions(&self, claim: &Claim, node: &NodeView) -> Result<(), &'static str> {
        let class = claim.class.as_ref().and_then(|name| Some((name, self.classes.get(name)?)));
        let Some((name, class)) = class else { return Err(reason::NO_MATCH) };
        if class.provisioner.is_empty() || class.provisioner == NOBODY || !class.allows(node) {
            return Err(reason::NO_MATCH);
        }
        let told = self.drivers.get(&class.provisioner).is_some_and(|driver| driver.tells_capacity);
        let mut own = self.capacities.values().filter(|capacity| capacity.class == *name);
        if told && !own.any(|capacity| capacity.holds(claim.size, node)) {
            return Err(reason::NO_ROOM);
        }
        Ok(())
    }

    /// Takes over what is known of an attachment, and forgets what was known before.
    pub(crate) fn attach(&mut self, name: &str, before: Option<&Attachment>, after: Option<&Attachment>) {
        if let Some(before) = before
            && let Some(all) = self.attachments.get_mut(&before.node)
        {
            all.remove(name);
            if all.is_empty() {
                self.attachments.remove(&before.node);
            }
        }
        if let Some(Attachment { node, volume }) = after {
            self.attachments.entry(node.clone()).or_default().insert(name.into(), volume.clone());
        }
    }
}

#[cfg(test)]
mod tests;

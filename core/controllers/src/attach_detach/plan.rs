//! Which volumes a node is to have attached, which of its attachments can go, and what its status says. Pure.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use windlass_api::{
    core::v1::{AttachedVolume, Node, ObjectReference, PersistentVolume, Pod},
    storage::v1::{CSIDriver, VolumeAttachment},
};
use windlass_kernel::controller::ObjectKey;

use crate::claim;

/// How long a node that is not well may keep a volume that nobody wants there (upstream: the same).
pub(super) const PATIENCE: Duration = Duration::from_secs(360);

/// The taint that says that a node is shut down and will not write to its volumes any more (KEP-2268).
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// A pod on a node, and its claims.
#[derive(Clone, Debug, Default)]
pub(super) struct Using {
    pub(super) key: ObjectKey,
    pub(super) node: String,
    pub(super) claims: Vec<String>,
    /// For events.
    pub(super) reference: ObjectReference,
}

impl Using {
    /// A pod that has not run to its end.
    pub(super) fn of(pod: &Pod, reference: impl FnOnce() -> ObjectReference) -> Option<Self> {
        let node = pod.spec.node_name.clone().filter(|node| !node.is_empty())?;
        let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let claims: Vec<String> = claim::claims_of(pod).collect();
        let key = claim::key(&pod.metadata);
        (!ended && !claims.is_empty()).then(|| Self { key, node, claims, reference: reference() })
    }
}

/// What matters of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NodeFacts {
    pub(super) in_use: Vec<String>,
    pub(super) attached: Vec<AttachedVolume>,
    /// Whether it is ready, as far as is known.
    pub(super) healthy: bool,
    out_of_service: bool,
}

impl NodeFacts {
    pub(super) fn of(node: &Node) -> Self {
        let ready = node.status.conditions.iter().find(|own| own.type_ == "Ready");
        Self {
            in_use: node.status.volumes_in_use.clone(),
            attached: node.status.volumes_attached.clone(),
            healthy: ready.is_some_and(|own| own.status == "True"),
            out_of_service: node.spec.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE),
        }
    }
}

/// A volume that pods of a node want.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// The name of the volume's object.
    pub(super) volume: String,
    pub(super) driver: String,
    handle: String,
    pub(super) many_nodes: bool,
    pub(super) pods: Vec<Arc<Using>>,
}

impl Wanted {
    /// The name of its attachment to a node.
    pub(super) fn attachment(&self, node: &str) -> String {
        let text = format!("{}{}{node}", self.handle, self.driver);
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let mut name = String::from("csi-");
        for byte in digest.as_ref() {
            // A text takes whatever is written to it.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }
}

/// A volume that has to be attached; `None` for others.
pub(super) fn wanted(volume: &PersistentVolume, driver: impl FnOnce(&str) -> Option<Arc<CSIDriver>>) -> Option<Wanted> {
    let csi = volume.spec.csi.as_ref()?;
    if driver(&csi.driver).and_then(|own| own.spec.attach_required) == Some(false) {
        return None;
    }
    let many_nodes = volume.spec.access_modes.iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany");
    Some(Wanted {
        volume: volume.metadata.name.clone().unwrap_or_default(),
        driver: csi.driver.clone(),
        handle: csi.volume_handle.clone(),
        many_nodes,
        pods: Vec::new(),
    })
}

/// What a node's status calls a volume.
pub(super) fn unique(volume: &PersistentVolume) -> Option<String> {
    let csi = volume.spec.csi.as_ref()?;
    Some(format!("kubernetes.io/csi/{}^{}", csi.driver, csi.volume_handle))
}

/// The claim that a volume is of.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<ObjectKey> {
    let own = volume.spec.claim_ref.as_ref()?;
    Some(ObjectKey::new(own.namespace.clone()?, own.name.clone()?))
}

/// A volume as it stands in a node's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reported {
    name: String,
    unique: String,
}

impl Reported {
    pub(super) fn entry(&self) -> AttachedVolume {
        AttachedVolume { name: self.unique.clone(), device_path: self.name.clone() }
    }
}

/// An attachment that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detaching {
    pub(super) name: String,
    pub(super) unique: String,
    /// Why, though the node says that it uses the volume.
    pub(super) forced: Option<&'static str>,
}

/// An attachment that nobody wants, and that the node still uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) name: String,
    unique: String,
}

impl Waiting {
    pub(super) fn reported(self) -> Reported {
        Reported { name: self.name, unique: self.unique }
    }

    pub(super) fn by_force(self) -> Detaching {
        Detaching { name: self.name, unique: self.unique, forced: Some("the node had its time") }
    }
}

/// What is to be said and done of a node's attachments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) attached: Vec<Reported>,
    pub(super) detach: Vec<Detaching>,
    pub(super) waiting: Vec<Waiting>,
}

/// Compares the attachments of a node with what its pods want. Without a node, nothing is used any more.
pub(super) fn plan(
    wanted: &BTreeMap<String, Wanted>,
    held: &[Arc<VolumeAttachment>],
    node: Option<&NodeFacts>,
    unique: impl Fn(&str) -> Option<String>,
) -> Plan {
    let mut plan = Plan::default();
    for own in held {
        let name = own.metadata.name.clone().unwrap_or_default();
        let volume = own.spec.source.persistent_volume_name.as_deref();
        let (false, Some(unique)) = (own.metadata.deletion_timestamp.is_some(), volume.and_then(&unique)) else {
            continue;
        };
        if wanted.contains_key(&name) {
            if own.status.attached {
                plan.attached.push(Reported { name, unique });
            }
            continue;
        }
        match node {
            Some(node) if node.out_of_service => {
                plan.detach.push(Detaching { name, unique, forced: Some("the node is out of service") });
            }
            Some(node) if node.in_use.contains(&unique) => plan.waiting.push(Waiting { name, unique }),
            _ => plan.detach.push(Detaching { name, unique, forced: None }),
        }
    }
    plan
}

//! Small views of claims, volumes and storage classes, and how one suits another.

use std::collections::BTreeMap;

use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    quantity::Amount,
    selector::{Labels, Operator, Requirement},
    storage::v1::StorageClass,
    types::Quantity,
};
use windlass_kernel::{
    controller::ObjectKey,
    scheduler::{NodeTerm, NodeTerms, NodeView},
};

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const BOUND: &str = "pv.kubernetes.io/bind-completed";
/// On a claim: the node where its volume is to be provisioned.
pub(crate) const SELECTED: &str = "volume.kubernetes.io/selected-node";
/// The labels of a volume that say where it can be used, from before volumes had node affinity.
const PLACES: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// What is seen of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its namespace and name.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// The storage class that it asks for.
    pub class: Option<String>,
    /// The volume that it names.
    pub volume: Option<String>,
    /// Whether the volume names it, too, and all is done.
    pub bound: bool,
    /// Whether its volume is gone.
    pub lost: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The node where its volume is to be provisioned.
    pub selected: Option<String>,
    /// The uid of the pod that it was made for.
    pub owner: Option<String>,
    /// Whether one pod at a time may use it (`ReadWriteOncePod`).
    pub exclusive: bool,
    /// How it wants to be used.
    modes: Vec<String>,
    block: bool,
    /// How many bytes it asks for.
    pub size: i64,
    selector: Option<Labels>,
}

/// What is seen of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its version, for writing.
    pub version: String,
    /// Its storage class.
    pub class: Option<String>,
    /// The claim that it is for: key, and uid where that is known.
    pub claim: Option<(ObjectKey, Option<String>)>,
    /// Whether it can be claimed.
    available: bool,
    modes: Vec<String>,
    block: bool,
    /// How many bytes it holds.
    pub size: i64,
    labels: BTreeMap<String, String>,
    /// Where it can be used; `None` for everywhere.
    pub affinity: Option<NodeTerms>,
    /// The driver that it is of, and what the driver knows it by.
    pub driver: Option<(String, String)>,
}

/// What is seen of a storage class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Who provisions.
    pub provisioner: String,
    /// Whether claims wait for a pod (`WaitForFirstConsumer`).
    pub waits: bool,
    /// Where volumes can be provisioned; empty for everywhere.
    topologies: Vec<NodeTerm>,
}

fn bytes(amount: Option<&Quantity>) -> i64 {
    amount.and_then(|amount| amount.0.parse::<Amount>().ok()).map_or(0, Amount::as_i64)
}

fn class(annotations: &BTreeMap<String, String>, named: Option<&String>) -> Option<String> {
    annotations.get(CLASS).or(named).filter(|name| !name.is_empty()).cloned()
}

fn is_block(mode: Option<&String>) -> bool {
    mode.is_some_and(|mode| mode == "Block")
}

impl Claim {
    /// Reads the API's form.
    #[must_use]
    pub fn of(claim: &PersistentVolumeClaim) -> Self {
        let (meta, spec) = (&claim.metadata, &claim.spec);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let volume = spec.volume_name.clone().filter(|name| !name.is_empty());
        let owner = meta.owner_references.iter().find(|owner| owner.controller == Some(true) && owner.kind == "Pod");
        let selector = spec.selector.as_ref().map(|selector| {
            let tree = serde_json::to_value(selector).ok();
            Labels::from_json(tree.as_ref()).unwrap_or_else(|_| Labels::nothing())
        });
        Self {
            key: ObjectKey::new(text(&meta.namespace), text(&meta.name)),
            uid: text(&meta.uid),
            class: class(&meta.annotations, spec.storage_class_name.as_ref()),
            bound: volume.is_some() && meta.annotations.contains_key(BOUND),
            volume,
            lost: claim.status.phase.as_deref() == Some("Lost"),
            terminating: meta.deletion_timestamp.is_some(),
            selected: meta.annotations.get(SELECTED).cloned(),
            owner: owner.map(|owner| owner.uid.clone()),
            exclusive: spec.access_modes.iter().any(|mode| mode == "ReadWriteOncePod"),
            modes: spec.access_modes.clone(),
            block: is_block(spec.volume_mode.as_ref()),
            size: bytes(spec.resources.requests.get("storage")),
            selector,
        }
    }
}

impl Volume {
    /// Reads the API's form.
    #[must_use]
    pub fn of(volume: &PersistentVolume) -> Self {
        let (meta, spec) = (&volume.metadata, &volume.spec);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let claim = spec.claim_ref.as_ref().map(|own| {
            let key = ObjectKey::new(text(&own.namespace), text(&own.name));
            (key, own.uid.clone().filter(|uid| !uid.is_empty()))
        });
        let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        Self {
            name: text(&meta.name),
            version: text(&meta.resource_version),
            class: class(&meta.annotations, spec.storage_class_name.as_ref()),
            claim,
            available: meta.deletion_timestamp.is_none() && volume.status.phase.as_deref() == Some("Available"),
            modes: spec.access_modes.clone(),
            block: is_block(spec.volume_mode.as_ref()),
            size: bytes(spec.capacity.get("storage")),
            labels: meta.labels.clone(),
            affinity: required.map(NodeTerms::of),
            driver: spec.csi.as_ref().map(|csi| (csi.driver.clone(), csi.volume_handle.clone())),
        }
    }

    /// Whether it can be used on a node, as its node affinity says.
    #[must_use]
    pub fn reaches(&self, node: &NodeView) -> bool {
        self.affinity.as_ref().is_none_or(|terms| terms.matches(node))
    }

    /// Whether a node is in the zone and region of its labels, which may name several.
    #[must_use]
    pub fn is_in_zone_of(&self, node: &NodeView) -> bool {
        PLACES.iter().all(|place| {
            let Some(own) = self.labels.get(*place) else { return true };
            // A node that says nothing of its place takes part in no zone, unless the newer label says so.
            let newer = place.replace("failure-domain.beta.kubernetes.io", "topology.kubernetes.io");
            let there = node.labels.get(*place).or_else(|| node.labels.get(&newer));
            there.is_some_and(|there| own.split("__").any(|zone| zone == there))
        })
    }

    /// Whether a claim could be bound to it.
    #[must_use]
    pub fn suits(&self, claim: &Claim) -> bool {
        let meant = match &self.claim {
            Some((key, uid)) => *key == claim.key && uid.as_ref().is_none_or(|uid| *uid == claim.uid),
            None => claim.selector.as_ref().is_none_or(|selector| selector.matches(&self.labels)),
        };
        meant
            && self.available
            && self.class == claim.class
            && self.block == claim.block
            && self.size >= claim.size
            && claim.modes.iter().all(|mode| self.modes.contains(mode))
    }
}

impl Class {
    /// Reads the API's form.
    #[must_use]
    pub fn of(class: &StorageClass) -> Self {
        let topologies = class.allowed_topologies.iter().filter_map(|term| {
            let asked = term.match_label_expressions.iter();
            let asked = asked.map(|one| Requirement::new(one.key.clone(), Operator::In, one.values.clone()).ok());
            asked.collect::<Option<Vec<_>>>().map(|all| NodeTerm::labelled(Labels::all(all)))
        });
        Self {
            provisioner: class.provisioner.clone(),
            waits: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            topologies: topologies.collect(),
        }
    }

    /// Whether volumes can be provisioned for a node.
    #[must_use]
    pub fn allows(&self, node: &NodeView) -> bool {
        self.topologies.is_empty() || self.topologies.iter().any(|term| term.matches(node))
    }
}

//! What is asked of a driver for a claim, and what volume comes of the answer. Decides; asks and writes nothing.

use std::collections::BTreeMap;

use windlass_api::{
    core::v1::{
        CSIPersistentVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
        PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, SecretReference, VolumeNodeAffinity,
    },
    meta::v1::ObjectMeta,
    quantity::{Amount, Format},
    storage::v1::{CSINodeDriver, StorageClass},
    types::{Quantity, Resource},
};
use windlass_kernel::volume::{
    Access, AccessMode, CapacityRange, CreateVolume, Source, Topology, TopologyRequirement, Volume, VolumeCapability,
};

use crate::{
    driver_secrets::{OWN, Words, named},
    snapshotter::kinds::{self, VolumeSnapshot, VolumeSnapshotContent},
};

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Holds a volume until its driver has deleted it, also where somebody deletes the object first (KEP-2644).
const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";

/// On a volume: the secret that deleting it needs.
const DELETION_SECRET: &str = "volume.kubernetes.io/provisioner-deletion-secret-name";
const DELETION_NAMESPACE: &str = "volume.kubernetes.io/provisioner-deletion-secret-namespace";

/// On a content: claims of the other volume mode may be made from it, too (KEP-3141).
const MODE_CHANGE: &str = "snapshot.storage.kubernetes.io/allow-volume-mode-change";

const FS_TYPE: &str = "csi.storage.k8s.io/fstype";

/// Why a claim cannot be served as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

/// The driver and class that a claim without a volume waits for.
pub(super) fn asked_for(claim: &PersistentVolumeClaim) -> Option<(&String, &str)> {
    if claim.metadata.deletion_timestamp.is_some() || claim.spec.volume_name.as_ref().is_some_and(|n| !n.is_empty()) {
        return None;
    }
    let class = claim.metadata.annotations.get(CLASS).map(String::as_str).or(claim.spec.storage_class_name.as_deref());
    Some((claim.metadata.annotations.get(PROVISIONER)?, class.filter(|name| !name.is_empty())?))
}

/// Whether volumes of a class are made only when a pod has a node.
pub(super) fn waits(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// The node that the scheduler chose for a claim.
pub(super) fn selected_node(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.metadata.annotations.get(SELECTED_NODE).map(String::as_str).filter(|node| !node.is_empty())
}

/// The claim, for the scheduler to choose again.
pub(super) fn without_node(claim: &PersistentVolumeClaim) -> PersistentVolumeClaim {
    let mut claim = claim.clone();
    claim.metadata.annotations.remove(SELECTED_NODE);
    claim
}

/// The name of the volume of a claim. It is the name that the driver is told, too.
pub(super) fn volume_name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default())
}

/// What a claim is to be a copy of, in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// The volume of another claim.
    Claim(&'a str),
    /// A snapshot.
    Snapshot(&'a str),
}

/// What a claim is to be a copy of: its `dataSourceRef`, or `dataSource` where that is all there is.
pub(super) fn copied(claim: &PersistentVolumeClaim) -> Result<Option<Origin<'_>>, Refused> {
    let spec = &claim.spec;
    let (group, kind, name) = match (&spec.data_source_ref, &spec.data_source) {
        (Some(own), _) if own.namespace.as_ref().is_some_and(|namespace| !namespace.is_empty()) => {
            return Err(Refused("a volume cannot be made from what is in another namespace".to_owned()));
        }
        (Some(own), _) => (&own.api_group, &own.kind, &own.name),
        (None, Some(own)) => (&own.api_group, &own.kind, &own.name),
        (None, None) => return Ok(None),
    };
    match (group.as_deref().unwrap_or_default(), kind.as_str()) {
        ("", PersistentVolumeClaim::KIND) => Ok(Some(Origin::Claim(name))),
        (kinds::GROUP, VolumeSnapshot::KIND) => Ok(Some(Origin::Snapshot(name))),
        _ => Err(Refused(format!(
            "a volume cannot be made from {kind} {name:?}: only from a PersistentVolumeClaim or a VolumeSnapshot"
        ))),
    }
}

/// The content of a snapshot that claims can be made from.
pub(super) fn content_of(snapshot: &VolumeSnapshot) -> Result<String, Refused> {
    let name = snapshot.metadata.name.as_deref().unwrap_or_default();
    if snapshot.metadata.deletion_timestamp.is_some() {
        return Err(Refused(format!("snapshot {name} is currently being deleted")));
    }
    if !snapshot.is_ready() {
        return Err(Refused(format!("snapshot {name} is not ready")));
    }
    let bound = snapshot.status().bound_volume_snapshot_content_name;
    bound.ok_or_else(|| Refused(format!("snapshot {name} is not bound to a content")))
}

/// What the driver calls the snapshot that a claim is to be made from, where it can be.
pub(super) fn restored(
    claim: &PersistentVolumeClaim,
    driver: &str,
    snapshot: &VolumeSnapshot,
    content: &VolumeSnapshotContent,
) -> Result<String, Refused> {
    let name = snapshot.metadata.name.as_deref().unwrap_or_default();
    let own = content.metadata.name.as_deref().unwrap_or_default();
    if !content.is_of(snapshot) {
        return Err(Refused(format!("snapshot {name} and volumesnapshotcontent {own} are not of one another")));
    }
    if content.body.spec.driver != driver {
        let other = &content.body.spec.driver;
        return Err(Refused(format!("snapshot {name} is of driver {other:?}, and the class of driver {driver:?}")));
    }
    let asked = bytes(claim.spec.resources.requests.get("storage")).unwrap_or_default();
    let least = content.status().restore_size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
    if asked < least {
        return Err(Refused(format!(
            "requested volume size {asked} is less than the size {least} for the source snapshot {name}"
        )));
    }
    let mode = claim.spec.volume_mode.as_deref().unwrap_or("Filesystem");
    let other = content.body.spec.source_volume_mode.as_deref().is_some_and(|own| own != mode);
    if other && content.metadata.annotations.get(MODE_CHANGE).is_none_or(|word| word != "true") {
        return Err(Refused(format!(
            "the volume of snapshot {name} had another mode than {mode}, and volumesnapshotcontent {own} lacks the \
             annotation {MODE_CHANGE}"
        )));
    }
    content.handle().ok_or_else(|| Refused(format!("snapshot {name} has no handle")))
}

/// The secrets that a class names, as they are for a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ClassSecrets {
    /// For making and deleting the volume.
    pub(super) provisioner: Option<SecretReference>,
    controller_publish: Option<SecretReference>,
    node_stage: Option<SecretReference>,
    node_publish: Option<SecretReference>,
    controller_expand: Option<SecretReference>,
    node_expand: Option<SecretReference>,
}

/// What secrets in parameters of classes are for.
const PURPOSES: [&str; 6] =
    ["provisioner", "controller-publish", "node-stage", "node-publish", "controller-expand", "node-expand"];

/// The secrets that a class names for a claim.
pub(super) fn secrets(claim: &PersistentVolumeClaim, class: &StorageClass) -> Result<ClassSecrets, Refused> {
    let known = |name: &str| {
        let purpose = name
            .strip_prefix(OWN)
            .and_then(|rest| rest.strip_suffix("-secret-name").or_else(|| rest.strip_suffix("-secret-namespace")));
        name == FS_TYPE || !name.starts_with(OWN) || purpose.is_some_and(|own| PURPOSES.contains(&own))
    };
    if let Some(name) = class.parameters.keys().find(|name| !known(name)) {
        return Err(Refused(format!("parameter {name} of the class is not known, and {OWN} is not for drivers")));
    }
    let mut words = Words::default();
    words.both.insert("pv.name".into(), volume_name(claim));
    words.both.insert("pvc.namespace".into(), claim.metadata.namespace.clone().unwrap_or_default());
    words.name.insert("pvc.name".into(), claim.metadata.name.clone().unwrap_or_default());
    let annotation = |(key, value): (&String, &String)| (format!("pvc.annotations['{key}']"), value.clone());
    words.name.extend(claim.metadata.annotations.iter().map(annotation));
    let of = |purpose: &str| named(&class.parameters, purpose, &words).map_err(Refused);
    let [provisioner, controller_publish, node_stage, node_publish, controller_expand, node_expand] = PURPOSES;
    Ok(ClassSecrets {
        provisioner: of(provisioner)?,
        controller_publish: of(controller_publish)?,
        node_stage: of(node_stage)?,
        node_publish: of(node_publish)?,
        controller_expand: of(controller_expand)?,
        node_expand: of(node_expand)?,
    })
}

/// The secret that deleting a volume needs.
pub(super) fn deletion_secret(volume: &PersistentVolume) -> Option<SecretReference> {
    let word = |key: &str| volume.metadata.annotations.get(key).cloned();
    Some(SecretReference { name: Some(word(DELETION_SECRET)?), namespace: Some(word(DELETION_NAMESPACE)?) })
}

fn bytes(amount: Option<&Quantity>) -> Option<u64> {
    let amount: Option<Amount> = amount.and_then(|amount| amount.0.parse().ok());
    amount.and_then(|amount| u64::try_from(amount.as_i64()).ok()).filter(|bytes| *bytes > 0)
}

/// What is asked of a driver, which may tell one writer of a node from many.
pub(super) fn request(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    source: Option<Source>,
    (topology, writers): (Option<TopologyRequirement>, bool),
) -> Result<CreateVolume, Refused> {
    let block = claim.spec.volume_mode.as_deref() == Some("Block");
    let access = if block {
        Access::Block
    } else {
        let fs_type = class.parameters.get(FS_TYPE).cloned().unwrap_or_default();
        Access::Mount { fs_type, flags: class.mount_options.clone(), group: String::new() }
    };
    let capability = |word: &String| {
        let mode = AccessMode::named(word, writers);
        let unknown = || Refused(format!("access mode {word} is not known"));
        Ok(VolumeCapability { access: access.clone(), mode: mode.ok_or_else(unknown)? })
    };
    let resources = &claim.spec.resources;
    Ok(CreateVolume {
        name: volume_name(claim),
        capacity: CapacityRange {
            required: bytes(resources.requests.get("storage")),
            limit: bytes(resources.limits.get("storage")),
        },
        capabilities: claim.spec.access_modes.iter().map(capability).collect::<Result<_, _>>()?,
        parameters: class.parameters.iter().filter(|(name, _)| !name.starts_with(OWN)).map(owned).collect(),
        source,
        topology,
        ..CreateVolume::default()
    })
}

/// The parameters that say which claim a volume is for.
pub(super) fn told(claim: &PersistentVolumeClaim) -> [(String, String); 3] {
    let (meta, word) = (&claim.metadata, |name: &str, value: &str| (format!("{OWN}{name}"), value.to_owned()));
    [
        word("pvc/name", meta.name.as_deref().unwrap_or_default()),
        word("pvc/namespace", meta.namespace.as_deref().unwrap_or_default()),
        word("pv/name", &volume_name(claim)),
    ]
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

/// The volume that was made, as the cluster sees it.
pub(super) fn volume(
    driver: &str,
    (claim, class): (&PersistentVolumeClaim, &StorageClass),
    secrets: &ClassSecrets,
    request: &CreateVolume,
    made: &Volume,
) -> PersistentVolume {
    // Where the driver does not say, it is as large as was asked.
    let bytes = made.capacity.or(request.capacity.required).unwrap_or_default();
    let amount = Amount::units(i64::try_from(bytes).unwrap_or(i64::MAX), Format::Binary);
    let fs_type = request.capabilities.iter().find_map(|capability| match &capability.access {
        Access::Mount { fs_type, .. } => Some(fs_type.clone()).filter(|fs_type| !fs_type.is_empty()),
        Access::Block => None,
    });
    let meta = &claim.metadata;
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(request.name.clone()),
            annotations: annotations(driver, secrets),
            finalizers: deletes(class.reclaim_policy.as_deref()).then(|| FINALIZER.to_owned()).into_iter().collect(),
            ..ObjectMeta::default()
        },
        spec: PersistentVolumeSpec {
            access_modes: claim.spec.access_modes.clone(),
            capacity: [("storage".to_owned(), Quantity(amount.to_string()))].into(),
            claim_ref: Some(Box::new(ObjectReference {
                api_version: Some(PersistentVolumeClaim::api_version()),
                kind: Some(PersistentVolumeClaim::KIND.into()),
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                ..ObjectReference::default()
            })),
            csi: Some(Box::new(CSIPersistentVolumeSource {
                driver: driver.into(),
                volume_handle: made.id.to_string(),
                volume_attributes: made.context.clone(),
                fs_type,
                controller_publish_secret_ref: secrets.controller_publish.clone(),
                node_stage_secret_ref: secrets.node_stage.clone(),
                node_publish_secret_ref: secrets.node_publish.clone(),
                controller_expand_secret_ref: secrets.controller_expand.clone(),
                node_expand_secret_ref: secrets.node_expand.clone(),
                ..CSIPersistentVolumeSource::default()
            })),
            mount_options: class.mount_options.clone(),
            node_affinity: affinity(&made.topology).map(Box::new),
            persistent_volume_reclaim_policy: Some(class.reclaim_policy.clone().unwrap_or_else(|| "Delete".into())),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: Some(claim.spec.volume_mode.clone().unwrap_or_else(|| "Filesystem".into())),
            ..PersistentVolumeSpec::default()
        },
        ..PersistentVolume::default()
    }
}

fn annotations(driver: &str, secrets: &ClassSecrets) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([(PROVISIONED_BY.to_owned(), driver.to_owned())]);
    if let Some(SecretReference { name: Some(name), namespace: Some(namespace) }) = &secrets.provisioner {
        all.insert(DELETION_SECRET.into(), name.clone());
        all.insert(DELETION_NAMESPACE.into(), namespace.clone());
    }
    all
}

/// The nodes that reach a volume: those of any of its places.
fn affinity(places: &[Topology]) -> Option<VolumeNodeAffinity> {
    let requirement = |(key, value): (&String, &String)| NodeSelectorRequirement {
        key: key.clone(),
        operator: "In".into(),
        values: vec![value.clone()],
    };
    let term = |place: &Topology| NodeSelectorTerm {
        match_expressions: place.0.iter().map(requirement).collect(),
        ..NodeSelectorTerm::default()
    };
    let terms: Vec<_> = places.iter().filter(|place| !place.0.is_empty()).map(term).collect();
    let required = Some(NodeSelector { node_selector_terms: terms });
    (!places.is_empty()).then_some(VolumeNodeAffinity { required })
}

/// Where a node is, in the words of a driver; `None` where the node does not say.
pub(super) fn place(driver: &CSINodeDriver, node: &Node) -> Option<Topology> {
    let word = |key: &String| Some((key.clone(), node.metadata.labels.get(key)?.clone()));
    driver.topology_keys.iter().map(word).collect::<Option<_>>().map(Topology)
}

/// The places that a class allows: of each term every combination of its values.
pub(super) fn allowed(class: &StorageClass) -> Vec<Topology> {
    let mut all = Vec::new();
    for term in &class.allowed_topologies {
        let mut places = vec![Topology::default()];
        for wanted in &term.match_label_expressions {
            let with = |place: &Topology, value: &String| {
                let mut place = place.clone();
                place.0.insert(wanted.key.clone(), value.clone());
                place
            };
            places = places.iter().flat_map(|place| wanted.values.iter().map(|value| with(place, value))).collect();
        }
        all.extend(places);
    }
    all
}

/// Any of the places; claims begin at different ones, each at the same every time.
pub(super) fn spread(claim: &PersistentVolumeClaim, mut places: Vec<Topology>) -> Option<TopologyRequirement> {
    places.sort();
    places.dedup();
    if places.is_empty() {
        return None;
    }
    let uid = claim.metadata.uid.as_deref().unwrap_or_default();
    let first = uid.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % places.len();
    let mut preferred = places.clone();
    preferred.rotate_left(first);
    Some(TopologyRequirement { requisite: places, preferred })
}

/// What becomes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its driver deletes it, then the object goes.
    Delete,
    /// The object may go, and what it stood for stays.
    LetGo,
}

/// Whether a volume is at its end; `None` while a claim has it.
pub(super) fn end_of(volume: &PersistentVolume) -> Option<End> {
    let released = matches!(volume.status.phase.as_deref(), Some("Released" | "Failed"));
    let held = volume.metadata.finalizers.iter().any(|own| own == FINALIZER);
    let going = volume.metadata.deletion_timestamp.is_some();
    let ours = held || volume.metadata.annotations.contains_key(PROVISIONED_BY);
    match deletes(volume.spec.persistent_volume_reclaim_policy.as_deref()) {
        true if ours && (released || (going && unclaimed(volume))) => Some(End::Delete),
        false if held && going && (released || unclaimed(volume)) => Some(End::LetGo),
        _ => None,
    }
}

/// Whether no claim was ever said to have a volume.
fn unclaimed(volume: &PersistentVolume) -> bool {
    volume.spec.claim_ref.is_none()
}

fn deletes(policy: Option<&str>) -> bool {
    policy.is_none_or(|policy| policy == "Delete")
}

/// The volume without the hold on it, where there is one.
pub(super) fn let_go(volume: &PersistentVolume) -> Option<PersistentVolume> {
    let mut free = volume.clone();
    free.metadata.finalizers.retain(|own| own != FINALIZER);
    (free.metadata.finalizers.len() < volume.metadata.finalizers.len()).then_some(free)
}

#[cfg(test)]
mod tests;

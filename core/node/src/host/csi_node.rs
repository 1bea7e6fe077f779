//! What the cluster is told of a node's volume drivers: the CSINode object, and labels that say where the node is for them.

use std::collections::{BTreeMap, BTreeSet};

use windlass_api::{
    core::v1::Node,
    meta::v1::{ObjectMeta, OwnerReference},
    storage::v1::{CSINode, CSINodeDriver, CSINodeSpec, VolumeNodeResources},
};
use windlass_client::Client;
use windlass_kernel::{ErrorKind, Result, volume::NodeInfo};

/// What each driver calls the node, as upstream's kubelets write it.
const IDS: &str = "csi.volume.kubernetes.io/nodeid";

/// Writes what differs: labels first, so that whoever sees the driver sees where it is.
pub(super) async fn tell(client: &Client, name: &str, drivers: &BTreeMap<String, NodeInfo>) -> Result<()> {
    let node = client.modify::<Node>("", name, |node| label(node, drivers)).await?;
    let spec = CSINodeSpec { drivers: drivers.iter().map(described).collect() };
    match client.modify::<CSINode>("", name, |own| own.spec = spec.clone()).await {
        Err(error) if error.is(ErrorKind::NotFound) => {}
        done => return done.map(drop),
    }
    // It belongs to the node, so that it goes when the node does.
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.into(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let metadata = ObjectMeta { name: Some(name.into()), owner_references: vec![owner], ..ObjectMeta::default() };
    client.create(&CSINode { metadata, spec }).await.map(drop)
}

fn described((name, info): (&String, &NodeInfo)) -> CSINodeDriver {
    let count = info.max_volumes.filter(|count| *count > 0).and_then(|count| i32::try_from(count).ok());
    CSINodeDriver {
        name: name.clone(),
        node_id: info.id.to_string(),
        topology_keys: info.topology.iter().flat_map(|place| place.0.keys().cloned()).collect(),
        allocatable: count.map(|count| VolumeNodeResources { count: Some(count) }),
    }
}

/// Labels the node with the places of its drivers. What somebody else says of the same key stays, and is told.
fn label(node: &mut Node, drivers: &BTreeMap<String, NodeInfo>) {
    let ids: BTreeMap<&str, &str> = drivers.iter().map(|(name, info)| (name.as_str(), info.id.as_str())).collect();
    let known = node.metadata.annotations.contains_key(IDS);
    if !ids.is_empty() || known {
        node.metadata.annotations.insert(IDS.into(), serde_json::json!(ids).to_string());
    }
    let places: BTreeSet<(&String, &String)> =
        drivers.values().flat_map(|info| info.topology.iter().flat_map(|place| &place.0)).collect();
    for (key, value) in places {
        let labels = &mut node.metadata.labels;
        match labels.get(key) {
            Some(own) if own != value => {
                tracing::warn!(
                    key,
                    own,
                    value,
                    "detected topology value collision: a label of the node says otherwise"
                );
            }
            Some(_) => {}
            None => drop(labels.insert(key.clone(), value.clone())),
        }
    }
}

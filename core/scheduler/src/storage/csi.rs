//! What drivers of storage say of themselves: how much room there is where, and how many volumes a node takes.

use std::collections::BTreeMap;

use windlass_api::{
    quantity::Amount,
    selector::Labels,
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, VolumeAttachment},
    types::Quantity,
};
use windlass_kernel::scheduler::NodeView;

/// What is seen of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Whether it tells how much room there is (`storageCapacity`); without it there is always enough.
    pub tells_capacity: bool,
}

impl Driver {
    /// Reads the API's form.
    #[must_use]
    pub fn of(driver: &CSIDriver) -> Self {
        Self { tells_capacity: driver.spec.storage_capacity == Some(true) }
    }
}

/// How much room there is for volumes of a storage class in some part of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The storage class.
    pub class: String,
    /// The largest volume, in bytes, if that is told.
    most: Option<i64>,
    nodes: Labels,
}

impl Capacity {
    /// Reads the API's form.
    #[must_use]
    pub fn of(capacity: &CSIStorageCapacity) -> Self {
        let bytes = |amount: &Quantity| amount.0.parse::<Amount>().ok().map(Amount::as_i64);
        let nodes = capacity.node_topology.as_ref().map(|topology| {
            let tree = serde_json::to_value(topology).ok();
            Labels::from_json(tree.as_ref()).unwrap_or_else(|_| Labels::nothing())
        });
        Self {
            class: capacity.storage_class_name.clone(),
            // The largest volume may be smaller than all the room together.
            most: capacity.maximum_volume_size.as_ref().or(capacity.capacity.as_ref()).and_then(bytes),
            nodes: nodes.unwrap_or_else(Labels::nothing),
        }
    }

    /// Whether a volume of so many bytes can be made for a node.
    #[must_use]
    pub fn holds(&self, bytes: i64, node: &NodeView) -> bool {
        self.most.is_some_and(|most| most >= bytes) && self.nodes.matches(&node.labels)
    }
}

/// How many volumes of each driver a node takes; drivers without a limit are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(pub BTreeMap<String, usize>);

impl Limits {
    /// Reads the API's form.
    #[must_use]
    pub fn of(node: &CSINode) -> Self {
        let limit = |driver: &windlass_api::storage::v1::CSINodeDriver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((driver.name.clone(), usize::try_from(count).unwrap_or_default()))
        };
        Self(node.spec.drivers.iter().filter_map(limit).collect())
    }
}

/// A volume that is attached to a node, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The node.
    pub node: String,
    /// The volume.
    pub volume: String,
}

impl Attachment {
    /// Reads the API's form; `None` for volumes that are no objects of their own.
    #[must_use]
    pub fn of(attachment: &VolumeAttachment) -> Option<Self> {
        let volume = attachment.spec.source.persistent_volume_name.clone()?;
        Some(Self { node: attachment.spec.node_name.clone(), volume })
    }
}

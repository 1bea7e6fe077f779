//! Messages of the node service.

use windlass_kernel::{
    Result,
    volume::{CapacityRange, ExpandOnNode, NodeInfo, PublishVolume, StageVolume, Usage, UsageQuery, VolumeUsage},
};

use super::{
    OnWire, bytes,
    controller::{condition, condition_to_wire, secrets},
    csi,
    fields::{number, optional_path, path_to_wire, place},
    path, required, within, words,
};

impl OnWire for StageVolume {
    type Message = csi::NodeStageVolumeRequest;

    fn to_wire(&self) -> Self::Message {
        csi::NodeStageVolumeRequest {
            volume_id: self.volume.to_string(),
            publish_context: self.publish_context.clone(),
            staging_target_path: path_to_wire(&self.staging),
            volume_capability: Some(self.capability.to_wire()),
            secrets: self.secrets.0.clone(),
            volume_context: self.context.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            volume: required("volume_id", message.volume_id)?.into(),
            publish_context: words("publish_context", message.publish_context)?,
            staging: path("staging_target_path", message.staging_target_path)?,
            capability: OnWire::from_wire(within("volume_capability", message.volume_capability)?)?,
            secrets: secrets(message.secrets)?,
            context: words("volume_context", message.volume_context)?,
        })
    }
}

impl OnWire for PublishVolume {
    type Message = csi::NodePublishVolumeRequest;

    fn to_wire(&self) -> Self::Message {
        csi::NodePublishVolumeRequest {
            volume_id: self.volume.to_string(),
            publish_context: self.publish_context.clone(),
            staging_target_path: self.staging.as_deref().map(path_to_wire).unwrap_or_default(),
            target_path: path_to_wire(&self.target),
            volume_capability: Some(self.capability.to_wire()),
            readonly: self.read_only,
            secrets: self.secrets.0.clone(),
            volume_context: self.context.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            volume: required("volume_id", message.volume_id)?.into(),
            publish_context: words("publish_context", message.publish_context)?,
            staging: optional_path("staging_target_path", message.staging_target_path)?,
            target: path("target_path", message.target_path)?,
            capability: OnWire::from_wire(within("volume_capability", message.volume_capability)?)?,
            read_only: message.readonly,
            secrets: secrets(message.secrets)?,
            context: words("volume_context", message.volume_context)?,
        })
    }
}

impl OnWire for UsageQuery {
    type Message = csi::NodeGetVolumeStatsRequest;

    fn to_wire(&self) -> Self::Message {
        csi::NodeGetVolumeStatsRequest {
            volume_id: self.volume.to_string(),
            volume_path: path_to_wire(&self.path),
            staging_target_path: self.staging.as_deref().map(path_to_wire).unwrap_or_default(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            volume: required("volume_id", message.volume_id)?.into(),
            path: place("volume_path", message.volume_path)?,
            staging: optional_path("staging_target_path", message.staging_target_path)?,
        })
    }
}

impl OnWire for VolumeUsage {
    type Message = csi::NodeGetVolumeStatsResponse;

    fn to_wire(&self) -> Self::Message {
        use csi::volume_usage::Unit;
        let one = |usage: Option<Usage>, unit: Unit| {
            usage.map(|usage| csi::VolumeUsage {
                available: number(usage.available),
                total: number(usage.total),
                used: number(usage.used),
                unit: unit.into(),
            })
        };
        Self::Message {
            usage: [one(self.bytes, Unit::Bytes), one(self.inodes, Unit::Inodes)].into_iter().flatten().collect(),
            volume_condition: condition_to_wire(self.condition.as_ref()),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        use csi::volume_usage::Unit;
        let mut usage = Self { condition: condition(message.volume_condition), ..Self::default() };
        for one in message.usage {
            let part = Some(Usage {
                total: bytes("usage.total", one.total)?,
                used: bytes("usage.used", one.used)?,
                available: bytes("usage.available", one.available)?,
            });
            match one.unit() {
                Unit::Bytes => usage.bytes = part,
                Unit::Inodes => usage.inodes = part,
                Unit::Unknown => {}
            }
        }
        Ok(usage)
    }
}

impl OnWire for ExpandOnNode {
    type Message = csi::NodeExpandVolumeRequest;

    fn to_wire(&self) -> Self::Message {
        csi::NodeExpandVolumeRequest {
            volume_id: self.volume.to_string(),
            volume_path: path_to_wire(&self.path),
            capacity_range: self.capacity.to_wire(),
            staging_target_path: self.staging.as_deref().map(path_to_wire).unwrap_or_default(),
            volume_capability: self.capability.as_ref().map(OnWire::to_wire),
            secrets: self.secrets.0.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            volume: required("volume_id", message.volume_id)?.into(),
            path: place("volume_path", message.volume_path)?,
            staging: optional_path("staging_target_path", message.staging_target_path)?,
            capacity: CapacityRange::from_wire(message.capacity_range)?,
            capability: message.volume_capability.map(OnWire::from_wire).transpose()?,
            secrets: secrets(message.secrets)?,
        })
    }
}

impl OnWire for NodeInfo {
    type Message = csi::NodeGetInfoResponse;

    fn to_wire(&self) -> Self::Message {
        csi::NodeGetInfoResponse {
            node_id: self.id.to_string(),
            max_volumes_per_node: self.max_volumes.map_or(0, number),
            accessible_topology: self.topology.as_ref().map(OnWire::to_wire),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let most = bytes("max_volumes_per_node", message.max_volumes_per_node)?;
        Ok(Self {
            id: required("node_id", message.node_id)?.into(),
            max_volumes: Some(most).filter(|most| *most > 0),
            topology: message.accessible_topology.map(OnWire::from_wire).transpose()?,
        })
    }
}

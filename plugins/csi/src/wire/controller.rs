//! Messages of the controller service.

use std::collections::BTreeMap;

use jiff::Timestamp;
use windlass_kernel::{
    Result,
    volume::{
        AttachVolume, AvailableCapacity, CapacityQuery, CapacityRange, Condition, CreateSnapshot, CreateVolume,
        ExpandVolume, Expanded, ModifyVolume, Page, Secrets, Snapshot, SnapshotFilter, ValidateVolume, Validated,
        Volume, VolumeCapability, VolumeState,
    },
};

use super::{OnWire, bytes, csi, each, each_to_wire, fields::number, refused, required, text, within, words};

/// Secrets of at most 4 KiB.
pub(super) fn secrets(secrets: BTreeMap<String, String>) -> Result<Secrets> {
    words("secrets", secrets).map(Secrets)
}

fn capabilities(messages: Vec<csi::VolumeCapability>) -> Result<Vec<VolumeCapability>> {
    if messages.is_empty() {
        return Err(refused("volume_capabilities", "is required"));
    }
    each(messages)
}

impl OnWire for CreateVolume {
    type Message = csi::CreateVolumeRequest;

    fn to_wire(&self) -> Self::Message {
        csi::CreateVolumeRequest {
            name: self.name.clone(),
            capacity_range: self.capacity.to_wire(),
            volume_capabilities: each_to_wire(&self.capabilities),
            parameters: self.parameters.clone(),
            secrets: self.secrets.0.clone(),
            volume_content_source: self.source.as_ref().map(OnWire::to_wire),
            accessibility_requirements: self.topology.as_ref().map(OnWire::to_wire),
            mutable_parameters: self.mutable_parameters.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            name: required("name", message.name)?,
            capacity: CapacityRange::from_wire(message.capacity_range)?,
            capabilities: capabilities(message.volume_capabilities)?,
            parameters: words("parameters", message.parameters)?,
            mutable_parameters: words("mutable_parameters", message.mutable_parameters)?,
            secrets: secrets(message.secrets)?,
            source: message.volume_content_source.map(OnWire::from_wire).transpose()?,
            topology: message.accessibility_requirements.map(OnWire::from_wire).transpose()?,
        })
    }
}

impl OnWire for Volume {
    type Message = csi::Volume;

    fn to_wire(&self) -> csi::Volume {
        csi::Volume {
            capacity_bytes: self.capacity.map_or(0, number),
            volume_id: self.id.to_string(),
            volume_context: self.context.clone(),
            content_source: self.source.as_ref().map(OnWire::to_wire),
            accessible_topology: each_to_wire(&self.topology),
        }
    }

    fn from_wire(message: csi::Volume) -> Result<Self> {
        Ok(Self {
            id: required("volume_id", message.volume_id)?.into(),
            capacity: Some(bytes("capacity_bytes", message.capacity_bytes)?).filter(|bytes| *bytes > 0),
            context: words("volume_context", message.volume_context)?,
            source: message.content_source.map(OnWire::from_wire).transpose()?,
            topology: each(message.accessible_topology)?,
        })
    }
}

impl OnWire for AttachVolume {
    type Message = csi::ControllerPublishVolumeRequest;

    fn to_wire(&self) -> Self::Message {
        csi::ControllerPublishVolumeRequest {
            volume_id: self.volume.to_string(),
            node_id: self.node.to_string(),
            volume_capability: Some(self.capability.to_wire()),
            readonly: self.read_only,
            secrets: self.secrets.0.clone(),
            volume_context: self.context.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            volume: required("volume_id", message.volume_id)?.into(),
            node: required("node_id", message.node_id)?.into(),
            capability: OnWire::from_wire(within("volume_capability", message.volume_capability)?)?,
            read_only: message.readonly,
            secrets: secrets(message.secrets)?,
            context: words("volume_context", message.volume_context)?,
        })
    }
}

/// What attaching answered.
pub(crate) fn attached(answer: csi::ControllerPublishVolumeResponse) -> Result<BTreeMap<String, String>> {
    words("publish_context", answer.publish_context)
}

impl OnWire for ValidateVolume {
    type Message = csi::ValidateVolumeCapabilitiesRequest;

    fn to_wire(&self) -> Self::Message {
        csi::ValidateVolumeCapabilitiesRequest {
            volume_id: self.volume.to_string(),
            volume_context: self.context.clone(),
            volume_capabilities: each_to_wire(&self.capabilities),
            parameters: self.parameters.clone(),
            secrets: self.secrets.0.clone(),
            mutable_parameters: self.mutable_parameters.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            volume: required("volume_id", message.volume_id)?.into(),
            context: words("volume_context", message.volume_context)?,
            capabilities: capabilities(message.volume_capabilities)?,
            parameters: words("parameters", message.parameters)?,
            mutable_parameters: words("mutable_parameters", message.mutable_parameters)?,
            secrets: secrets(message.secrets)?,
        })
    }
}

impl OnWire for Validated {
    type Message = csi::ValidateVolumeCapabilitiesResponse;

    fn to_wire(&self) -> Self::Message {
        use csi::validate_volume_capabilities_response::Confirmed;
        match self {
            Self::Confirmed { context, capabilities, parameters, mutable_parameters } => Self::Message {
                confirmed: Some(Confirmed {
                    volume_context: context.clone(),
                    volume_capabilities: each_to_wire(capabilities),
                    parameters: parameters.clone(),
                    mutable_parameters: mutable_parameters.clone(),
                }),
                message: String::new(),
            },
            Self::Refused(why) => Self::Message { confirmed: None, message: why.clone() },
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let Some(confirmed) = message.confirmed else { return Ok(Self::Refused(message.message)) };
        Ok(Self::Confirmed {
            context: confirmed.volume_context,
            capabilities: each(confirmed.volume_capabilities)?,
            parameters: confirmed.parameters,
            mutable_parameters: confirmed.mutable_parameters,
        })
    }
}

/// How a volume is.
pub(crate) fn condition(message: Option<csi::VolumeCondition>) -> Option<Condition> {
    message.map(|condition| Condition { abnormal: condition.abnormal, message: condition.message })
}

pub(super) fn condition_to_wire(condition: Option<&Condition>) -> Option<csi::VolumeCondition> {
    condition.map(|c| csi::VolumeCondition { abnormal: c.abnormal, message: c.message.clone() })
}

impl OnWire for VolumeState {
    type Message = csi::ControllerGetVolumeResponse;

    fn to_wire(&self) -> Self::Message {
        csi::ControllerGetVolumeResponse {
            volume: Some(self.volume.to_wire()),
            status: Some(csi::controller_get_volume_response::VolumeStatus {
                published_node_ids: self.nodes.iter().map(ToString::to_string).collect(),
                volume_condition: condition_to_wire(self.condition.as_ref()),
            }),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let status = message.status.unwrap_or_default();
        Ok(Self {
            volume: Volume::from_wire(within("volume", message.volume)?)?,
            nodes: status.published_node_ids.into_iter().map(Into::into).collect(),
            condition: condition(status.volume_condition),
        })
    }
}

impl OnWire for Page<VolumeState> {
    type Message = csi::ListVolumesResponse;

    fn to_wire(&self) -> Self::Message {
        use csi::list_volumes_response::{Entry, VolumeStatus};
        let entry = |state: &VolumeState| Entry {
            volume: Some(state.volume.to_wire()),
            status: Some(VolumeStatus {
                published_node_ids: state.nodes.iter().map(ToString::to_string).collect(),
                volume_condition: condition_to_wire(state.condition.as_ref()),
            }),
        };
        Self::Message {
            entries: self.entries.iter().map(entry).collect(),
            next_token: self.next.clone().unwrap_or_default(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let state = |entry: csi::list_volumes_response::Entry| {
            let status = entry.status.unwrap_or_default();
            Ok(VolumeState {
                volume: Volume::from_wire(within("volume", entry.volume)?)?,
                nodes: status.published_node_ids.into_iter().map(Into::into).collect(),
                condition: condition(status.volume_condition),
            })
        };
        Ok(Self {
            entries: message.entries.into_iter().map(state).collect::<Result<_>>()?,
            next: next(message.next_token),
        })
    }
}

fn next(token: String) -> Option<String> {
    Some(token).filter(|token| !token.is_empty())
}

impl OnWire for CapacityQuery {
    type Message = csi::GetCapacityRequest;

    fn to_wire(&self) -> Self::Message {
        csi::GetCapacityRequest {
            volume_capabilities: each_to_wire(&self.capabilities),
            parameters: self.parameters.clone(),
            accessible_topology: self.topology.as_ref().map(OnWire::to_wire),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            capabilities: each(message.volume_capabilities)?,
            parameters: words("parameters", message.parameters)?,
            topology: message.accessible_topology.map(OnWire::from_wire).transpose()?,
        })
    }
}

impl OnWire for AvailableCapacity {
    type Message = csi::GetCapacityResponse;

    fn to_wire(&self) -> Self::Message {
        csi::GetCapacityResponse {
            available_capacity: number(self.available),
            maximum_volume_size: self.maximum.map(number),
            minimum_volume_size: self.minimum.map(number),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let size = |name, size: Option<i64>| size.map(|size| bytes(name, size)).transpose();
        Ok(Self {
            available: bytes("available_capacity", message.available_capacity)?,
            maximum: size("maximum_volume_size", message.maximum_volume_size)?,
            minimum: size("minimum_volume_size", message.minimum_volume_size)?,
        })
    }
}

impl OnWire for CreateSnapshot {
    type Message = csi::CreateSnapshotRequest;

    fn to_wire(&self) -> Self::Message {
        csi::CreateSnapshotRequest {
            source_volume_id: self.source.to_string(),
            name: self.name.clone(),
            secrets: self.secrets.0.clone(),
            parameters: self.parameters.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            source: required("source_volume_id", message.source_volume_id)?.into(),
            name: required("name", message.name)?,
            secrets: secrets(message.secrets)?,
            parameters: words("parameters", message.parameters)?,
        })
    }
}

impl OnWire for Snapshot {
    type Message = csi::Snapshot;

    fn to_wire(&self) -> csi::Snapshot {
        csi::Snapshot {
            size_bytes: self.size.map_or(0, number),
            snapshot_id: self.id.to_string(),
            source_volume_id: self.source.to_string(),
            creation_time: Some(prost_types::Timestamp {
                seconds: self.created.as_second(),
                nanos: self.created.subsec_nanosecond(),
            }),
            ready_to_use: self.ready,
            group_snapshot_id: String::new(),
        }
    }

    fn from_wire(message: csi::Snapshot) -> Result<Self> {
        let time = within("creation_time", message.creation_time)?;
        let created = Timestamp::new(time.seconds, time.nanos)
            .map_err(|error| refused("creation_time", "is no time").with_source(error))?;
        Ok(Self {
            id: required("snapshot_id", message.snapshot_id)?.into(),
            source: required("source_volume_id", message.source_volume_id)?.into(),
            size: Some(bytes("size_bytes", message.size_bytes)?).filter(|bytes| *bytes > 0),
            created,
            ready: message.ready_to_use,
        })
    }
}

impl OnWire for SnapshotFilter {
    type Message = csi::ListSnapshotsRequest;

    fn to_wire(&self) -> Self::Message {
        csi::ListSnapshotsRequest {
            max_entries: self.limit.map_or(0, |limit| i32::try_from(limit).unwrap_or(i32::MAX)),
            starting_token: self.token.clone().unwrap_or_default(),
            source_volume_id: self.source.as_ref().map(ToString::to_string).unwrap_or_default(),
            snapshot_id: self.snapshot.as_ref().map(ToString::to_string).unwrap_or_default(),
            secrets: self.secrets.0.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let id = |name, id: String| Ok(Some(text(name, id)?).filter(|id| !id.is_empty()));
        let limit = u32::try_from(message.max_entries)
            .map_err(|_| refused("max_entries", format!("{} is below zero", message.max_entries)))?;
        Ok(Self {
            limit: Some(limit).filter(|limit| *limit > 0),
            token: next(message.starting_token),
            source: id("source_volume_id", message.source_volume_id)?.map(Into::into),
            snapshot: id("snapshot_id", message.snapshot_id)?.map(Into::into),
            secrets: secrets(message.secrets)?,
        })
    }
}

impl OnWire for Page<Snapshot> {
    type Message = csi::ListSnapshotsResponse;

    fn to_wire(&self) -> Self::Message {
        use csi::list_snapshots_response::Entry;
        Self::Message {
            entries: self.entries.iter().map(|one| Entry { snapshot: Some(one.to_wire()) }).collect(),
            next_token: self.next.clone().unwrap_or_default(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let snapshot =
            |entry: csi::list_snapshots_response::Entry| Snapshot::from_wire(within("snapshot", entry.snapshot)?);
        Ok(Self {
            entries: message.entries.into_iter().map(snapshot).collect::<Result<_>>()?,
            next: next(message.next_token),
        })
    }
}

impl OnWire for ExpandVolume {
    type Message = csi::ControllerExpandVolumeRequest;

    fn to_wire(&self) -> Self::Message {
        csi::ControllerExpandVolumeRequest {
            volume_id: self.volume.to_string(),
            capacity_range: self.capacity.to_wire(),
            secrets: self.secrets.0.clone(),
            volume_capability: self.capability.as_ref().map(OnWire::to_wire),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let range = within("capacity_range", message.capacity_range)?;
        Ok(Self {
            volume: required("volume_id", message.volume_id)?.into(),
            capacity: CapacityRange::from_wire(Some(range))?,
            capability: message.volume_capability.map(OnWire::from_wire).transpose()?,
            secrets: secrets(message.secrets)?,
        })
    }
}

impl OnWire for Expanded {
    type Message = csi::ControllerExpandVolumeResponse;

    fn to_wire(&self) -> Self::Message {
        Self::Message { capacity_bytes: number(self.capacity), node_expansion_required: self.node_expansion }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        Ok(Self {
            capacity: bytes("capacity_bytes", message.capacity_bytes)?,
            node_expansion: message.node_expansion_required,
        })
    }
}

impl OnWire for ModifyVolume {
    type Message = csi::ControllerModifyVolumeRequest;

    fn to_wire(&self) -> Self::Message {
        csi::ControllerModifyVolumeRequest {
            volume_id: self.volume.to_string(),
            secrets: self.secrets.0.clone(),
            mutable_parameters: self.mutable_parameters.clone(),
        }
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        if message.mutable_parameters.is_empty() {
            return Err(refused("mutable_parameters", "is required"));
        }
        Ok(Self {
            volume: required("volume_id", message.volume_id)?.into(),
            mutable_parameters: words("mutable_parameters", message.mutable_parameters)?,
            secrets: secrets(message.secrets)?,
        })
    }
}

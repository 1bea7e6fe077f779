//! The only place that knows CSI's messages: kernel types to the wire and back. No calls are made.
//!
//! What comes from the wire is looked at on the way: required fields are there and nothing is longer than the specification
//! allows, so that neither a driver nor an orchestrator meets what cannot be.

mod controller;
mod fields;
mod node;
mod offers;
mod status;
#[cfg(test)]
mod tests;

use windlass_kernel::{
    Result,
    volume::{Access, AccessMode, CapacityRange, Source, Topology, TopologyRequirement, VolumeCapability},
};

pub(crate) use self::{
    controller::attached,
    fields::{bytes, path, required, text, within, words},
    offers::{ControllerOffers, NodeOffers, controller_offers, driver_info, node_offers, plugin_offers},
    status::{from_status, refused, to_status},
};
pub(crate) use crate::r#gen::csi_v1::{
    self as csi, controller_client::ControllerClient, controller_server, identity_client::IdentityClient,
    identity_server, node_client::NodeClient, node_server,
};
pub(crate) use crate::r#gen::pluginregistration_v1::{
    self as registration, registration_client::RegistrationClient, registration_server,
};

/// A kernel type that has a message.
pub(crate) trait OnWire: Sized {
    /// The message.
    type Message;

    /// As a message.
    fn to_wire(&self) -> Self::Message;

    /// Out of a message.
    ///
    /// # Errors
    ///
    /// [`Invalid`](windlass_kernel::ErrorKind::Invalid), naming the field that is missing, too long, or what cannot be.
    fn from_wire(message: Self::Message) -> Result<Self>;
}

/// Each of a list.
fn each<T: OnWire>(messages: Vec<T::Message>) -> Result<Vec<T>> {
    messages.into_iter().map(T::from_wire).collect()
}

fn each_to_wire<T: OnWire>(values: &[T]) -> Vec<T::Message> {
    values.iter().map(T::to_wire).collect()
}

impl OnWire for VolumeCapability {
    type Message = csi::VolumeCapability;

    fn to_wire(&self) -> csi::VolumeCapability {
        use csi::volume_capability::{AccessMode as Mode, AccessType, BlockVolume, MountVolume};
        let access = match &self.access {
            Access::Block => AccessType::Block(BlockVolume {}),
            Access::Mount { fs_type, flags, group } => AccessType::Mount(MountVolume {
                fs_type: fs_type.clone(),
                mount_flags: flags.clone(),
                volume_mount_group: group.clone(),
            }),
        };
        csi::VolumeCapability {
            access_mode: Some(Mode { mode: mode_to_wire(self.mode).into() }),
            access_type: Some(access),
        }
    }

    fn from_wire(message: csi::VolumeCapability) -> Result<Self> {
        use csi::volume_capability::AccessType;
        let access = match within("volume_capability.access_type", message.access_type)? {
            AccessType::Block(_) => Access::Block,
            AccessType::Mount(mount) => {
                let total: usize = mount.mount_flags.iter().map(String::len).sum();
                if total > fields::MAP {
                    return Err(refused("mount_flags", format!("has {total} bytes, of which {} can be", fields::MAP)));
                }
                Access::Mount {
                    fs_type: text("fs_type", mount.fs_type)?,
                    flags: mount.mount_flags,
                    group: text("volume_mount_group", mount.volume_mount_group)?,
                }
            }
        };
        let mode = within("volume_capability.access_mode", message.access_mode)?;
        Ok(Self { access, mode: mode_from_wire(mode.mode)? })
    }
}

fn mode_to_wire(mode: AccessMode) -> csi::volume_capability::access_mode::Mode {
    use csi::volume_capability::access_mode::Mode;
    match mode {
        AccessMode::SingleNodeWriter => Mode::SingleNodeWriter,
        AccessMode::SingleNodeReaderOnly => Mode::SingleNodeReaderOnly,
        AccessMode::MultiNodeReaderOnly => Mode::MultiNodeReaderOnly,
        AccessMode::MultiNodeSingleWriter => Mode::MultiNodeSingleWriter,
        AccessMode::MultiNodeMultiWriter => Mode::MultiNodeMultiWriter,
        AccessMode::SingleNodeSingleWriter => Mode::SingleNodeSingleWriter,
        AccessMode::SingleNodeMultiWriter => Mode::SingleNodeMultiWriter,
    }
}

fn mode_from_wire(number: i32) -> Result<AccessMode> {
    let known = AccessMode::ALL.into_iter().find(|mode| i32::from(mode_to_wire(*mode)) == number);
    known.ok_or_else(|| refused("access_mode.mode", format!("{number} is no mode that is known")))
}

impl OnWire for CapacityRange {
    type Message = Option<csi::CapacityRange>;

    fn to_wire(&self) -> Self::Message {
        let number = |bytes: Option<u64>| bytes.map_or(0, fields::number);
        (*self != Self::default())
            .then(|| csi::CapacityRange { required_bytes: number(self.required), limit_bytes: number(self.limit) })
    }

    fn from_wire(message: Self::Message) -> Result<Self> {
        let Some(range) = message else { return Ok(Self::default()) };
        let positive = |name, number| Ok(Some(bytes(name, number)?).filter(|bytes| *bytes > 0));
        Ok(Self {
            required: positive("capacity_range.required_bytes", range.required_bytes)?,
            limit: positive("capacity_range.limit_bytes", range.limit_bytes)?,
        })
    }
}

impl OnWire for Topology {
    type Message = csi::Topology;

    fn to_wire(&self) -> csi::Topology {
        csi::Topology { segments: self.0.clone() }
    }

    fn from_wire(message: csi::Topology) -> Result<Self> {
        words("topology.segments", message.segments).map(Self)
    }
}

impl OnWire for TopologyRequirement {
    type Message = csi::TopologyRequirement;

    fn to_wire(&self) -> csi::TopologyRequirement {
        csi::TopologyRequirement { requisite: each_to_wire(&self.requisite), preferred: each_to_wire(&self.preferred) }
    }

    fn from_wire(message: csi::TopologyRequirement) -> Result<Self> {
        Ok(Self { requisite: each(message.requisite)?, preferred: each(message.preferred)? })
    }
}

impl OnWire for Source {
    type Message = csi::VolumeContentSource;

    fn to_wire(&self) -> csi::VolumeContentSource {
        use csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
        let kind = match self {
            Self::Snapshot(id) => Type::Snapshot(SnapshotSource { snapshot_id: id.to_string() }),
            Self::Volume(id) => Type::Volume(VolumeSource { volume_id: id.to_string() }),
        };
        csi::VolumeContentSource { r#type: Some(kind) }
    }

    fn from_wire(message: csi::VolumeContentSource) -> Result<Self> {
        use csi::volume_content_source::Type;
        Ok(match within("volume_content_source.type", message.r#type)? {
            Type::Snapshot(source) => Self::Snapshot(required("snapshot_id", source.snapshot_id)?.into()),
            Type::Volume(source) => Self::Volume(required("volume_id", source.volume_id)?.into()),
        })
    }
}

//! What a driver can: capabilities on the wire, values of optional services in the kernel.

use windlass_kernel::{
    Result,
    volume::{ControllerFeatures, DriverInfo, Expansion, NodeFeatures, VolumeController, VolumeDriver, VolumeNode},
};

use super::{csi, required, text};

/// Which services a controller has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ControllerOffers {
    pub(crate) features: ControllerFeatures,
    pub(crate) provisioning: bool,
    pub(crate) attaching: bool,
    pub(crate) listing: bool,
    pub(crate) inspecting: bool,
    pub(crate) capacity: bool,
    pub(crate) snapshotting: bool,
    pub(crate) snapshot_listing: bool,
    pub(crate) expanding: bool,
    pub(crate) modifying: bool,
}

/// Which services a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeOffers {
    pub(crate) features: NodeFeatures,
    pub(crate) staging: bool,
    pub(crate) usage: bool,
    pub(crate) expanding: bool,
}

/// Each capability of a controller, with its place in the offers.
macro_rules! controller_table {
    ($offers:ident) => {{
        use csi::controller_service_capability::rpc::Type;
        [
            (Type::CreateDeleteVolume, &mut $offers.provisioning),
            (Type::PublishUnpublishVolume, &mut $offers.attaching),
            (Type::ListVolumes, &mut $offers.listing),
            (Type::GetCapacity, &mut $offers.capacity),
            (Type::CreateDeleteSnapshot, &mut $offers.snapshotting),
            (Type::ListSnapshots, &mut $offers.snapshot_listing),
            (Type::CloneVolume, &mut $offers.features.clones),
            (Type::PublishReadonly, &mut $offers.features.read_only),
            (Type::ExpandVolume, &mut $offers.expanding),
            (Type::ListVolumesPublishedNodes, &mut $offers.features.published_nodes),
            (Type::VolumeCondition, &mut $offers.features.conditions),
            (Type::GetVolume, &mut $offers.inspecting),
            (Type::SingleNodeMultiWriter, &mut $offers.features.writers),
            (Type::ModifyVolume, &mut $offers.modifying),
        ]
    }};
}

macro_rules! node_table {
    ($offers:ident) => {{
        use csi::node_service_capability::rpc::Type;
        [
            (Type::StageUnstageVolume, &mut $offers.staging),
            (Type::GetVolumeStats, &mut $offers.usage),
            (Type::ExpandVolume, &mut $offers.expanding),
            (Type::VolumeCondition, &mut $offers.features.conditions),
            (Type::SingleNodeMultiWriter, &mut $offers.features.writers),
            (Type::VolumeMountGroup, &mut $offers.features.mount_group),
        ]
    }};
}

impl ControllerOffers {
    /// What a controller has.
    pub(crate) fn of(controller: &dyn VolumeController) -> Self {
        Self {
            features: controller.features(),
            provisioning: controller.provisioning().is_some(),
            attaching: controller.attaching().is_some(),
            listing: controller.listing().is_some(),
            inspecting: controller.inspecting().is_some(),
            capacity: controller.capacity().is_some(),
            snapshotting: controller.snapshotting().is_some(),
            snapshot_listing: controller.snapshot_listing().is_some(),
            expanding: controller.expanding().is_some(),
            modifying: controller.modifying().is_some(),
        }
    }

    pub(crate) fn to_wire(mut self) -> csi::ControllerGetCapabilitiesResponse {
        use csi::{ControllerServiceCapability, controller_service_capability as of};
        let offers = &mut self;
        let kinds = controller_table!(offers).into_iter().filter(|(_, there)| **there).map(|(kind, _)| kind);
        let capability = |kind: of::rpc::Type| ControllerServiceCapability {
            r#type: Some(of::Type::Rpc(of::Rpc { r#type: kind.into() })),
        };
        csi::ControllerGetCapabilitiesResponse { capabilities: kinds.map(capability).collect() }
    }
}

/// Capabilities that are not known are not used.
pub(crate) fn controller_offers(answer: csi::ControllerGetCapabilitiesResponse) -> ControllerOffers {
    use csi::controller_service_capability as of;
    let mut offers = ControllerOffers::default();
    for capability in answer.capabilities {
        let Some(of::Type::Rpc(rpc)) = capability.r#type else { continue };
        for (kind, there) in controller_table!(offers) {
            *there |= kind == rpc.r#type();
        }
    }
    offers
}

impl NodeOffers {
    /// What a node has.
    pub(crate) fn of(node: &dyn VolumeNode) -> Self {
        Self {
            features: node.features(),
            staging: node.staging().is_some(),
            usage: node.usage().is_some(),
            expanding: node.expanding().is_some(),
        }
    }

    pub(crate) fn to_wire(mut self) -> csi::NodeGetCapabilitiesResponse {
        use csi::{NodeServiceCapability, node_service_capability as of};
        let offers = &mut self;
        let kinds = node_table!(offers).into_iter().filter(|(_, there)| **there).map(|(kind, _)| kind);
        let capability = |kind: of::rpc::Type| NodeServiceCapability {
            r#type: Some(of::Type::Rpc(of::Rpc { r#type: kind.into() })),
        };
        csi::NodeGetCapabilitiesResponse { capabilities: kinds.map(capability).collect() }
    }
}

/// Capabilities that are not known are not used.
pub(crate) fn node_offers(answer: csi::NodeGetCapabilitiesResponse) -> NodeOffers {
    use csi::node_service_capability as of;
    let mut offers = NodeOffers::default();
    for capability in answer.capabilities {
        let Some(of::Type::Rpc(rpc)) = capability.r#type else { continue };
        for (kind, there) in node_table!(offers) {
            *there |= kind == rpc.r#type();
        }
    }
    offers
}

/// What a plugin says of itself before anything else.
pub(crate) fn plugin_offers(driver: &dyn VolumeDriver, info: &DriverInfo) -> csi::GetPluginCapabilitiesResponse {
    use csi::plugin_capability::{Service, Type, VolumeExpansion, service, volume_expansion};
    let service = |kind: service::Type| Type::Service(Service { r#type: kind.into() });
    let expansion = |kind: Expansion| {
        let kind = match kind {
            Expansion::Online => volume_expansion::Type::Online,
            Expansion::Offline => volume_expansion::Type::Offline,
        };
        Type::VolumeExpansion(VolumeExpansion { r#type: kind.into() })
    };
    let kinds = [
        driver.controller().map(|_| service(service::Type::ControllerService)),
        info.topology.then(|| service(service::Type::VolumeAccessibilityConstraints)),
        info.expansion.map(expansion),
    ];
    let capability = |kind| csi::PluginCapability { r#type: Some(kind) };
    csi::GetPluginCapabilitiesResponse { capabilities: kinds.into_iter().flatten().map(capability).collect() }
}

/// What a plugin is, and whether it has a controller.
pub(crate) fn driver_info(
    answer: csi::GetPluginInfoResponse,
    capabilities: csi::GetPluginCapabilitiesResponse,
) -> Result<(DriverInfo, bool)> {
    use csi::plugin_capability::{Type, service, volume_expansion};
    let mut info = DriverInfo {
        name: required("name", answer.name)?,
        version: text("vendor_version", answer.vendor_version)?,
        manifest: answer.manifest,
        ..DriverInfo::default()
    };
    let mut controller = false;
    for capability in capabilities.capabilities {
        match capability.r#type {
            Some(Type::Service(service)) => {
                controller |= service.r#type() == service::Type::ControllerService;
                info.topology |= service.r#type() == service::Type::VolumeAccessibilityConstraints;
            }
            Some(Type::VolumeExpansion(expansion)) => match expansion.r#type() {
                volume_expansion::Type::Online => info.expansion = Some(Expansion::Online),
                volume_expansion::Type::Offline if info.expansion.is_none() => {
                    info.expansion = Some(Expansion::Offline);
                }
                volume_expansion::Type::Offline | volume_expansion::Type::Unknown => {}
            },
            None => {}
        }
    }
    Ok((info, controller))
}

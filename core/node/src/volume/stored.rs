//! Volumes that pods only refer to: what a claim is bound to, and volumes of drivers. Pure: objects are handed in.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, SecretReference, Volume},
    quantity::Amount,
    storage::v1::CSIDriver,
    types::Quantity,
};
use windlass_kernel::{
    controller::ObjectKey,
    volume::{Access, AccessMode, VolumeCapability},
};

/// What a claim asks for, has, and is of (PersistentVolumeClaim.status.allocatedResourceStatuses).
const STORAGE: &str = "storage";

/// What a pod's volume comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// A path of the node, which has to be of that type.
    Host { path: PathBuf, kind: String, read_only: bool },
    /// A volume of a driver.
    Driver(Box<Wanted>),
}

/// A volume of a driver, as a pod wants it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    /// What events call it: the name of the volume's object, or the pod's own for it.
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) handle: String,
    pub(crate) block: bool,
    pub(crate) read_only: bool,
    /// Whether it is made for the pod, and goes with it.
    pub(crate) ephemeral: bool,
    fs_type: String,
    flags: Vec<String>,
    modes: Vec<String>,
    context: BTreeMap<String, String>,
    pub(crate) stage_secret: Option<ObjectKey>,
    pub(crate) publish_secret: Option<ObjectKey>,
    pub(crate) expand_secret: Option<ObjectKey>,
    /// Its size, and its claim's where that is smaller.
    pub(crate) growth: Option<Growth>,
}

/// A volume that is larger than its claim knows: the node has yet to do its part of growing it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Growth {
    pub(crate) claim: ObjectKey,
    pub(crate) capacity: Quantity,
}

/// Who gives the files of a volume to the pod's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Nobody,
    Driver(u32),
    Agent(u32),
}

/// Whether a volume only refers to what it is.
pub(crate) fn is_stored(volume: &Volume) -> bool {
    volume.persistent_volume_claim.is_some() || volume.csi.is_some() || volume.ephemeral.is_some()
}

/// The claim that a volume refers to, or that is made for it.
pub(crate) fn claim_of(pod: &Pod, volume: &Volume) -> Option<ObjectKey> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let own = pod.metadata.name.as_deref().unwrap_or_default();
    let name = match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => claim.claim_name.clone(),
        (None, Some(_)) => format!("{own}-{}", volume.name),
        (None, None) => return None,
    };
    Some(ObjectKey::new(namespace, name))
}

/// The volume that a claim has, for a pod that may use it.
pub(crate) fn bound(pod: &Pod, volume: &Volume, claim: &PersistentVolumeClaim) -> Result<String, String> {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let owns = |owner: &windlass_api::meta::v1::OwnerReference| owner.controller == Some(true) && owner.uid == uid;
    if volume.ephemeral.is_some() && !claim.metadata.owner_references.iter().any(owns) {
        return Err(format!("PVC {name} was not created for pod: the pod is not owner"));
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(format!("can't start pod because PVC {name} is being deleted"));
    }
    let (phase, has) = (claim.status.phase.as_deref(), claim.spec.volume_name.as_deref().unwrap_or_default());
    if phase != Some("Bound") || has.is_empty() {
        let phase = phase.unwrap_or_default();
        return Err(format!("PVC {name} is not bound: phase {phase:?}, volume {has:?}"));
    }
    Ok(has.to_owned())
}

/// What the volume of a claim is on the node.
pub(crate) fn of_claim(
    pod: &Pod,
    volume: &Volume,
    claim: &PersistentVolumeClaim,
    has: &PersistentVolume,
) -> Result<Found, String> {
    let name = has.metadata.name.clone().unwrap_or_default();
    let owner = has.spec.claim_ref.as_ref().and_then(|own| own.uid.as_deref());
    if owner != claim.metadata.uid.as_deref() {
        return Err(format!(
            "PV {name} is bound to another claim than {}",
            claim.metadata.name.as_deref().unwrap_or_default()
        ));
    }
    let block = has.spec.volume_mode.as_deref() == Some("Block");
    let (mounted, device) = used_as(pod, &volume.name);
    if block && mounted {
        return Err(format!("volume {} has volumeMode Block, but is specified in volumeMounts", volume.name));
    }
    if !block && device {
        return Err(format!("volume {} has volumeMode Filesystem, but is specified in volumeDevices", volume.name));
    }
    let asked = volume.persistent_volume_claim.as_ref().and_then(|own| own.read_only) == Some(true);
    if let Some(host) = &has.spec.host_path {
        let kind = host.type_.clone().unwrap_or_default();
        return Ok(Found::Host { path: host.path.clone().into(), kind, read_only: asked });
    }
    if let Some(local) = &has.spec.local {
        let kind = if block { "BlockDevice" } else { "Directory" };
        return Ok(Found::Host { path: local.path.clone().into(), kind: kind.into(), read_only: asked });
    }
    let Some(csi) = &has.spec.csi else { return Err(format!("the type of volume {name} is not supported")) };
    let secret = |reference: &Option<SecretReference>| {
        let own = reference.as_ref()?;
        Some(ObjectKey::new(own.namespace.clone().unwrap_or_default(), own.name.clone().unwrap_or_default()))
    };
    let capacity = has.spec.capacity.get(STORAGE);
    let grown = amount(capacity) > amount(claim.status.capacity.get(STORAGE));
    let key = ObjectKey::new(
        claim.metadata.namespace.clone().unwrap_or_default(),
        claim.metadata.name.clone().unwrap_or_default(),
    );
    let growth = capacity.filter(|_| grown).map(|capacity| Growth { claim: key, capacity: capacity.clone() });
    Ok(Found::Driver(Box::new(Wanted {
        name,
        driver: csi.driver.clone(),
        handle: csi.volume_handle.clone(),
        block,
        read_only: asked || csi.read_only == Some(true),
        ephemeral: false,
        fs_type: csi.fs_type.clone().unwrap_or_default(),
        flags: has.spec.mount_options.clone(),
        modes: has.spec.access_modes.clone(),
        context: csi.volume_attributes.clone(),
        stage_secret: secret(&csi.node_stage_secret_ref),
        publish_secret: secret(&csi.node_publish_secret_ref),
        expand_secret: secret(&csi.node_expand_secret_ref),
        growth,
    })))
}

/// A volume that a driver makes for the pod alone (CSIVolumeSource, KEP-596).
pub(crate) fn inline(pod: &Pod, volume: &Volume, driver: Option<&CSIDriver>) -> Result<Wanted, String> {
    let Some(csi) = &volume.csi else { return Err(format!("volume {} is not of a driver", volume.name)) };
    let refused =
        |why: String| Err(format!("volume mode \"Ephemeral\" not supported by driver {} ({why})", csi.driver));
    let Some(object) = driver else { return refused("no CSIDriver object".into()) };
    let modes = &object.spec.volume_lifecycle_modes;
    if !modes.iter().any(|mode| mode == "Ephemeral") {
        return refused(format!("only supports {modes:?}"));
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let secret = csi.node_publish_secret_ref.as_ref();
    Ok(Wanted {
        name: volume.name.clone(),
        driver: csi.driver.clone(),
        handle: format!("csi-{}-{}", pod.metadata.uid.as_deref().unwrap_or_default(), volume.name),
        read_only: csi.read_only == Some(true),
        ephemeral: true,
        fs_type: csi.fs_type.clone().unwrap_or_default(),
        context: csi.volume_attributes.clone(),
        publish_secret: secret.map(|secret| ObjectKey::new(namespace, secret.name.as_str())),
        ..Wanted::default()
    })
}

impl Wanted {
    /// What a node's status calls it.
    pub(crate) fn unique_name(&self) -> String {
        unique_name(&self.driver, &self.handle)
    }

    /// How it is to be used, by a driver that tells writers apart or not.
    pub(crate) fn capability(&self, writers: bool, group: Group) -> Result<VolumeCapability, String> {
        let word = self.modes.first().map_or("ReadWriteOnce", String::as_str);
        let mode = AccessMode::named(word, writers).ok_or_else(|| format!("access mode {word} is not known"))?;
        let group = if let Group::Driver(group) = group { group.to_string() } else { String::new() };
        let mount = || Access::Mount { fs_type: self.fs_type.clone(), flags: self.flags.clone(), group };
        Ok(VolumeCapability { access: if self.block { Access::Block } else { mount() }, mode })
    }

    /// Who gives its files to the pod's group (CSIDriverSpec.fsGroupPolicy).
    pub(crate) fn group(&self, wanted: Option<u32>, object: Option<&CSIDriver>, by_driver: bool) -> Group {
        let Some(group) = wanted.filter(|_| !self.block) else { return Group::Nobody };
        if by_driver {
            return Group::Driver(group);
        }
        let policy = object.and_then(|object| object.spec.fs_group_policy.as_deref());
        let mine = match policy {
            Some("None") => false,
            Some("File") => true,
            _ => !self.fs_type.is_empty() && self.modes.iter().any(|mode| mode == "ReadWriteOnce"),
        };
        if mine && !self.read_only { Group::Agent(group) } else { Group::Nobody }
    }

    /// The volume's context.
    pub(crate) fn context(&self) -> BTreeMap<String, String> {
        self.context.clone()
    }

    /// The volume's context with what the driver wants to know of the pod (CSIDriverSpec.podInfoOnMount).
    pub(crate) fn context_for(&self, pod: &Pod, object: Option<&CSIDriver>) -> BTreeMap<String, String> {
        let mut context = self.context();
        if object.and_then(|object| object.spec.pod_info_on_mount) != Some(true) {
            return context;
        }
        let meta = &pod.metadata;
        let account = pod.spec.service_account_name.clone().unwrap_or_default();
        let words = [
            ("pod.name", meta.name.clone().unwrap_or_default()),
            ("pod.namespace", meta.namespace.clone().unwrap_or_default()),
            ("pod.uid", meta.uid.clone().unwrap_or_default()),
            ("serviceAccount.name", account),
            ("ephemeral", self.ephemeral.to_string()),
        ];
        context.extend(words.map(|(word, value)| (format!("csi.storage.k8s.io/{word}"), value)));
        context
    }
}

/// What a node's status calls a volume of a driver.
pub(crate) fn unique_name(driver: &str, handle: &str) -> String {
    format!("kubernetes.io/csi/{driver}^{handle}")
}

/// Whether volumes of a driver have to be attached first (CSIDriverSpec.attachRequired).
pub(crate) fn attaches(object: Option<&CSIDriver>) -> bool {
    object.and_then(|object| object.spec.attach_required) != Some(false)
}

/// Whether a container of the pod mounts a volume, and whether one has it as a device.
fn used_as(pod: &Pod, name: &str) -> (bool, bool) {
    let mut used = (false, false);
    for (container, _) in crate::pod::containers(pod) {
        used.0 |= container.volume_mounts.iter().any(|mount| mount.name == name);
        used.1 |= container.volume_devices.iter().any(|device| device.name == name);
    }
    used
}

pub(crate) fn amount(quantity: Option<&Quantity>) -> Amount {
    quantity.and_then(|quantity| quantity.0.parse().ok()).unwrap_or_default()
}

//! What is written next about a claim or a volume.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use windlass_api::{
    core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
    types::{Resource, Time},
};
use windlass_client::events::Severity;
use windlass_kernel::controller::ObjectKey;

use super::fit::{best, class_of_claim, is_for, is_silent, suits};

const BOUND: &str = "pv.kubernetes.io/bind-completed";
/// Says that the binder chose, and not a user: what it chose it may undo.
const CHOSEN: &str = "pv.kubernetes.io/bound-by-controller";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const OLD_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";

type News = (Severity, &'static str, String);

/// One write.
#[derive(Debug)]
pub(super) enum Write {
    Claim(Box<PersistentVolumeClaim>),
    ClaimStatus(Box<PersistentVolumeClaim>),
    Volume(Box<PersistentVolume>),
    VolumeStatus(Box<PersistentVolume>),
}

/// What is to be written and told.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) write: Option<Write>,
    pub(super) news: Vec<News>,
}

impl Plan {
    fn writes(write: Write) -> Self {
        Self { write: Some(write), news: Vec::new() }
    }

    fn tells(severity: Severity, reason: &'static str, message: impl fmt::Display) -> Self {
        Self { write: None, news: vec![(severity, reason, message.to_string())] }
    }
}

/// Whether a claim was bound once.
pub(super) fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.metadata.annotations.contains_key(BOUND)
}

/// The claim that a volume is bound to, by uid.
pub(super) fn claimed_by(volume: &PersistentVolume) -> Option<ObjectKey> {
    let own = volume.spec.claim_ref.as_ref()?;
    let known = own.uid.as_deref().is_some_and(|uid| !uid.is_empty());
    known.then(|| ObjectKey::new(own.namespace.clone().unwrap_or_default(), own.name.clone().unwrap_or_default()))
}

/// A claim that names no volume. `default` is the class that is given to claims that say nothing of one.
pub(super) fn unnamed(
    claim: &PersistentVolumeClaim,
    (class, default): (Option<&StorageClass>, Option<&str>),
    volumes: &mut dyn Iterator<Item = &Arc<PersistentVolume>>,
) -> Plan {
    if is_bound(claim) {
        let message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return lost(claim, "ClaimLost", message);
    }
    let waits = class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    let scheduled = claim.metadata.annotations.contains_key(SELECTED_NODE);
    match best(claim, volumes).filter(|volume| !waits || scheduled || is_for(claim, volume)) {
        Some(volume) if bound_to(claim, &volume) => Plan::writes(Write::Claim(Box::new(finished(claim, &volume)))),
        Some(volume) => Plan::writes(Write::Volume(Box::new(taken_by(claim, &volume)))),
        None if waits && !scheduled => {
            let message = "waiting for first consumer to be created before binding";
            Plan::tells(Severity::Normal, "WaitForFirstConsumer", message)
        }
        None => match default.filter(|_| is_silent(claim)) {
            Some(default) => {
                let mut classed = claim.clone();
                classed.spec.storage_class_name = Some(default.into());
                Plan::writes(Write::Claim(Box::new(classed)))
            }
            None => provisioned(claim, class),
        },
    }
}

/// Asks a provisioner for a volume.
fn provisioned(claim: &PersistentVolumeClaim, class: Option<&StorageClass>) -> Plan {
    let Some(name) = class_of_claim(claim) else {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return Plan::tells(Severity::Normal, "FailedBinding", message);
    };
    let Some(class) = class else {
        let message = format!("storageclass.storage.k8s.io {name:?} not found");
        return Plan::tells(Severity::Warning, "ProvisioningFailed", message);
    };
    if class.provisioner == "kubernetes.io/no-provisioner" {
        let message = "no volume plugin matched name: kubernetes.io/no-provisioner";
        return Plan::tells(Severity::Warning, "ProvisioningFailed", message);
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
         registered.",
        class.provisioner
    );
    let mut plan = Plan::tells(Severity::Normal, "ExternalProvisioning", message);
    if claim.metadata.annotations.get(PROVISIONER) != Some(&class.provisioner) {
        let mut asked = claim.clone();
        for key in [PROVISIONER, OLD_PROVISIONER] {
            asked.metadata.annotations.insert(key.into(), class.provisioner.clone());
        }
        plan.write = Some(Write::Claim(Box::new(asked)));
    }
    plan
}

/// A claim that names a volume, which may be there.
pub(super) fn named(claim: &PersistentVolumeClaim, volume: Option<&PersistentVolume>) -> Plan {
    let Some(volume) = volume else {
        let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return if is_bound(claim) { lost(claim, "ClaimLost", message) } else { Plan::default() };
    };
    if bound_to(claim, volume) {
        return if is_bound(claim) {
            bound(claim, volume)
        } else {
            Plan::writes(Write::Claim(Box::new(finished(claim, volume))))
        };
    }
    if volume.spec.claim_ref.is_some() && !is_for(claim, volume) {
        if is_bound(claim) {
            let message = "Two claims are bound to the same volume, this one is bound incorrectly";
            return lost(claim, "ClaimMisbound", message);
        }
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let message = format!("volume {name:?} already bound to a different claim.");
        return Plan::tells(Severity::Warning, "FailedBinding", message);
    }
    if let (false, Err(why)) = (is_bound(claim), suits(claim, volume)) {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        return Plan::tells(
            Severity::Warning,
            "VolumeMismatch",
            format!("Cannot bind to requested volume {name:?}: {why}"),
        );
    }
    Plan::writes(Write::Volume(Box::new(taken_by(claim, volume))))
}

fn bound_to(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let uid = volume.spec.claim_ref.as_ref().and_then(|own| own.uid.as_ref());
    uid.is_some() && uid == claim.metadata.uid.as_ref()
}

/// The volume, said to be the claim's.
fn taken_by(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> PersistentVolume {
    let mut volume = volume.clone();
    if volume.spec.claim_ref.is_none() {
        volume.metadata.annotations.insert(CHOSEN.into(), "yes".into());
    }
    let meta = &claim.metadata;
    volume.spec.claim_ref = Some(Box::new(ObjectReference {
        api_version: Some(PersistentVolumeClaim::api_version()),
        kind: Some(PersistentVolumeClaim::KIND.into()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        ..ObjectReference::default()
    }));
    volume
}

/// The claim, said to have the volume.
fn finished(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> PersistentVolumeClaim {
    let mut claim = claim.clone();
    if claim.spec.volume_name.as_ref().is_none_or(String::is_empty) {
        claim.spec.volume_name.clone_from(&volume.metadata.name);
        claim.metadata.annotations.insert(CHOSEN.into(), "yes".into());
    }
    claim.metadata.annotations.insert(BOUND.into(), "yes".into());
    claim
}

/// What a bound claim's status says of its volume.
fn bound(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Plan {
    let mut said = claim.clone();
    said.status.phase = Some("Bound".into());
    said.status.access_modes.clone_from(&volume.spec.access_modes);
    // Once it is bound, whoever grows the volume says how large it is.
    if claim.status.phase.as_deref() != Some("Bound") {
        said.status.capacity.clone_from(&volume.spec.capacity);
    }
    if said.status == claim.status { Plan::default() } else { Plan::writes(Write::ClaimStatus(Box::new(said))) }
}

fn lost(claim: &PersistentVolumeClaim, reason: &'static str, message: &str) -> Plan {
    if claim.status.phase.as_deref() == Some("Lost") {
        return Plan::default();
    }
    let mut said = claim.clone();
    said.status.phase = Some("Lost".into());
    let mut plan = Plan::tells(Severity::Warning, reason, message);
    plan.write = Some(Write::ClaimStatus(Box::new(said)));
    plan
}

/// A volume that no claim has.
pub(super) fn free(volume: &PersistentVolume, now: Timestamp) -> Plan {
    phase(volume, "Available", "", now)
}

/// A volume that a claim has or had.
pub(super) fn taken(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>, now: Timestamp) -> Plan {
    let Some(claim) = claim else { return released(volume, now) };
    match claim.spec.volume_name.as_deref().filter(|name| !name.is_empty()) {
        // The claim says so next.
        None => Plan::default(),
        Some(name) if volume.metadata.name.as_deref() == Some(name) => phase(volume, "Bound", "", now),
        Some(_) => {
            let mut left = volume.clone();
            if left.metadata.annotations.remove(CHOSEN).is_some() {
                left.spec.claim_ref = None;
            } else if let Some(own) = &mut left.spec.claim_ref {
                (own.uid, own.resource_version) = (None, None);
            }
            Plan::writes(Write::Volume(Box::new(left)))
        }
    }
}

/// A volume whose claim is gone. Who made it deletes it, where it is to be deleted.
fn released(volume: &PersistentVolume, now: Timestamp) -> Plan {
    if volume.status.phase.as_deref() == Some("Failed") {
        return Plan::default();
    }
    let outside =
        volume.spec.csi.is_some() || volume.metadata.annotations.contains_key("pv.kubernetes.io/provisioned-by");
    let (reason, why) = match volume.spec.persistent_volume_reclaim_policy.as_deref() {
        Some("Delete") if !outside => ("VolumeFailedDelete", "no deletable volume plugin matched"),
        Some("Recycle") => ("VolumeFailedRecycle", "No recycler plugin found for the volume!"),
        _ => return phase(volume, "Released", "", now),
    };
    let mut plan = phase(volume, "Failed", why, now);
    plan.news.push((Severity::Warning, reason, why.into()));
    plan
}

fn phase(volume: &PersistentVolume, phase: &str, message: &str, now: Timestamp) -> Plan {
    if volume.status.phase.as_deref() == Some(phase) {
        return Plan::default();
    }
    let mut said = volume.clone();
    said.status.phase = Some(phase.into());
    said.status.message = (!message.is_empty()).then(|| message.into());
    said.status.last_phase_transition_time = Some(Time(now));
    Plan::writes(Write::VolumeStatus(Box::new(said)))
}

#[cfg(test)]
mod tests;

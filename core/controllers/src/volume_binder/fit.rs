//! Which volume suits a claim: class, mode, access, labels and size; the smallest that does.

use std::{cmp::Reverse, sync::Arc};

use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    quantity::Amount,
    selector::Labels,
    storage::v1::StorageClass,
    types::Quantity,
};

use crate::claim;

const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The class that a claim asks for; `None` for that of no class.
pub(super) fn class_of_claim(claim: &PersistentVolumeClaim) -> Option<&str> {
    let named = claim.metadata.annotations.get(CLASS).map(String::as_str);
    named.or(claim.spec.storage_class_name.as_deref()).filter(|name| !name.is_empty())
}

/// Whether a claim says nothing of a class, not even that it wants none (KEP-3333).
pub(super) fn is_silent(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.storage_class_name.is_none() && !claim.metadata.annotations.contains_key(CLASS)
}

/// The class that claims get that say nothing of one: of several the newest, then the first by name.
pub(super) fn default_class(classes: &[Arc<StorageClass>]) -> Option<&str> {
    let default =
        |class: &&Arc<StorageClass>| class.metadata.annotations.get(DEFAULT).is_some_and(|said| said == "true");
    let rank = |class: &Arc<StorageClass>| (Reverse(class.metadata.creation_timestamp), class.metadata.name.clone());
    classes.iter().filter(default).min_by_key(|class| rank(class)).and_then(|class| class.metadata.name.as_deref())
}

fn class_of_volume(volume: &PersistentVolume) -> Option<&str> {
    let named = volume.metadata.annotations.get(CLASS).map(String::as_str);
    named.or(volume.spec.storage_class_name.as_deref()).filter(|name| !name.is_empty())
}

fn size(amount: Option<&Quantity>) -> Amount {
    amount.and_then(|amount| amount.0.parse().ok()).unwrap_or_default()
}

/// Whether a volume is what a claim asks for, and what it is not where it is not.
pub(super) fn suits(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<(), &'static str> {
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".into());
    let wanted = size(claim.spec.resources.requests.get("storage"));
    if size(volume.spec.capacity.get("storage")) < wanted {
        return Err("requested PV is too small");
    }
    if class_of_claim(claim) != class_of_volume(volume) {
        return Err("storageClassName does not match");
    }
    if mode(&claim.spec.volume_mode) != mode(&volume.spec.volume_mode) {
        return Err("incompatible volumeMode");
    }
    if !claim.spec.access_modes.iter().all(|mode| volume.spec.access_modes.contains(mode)) {
        return Err("incompatible accessMode");
    }
    Ok(())
}

/// Whether a volume says that it is for this claim, with or without knowing its uid.
pub(super) fn is_for(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    volume.spec.claim_ref.as_ref().is_some_and(|own| {
        own.name == claim.metadata.name
            && own.namespace == claim.metadata.namespace
            && own.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
    })
}

/// The best volume for a claim: one that is for it, else the smallest that suits and is nobody's.
pub(super) fn best(
    claim: &PersistentVolumeClaim,
    volumes: &mut dyn Iterator<Item = &Arc<PersistentVolume>>,
) -> Option<Arc<PersistentVolume>> {
    let labels = claim.spec.selector.as_ref().map(claim::labels);
    let labels: Option<Labels> = match labels {
        Some(Ok(labels)) => Some(labels),
        Some(Err(_)) => return None,
        None => None,
    };
    let mut best: Option<&Arc<PersistentVolume>> = None;
    for volume in volumes {
        if volume.metadata.deletion_timestamp.is_some() || suits(claim, volume).is_err() {
            continue;
        }
        if is_for(claim, volume) {
            return Some(Arc::clone(volume));
        }
        let selected = labels.as_ref().is_none_or(|labels| labels.matches(&volume.metadata.labels));
        if volume.spec.claim_ref.is_some() || !selected {
            continue;
        }
        let rank = |volume: &PersistentVolume| size(volume.spec.capacity.get("storage"));
        if best.is_none_or(|held| rank(volume) < rank(held)) {
            best = Some(volume);
        }
    }
    best.cloned()
}

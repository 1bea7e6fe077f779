//! The resizer: grows the volume of a claim that asks for more than it has, by the driver that made it.
//!
//! Whether a claim may ask for more is the API server's business; what the node still has to do is the node's. A volume that
//! was grown keeps its size, whatever becomes of the claim.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use windlass_api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition},
    quantity::{Amount, Format},
    types::{Quantity, Time},
};
use windlass_client::{
    Cache, Client, Select,
    events::{Recorder, Severity},
    gvr,
};
use windlass_kernel::{
    Clock, ClockExt, Controller, Document, Error, ErrorKind, Result, VolumeDriver,
    controller::{ObjectKey, Requeue, Watched},
    volume::{CapacityRange, ExpandVolume, Expanded, VolumeId},
};

use crate::{claim, driver_secrets::SecretReader, registry::Tools, status};

/// How long a driver may take; then it is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

const STORAGE: &str = "storage";
const RESIZING: &str = "Resizing";
const PENDING: &str = "FileSystemResizePending";

/// Grows volumes.
#[derive(Debug)]
pub struct Resizer {
    client: Client,
    secrets: SecretReader,
    clock: Arc<dyn Clock>,
    drivers: BTreeMap<String, Arc<dyn VolumeDriver>>,
    recorders: BTreeMap<String, Recorder>,
    volumes: Cache<Arc<PersistentVolume>>,
    claims: Cache<Arc<PersistentVolumeClaim>>,
}

impl Resizer {
    /// `reader` is for what the resizer's own account may not read.
    pub(crate) fn new(tools: &Tools, reader: &Tools) -> Self {
        let (informers, drivers) = (&tools.informers, &tools.config.volume_drivers);
        let recorder = |name: &str| tools.recorder_as(&format!("external-resizer {name}"));
        Self {
            client: tools.client.clone(),
            secrets: SecretReader::new(reader),
            clock: Arc::clone(&informers.parts().clock),
            drivers: drivers.iter().map(|own| (own.name.clone(), Arc::clone(&own.driver))).collect(),
            recorders: drivers.iter().map(|own| (own.name.clone(), recorder(&own.name))).collect(),
            volumes: informers.typed(Select::all()),
            claims: informers.typed(Select::all()),
        }
    }

    async fn claim(&self, key: &ObjectKey) -> Result<()> {
        let Some(claim) = self.claims.get(key) else { return Ok(()) };
        let Some(wanted) = more(&claim) else { return Ok(()) };
        let name = claim.spec.volume_name.clone().unwrap_or_default();
        let Some(volume) = self.volumes.get(&ObjectKey::new("", name.as_str())) else { return Ok(()) };
        let Some(csi) = &volume.spec.csi else { return Ok(()) };
        let (Some(driver), Some(recorder)) = (self.drivers.get(&csi.driver), self.recorders.get(&csi.driver)) else {
            return Ok(());
        };
        // Where the controller is done and the node is not, there is nothing to do here.
        if amount(volume.spec.capacity.get(STORAGE)) >= wanted && has(&claim, PENDING) {
            return Ok(());
        }
        if !has(&claim, RESIZING) {
            let message = format!("External resizer is resizing volume {name}");
            recorder.event(&*claim, Severity::Normal, "Resizing", message);
            // The write brings the next look.
            return status::write(&self.client, &begun(&claim, self.clock.now())).await;
        }
        let grown = match self.grown(&csi.driver, &**driver, &volume, &csi.volume_handle.as_str().into(), wanted).await
        {
            Ok(grown) => grown,
            Err(error) => {
                let message = format!("resize volume {name:?} by resizer {:?} failed: {error}", csi.driver);
                recorder.event(&*claim, Severity::Warning, "VolumeResizeFailed", message);
                return Err(error);
            }
        };
        let (reason, message) = if grown.node_expansion {
            ("FileSystemResizeRequired", "Require file system resize of volume on node")
        } else {
            ("VolumeResizeSuccessful", "Resize volume succeeded")
        };
        recorder.event(&*claim, Severity::Normal, reason, message);
        status::write(&self.client, &ended(&claim, grown, self.clock.now())).await
    }

    /// Grows a volume, and says so on its object.
    async fn grown(
        &self,
        name: &str,
        driver: &dyn VolumeDriver,
        volume: &PersistentVolume,
        id: &VolumeId,
        wanted: Amount,
    ) -> Result<Expanded> {
        let service = driver.controller().and_then(|controller| controller.expanding());
        let lacks = || Error::new(ErrorKind::NotSupported, format!("driver {name} does not expand volumes"));
        let bytes = u64::try_from(wanted.as_i64()).unwrap_or_default();
        let secret = volume.spec.csi.as_ref().and_then(|csi| csi.controller_expand_secret_ref.as_ref());
        let request = ExpandVolume {
            volume: id.clone(),
            capacity: CapacityRange::at_least(bytes),
            secrets: self.secrets.read(secret).await?,
            ..ExpandVolume::default()
        };
        let grown = self.clock.timeout(PATIENCE, service.ok_or_else(lacks)?.expand(&request)).await??;
        let told = said(grown.capacity);
        if amount(volume.spec.capacity.get(STORAGE)) < amount(Some(&told)) {
            let mut larger = volume.clone();
            larger.spec.capacity.insert(STORAGE.into(), told);
            self.client.update(&larger).await?;
        }
        Ok(grown)
    }
}

fn amount(quantity: Option<&Quantity>) -> Amount {
    quantity.and_then(|quantity| quantity.0.parse().ok()).unwrap_or_default()
}

fn said(bytes: u64) -> Quantity {
    Quantity(Amount::units(i64::try_from(bytes).unwrap_or(i64::MAX), Format::Binary).to_string())
}

/// What a bound claim asks for, where it is more than it has.
fn more(claim: &PersistentVolumeClaim) -> Option<Amount> {
    let bound = claim.status.phase.as_deref() == Some("Bound") && claim.metadata.deletion_timestamp.is_none();
    let wanted = amount(claim.spec.resources.requests.get(STORAGE));
    (bound && wanted > amount(claim.status.capacity.get(STORAGE))).then_some(wanted)
}

fn has(claim: &PersistentVolumeClaim, condition: &str) -> bool {
    claim.status.conditions.iter().any(|own| own.type_ == condition && own.status == "True")
}

/// The claim's status while its volume grows (KEP-1790).
fn begun(claim: &PersistentVolumeClaim, now: Timestamp) -> PersistentVolumeClaim {
    let mut claim = with(claim, &[(RESIZING, None)], now);
    let wanted = claim.spec.resources.requests.get(STORAGE).cloned().unwrap_or_default();
    claim.status.allocated_resources.insert(STORAGE.into(), wanted);
    claim.status.allocated_resource_statuses.insert(STORAGE.into(), "ControllerResizeInProgress".into());
    claim
}

/// The claim's status when its volume has grown.
fn ended(claim: &PersistentVolumeClaim, grown: Expanded, now: Timestamp) -> PersistentVolumeClaim {
    if grown.node_expansion {
        let message = "Waiting for user to (re-)start a pod to finish file system resize of volume on node.";
        let mut claim = with(claim, &[(PENDING, Some(message))], now);
        claim.status.allocated_resource_statuses.insert(STORAGE.into(), "NodeResizePending".into());
        return claim;
    }
    let mut claim = with(claim, &[], now);
    claim.status.allocated_resource_statuses.remove(STORAGE);
    claim.status.capacity.insert(STORAGE.into(), said(grown.capacity));
    claim
}

/// The claim with these conditions of ours and no others.
fn with(claim: &PersistentVolumeClaim, wanted: &[(&str, Option<&str>)], now: Timestamp) -> PersistentVolumeClaim {
    let mut claim = claim.clone();
    claim.status.conditions.retain(|own| own.type_ != RESIZING && own.type_ != PENDING);
    claim.status.conditions.extend(wanted.iter().map(|(kind, message)| PersistentVolumeClaimCondition {
        type_: (*kind).into(),
        status: "True".into(),
        message: message.map(Into::into),
        last_transition_time: Some(Time(now)),
        ..PersistentVolumeClaimCondition::default()
    }));
    claim
}

#[async_trait]
impl Controller for Resizer {
    fn name(&self) -> &'static str {
        "persistent-volume-resizer"
    }

    fn watches(&self) -> Vec<Watched> {
        vec![
            Watched { resource: gvr::<PersistentVolumeClaim>(), keys: claim::own_key },
            Watched { resource: gvr::<PersistentVolume>(), keys: of_volume },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.claim(key).await.map(|()| Requeue::OnChange)
    }
}

/// The claim that has a volume.
fn of_volume(document: &Document) -> Vec<ObjectKey> {
    let Ok(volume) = document.typed::<PersistentVolume>() else { return Vec::new() };
    let own = volume.spec.claim_ref.as_ref();
    own.and_then(|own| Some(ObjectKey::new(own.namespace.clone()?, own.name.clone()?))).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(phase: &str, wanted: &str, has: &str) -> PersistentVolumeClaim {
        let spec = json!({"volumeName": "v", "resources": {"requests": {"storage": wanted}}});
        let status = json!({"phase": phase, "capacity": {"storage": has}});
        serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn a_bound_claim_that_asks_for_more_is_grown() {
        let check = |phase, wanted, has, grows: bool| {
            assert_eq!(more(&claim(phase, wanted, has)).is_some(), grows, "{phase} {wanted} {has}");
        };
        check("Bound", "2Gi", "1Gi", true);
        check("Bound", "1Gi", "1024Mi", false);
        check("Bound", "1Gi", "2Gi", false);
        check("Pending", "2Gi", "1Gi", false);
        check("Lost", "2Gi", "1Gi", false);
    }

    #[test]
    fn the_status_says_how_far_it_is() {
        let now = Timestamp::UNIX_EPOCH;
        let begun = begun(&claim("Bound", "2Gi", "1Gi"), now);
        assert!(has(&begun, RESIZING));
        assert_eq!(begun.status.allocated_resource_statuses[STORAGE], "ControllerResizeInProgress");
        assert_eq!(begun.status.capacity[STORAGE], "1Gi".into());

        let waits = ended(&begun, Expanded { capacity: 2 << 30, node_expansion: true }, now);
        assert!(has(&waits, PENDING) && !has(&waits, RESIZING));
        assert_eq!(waits.status.capacity[STORAGE], "1Gi".into());

        let done = ended(&begun, Expanded { capacity: 2 << 30, node_expansion: false }, now);
        assert_eq!((done.status.conditions.len(), done.status.allocated_resource_statuses.len()), (0, 0));
        assert_eq!(done.status.capacity[STORAGE], "2Gi".into());
    }
}

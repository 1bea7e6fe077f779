//! The node's part of growing volumes, and looking again from time to time at those that may have grown, and how they are.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::Timestamp;
use serde_json::json;
use windlass_api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimCondition, Pod, Volume};
use windlass_kernel::{
    ErrorKind, SpawnExt,
    volume::{CapacityRange, ExpandOnNode},
};

use super::{Again, find::CLAIMS, mount::Bringing};
use crate::{
    agent::{prepare::whole, worker::Round},
    volume::{
        record::Record,
        stored::{self, Growth},
    },
};

/// How often claims are looked at that may wait for this node, and volumes are shown anew whose driver wants that. A node may
/// not watch claims.
const AGAIN: Duration = Duration::from_secs(60);

const STORAGE: &str = "storage";

impl Round<'_> {
    /// Grows a volume to what its object says, and tells its claim.
    pub(super) async fn grow(&self, bringing: &Bringing<'_>, record: &Record) -> Result<(), String> {
        let (wanted, layout) = (bringing.wanted, &self.inner.layout);
        let (Some(growth), Some(service)) = (&wanted.growth, bringing.node()?.expanding()) else { return Ok(()) };
        if wanted.read_only {
            return Ok(());
        }
        let bytes = u64::try_from(stored::amount(Some(&growth.capacity)).as_i64()).unwrap_or_default();
        let request = ExpandOnNode {
            volume: wanted.handle.as_str().into(),
            path: layout.target(&record.uid, &record.name),
            staging: record.staged.then(|| layout.staging(&record.driver, &record.handle)),
            capacity: CapacityRange::at_least(bytes),
            capability: Some(bringing.capability.clone()),
            secrets: self.secrets("NodeExpandSecretRef", wanted.expand_secret.as_ref()).await?,
        };
        let (pod, name) = (bringing.pod, &wanted.name);
        if let Err(error) = self.unless_it_ends(self.ask(service.expand(&request))).await.flatten() {
            let why = whole(&error);
            let text = format!("MountVolume.NodeExpandVolume failed for volume {name:?} : {why}");
            self.event(pod, None, "Warning", "VolumeResizeFailed", &text);
            if error.is(ErrorKind::Invalid) {
                self.tell_claim(growth, infeasible).await?;
            }
            return Err(why);
        }
        self.tell_claim(growth, |claim| grown(claim, growth)).await?;
        let text = format!("MountVolume.NodeExpandVolume succeeded for volume {name:?} {}", self.inner.config.node);
        self.event(pod, None, "Normal", "FileSystemResizeSuccessful", &text);
        Ok(())
    }

    /// Whether the claim of a volume waits for this node. One that cannot be read is looked at the next time.
    async fn waits_to_grow(&self, pod: &Pod, volume: &Volume) -> bool {
        let Some(key) = stored::claim_of(pod, volume) else { return false };
        self.claim(&key).await.is_ok_and(|claim| waits(&claim))
    }

    async fn tell_claim(
        &self,
        growth: &Growth,
        patch: impl FnOnce(&PersistentVolumeClaim) -> serde_json::Value,
    ) -> Result<(), String> {
        let claim = self.claim(&growth.claim).await?;
        let told = self.inner.needs.context.patch_status(CLAIMS, &growth.claim, patch(&claim)).await;
        told.map_err(|error| format!("cannot tell claim {} of its size: {}", growth.claim, whole(&error)))
    }

    /// A volume of the pod is to be looked at from time to time, or is not.
    pub(super) fn look_again(&mut self, volume: &str, again: Option<Again>) {
        let next = self.now().checked_add(AGAIN).ok();
        let stored = &mut self.memo.shown.stored;
        if let Some(again) = again {
            stored.again.insert(volume.to_owned(), again);
            stored.due = stored.due.or(next);
        } else {
            stored.again.remove(volume);
        }
    }

    /// Looks at those volumes whose time has come; answers when to look next.
    ///
    /// What is shown already and has not grown is not asked for again, unless its driver wants that.
    pub(in crate::agent) async fn look_after_stored(&mut self, pod: &Arc<Pod>) -> Option<Timestamp> {
        let now = self.now();
        let stored = &mut self.memo.shown.stored;
        for volume in pod.spec.volumes.iter().filter(|volume| stored::is_stored(volume)) {
            // An earlier agent brought it.
            if !stored.places.contains_key(&volume.name) && !stored.again.contains_key(&volume.name) {
                stored.again.insert(volume.name.clone(), Again::Anew);
                stored.due = Some(now);
            }
        }
        if stored.due.is_none_or(|due| due > now) {
            return stored.due;
        }
        stored.due = None;
        let again = stored.again.clone();
        let mut steady = Vec::new();
        for volume in &pod.spec.volumes {
            let Some(why) = again.get(&volume.name).copied() else { continue };
            if why == Again::Grows && !self.waits_to_grow(pod, volume).await {
                steady.push(volume.clone());
                self.look_again(&volume.name, Some(why));
                continue;
            }
            if let Err(unmounted) = self.stored(pod, volume).await {
                self.event(pod, None, "Warning", unmounted.reason, &unmounted.text);
                self.look_again(&volume.name, Some(why));
            }
        }
        self.ask_how_they_are(pod, steady);
        self.memo.shown.stored.due
    }

    /// Has drivers asked how volumes are, beside the round: one that does not answer holds nothing of the pod up. While they are
    /// asked they are not asked again.
    fn ask_how_they_are(&mut self, pod: &Arc<Pod>, volumes: Vec<Volume>) {
        let asks = &mut self.memo.shown.stored.asks;
        if volumes.is_empty() || asks.as_ref().is_some_and(|task| task.ended().now_or_never().is_none()) {
            return;
        }
        let (inner, pod) = (Arc::downgrade(self.inner), Arc::clone(pod));
        let ask = async move {
            for volume in &volumes {
                let Some(inner) = inner.upgrade() else { return };
                inner.look_at_health(&pod, volume).await;
            }
        };
        *asks = Some(self.inner.needs.spawn.spawn("node.health", ask));
    }
}

/// Whether a claim waits for the node to do its part (KEP-1790).
fn waits(claim: &PersistentVolumeClaim) -> bool {
    let status = claim.status.allocated_resource_statuses.get(STORAGE).map(String::as_str);
    let pending = |own: &PersistentVolumeClaimCondition| own.type_ == "FileSystemResizePending" && own.status == "True";
    match status {
        Some(status) => matches!(status, "NodeResizePending" | "NodeResizeInProgress"),
        None => claim.status.conditions.iter().any(pending),
    }
}

/// The claim's status when its volume has grown.
fn grown(claim: &PersistentVolumeClaim, growth: &Growth) -> serde_json::Value {
    let mut conditions = claim.status.conditions.clone();
    conditions.retain(|own| !matches!(own.type_.as_str(), "Resizing" | "FileSystemResizePending"));
    json!({"status": {
        "capacity": {STORAGE: growth.capacity},
        "allocatedResourceStatuses": {STORAGE: null},
        "conditions": conditions,
    }})
}

/// The claim's status when its volume cannot grow here.
fn infeasible(_: &PersistentVolumeClaim) -> serde_json::Value {
    json!({"status": {"allocatedResourceStatuses": {STORAGE: "NodeResizeInfeasible"}}})
}

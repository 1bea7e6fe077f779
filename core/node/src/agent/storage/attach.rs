//! Waits until a volume has been attached to this node: that is the controllers' work, and the node's status tells of it.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use windlass_api::{core::v1::Node, storage::v1::VolumeAttachment};
use windlass_kernel::{ClockExt, controller::ObjectKey};

use crate::{agent::worker::Round, volume::stored::Wanted};

/// How long is waited before the pod is told, and the wait begins anew (upstream: the same).
const PATIENCE: Duration = Duration::from_secs(123);

impl Round<'_> {
    /// What attaching a volume answered, once it has been.
    ///
    /// It is not used before the node's status says so: who detaches volumes looks there.
    pub(super) async fn attached(&self, wanted: &Wanted) -> Result<BTreeMap<String, String>, String> {
        let unique = wanted.unique_name();
        let late = || "timed out waiting for the condition".to_owned();
        let waited = self.inner.needs.clock.within(PATIENCE, self.attachment(&unique)).await;
        let name = waited.unwrap_or_else(|| Err(late()))?;
        let key = ObjectKey::new("", name.as_str());
        let found = self.object::<VolumeAttachment>("volumeattachments.storage.k8s.io", &key).await?;
        let found = found.ok_or_else(|| format!("volumeattachments.storage.k8s.io {name:?} not found"))?;
        Ok(found.status.attachment_metadata)
    }

    /// The name of the attachment that the node's status tells for a volume that it says to be in use.
    async fn attachment(&self, unique: &str) -> Result<String, String> {
        let key = ObjectKey::new("", self.inner.config.node.as_str());
        let mut versions = self.inner.needs.context.versions("nodes", &key);
        loop {
            versions.next().await;
            let node: Option<Node> = self.object("nodes", &key).await?;
            let Some(status) = node.map(|node| node.status) else { continue };
            let attached = status.volumes_attached.into_iter().find(|attached| attached.name == unique);
            if let Some(attached) = attached.filter(|_| status.volumes_in_use.iter().any(|own| own == unique)) {
                return Ok(attached.device_path);
            }
        }
    }
}

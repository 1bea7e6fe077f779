//! Layers become snapshots: each one is applied over those below it, once, whoever asks.

use containerd_client::services::v1::{self as api, snapshots};
use windlass_kernel::{Error, ErrorKind, Result};

use super::{
    Containerd,
    calls::{Calls, answered},
    images::Facts,
};

/// The name of the snapshot of these layers, from the lowest up (OCI image specification, "layer ChainID").
pub(super) fn chain(layers: &[String]) -> String {
    let mut layers = layers.iter();
    let first = layers.next().cloned().unwrap_or_default();
    layers.fold(first, |below, layer| sha256(format!("{below} {layer}").as_bytes()))
}

/// The digest of bytes, as images write it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", super::super::sha256(bytes))
}

impl Containerd {
    /// Makes the snapshots of an image that are not there.
    pub(super) async fn unpack(&self, image: &Facts) -> Result<()> {
        self.unpack_in(&self.0.leased, image).await
    }

    /// The same, in a lease.
    pub(super) async fn unpack_in(&self, calls: &Calls, image: &Facts) -> Result<()> {
        if image.chain.is_empty() || self.has_snapshot(&image.chain).await? {
            return Ok(());
        }
        let layers = image.unpacked();
        if layers.len() != image.layers.len() {
            let message = format!("image {} has {} layers and tells of {}", image.id, image.layers.len(), layers.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        for at in 0..layers.len() {
            let (below, name) = (chain(&layers[..at]), chain(&layers[..=at]));
            let _chain = self.0.locks.lock(&name).await;
            if !self.has_snapshot(&name).await? {
                self.apply(calls, image, at, below, name).await?;
            }
        }
        // With it the snapshots are held for as long as the configuration is.
        let label = format!("containerd.io/gc.ref.snapshot.{}", self.0.calls.snapshotter);
        let info = api::Info {
            digest: image.id.clone(),
            labels: [(label.clone(), image.chain.clone())].into(),
            ..api::Info::default()
        };
        let mask = prost_types::FieldMask { paths: vec![format!("labels.{label}")] };
        let request = api::UpdateRequest { info: Some(info), update_mask: Some(mask) };
        answered("note what was unpacked", self.0.calls.content().update(request).await).map(drop)
    }

    async fn apply(&self, calls: &Calls, image: &Facts, at: usize, below: String, name: String) -> Result<()> {
        let key = format!("extract-{} {name}", self.fresh_id());
        let snapshotter = || self.0.calls.snapshotter.to_string();
        let request = snapshots::PrepareSnapshotRequest {
            snapshotter: snapshotter(),
            key: key.clone(),
            parent: below,
            ..snapshots::PrepareSnapshotRequest::default()
        };
        let mounts = answered("make room for a layer", calls.snapshots().prepare(request).await)?.mounts;
        let unpacked = async {
            let request =
                api::ApplyRequest { diff: Some(image.layers[at].clone()), mounts, ..api::ApplyRequest::default() };
            let applied = answered("unpack a layer", calls.diff().apply(request).await)?.applied;
            let (found, told) = (applied.map(|applied| applied.digest).unwrap_or_default(), &image.unpacked()[at]);
            if found != *told {
                let message = format!("layer {} of image {} is {found}, and not {told}", at + 1, image.id);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let request = snapshots::CommitSnapshotRequest {
                snapshotter: snapshotter(),
                name,
                key: key.clone(),
                ..snapshots::CommitSnapshotRequest::default()
            };
            match calls.snapshots().commit(request).await {
                // Somebody else unpacked it meanwhile.
                Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(false),
                answer => answered("keep a layer", answer).map(|()| true),
            }
        };
        let done = unpacked.await;
        if !matches!(done, Ok(true)) {
            self.unprepare(&key).await?;
        }
        done.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_all_layers_below() {
        let layers = ["sha256:a", "sha256:b", "sha256:c"].map(str::to_owned);
        assert_eq!(chain(&[]), "");
        assert_eq!(chain(&layers[..1]), "sha256:a");
        let two = sha256(b"sha256:a sha256:b");
        assert_eq!(chain(&layers[..2]), two);
        assert_eq!(chain(&layers), sha256(format!("{two} sha256:c").as_bytes()));
    }
}

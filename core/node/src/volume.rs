//! A pod's volumes on the node: what is in them, how they are made, and how they are mounted into containers.

mod host_path;
mod mounts;
mod payload;
mod place;
pub(crate) mod record;
mod remove;
pub(crate) mod stored;
mod usage;
mod write;

use std::path::PathBuf;

pub(crate) use self::{
    mounts::{devices, planned},
    payload::{File, Source, TokenRequest, files, is_ours, sources},
    place::{clean, give, make_sub_path, mounts_below, prepare},
    remove::remove,
    usage::usage,
    write::write,
};

/// The folder of a pod's volumes in which those of drivers are, as drivers know it from kubelets.
pub(crate) const DRIVERS: &str = "volumes/kubernetes.io~csi";

/// A volume that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder of the agent's, on disk.
    Folder,
    /// A folder of the agent's, in memory; at most so many bytes.
    Memory(Option<u64>),
    /// A path of the node, which has to be of that type.
    Host { path: PathBuf, kind: String },
    /// What a claim is bound to, or a volume of a driver: only the cluster knows.
    Stored,
}

/// What a volume is, or why it cannot be had.
pub(crate) fn kind(volume: &windlass_api::core::v1::Volume) -> Result<Kind, String> {
    if let Some(empty) = &volume.empty_dir {
        let limit = empty.size_limit.as_ref().and_then(|limit| limit.0.parse::<windlass_api::quantity::Amount>().ok());
        let limit = limit.and_then(|limit| u64::try_from(limit.as_i64()).ok()).filter(|limit| *limit > 0);
        return match empty.medium.as_deref().unwrap_or_default() {
            "" => Ok(Kind::Folder),
            "Memory" => Ok(Kind::Memory(limit)),
            other => Err(format!("emptyDir medium {other:?} is not supported")),
        };
    }
    if let Some(host) = &volume.host_path {
        return Ok(Kind::Host { path: host.path.clone().into(), kind: host.type_.clone().unwrap_or_default() });
    }
    if is_ours(volume) {
        // Secrets and tokens never touch the disk.
        let secret = volume.secret.is_some()
            || volume
                .projected
                .iter()
                .flat_map(|projected| &projected.sources)
                .any(|source| source.secret.is_some() || source.service_account_token.is_some());
        return Ok(if secret { Kind::Memory(None) } else { Kind::Folder });
    }
    if stored::is_stored(volume) {
        return Ok(Kind::Stored);
    }
    Err("this type of volume is not supported".into())
}

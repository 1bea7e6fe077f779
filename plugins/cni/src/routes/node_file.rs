//! What a bridge needs to know of the node that it is on: written by the router, read at each attach.

use std::{fs, io, path::Path};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use windlass_kernel::{Error, ErrorKind, Result, routes::RoutedNode};

use super::Settings;
use crate::failed;

/// Where it is by default. It does not outlive a reboot, and neither do the routes that it speaks of.
pub(crate) const NODE_FILE: &str = "/run/windlass/pod-network.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeFile {
    pub(crate) mode: String,
    /// The node's own ranges.
    pub(crate) ranges: Vec<IpNet>,
    /// The ranges of which all nodes have theirs.
    #[serde(default)]
    pub(crate) cluster_ranges: Vec<IpNet>,
    /// The largest packet that gets to another node.
    pub(crate) mtu: u32,
}

impl NodeFile {
    pub(super) fn of(settings: &Settings, own: &RoutedNode, mtu: u32) -> Self {
        Self {
            mode: settings.mode.name().into(),
            ranges: own.ranges.iter().map(IpNet::trunc).collect(),
            cluster_ranges: settings.cluster_ranges.clone(),
            mtu,
        }
    }

    /// Writes it whole or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed(format!("make {}", folder.display())))?;
        }
        let draft = path.with_extension("draft");
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
        written.map_err(failed(format!("write {}", path.display())))
    }

    pub(super) fn remove(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(format!("remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// Reads it. It is [`Unavailable`](ErrorKind::Unavailable) until a router has made its routes.
    pub(crate) fn read(path: &Path, mode: &str) -> Result<Self> {
        let text = fs::read(path).map_err(|error| {
            let message = format!(
                "mode {mode:?} needs {}, which the node's router writes once the node has podCIDRs; it is not there",
                path.display()
            );
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
        let file: Self = serde_json::from_slice(&text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("cannot read {}: {error}", path.display())).with_source(error)
        })?;
        if file.mode != mode {
            let message = format!(
                "the network's mode is {mode:?} and the node's router has {:?} ({}): they must be the same",
                file.mode,
                path.display()
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(file)
    }
}

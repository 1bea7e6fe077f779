//! A node with real containers on this machine, as the command line asks for one.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use windlass::{
    kernel::{Error, ErrorKind},
    node::EvictionLimits,
    real::{CLUSTER_RANGE, ClusterDns, ContainerNode, DNS_ADDRESS, native_note, primary_address, socket_note},
};

use crate::{args::Runtime, data::DataDir};

/// A node over `runtime`, named as this machine and at its address, that knows of no API yet. The data directory notes which
/// runtime it was, for `windlass down`.
pub(crate) fn node(data: &DataDir, runtime: &Runtime) -> Result<ContainerNode> {
    let (socket, native) = match runtime {
        Runtime::Auto => (None, false),
        Runtime::Cri(socket) => (Some(socket.clone()), false),
        Runtime::Containerd(socket) => (socket.clone(), true),
        Runtime::Fake => {
            let message = "--runtime fake runs no containers: its nodes are those of `windlass up`";
            return Err(Error::new(ErrorKind::Invalid, message).into());
        }
    };
    let path = std::path::absolute(data.path()).context("cannot tell where the data directory is")?;
    // `windlass down` has to find what runs there, or in a containerd of our own.
    note(&socket_note(&path), socket.as_ref().map(|socket| socket.as_os_str().as_encoded_bytes()))?;
    note(&native_note(&path), native.then_some(b""))?;
    let address = primary_address();
    Ok(ContainerNode {
        name: hostname().map_or_else(|| "node-1".into(), |name| name.to_lowercase()),
        address,
        images: path.join("images"),
        data_dir: path,
        socket,
        carrier: native.then(carrier).transpose()?,
        drivers: Vec::new(),
        api: (address.to_string(), 0),
        api_port: 0,
        eviction: EvictionLimits::default(),
        mirrors: BTreeMap::new(),
        static_pods: None,
        static_pods_url: None,
        static_pods_headers: Vec::new(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        register: true,
        max_pods: 110,
        dns: ClusterDns { servers: vec![DNS_ADDRESS.to_string()], domain: "cluster.local".into() },
        pod_range: None,
        cluster_range: CLUSTER_RANGE,
        routing: None,
    })
}

/// Writes a note into the data directory, or removes it.
fn note(path: &Path, text: Option<&[u8]>) -> Result<()> {
    let noted = match text {
        Some(text) => std::fs::write(path, text),
        None if path.exists() => std::fs::remove_file(path),
        None => Ok(()),
    };
    noted.with_context(|| format!("cannot change {}", path.display()))
}

/// Refuses to run containers as somebody who cannot; `instead` says what to do.
pub(crate) fn need_root(instead: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unavailable, format!("real containers need root: {instead}")).into())
}

/// What this machine calls itself.
pub(crate) fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok())
}

/// What carries the streams of containers, where the runtime does not: this program.
pub(crate) fn carrier() -> Result<Vec<String>> {
    let this = std::env::current_exe().context("cannot tell which program this is")?;
    Ok(vec![this.display().to_string(), "carry".into()])
}

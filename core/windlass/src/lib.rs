//! A whole cluster in one process: assembly, re-exports, and the rim where Windlass meets the operating system.
#![deny(missing_docs)]

mod agents;
pub mod cluster;
mod components;
#[cfg(all(doctest, feature = "fake"))]
mod guide;
mod reach;
#[cfg(feature = "containers")]
pub mod real;
#[cfg(feature = "http")]
mod remote;
pub mod rim;
#[cfg(feature = "http")]
pub mod serve;
#[cfg(feature = "simulate")]
pub mod simulate;
#[cfg(feature = "fake")]
pub mod testing;

pub use self::{
    agents::Agents,
    cluster::{Builder, Cluster, Hosted, NodeParts, NodeSource, host_node},
};
pub use windlass_api as api;
pub use windlass_apiserver as apiserver;
pub use windlass_client as client;
#[cfg(feature = "cni")]
pub use windlass_cni as cni;
#[cfg(feature = "cri")]
pub use windlass_cri as cri;
#[cfg(feature = "csi")]
pub use windlass_csi as csi;
#[cfg(feature = "device")]
pub use windlass_device as device;
pub use windlass_kernel as kernel;
pub use windlass_node as node;
pub use windlass_scheduler as scheduler;
pub use windlass_store as store;
#[cfg(feature = "fake")]
pub use windlass_testkit as testkit;

//! What sandboxes and containers use. Counters only grow; rates are the reader's business.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{ContainerId, ContainerKey, SandboxFilter, SandboxId, SandboxKey};
use crate::error::Result;

/// What one container uses.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerStats {
    /// The container.
    pub id: ContainerId,
    /// Its key.
    pub key: ContainerKey,
    /// What it can be found by.
    pub labels: BTreeMap<String, String>,
    /// CPU, where known.
    pub cpu: Option<CpuUsage>,
    /// Memory, where known.
    pub memory: Option<MemoryUsage>,
    /// What it wrote into its own layer, where known; it may be many seconds old.
    pub layer: Option<FsUsage>,
}

/// CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuUsage {
    /// When it was read.
    pub at: Timestamp,
    /// CPU time since the start, over all cores.
    pub used: Duration,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// When it was read.
    pub at: Timestamp,
    /// What cannot be given back under pressure.
    pub working_set: u64,
    /// What can still be had before the limit; `None` without a limit or where it is not known.
    pub available: Option<u64>,
    /// Everything.
    pub usage: u64,
    /// Anonymous memory.
    pub rss: u64,
    /// Page faults since the start.
    pub page_faults: u64,
    /// Those that needed I/O.
    pub major_page_faults: u64,
}

/// Space on a file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsUsage {
    /// When it was read.
    pub at: Timestamp,
    /// Where the file system is mounted; empty where the runtime does not say.
    pub mountpoint: String,
    /// Bytes in use.
    pub bytes: u64,
    /// Inodes in use.
    pub inodes: u64,
}

/// Traffic of one network interface since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceUsage {
    /// The interface inside.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that could not be received.
    pub rx_errors: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// What one sandbox and its containers use.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxStats {
    /// The sandbox.
    pub id: SandboxId,
    /// Its key.
    pub key: SandboxKey,
    /// What it can be found by.
    pub labels: BTreeMap<String, String>,
    /// CPU of the whole, where known.
    pub cpu: Option<CpuUsage>,
    /// Memory of the whole, where known.
    pub memory: Option<MemoryUsage>,
    /// The network, the main interface first.
    pub interfaces: Vec<InterfaceUsage>,
    /// How many processes run in it, where known.
    pub processes: Option<u64>,
    /// Its containers.
    pub containers: Vec<ContainerStats>,
}

/// An optional service of a runtime: usage by sandbox.
#[async_trait]
pub trait SandboxMetering: Send + Sync {
    /// What the sandboxes use that the filter lets through.
    async fn sandbox_stats(&self, filter: &SandboxFilter) -> Result<Vec<SandboxStats>>;
}

//! The reference node agent: pod workers, probes, volumes, logs and sessions over any ContainerRuntime.
//!
//! This crate promises no stable API; embed it through `windlass`.
#![cfg_attr(test, allow(clippy::needless_pass_by_value, reason = "a check takes its case as it stands"))]

mod agent;
mod arrivals;
mod cgroup;
mod devices;
mod drivers;
mod eviction;
mod gauge;
pub mod host;
mod image;
mod kubelet;
mod layout;
mod leftovers;
mod log;
mod machine;
mod make;
mod pod;
mod probe;
mod registry;
pub mod statics;
mod volume;

pub use self::{
    agent::{Config, Needs, PodAgent, borrowed},
    devices::Devices,
    drivers::Drivers,
    eviction::{EvictionLimits, Statements},
    gauge::{DiskLevel, Gauge, Level, SystemGauge},
    host::Host,
    image::ImageLimits,
    kubelet::{Gates, Kubelet},
    leftovers::{leftover_pods, remove_folder, remove_leftovers, take_volumes},
    make::dns::ClusterDns,
    registry::{Found, Greeting, Registry},
};

//! The reference node agent: pod workers, probes, volumes, logs and sessions over any ContainerRuntime.
//!
//! This crate promises no stable API; embed it through `windlass`.

mod agent;
mod cgroup;
pub mod host;
mod image;
mod layout;
mod log;
mod machine;
mod make;
mod pod;
mod probe;
mod volume;

pub use self::{
    agent::{Config, Needs, PodAgent},
    host::Host,
    make::dns::ClusterDns,
};

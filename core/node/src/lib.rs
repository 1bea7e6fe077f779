//! The reference node agent: pod workers, probes, volumes, logs and sessions over any ContainerRuntime.
//!
//! This crate promises no stable API; embed it through `windlass`.

pub mod host;

pub use self::host::Host;

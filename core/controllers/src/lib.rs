//! The built-in controllers: per kind a pure plan and a thin reconcile.
//!
//! [`run`] runs them all; [`all`] hands them out for a runner of one's own. Each acts under its own upstream identity.

mod claim;
pub mod deployment;
pub mod endpoints;
pub mod node_lifecycle;
mod pods;
mod registry;
pub mod replicaset;
pub mod root_ca;
pub mod service_account;
mod sets;
pub mod taint_eviction;
mod written;

pub use registry::{Config, NAMES, all, identity, run};

//! The built-in controllers: per kind a pure plan and a thin reconcile.
//!
//! [`run`] runs them all; [`all`] hands them out for a runner of one's own. Each acts under its own upstream identity.

mod claim;
pub mod collector;
pub mod deployment;
pub mod endpoints;
pub mod namespace;
pub mod node_lifecycle;
pub mod podgc;
mod pods;
mod registry;
pub mod replicaset;
mod resources;
pub mod root_ca;
pub mod service_account;
mod sets;
pub mod taint_eviction;
mod written;

pub use registry::{Config, all, collector, identity, names, run};

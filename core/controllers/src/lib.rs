//! The built-in controllers: per kind a pure plan and a thin reconcile.
//!
//! [`run`] runs them all; [`all`] hands them out for a runner of one's own. Each acts under its own upstream identity.

mod claim;
pub mod deployment;
mod pods;
mod registry;
pub mod replicaset;
mod sets;
mod written;

pub use registry::{NAMES, all, identity, run};

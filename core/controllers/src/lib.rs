//! The built-in controllers: per kind a pure plan and a thin reconcile.
//!
//! [`run`] runs them all; [`all`] hands them out for a runner of one's own. Each acts under its own upstream identity.

#![cfg_attr(test, allow(clippy::needless_pass_by_value, reason = "a check takes its case as it stands"))]

mod adopt;
mod amount;
pub mod attach_detach;
pub mod attacher;
pub mod autoscaler;
pub mod bootstrap_tokens;
pub mod certificates;
mod claim;
mod cluster_roles;
pub mod collector;
pub mod cronjob;
mod daemonset;
pub mod deployment;
pub mod disruption;
mod driver_secrets;
pub mod endpoints;
pub mod ephemeral_volume;
mod history;
pub mod job;
pub mod namespace;
pub mod node_ipam;
pub mod node_lifecycle;
mod owned;
pub mod podgc;
mod pods;
pub mod provisioner;
mod registry;
mod replicaset;
pub mod resizer;
pub mod resource_quota;
mod resources;
pub mod root_ca;
pub mod service_account;
mod service_cidrs;
mod service_ips;
pub mod snapshotter;
mod statefulset;
mod status;
pub mod taint_eviction;
mod template;
pub mod ttl_after_finished;
pub mod volume_binder;
pub mod volume_protection;
mod written;

pub use provisioner::NamedDriver;
pub use registry::{Config, all, collector, identity, names, run};

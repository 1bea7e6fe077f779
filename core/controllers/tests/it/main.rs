//! The controllers against the real API server over a store in memory, in virtual time, with RBAC on.

mod attaching;
mod autoscalers;
mod budgets;
mod certificates;
mod cluster;
mod collecting;
mod crons;
mod daemons;
mod elections;
mod endpoints;
mod housekeeping;
mod jobs;
mod laws;
mod lost_nodes;
mod mirrors;
mod pod_ranges;
mod provisioning;
mod quotas;
mod replication;
mod roles;
mod rollouts;
mod service_addresses;
mod sets;
mod snapshots;
mod stateful;
mod volumes;

//! The controllers against the real API server over a store in memory, in virtual time, with RBAC on.

mod budgets;
mod certificates;
mod cluster;
mod collecting;
mod crons;
mod daemons;
mod endpoints;
mod jobs;
mod laws;
mod lost_nodes;
mod mirrors;
mod quotas;
mod replication;
mod roles;
mod rollouts;
mod sets;
mod stateful;
mod volumes;

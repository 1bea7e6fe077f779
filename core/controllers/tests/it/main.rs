//! The controllers against the real API server over a store in memory, in virtual time, with RBAC on.

mod cluster;
mod collecting;
mod lost_nodes;
mod rollouts;
mod sets;

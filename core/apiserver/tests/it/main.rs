//! The API server in process, over a store in memory.

mod agents;
mod crud;
mod messages;
mod others;
mod pods;
mod rig;
mod services;
mod watches;

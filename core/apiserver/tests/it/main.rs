//! The API server in process, over a store in memory.

mod agents;
mod crud;
mod http;
mod messages;
mod others;
mod pods;
mod rbac;
mod rig;
mod rim;
mod services;
mod watches;

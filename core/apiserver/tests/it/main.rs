//! The API server in process, over a store in memory.

mod crud;
mod others;
mod pods;
mod rig;
mod services;
mod watches;

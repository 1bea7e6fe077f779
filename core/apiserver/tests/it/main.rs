//! The API server in process, over a store in memory.

mod crud;
mod http;
mod rbac;
mod rim;
mod rig;
mod watches;

//! The API server in process, over a store in memory.

mod crud;
mod rig;
mod watches;

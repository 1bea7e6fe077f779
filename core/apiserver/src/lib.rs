//! The API server.
pub mod access;
pub mod discovery;

//! The API server.
pub mod discovery;

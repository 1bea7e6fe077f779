//! The API server: REST, watch, patch, admission, authentication and authorization over any Store.

pub mod access;
pub mod discovery;
#[cfg(feature = "http")]
pub mod http;
pub mod kinds;
pub mod table;

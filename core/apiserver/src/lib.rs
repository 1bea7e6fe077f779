//! The API server: REST, watch, patch, admission, authentication and authorization over any Store.

pub mod kinds;
pub mod table;

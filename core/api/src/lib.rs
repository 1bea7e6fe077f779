//! The Kubernetes API as data and pure functions: types, schemas, codecs, names, selectors, quantities, schedules, patches, apply.
//!
//! Nothing here performs I/O, reads a clock or starts a task.
//! Facts about the API (fields, numbers, keys, resources) come only from the tables in `data/`.

#![deny(missing_docs)]

pub mod apply;
pub mod cron;
pub mod decode;
pub mod duration;
pub mod features;
mod r#gen;
pub mod lifecycle;
#[cfg(feature = "yaml")]
pub mod manifests;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod path;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod types;

pub use r#gen::types::*;

/// A decoded JSON tree, with keys in sorted order.
pub use serde_json::Value;

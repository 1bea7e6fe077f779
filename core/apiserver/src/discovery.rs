//! What a server serves, told to clients: discovery, OpenAPI and version documents.
//!
//! The documents are made from a [`Catalog`] snapshot when they are asked for; nothing here keeps one decoded.

mod aggregated;
mod catalog;
mod gnostic;
mod legacy;
mod openapi;
mod paths;
mod schema;
mod texts;
mod version;
mod versions;

pub use self::{
    aggregated::{AggregatedVersion, aggregated},
    catalog::{BuiltIn, Catalog, Resource, Schema, Snapshot, Subresource},
    legacy::{api_group, api_group_list, api_resource_list, api_versions},
    openapi::{index, v2, v2_protobuf, v3},
    texts::{Describe, Description, Texts},
    version::{GIT_VERSION, version},
    versions::Versions,
};
#[cfg(feature = "http")]
pub(crate) use self::{catalog::api_version, openapi::fingerprint};

//! Custom resources: what a CustomResourceDefinition says, and serving it by the same path as built-in kinds.
//!
//! A definition is read into one [`Version`] for each version that it serves; all of them together are a [`Served`] set
//! that the registry swaps as a whole. Which definitions are established is decided in `accept`; carrying that out and
//! emptying what is deleted is `settle`. Definitions themselves are validated with the other kinds (`kinds`).

mod accept;
mod catalog;
mod clean;
mod coerce;
mod convert;
mod definition;
mod fill;
mod formats;
pub(crate) mod path;
mod prune;
mod receive;
#[cfg(feature = "cel")]
mod rules;
mod schema;
mod settle;
mod unique;
mod validate;
mod version;
#[cfg(feature = "http")]
mod webhook;

pub use self::catalog::Live;
pub(crate) use self::{
    accept::{Approval, approval, protected, terminate},
    clean::Cleaning,
    convert::{STAMP, between, encode, encode_as, open, open_all, unchanged, written},
    prune::prune_below,
    receive::{check_new, check_update, fill, receive},
    schema::{Node, compile},
    settle::{after_write, own_request, refresh},
    validate::check_default,
    version::{Scale, Served, Version},
};
/// What whoever writes a definition should hear about its schemas.
pub(crate) fn unrecognized_formats(definition: &serde_json::Value) -> Vec<String> {
    let mut found = std::collections::BTreeSet::new();
    for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
        formats::unrecognized(&version["schema"]["openAPIV3Schema"], &mut found);
    }
    found.into_iter().map(|format| format!("unrecognized format {format:?}")).collect()
}

#[cfg(feature = "cel")]
pub(crate) use self::{
    rules::check_rules,
    schema::{Additional, Kind as SchemaKind},
};

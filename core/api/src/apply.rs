//! Server-side apply and managed fields: who owns which field of an object, and what a write does to that.
//!
//! Everything here is a pure function of the objects and the time it is given; [`update`] runs on every write.
//! Versions are not converted: the paths of all managers are read in the version of the request.

mod conflict;
mod element;
mod manager;
mod merge;
mod server;
mod set;
mod types;
mod update;
mod validate;
mod walk;
mod wire;

pub use conflict::{Conflict, Conflicts};
pub use element::{Element, Scalar};
pub use manager::{ManagedEntry, Operation, decode_managers, managers_for_update, managers_to_json, write_managers};
pub use server::{Applied, Refusal, apply};
pub use set::FieldSet;
pub use types::TypeRef;
pub use update::{Write, update};
pub use walk::{Changes, changed, fields_of};

#[cfg(test)]
mod tests;

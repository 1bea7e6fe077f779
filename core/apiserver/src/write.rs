//! The path of every write: stamping, preparation, ownership, admission, validation and the transaction.
//!
//! What the new object looks like is the verbs' business; `insert` and `replace` take it from there.

mod admit;
mod insert;
mod replace;

pub(crate) use self::{
    admit::{Gate, Whom, posted},
    insert::insert,
    replace::{Change, edit, may_go},
};

use serde_json::Value;

/// Whether the owners of an object's fields are already settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// To be recorded from what changes.
    Record,
    /// Settled by an apply, or of no interest.
    Settled,
}

/// What a client wants an object to be, in its stored version.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// The object.
    pub(crate) object: Value,
    /// Its owners.
    pub(crate) owners: Owners,
    /// What the client should hear.
    pub(crate) warnings: Vec<String>,
}

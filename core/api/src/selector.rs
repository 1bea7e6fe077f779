//! Label and field selectors: what a query or an object may ask for, and whether labels or fields answer to it.
//!
//! Which fields of a kind can be selected, and how they are indexed, is decided by servers: see [`Labels::exact`] and [`Fields::terms`].

mod fields;
mod labels;
mod parse;

pub use fields::{Fields, Term};
pub use labels::{Labels, Operator, Requirement};

use std::fmt;

/// Why a selector is refused, in the words clients know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

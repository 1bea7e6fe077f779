//! The patches that clients send: JSON patch, merge patch and strategic merge patch. Apply is a module of its own.
//!
//! Each function changes a document in place; after an error the document may be half changed and is to be dropped.

mod json;
mod merge;
mod strategic;

pub use json::{MAX_COPIED_BYTES, MAX_OPERATIONS, json};
pub use merge::merge;
pub use strategic::strategic;

use std::fmt;

/// Why a patch is refused, in the words clients know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What kind of answer a refused patch gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The patch itself cannot be read: 400.
    Malformed,
    /// The patch asks for too much: 413.
    TooLarge,
    /// The patch does not fit the document: 422.
    Inapplicable,
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What kind of answer it gets.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

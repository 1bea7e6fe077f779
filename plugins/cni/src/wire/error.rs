//! Errors as plugins print them.

use std::{error, fmt};

use serde::{Deserialize, Serialize};

/// The well-known error codes ("Error" in the specification). From 100 on they are the plugin's own.
pub mod code {
    /// The configuration's version is not spoken.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field of the configuration is not supported; the message names it and its value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is unknown or gone.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// An environment variable that is needed is missing or wrong; the message names it.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// What came on the standard input is not JSON of the right form.
    pub const DECODING: u32 = 6;
    /// The configuration is wrong.
    pub const INVALID_CONFIG: u32 = 7;
    /// A condition that passes: try again.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: ADD cannot be served now.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: ADD cannot be served now, and what is attached may have lost its connection.
    pub const LIMITED: u32 = 51;
    /// Anything else.
    pub const OTHER: u32 = 999;
}

/// What a plugin prints when it fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CniError {
    /// The version that it is written in.
    pub cni_version: String,
    /// What failed: see [`code`].
    pub code: u32,
    /// A short sentence.
    pub msg: String,
    /// A longer one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// A failure with a short sentence.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), ..Self::default() }
    }

    /// Adds a longer sentence.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (CNI error {})", self.msg, self.code)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, ": {}", self.details) }
    }
}

impl error::Error for CniError {}

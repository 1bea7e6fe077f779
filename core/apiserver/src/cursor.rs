//! Continue tokens: where a paged list goes on, and in which state. Opaque to clients.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use windlass_kernel::{Revision, error::Result};

use crate::errors;

const VERSION: &str = "meta.k8s.io/v1";

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The state; `None` goes on in whatever is the latest.
    pub(crate) revision: Option<Revision>,
    /// The first key, relative to what all keys of the list begin with.
    pub(crate) start: String,
}

impl Cursor {
    /// The token for clients.
    pub(crate) fn encode(&self) -> String {
        let revision = self.revision.map_or(-1, |revision| i64::try_from(revision.0).unwrap_or(i64::MAX));
        URL_SAFE_NO_PAD.encode(json!({"v": VERSION, "rv": revision, "start": self.start}).to_string())
    }

    /// Reads a token that a client sent back.
    pub(crate) fn decode(token: &str) -> Result<Self> {
        let refuse = |why: String| errors::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| refuse(error.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        if value["v"] != VERSION {
            return Err(refuse(format!("server does not recognize this encoded version {}", value["v"])));
        }
        let start = value["start"].as_str().filter(|start| !start.is_empty());
        let start = start.ok_or_else(|| refuse("encoded start key is empty".into()))?;
        let revision = match value["rv"].as_i64() {
            None | Some(0) => return Err(refuse("incorrect encoded start resourceVersion".into())),
            Some(revision) => u64::try_from(revision).ok().map(Revision),
        };
        Ok(Self { revision, start: start.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back() {
        for revision in [Some(Revision(7)), None] {
            let cursor = Cursor { revision, start: "ns/a\0".into() };
            assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        }
    }

    #[test]
    fn a_foreign_token_is_refused() {
        for token in ["x", "!!", "e30", "eyJ2IjoidjIifQ"] {
            assert!(Cursor::decode(token).unwrap_err().message().starts_with("continue key is not valid: "), "{token}");
        }
    }
}

//! Single fields on their way from the wire, and the sizes that the specification allows ("Field Requirements").

use std::{collections::BTreeMap, path::PathBuf};

use windlass_kernel::{Error, ErrorKind, Result};

use super::refused;

/// The longest text, in bytes.
const TEXT: usize = 128;

/// The longest id of a node.
const NODE: usize = 256;

/// The longest path: what Linux takes.
const PATH: usize = 4096;

/// The largest map, keys and values together.
pub(super) const MAP: usize = 4096;

/// A text of at most 128 bytes, or 256 for ids of nodes.
pub(crate) fn text(name: &str, text: String) -> Result<String> {
    let most = if name == "node_id" { NODE } else { TEXT };
    if text.len() > most {
        return Err(refused(name, format!("has {} bytes, of which {most} can be", text.len())));
    }
    Ok(text)
}

/// A text that must be there.
pub(crate) fn required(name: &str, value: String) -> Result<String> {
    if value.is_empty() {
        return Err(refused(name, "is required"));
    }
    text(name, value)
}

/// A message or choice that must be there.
pub(crate) fn within<T>(name: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| refused(name, "is required"))
}

/// A map of at most 4 KiB.
pub(crate) fn words(name: &str, words: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let size: usize = words.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAP {
        return Err(refused(name, format!("has {size} bytes, of which {MAP} can be")));
    }
    Ok(words)
}

/// An absolute path that must be there.
pub(crate) fn path(name: &str, text: String) -> Result<PathBuf> {
    if text.is_empty() {
        return Err(refused(name, "is required"));
    }
    if text.len() > PATH || text.contains('\0') {
        return Err(refused(name, "is not a path"));
    }
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(refused(name, format!("{} is not an absolute path", path.display())));
    }
    Ok(path)
}

/// Where a volume is said to be already: nothing is at a path that is not absolute, which is what csi-sanity asks for.
pub(super) fn place(name: &str, text: String) -> Result<PathBuf> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err(Error::new(ErrorKind::NotFound, format!("{name}: no volume is at {text}, which is not absolute")));
    }
    path(name, text)
}

/// An absolute path that may be missing.
pub(super) fn optional_path(name: &str, text: String) -> Result<Option<PathBuf>> {
    if text.is_empty() { Ok(None) } else { path(name, text).map(Some) }
}

/// A path as text. Paths that are no text do not occur: they come from the orchestrator, as text.
pub(super) fn path_to_wire(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A number of bytes, or of anything that cannot be below zero.
pub(crate) fn bytes(name: &str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| refused(name, format!("{number} is below zero")))
}

/// The number for the wire; what is larger than any disk becomes the largest number.
pub(super) fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

//! One step of a path into an object: a field, a list item by its keys or its value, or an index.
//!
//! Knows the two spellings, that of `fieldsV1` and that of messages, and the order in which sets list their members.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use compact_str::CompactString;
use serde_json::Value;

/// One step of a path. Steps order as `fieldsV1` lists them: fields, keys, values, indexes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// A field of an object or a key of a map.
    Field(CompactString),
    /// The item of a list whose named fields have these values, sorted by name.
    Key(Box<[(CompactString, Scalar)]>),
    /// The item of a set with this value.
    Value(Scalar),
    /// The item at this place.
    Index(usize),
}

/// A JSON value that is no list and no object.
#[derive(Clone, Debug)]
pub enum Scalar {
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    String(CompactString),
    /// A boolean.
    Bool(bool),
    /// Null.
    Null,
}

impl Scalar {
    /// Takes a scalar out of JSON; lists and objects are none.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::String(s) => Self::String(CompactString::new(s)),
            Value::Number(n) => n.as_i64().map_or_else(|| Self::Float(n.as_f64().unwrap_or_default()), Self::Int),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }

    /// The scalar as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Int(n) => Value::from(*n),
            Self::Float(n) => Value::from(*n),
            Self::String(s) => Value::from(s.as_str()),
            Self::Bool(b) => Value::from(*b),
            Self::Null => Value::Null,
        }
    }

    /// Appends JSON.
    fn push_json(&self, out: &mut String) {
        match self {
            Self::String(text) => push_string(text, out),
            other => {
                let written = write!(out, "{other}");
                debug_assert!(written.is_ok(), "writing to a string cannot fail");
            }
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Int(_) | Self::Float(_) => 0,
            Self::String(_) => 1,
            Self::Bool(_) => 2,
            Self::Null => 3,
        }
    }
}

impl Ord for Scalar {
    #[allow(clippy::cast_precision_loss, reason = "only mixed numbers are compared as floats")]
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Int(a), Self::Float(b)) => (*a as f64).total_cmp(b).then(Ordering::Less),
            (Self::Float(a), Self::Int(b)) => a.total_cmp(&(*b as f64)).then(Ordering::Greater),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

impl fmt::Display for Scalar {
    /// Writes JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => n.fmt(f),
            Self::String(s) if is_plain(s) => write!(f, "\"{s}\""),
            other => other.to_json().fmt(f),
        }
    }
}

impl Element {
    /// A field or a key of a map.
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self::Field(CompactString::new(name))
    }

    /// Appends the spelling of `fieldsV1` as a JSON string.
    pub(super) fn write_json(&self, out: &mut String) {
        match self {
            Self::Field(name) if is_plain(name) => {
                out.push_str("\"f:");
                out.push_str(name);
                out.push('"');
            }
            _ => push_string(&self.to_fields_v1(), out),
        }
    }

    /// The spelling of `fieldsV1`: `f:spec`, `k:{"name":"web"}`, `v:"x"`, `i:0`.
    ///
    /// Put together by hand, because this runs for every field of every write and formatting costs several times as
    /// much.
    #[must_use]
    pub fn to_fields_v1(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name].concat(),
            Self::Value(value) => {
                let mut text = String::from("v:");
                value.push_json(&mut text);
                text
            }
            Self::Index(at) => format!("i:{at}"),
            Self::Key(fields) => {
                let mut text = String::with_capacity(64);
                text.push_str("k:{");
                for (at, (name, value)) in fields.iter().enumerate() {
                    text.push_str(if at == 0 { "" } else { "," });
                    push_string(name, &mut text);
                    text.push(':');
                    value.push_json(&mut text);
                }
                text.push('}');
                text
            }
        }
    }

    /// Reads the spelling of `fieldsV1`.
    pub(super) fn from_fields_v1(text: &str) -> Result<Self, String> {
        let bad = || format!("invalid path element: {text}");
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        let json = || serde_json::from_str::<Value>(rest).map_err(|_| bad());
        match kind {
            "f" => Ok(Self::field(rest)),
            "i" => rest.parse().map(Self::Index).map_err(|_| bad()),
            "v" => Scalar::from_json(&json()?).map(Self::Value).ok_or_else(bad),
            "k" => {
                let Value::Object(fields) = json()? else { return Err(bad()) };
                let field = |(name, value): (&String, &Value)| {
                    Scalar::from_json(value).map(|value| (CompactString::new(name), value))
                };
                fields.iter().map(field).collect::<Option<_>>().map(Self::Key).ok_or_else(bad)
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Element {
    /// Writes the spelling of messages: `.spec`, `[name="web"]`, `[="x"]`, `[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(at) => write!(f, "[{at}]"),
            Self::Key(fields) => {
                for (at, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={value}", if at == 0 { "[" } else { "," })?;
                }
                f.write_str("]")
            }
        }
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\')
}

/// Appends a text as a JSON string.
pub(super) fn push_string(text: &str, out: &mut String) {
    out.push('"');
    if is_plain(text) {
        out.push_str(text);
    } else if text.bytes().all(|b| b >= b' ') {
        // Nothing but quotes and backslashes, as the keys of list items have them.
        for piece in text.split_inclusive(['"', '\\']) {
            match piece.as_bytes().last() {
                Some(last @ (b'"' | b'\\')) => {
                    out.push_str(&piece[..piece.len() - 1]);
                    out.push('\\');
                    out.push(char::from(*last));
                }
                _ => out.push_str(piece),
            }
        }
    } else {
        let quoted = Value::from(text).to_string();
        out.push_str(&quoted[1..quoted.len() - 1]);
    }
    out.push('"');
}

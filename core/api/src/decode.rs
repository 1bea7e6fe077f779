//! Bodies to trees, strictly: JSON with duplicate fields seen, unknown fields named, values checked against the schema.
//!
//! Three steps that a server takes in order: [`decode_json`] (or YAML, or protobuf), [`unknown_fields`] for the client's
//! field validation, [`normalize`] to leave exactly what upstream's types would write. Defaulting and validation of what
//! the values mean happen elsewhere.

mod fields;
#[cfg(feature = "yaml")]
mod lines;
mod normalize;
mod tree;

use crate::schema::Message;
use serde_json::Value;
use std::fmt;

/// So many odd fields are named, as upstream does; whoever sends more hears of no others.
pub const MOST_NAMED: usize = 100;

pub use self::fields::unknown_fields;
pub use self::normalize::{Canonical, Notation, TypeError};

/// How much a body may demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strictness {
    /// How deep objects and lists may nest.
    ///
    /// Upstream allows 10,000. The default is 100: deeper trees would not be readable with `serde_json`'s own limit
    /// (128) once they stand in a list or a watch event, and a deep tree costs stack at each later step.
    pub max_depth: usize,
}

impl Default for Strictness {
    fn default() -> Self {
        Self { max_depth: 100 }
    }
}

/// A body's tree, and what was odd about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The tree; of duplicate fields it holds the last.
    pub value: Value,
    /// The fields that came more than once, as paths such as `spec.containers[0].name`.
    pub duplicates: Vec<String>,
    /// The same as the lines of a YAML, as upstream tells them: `line 5: key "x" already set in map`. The first ten; none
    /// where the text is large.
    pub lines: Vec<String>,
}

/// Why a body is not a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not well-formed; the text says where.
    Syntax(String),
    /// It nests deeper than allowed.
    TooDeep {
        /// The limit.
        max_depth: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => f.write_str(text),
            Self::TooDeep { max_depth } => write!(f, "exceeded max depth of {max_depth}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decodes one JSON document; nothing but white space may follow it.
pub fn decode_json(bytes: &[u8], strictness: Strictness) -> Result<Decoded, DecodeError> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let mut state = tree::State::new(strictness);
    let value = state.read(&mut from).and_then(|value| from.end().map(|()| value));
    state.finish(value)
}

/// Decodes one YAML document into the same tree as JSON; keys that are numbers or booleans become strings.
///
/// JSON is YAML, and is read as JSON: most of what is sent as YAML is.
#[cfg(feature = "yaml")]
pub fn decode_yaml(bytes: &[u8], strictness: Strictness) -> Result<Decoded, DecodeError> {
    if bytes.trim_ascii_start().starts_with(b"{") || bytes.trim_ascii_start().starts_with(b"[") {
        let read = decode_json(bytes, strictness);
        if matches!(read, Ok(_) | Err(DecodeError::TooDeep { .. })) {
            return read.map(|decoded| with_lines(decoded, bytes));
        }
    }
    if nesting(bytes) > MOST_BRACKETS {
        return Err(DecodeError::TooDeep { max_depth: strictness.max_depth });
    }
    let mut state = tree::State::new(strictness);
    let value = state.read(yaml_serde::Deserializer::from_slice(bytes));
    state.finish(value).map(|decoded| with_lines(decoded, bytes))
}

#[cfg(feature = "yaml")]
fn with_lines(mut decoded: Decoded, bytes: &[u8]) -> Decoded {
    if !decoded.duplicates.is_empty() && nesting(bytes) <= MOST_BRACKETS {
        decoded.lines = lines::repeated(bytes);
    }
    decoded
}

/// More brackets than this are never open at once in a YAML that is read. The parser's time grows with their square, and
/// it is done before anybody counts depth.
#[cfg(feature = "yaml")]
const MOST_BRACKETS: usize = 10_000;

/// How many brackets are open at once at most, were all of them brackets.
#[cfg(feature = "yaml")]
fn nesting(bytes: &[u8]) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in bytes {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Leaves in the tree exactly what upstream's types would write after reading it.
///
/// Unknown fields and nulls go; times, quantities and base64 get their canonical notation; zero values go or come by
/// the schema's rules. A value of the wrong type is an error in upstream's words.
pub fn normalize(value: &mut Value, of: &'static Message) -> Result<(), TypeError> {
    normalize_with(value, of, &Notation::default())
}

/// Like [`normalize`], with another notation for quantities, or none.
pub fn normalize_with(value: &mut Value, of: &'static Message, notation: &Notation) -> Result<(), TypeError> {
    normalize::message(value, of, notation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: &str, value: &Value, duplicates: &[&str]) {
        let decoded = decode_json(body.as_bytes(), Strictness::default()).unwrap();
        assert_eq!(&decoded.value, value);
        assert_eq!(decoded.duplicates, duplicates);
    }

    #[test]
    fn duplicates_are_named_and_the_last_one_wins() {
        check(
            r#"{"a":1,"b":{"c":[{"d":1,"d":2}]},"a":3}"#,
            &json!({"a": 3, "b": {"c": [{"d": 2}]}}),
            &["b.c[0].d", "a"],
        );
        check(r#"[[{"x":1,"x":1,"x":2}]]"#, &json!([[{"x": 2}]]), &["[0][0].x"]);
        check(" 1.5 ", &json!(1.5), &[]);
    }

    #[test]
    fn deep_and_broken_bodies_are_refused() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(decode_json(deep(100).as_bytes(), Strictness::default()).is_ok());
        for depth in [101, 127, 128, 100_000] {
            let error = decode_json(deep(depth).as_bytes(), Strictness::default()).unwrap_err();
            assert_eq!(error, DecodeError::TooDeep { max_depth: 100 }, "{depth}");
        }
        for body in ["", "{", "{}x", "{\"a\" 1}", "\u{1}", "[1,]", "nul"] {
            assert!(
                matches!(decode_json(body.as_bytes(), Strictness::default()), Err(DecodeError::Syntax(_))),
                "{body}"
            );
        }
        assert!(decode_json(b"\"\xff\"", Strictness::default()).is_err());
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn yaml_becomes_the_same_tree() {
        let body = "a: 1\nb:\n- c: x\n  1: true\n";
        let decoded = decode_yaml(body.as_bytes(), Strictness::default()).unwrap();
        assert_eq!(decoded.value, json!({"a": 1, "b": [{"c": "x", "1": true}]}));
        let twice = decode_yaml(b"a: 1\na: 2\n", Strictness::default());
        assert_eq!(twice.unwrap().duplicates, ["a"]);
        assert_eq!(decode_yaml(b" {a: 1}", Strictness::default()).unwrap().value, json!({"a": 1}));
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn nesting_in_yaml_is_bounded_before_it_is_parsed() {
        for deep in ["[".repeat(100_000), format!("a: {}", "{b: ".repeat(100_000)), "- ".repeat(100_000)] {
            assert!(decode_yaml(deep.as_bytes(), Strictness::default()).is_err());
        }
        let brackets = format!("a: \"{}\"", "[".repeat(9_000));
        assert!(decode_yaml(brackets.as_bytes(), Strictness::default()).is_ok());
    }

    #[test]
    fn what_is_odd_is_named_a_hundred_times_and_no_more() {
        let twice: Vec<String> = (0..50_000).flat_map(|n| [format!("\"k{n}\":1"), format!("\"k{n}\":2")]).collect();
        let body = format!("{{{}}}", twice.join(","));
        let decoded = decode_json(body.as_bytes(), Strictness::default()).unwrap();
        assert_eq!((decoded.duplicates.len(), decoded.value["k49999"].as_i64()), (MOST_NAMED, Some(2)));
    }
}

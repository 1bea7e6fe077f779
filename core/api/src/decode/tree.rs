//! One pass over a document's events that builds the tree, sees duplicates and counts depth.

use super::{DecodeError, Decoded, MOST_NAMED, Strictness};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::fmt;

/// What one pass has seen.
#[derive(Debug)]
pub(super) struct State {
    duplicates: Vec<String>,
    depth: usize,
    max_depth: usize,
    too_deep: bool,
}

impl State {
    pub(super) fn new(strictness: Strictness) -> Self {
        Self { duplicates: Vec::new(), depth: 0, max_depth: strictness.max_depth, too_deep: false }
    }

    pub(super) fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<Value, D::Error> {
        Tree(self).deserialize(from)
    }

    pub(super) fn finish<E: fmt::Display>(self, value: Result<Value, E>) -> Result<Decoded, DecodeError> {
        match value {
            Ok(value) => Ok(Decoded { value, duplicates: self.duplicates, ..Decoded::default() }),
            Err(_) if self.too_deep => Err(DecodeError::TooDeep { max_depth: self.max_depth }),
            Err(error) => Err(DecodeError::Syntax(error.to_string())),
        }
    }

    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > self.max_depth {
            self.too_deep = true;
            return Err(E::custom("too deep"));
        }
        Ok(())
    }

    /// Puts `segment` before the paths that were found since `first`; paths are built from the inside out.
    fn locate(&mut self, first: usize, segment: impl Fn() -> String) {
        for path in &mut self.duplicates[first..] {
            let dot = if path.starts_with('[') { "" } else { "." };
            *path = format!("{}{dot}{path}", segment());
        }
    }

    fn report(&mut self, first: usize, key: &str) {
        if self.duplicates.len() < MOST_NAMED && !self.duplicates[first..].iter().any(|path| path == key) {
            self.duplicates.push(key.to_owned());
        }
    }
}

struct Tree<'a>(&'a mut State);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.0.enter()?;
        let mut out = Vec::new();
        let mut first = self.0.duplicates.len();
        while let Some(item) = items.next_element_seed(Tree(self.0))? {
            self.0.locate(first, || format!("[{}]", out.len()));
            first = self.0.duplicates.len();
            out.push(item);
        }
        self.0.depth -= 1;
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.0.enter()?;
        let mut out = Map::new();
        let start = self.0.duplicates.len();
        while let Some(key) = entries.next_key_seed(Key)? {
            let first = self.0.duplicates.len();
            let value = entries.next_value_seed(Tree(self.0))?;
            self.0.locate(first, || key.clone());
            match out.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    self.0.report(start, entry.key());
                    entry.insert(value);
                }
            }
        }
        self.0.depth -= 1;
        Ok(Value::Object(out))
    }
}

/// A key: a string in JSON, any scalar in YAML.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, v: &str) -> Result<String, E> {
        Ok(v.to_owned())
    }

    fn visit_string<E>(self, v: String) -> Result<String, E> {
        Ok(v)
    }

    fn visit_bool<E>(self, v: bool) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_i64<E>(self, v: i64) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_u64<E>(self, v: u64) -> Result<String, E> {
        Ok(v.to_string())
    }
}

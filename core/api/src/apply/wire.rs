//! Field sets as the JSON of `fieldsV1`: `{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}`.

use serde_json::{Map, Value};

use super::element::Element;
use super::set::FieldSet;

impl FieldSet {
    /// Writes `fieldsV1` with its members in canonical order.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(64 * self.nodes.len());
        self.write(false, &mut out);
        out
    }

    fn write(&self, member: bool, out: &mut String) {
        out.push('{');
        if member && !self.is_empty() {
            out.push_str("\".\":{}");
        }
        for node in &self.nodes {
            if !out.ends_with('{') {
                out.push(',');
            }
            node.element.write_json(out);
            out.push(':');
            node.children.write(node.member, out);
        }
        out.push('}');
    }

    /// The tree of `fieldsV1`; such a tree sorts its keys by their text.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.value(false)
    }

    fn value(&self, member: bool) -> Value {
        let mut map = Map::new();
        if member && !self.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for node in &self.nodes {
            map.insert(node.element.to_fields_v1(), node.children.value(node.member));
        }
        Value::Object(map)
    }

    /// Reads the tree of `fieldsV1`; null is the empty set.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let map = match value {
            Value::Null => return Ok(Self::new()),
            Value::Object(map) => map,
            other => return Err(format!("expected an object of fields, got {other}")),
        };
        let mut set = Self::new();
        set.nodes.reserve_exact(map.len());
        for (key, below) in map {
            if key == "." {
                continue;
            }
            let children = Self::from_value(below)?;
            let member = children.is_empty() || below.get(".").is_some();
            let element = Element::from_fields_v1(key)?;
            set.push(|| element, member, children);
        }
        set.sort();
        Ok(set)
    }
}

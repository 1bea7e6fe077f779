//! Field sets as the JSON of `fieldsV1`: `{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}`.

use serde_json::{Map, Value};

use super::element::{Element, push_string};
use super::set::{FieldSet, Node};

impl FieldSet {
    /// Writes `fieldsV1` with its members in canonical order.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(64 * self.nodes.len());
        self.write(false, &mut out);
        out
    }

    /// Appends what the tree of [`to_value`](Self::to_value) is written as, without making it.
    pub(super) fn write_sorted(&self, member: bool, out: &mut String) {
        out.push('{');
        if member && !self.is_empty() {
            out.push_str("\".\":{}");
        }
        let mut write = |node: &Node, text: Option<&str>| {
            if !out.ends_with('{') {
                out.push(',');
            }
            match text {
                Some(text) => push_string(text, out),
                None => node.element.write_json(out),
            }
            out.push(':');
            node.children.write_sorted(node.member, out);
        };
        if self.nodes.iter().all(|node| matches!(node.element, Element::Field(_))) {
            // Names alone are in the order of their text already.
            self.nodes.iter().for_each(|node| write(node, None));
        } else {
            let mut sorted: Vec<(String, &Node)> =
                self.nodes.iter().map(|node| (node.element.to_fields_v1(), node)).collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            sorted.iter().for_each(|(text, node)| write(node, Some(text)));
        }
        out.push('}');
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

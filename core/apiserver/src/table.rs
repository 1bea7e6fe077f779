//! Objects as rows, the way `kubectl get` shows them (`meta.k8s.io/v1` Table).
//!
//! Columns of custom resources come from their definitions, not from here.

mod duration;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use self::duration::{age, human};
use crate::kinds::field::{lookup, text};

/// One column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// The JSON type of its cells.
    pub r#type: &'static str,
    /// What the cells mean: `name` marks the object's name.
    pub format: &'static str,
    /// 0 is always shown; 1 only in wide output.
    pub priority: i32,
}

impl Column {
    const fn new(name: &'static str, r#type: &'static str) -> Self {
        Self { name, r#type, format: "", priority: 0 }
    }

    const fn wide(name: &'static str, r#type: &'static str) -> Self {
        Self { name, r#type, format: "", priority: 1 }
    }
}

const NAME: Column = Column { name: "Name", r#type: "string", format: "name", priority: 0 };
const AGE: Column = Column::new("Age", "string");

/// How much of each object a table carries along with its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The metadata, as `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

/// The columns of a kind.
#[must_use]
pub fn columns(_group: &str, _kind: &str) -> &'static [Column] {
    const { &[NAME, Column::new("Created At", "date")] }
}

/// The cells of an object, one for each of its kind's columns.
#[must_use]
pub fn cells(_group: &str, _kind: &str, object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![text(object, &["metadata", "name"]).into(), text(object, &["metadata", "creationTimestamp"]).into()]
}

/// A row: an object's cells and as much of the object as was asked for.
#[must_use]
pub fn row(group: &str, kind: &str, object: &Value, include: IncludeObject, now: Timestamp) -> Value {
    let mut row = json!({"cells": cells(group, kind, object, now)});
    match include {
        IncludeObject::None => row["object"] = Value::Null,
        IncludeObject::Metadata => {
            row["object"] = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": lookup(object, "metadata"),
            });
        }
        IncludeObject::Object => row["object"] = object.clone(),
    }
    row
}

/// The column definitions of a kind as JSON.
#[must_use]
pub fn column_definitions(group: &str, kind: &str) -> Value {
    let definition = |c: &Column| json!({"name": c.name, "type": c.r#type, "format": c.format, "description": "", "priority": c.priority});
    columns(group, kind).iter().map(definition).collect()
}

/// A table of objects; `list_meta` is the `metadata` of the list they came in.
#[must_use]
pub fn table<'a>(
    group: &str,
    kind: &str,
    items: impl IntoIterator<Item = &'a Value>,
    list_meta: Value,
    include: IncludeObject,
    now: Timestamp,
) -> Value {
    let rows: Vec<Value> = items.into_iter().map(|item| row(group, kind, item, include, now)).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": column_definitions(group, kind), "rows": rows,
    })
}

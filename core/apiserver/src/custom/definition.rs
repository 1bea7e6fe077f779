//! A CustomResourceDefinition, read. Whether it is sound was checked when it was written.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::schema::Node;
use crate::{custom::convert::Conversion, object};

/// What the versions of one definition have in common.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) group: String,
    pub(crate) names: Names,
    pub(crate) namespaced: bool,
    /// The version that objects are stored in.
    pub(crate) storage: String,
    pub(crate) conversion: Conversion,
    /// Whether the definition is being deleted: nothing new may be created.
    pub(crate) terminating: bool,
    /// The schema of every version, served or not: what is stored may be of any.
    pub(crate) shapes: BTreeMap<String, Arc<Shape>>,
    /// Changes with everything that objects are brought into form by.
    stamp: String,
}

/// The names that a definition asks for, or has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
}

/// The shape of a version's objects.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The schema as it is written.
    pub(crate) schema: Arc<Value>,
    /// The schema, read.
    pub(crate) node: Node,
}

impl Names {
    /// Reads the names in a definition's spec or status.
    pub(crate) fn read(names: &Value) -> Self {
        let text = |name: &str| names[name].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| {
            let items = names[name].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            plural: text("plural"),
            singular: text("singular"),
            kind: text("kind"),
            list_kind: text("listKind"),
            short: list("shortNames"),
            categories: list("categories"),
        }
    }
}

impl Definition {
    /// Reads a definition; `None` where it is not established.
    pub(crate) fn read(definition: &Value) -> Option<Self> {
        if !condition(definition, "Established") {
            return None;
        }
        let spec = &definition["spec"];
        let versions = || spec["versions"].as_array().into_iter().flatten();
        let name_of = |version: &Value| version["name"].as_str().map(str::to_owned);
        let shapes = versions().filter_map(|version| {
            let schema = Arc::new(version["schema"]["openAPIV3Schema"].clone());
            Some((name_of(version)?, Arc::new(Shape { node: Node::read(&schema), schema })))
        });
        let generation = object::meta(definition, "generation").as_i64().unwrap_or_default();
        Some(Self {
            group: spec["group"].as_str()?.to_owned(),
            // Discovery shows what was accepted; the plural and the kind never differ once it is established.
            names: Names::read(&definition["status"]["acceptedNames"]),
            namespaced: spec["scope"] == "Namespaced",
            storage: versions().find(|version| version["storage"] == true).and_then(name_of)?,
            conversion: Conversion::read(&spec["conversion"]),
            terminating: !object::is_empty(object::meta(definition, "deletionTimestamp")),
            shapes: shapes.collect(),
            stamp: format!("{}/{generation}", object::meta_text(definition, "uid")),
        })
    }

    /// What objects carry that were brought into form by this state of the definition, in its storage version.
    pub(crate) fn stamp(&self) -> &str {
        &self.stamp
    }
}

/// Whether a condition of a definition is true.
pub(super) fn condition(definition: &Value, name: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == name && condition["status"] == "True")
}

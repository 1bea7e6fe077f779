//! Custom resources: defining them, and using what is defined like any built-in kind.

mod definitions;
#[cfg(feature = "http")]
mod http;
mod objects;
#[cfg(feature = "cel")]
mod rules;
mod schemas;
mod versions;
#[cfg(feature = "http")]
mod webhook;

use serde_json::{Value, json};

use crate::rig::Rig;

pub(crate) const DEFINITIONS: &str = "apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const WIDGETS: &str = "example.com/v1/widgets";

/// The definition of widgets, with one version of this schema for `spec`.
pub(crate) fn widgets(spec: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": spec, "status": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}}}}]},
    })
}

/// A widget.
pub(crate) fn widget(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

/// A server that knows widgets.
pub(crate) fn rig(definition: Value) -> Rig {
    let rig = Rig::new();
    rig.create(DEFINITIONS, definition).unwrap();
    rig
}

/// The conditions of a definition, as `type=status reason`.
pub(crate) fn conditions(definition: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.map(|own| format!("{}={} {}", text(&own["type"]), text(&own["status"]), text(&own["reason"]))).collect()
}

//! Types as OpenAPI schemas, in the dialects of OpenAPI 2 and 3.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use windlass_api::schema::{Codec, Field, Kind, ListType, Message, Shape, Zero};

use super::{catalog::Resource, texts::Description};

/// Which OpenAPI is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// A reference to a definition.
    pub(super) fn reference(self, name: &str) -> Value {
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }

    /// A reference that may have siblings.
    fn embed(self, name: &str) -> Value {
        match self {
            Self::V2 => self.reference(name),
            Self::V3 => json!({"allOf": [self.reference(name)]}),
        }
    }
}

/// The types that a document needs, by name, with all that they refer to.
#[derive(Debug, Default)]
pub(super) struct Types(BTreeMap<&'static str, &'static Message>);

impl Types {
    /// Adds a type and what it refers to.
    pub(super) fn add(&mut self, message: &'static Message) {
        if self.0.insert(message.name, message).is_some() || message.codec != Codec::Plain {
            return;
        }
        for field in message.fields.iter().filter(|field| !field.json.is_empty()) {
            if let Kind::Message(of) = field.of {
                self.add(of);
            }
        }
    }

    /// Adds a type by its name, where it exists.
    pub(super) fn add_named(&mut self, name: &str) {
        if let Some(message) = Message::named(name) {
            self.add(message);
        }
    }

    /// The types, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static Message> {
        self.0.values().copied()
    }
}

/// One type as a schema; `kinds` are the group, version and kind it is known by, `said` is what it is.
pub(super) fn definition(message: &Message, kinds: &[Value], dialect: Dialect, said: Description) -> Value {
    let Description { text, fields } = said;
    let mut out = match message.codec {
        Codec::Plain => object(message, dialect, fields),
        Codec::Time | Codec::MicroTime => json!({"type": "string", "format": "date-time"}),
        Codec::Duration => json!({"type": "string"}),
        Codec::Quantity if dialect == Dialect::V3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Codec::Quantity => json!({"type": "string"}),
        Codec::IntOrString if dialect == Dialect::V3 => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Codec::IntOrString => json!({"type": "string", "format": "int-or-string"}),
        Codec::RawExtension | Codec::FieldsV1 => json!({"type": "object"}),
        Codec::Strings => json!({"type": "array", "items": {"type": "string"}}),
        _ if message.short_name() == "Patch" => json!({"type": "object"}),
        _ => json!({}),
    };
    if message.is_atomic() {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    if !text.is_empty() {
        out["description"] = text.into();
    }
    if !kinds.is_empty() {
        out["x-kubernetes-group-version-kind"] = json!(kinds);
    }
    out
}

fn object(message: &Message, dialect: Dialect, mut said: BTreeMap<String, String>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in message.fields.iter().filter(|field| !field.json.is_empty()) {
        let mut property = property(message, field, dialect);
        if let Some(text) = said.remove(field.json) {
            property["description"] = text.into();
        }
        properties.insert(field.json.into(), property);
        if field.required {
            required.push(field.json);
        }
    }
    let mut out = json!({"type": "object"});
    if !properties.is_empty() {
        out["properties"] = Value::Object(properties);
    }
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    out
}

fn property(message: &Message, field: &Field, dialect: Dialect) -> Value {
    let part = || match field.of {
        Kind::Message(of) => dialect.reference(of.name),
        scalar => scalar_schema(scalar),
    };
    let mut out = match (field.shape, field.of) {
        (Shape::One, Kind::Message(of)) => dialect.embed(of.name),
        (Shape::One, scalar) => scalar_schema(scalar),
        (Shape::List, _) => json!({"type": "array", "items": part()}),
        (Shape::Map, _) => json!({"type": "object", "additionalProperties": part()}),
    };
    if out.get("$ref").is_some() {
        return out;
    }
    if let Some(default) = message.default_of(field.json).and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        out["default"] = default;
    } else if let (Shape::One, Kind::Message(of), Zero::Omit | Zero::Write) = (field.shape, field.of, field.zero)
        && of.codec == Codec::Plain
        && dialect == Dialect::V3
    {
        out["default"] = json!({});
    }
    extensions(&mut out, field);
    out
}

fn extensions(out: &mut Value, field: &Field) {
    let merge = &field.merge;
    let word = match merge.list {
        ListType::Default => None,
        ListType::Atomic => Some("atomic"),
        ListType::Set => Some("set"),
        ListType::Map => Some("map"),
    };
    // A type that is atomic says so itself.
    let said = field.shape == Shape::One && matches!(field.of, Kind::Message(of) if of.is_atomic());
    if let Some(word) = word.filter(|_| !said) {
        let key = if field.shape == Shape::List { "x-kubernetes-list-type" } else { "x-kubernetes-map-type" };
        out[key] = word.into();
    }
    if !merge.keys.is_empty() {
        out["x-kubernetes-list-map-keys"] = json!(merge.keys);
    }
    let strategy = match (merge.merge, merge.retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => "",
    };
    if !strategy.is_empty() {
        out["x-kubernetes-patch-strategy"] = strategy.into();
    }
    if !merge.key.is_empty() {
        out["x-kubernetes-patch-merge-key"] = merge.key.into();
    }
}

/// A scalar as a schema; a message is an object.
pub(super) fn scalar_schema(of: Kind) -> Value {
    match of {
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "format": "byte"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int32 => json!({"type": "integer", "format": "int32"}),
        Kind::Int64 => json!({"type": "integer", "format": "int64"}),
        Kind::Double => json!({"type": "number", "format": "double"}),
        Kind::Message(_) => json!({"type": "object"}),
    }
}

/// The definition's name of a custom kind: the group's labels reversed, the version and the kind.
pub(super) fn custom_name(resource: &Resource, kind: &str) -> String {
    let mut labels: Vec<&str> = resource.group.split('.').rev().collect();
    labels.extend([&*resource.version, kind]);
    labels.join(".")
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A schema as published for a group, version and kind: with the fields that every object has.
pub(super) fn custom_definition([group, version, kind]: [&str; 3], schema: &Value, dialect: Dialect) -> Value {
    let mut out = match (schema, dialect) {
        (Value::Object(_), Dialect::V3) => schema.clone(),
        (Value::Object(_), Dialect::V2) => plain(schema),
        _ => json!({"x-kubernetes-preserve-unknown-fields": true}),
    };
    out["type"] = "object".into();
    if !(dialect == Dialect::V2
        && out["x-kubernetes-preserve-unknown-fields"] == true
        && out.get("properties").is_none())
    {
        let properties = &mut out["properties"];
        properties["apiVersion"] = json!({"type": "string"});
        properties["kind"] = json!({"type": "string"});
        properties["metadata"] = dialect.embed(META);
    }
    out["x-kubernetes-group-version-kind"] = json!([{"group": group, "version": version, "kind": kind}]);
    out
}

/// A custom resource's list.
pub(super) fn custom_list(resource: &Resource, dialect: Dialect) -> Value {
    json!({
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "items": {"type": "array", "items": dialect.reference(&custom_name(resource, &resource.kind))},
            "metadata": dialect.embed("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"),
        },
        "x-kubernetes-group-version-kind": [{"group": resource.group, "version": resource.version, "kind": resource.list_kind}],
    })
}

/// What OpenAPI 2 can say of a structural schema: value alternatives and `nullable` have no place in it.
fn plain(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let nullable = fields.get("nullable") == Some(&Value::Bool(true));
    let loose = fields.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
        || fields.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let mut out = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            "allOf" | "anyOf" | "oneOf" | "not" | "nullable" | "default" | "example" | "externalDocs" => continue,
            "type" | "properties" | "items" | "additionalProperties" if nullable => continue,
            "properties" if loose => continue,
            "properties" => Value::Object(
                value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), plain(value))).collect(),
            ),
            "items" | "additionalProperties" => plain(value),
            _ => value.clone(),
        };
        out.insert(name.clone(), value);
    }
    Value::Object(out)
}

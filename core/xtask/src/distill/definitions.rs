//! OpenAPI definitions joined with protobuf messages: one row per type, one per field.

use super::proto::{self, Messages, ProtoField};
use crate::tables::{self, Field, Type, data};
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Flags = BTreeMap<(String, String), String>;

/// Types that are known from protobuf only and are spoken on the wire: options, metadata and reviews.
const WIRE_ONLY: [(&str, &[&str]); 4] = [
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1",
        &[
            "CreateOptions",
            "GetOptions",
            "ListOptions",
            "PartialObjectMetadata",
            "PartialObjectMetadataList",
            "PatchOptions",
            "TableOptions",
            "UpdateOptions",
        ],
    ),
    (
        "io.k8s.api.core.v1",
        &[
            "NodeProxyOptions",
            "PodAttachOptions",
            "PodExecOptions",
            "PodLogOptions",
            "PodPortForwardOptions",
            "PodProxyOptions",
            "RangeAllocation",
            "ServiceProxyOptions",
        ],
    ),
    ("io.k8s.api.admission.v1", &["AdmissionRequest", "AdmissionResponse", "AdmissionReview"]),
    ("io.k8s.apimachinery.pkg.apis.meta.v1", &["GroupVersionKind", "GroupVersionResource"]),
];

/// Reads `zero.tsv`.
pub(crate) fn zero_flags() -> anyhow::Result<Flags> {
    let rows = tables::read(&data().join("zero.tsv"), 3)?;
    Ok(rows.into_iter().map(|r| ((r[0].clone(), r[1].clone()), r[2].trim_matches('-').to_owned())).collect())
}

/// Builds the rows of `types.tsv` and `fields.tsv`.
pub(crate) fn distill(folder: &Path, messages: &Messages, flags: &Flags) -> anyhow::Result<(Vec<Type>, Vec<Field>)> {
    let definitions = load(folder)?;
    let mut all =
        Distiller { definitions: &definitions, messages, flags, types: BTreeMap::new(), fields: BTreeMap::new() };
    for name in definitions.keys() {
        all.definition(name)?;
    }
    for (package, names) in WIRE_ONLY {
        for name in names {
            all.wire_only(&format!("{package}.{name}"))?;
        }
    }
    Ok((all.types.into_values().collect(), all.fields.into_values().flatten().collect()))
}

fn load(folder: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut out: BTreeMap<String, Value> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let text = std::fs::read_to_string(entry?.path())?;
        let mut document: Value = serde_json::from_str(&text)?;
        if let Value::Object(schemas) = document["components"]["schemas"].take() {
            out.extend(schemas);
        }
    }
    Ok(out)
}

struct Distiller<'a> {
    definitions: &'a BTreeMap<String, Value>,
    messages: &'a Messages,
    flags: &'a Flags,
    types: BTreeMap<String, Type>,
    fields: BTreeMap<String, Vec<Field>>,
}

impl Distiller<'_> {
    fn definition(&mut self, name: &str) -> anyhow::Result<()> {
        let schema = &self.definitions[name];
        let codec = codec(name);
        let row = Type {
            name: name.to_owned(),
            codec: codec.to_owned(),
            atomic: schema["x-kubernetes-map-type"] == "atomic",
            kinds: kinds(name, schema),
            published: true,
        };
        self.types.insert(name.to_owned(), row);
        let mut fields = Vec::new();
        if codec == "Plain" {
            let required: BTreeSet<&str> =
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let wire = self.messages.get(name).map_or(&[][..], Vec::as_slice);
            let empty = serde_json::Map::new();
            let properties = schema["properties"].as_object().unwrap_or(&empty);
            for (json, property) in properties {
                let field =
                    self.field(name, json, property, required.contains(json.as_str()), proto::carrier(wire, json))?;
                fields.push(field);
            }
            for embedded in wire.iter().filter(|w| !properties.keys().any(|json| same(wire, w, json))) {
                self.embed(name, embedded, &fields)?;
                fields.push(inline_field(name, embedded));
            }
            fields.sort_by(|a, b| (&a.json, a.number).cmp(&(&b.json, b.number)));
        }
        self.fields.insert(name.to_owned(), fields);
        Ok(())
    }

    fn field(
        &mut self,
        of: &str,
        json: &str,
        p: &Value,
        required: bool,
        wire: Option<&ProtoField>,
    ) -> anyhow::Result<Field> {
        let (shape, inner) = if p["type"] == "array" {
            ("list", &p["items"])
        } else if p["additionalProperties"].is_object() {
            ("map", &p["additionalProperties"])
        } else {
            ("one", p)
        };
        let mut kind = kind(inner).with_context(|| format!("{of}.{json}"))?;
        if kind == "strings" {
            kind = wire.map(|w| w.kind.clone()).with_context(|| format!("{of}.{json} is a list in a map"))?;
            let row =
                Type { name: kind.clone(), codec: "Strings".into(), atomic: false, kinds: vec![], published: false };
            self.types.insert(kind.clone(), row);
        }
        let text = |key: &str| p[key].as_str().unwrap_or_default().to_owned();
        // A field may say `granular` of a type that is atomic elsewhere.
        let mut list = text("x-kubernetes-list-type") + &text("x-kubernetes-map-type");
        if shape == "one"
            && list.is_empty()
            && self.definitions.get(&kind).is_some_and(|d| d["x-kubernetes-map-type"] == "atomic")
        {
            list = "atomic".to_owned();
        }
        let default = match &p["default"] {
            Value::Null => String::new(),
            value => value.to_string(),
        };
        let keys = p["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
        Ok(Field {
            of_type: of.to_owned(),
            json: json.to_owned(),
            number: wire.map_or(0, |w| w.number),
            shape: shape.to_owned(),
            zero: self.zero(of, json, p, shape, &kind, required).to_owned(),
            kind,
            required,
            list: if list == "granular" { String::new() } else { list },
            keys: keys.filter_map(Value::as_str).map(str::to_owned).collect(),
            strategy: text("x-kubernetes-patch-strategy")
                .split(',')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
            merge_key: text("x-kubernetes-patch-merge-key"),
            default,
        })
    }

    /// What upstream's type writes for the zero value: by `zero.tsv`, else by what the definition shows.
    fn zero(&self, of: &str, json: &str, p: &Value, shape: &str, kind: &str, required: bool) -> &'static str {
        let message = kind.contains('.');
        let guess = match (shape, message) {
            ("one", true) if p["default"].is_object() || required => "",
            ("one", true) => "po",
            ("one", false) if !p["default"].is_null() || required => "",
            _ if required => "",
            _ => "o",
        };
        let flags = self.flags.get(&(of.to_owned(), json.to_owned())).map_or(guess, String::as_str);
        match flags {
            "" => "write",
            "o" if shape == "one" && message => "write",
            "o" | "oz" => "omit",
            _ => "pointer",
        }
    }

    /// Splits the fields that upstream keeps in an embedded struct into a message of their own.
    fn embed(&mut self, of: &str, embedded: &ProtoField, parents: &[Field]) -> anyhow::Result<()> {
        if self.types.contains_key(&embedded.kind) || self.definitions.contains_key(&embedded.kind) {
            return Ok(());
        }
        let wire = self.messages.get(&embedded.kind).with_context(|| format!("{of} embeds {}", embedded.kind))?;
        let mut fields = Vec::new();
        for inner in wire {
            let Some(parent) = parents.iter().find(|f| f.json == inner.name) else {
                bail!("{of} embeds {}, but has no field {}", embedded.kind, inner.name);
            };
            fields.push(Field { of_type: embedded.kind.clone(), number: inner.number, ..parent.clone() });
        }
        fields.sort_by(|a, b| a.json.cmp(&b.json));
        let row =
            Type { name: embedded.kind.clone(), codec: "Plain".into(), atomic: false, kinds: vec![], published: false };
        self.types.insert(embedded.kind.clone(), row);
        self.fields.insert(embedded.kind.clone(), fields);
        Ok(())
    }

    /// A message that no definition describes: its fields as protobuf has them, all optional.
    fn wire_only(&mut self, name: &str) -> anyhow::Result<()> {
        let wire = self.messages.get(name).with_context(|| format!("no message {name}"))?;
        let field = |w: &ProtoField| Field {
            of_type: name.to_owned(),
            json: w.name.clone(),
            number: w.number,
            shape: match w.label.as_str() {
                "optional" => "one",
                "repeated" => "list",
                _ => "map",
            }
            .to_owned(),
            kind: w.kind.clone(),
            zero: if w.label == "optional" { "pointer" } else { "omit" }.to_owned(),
            ..Field::default()
        };
        let mut fields: Vec<Field> = wire.iter().map(field).collect();
        let plain = |json: &str| Field {
            of_type: name.to_owned(),
            json: json.to_owned(),
            shape: "one".into(),
            kind: "string".into(),
            zero: "omit".into(),
            ..Field::default()
        };
        let short = name.rsplit('.').next().unwrap_or_default();
        let mut kinds = Vec::new();
        if ["Options", "PartialObjectMetadata", "List", "Review", "RangeAllocation"]
            .iter()
            .any(|end| short.ends_with(end))
        {
            fields.extend([plain("apiVersion"), plain("kind")]);
            let group = match name {
                n if n.starts_with("io.k8s.api.core.") => "",
                n if n.starts_with("io.k8s.api.admission.") => "admission.k8s.io",
                _ => "meta.k8s.io",
            };
            kinds.push(format!("{group}/v1/{short}"));
        }
        fields.sort_by(|a, b| a.json.cmp(&b.json));
        let row = Type { name: name.to_owned(), codec: "Plain".into(), atomic: false, kinds, published: false };
        self.types.insert(name.to_owned(), row);
        self.fields.insert(name.to_owned(), fields);
        Ok(())
    }
}

fn inline_field(of: &str, embedded: &ProtoField) -> Field {
    Field {
        of_type: of.to_owned(),
        number: embedded.number,
        shape: "one".into(),
        kind: embedded.kind.clone(),
        zero: "omit".into(),
        ..Field::default()
    }
}

fn same(wire: &[ProtoField], field: &ProtoField, json: &str) -> bool {
    proto::carrier(wire, json).is_some_and(|c| c.number == field.number)
}

fn kind(schema: &Value) -> Option<String> {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    if let Some(reference) = reference {
        return reference.rsplit('/').next().map(str::to_owned);
    }
    let format = schema["format"].as_str().unwrap_or_default();
    let kind = match (schema["type"].as_str()?, format) {
        ("string", "byte") => "bytes",
        ("string", _) => "string",
        ("boolean", _) => "bool",
        ("integer", "int32") => "int32",
        ("integer", _) => "int64",
        ("number", _) => "double",
        ("array", _) => "strings",
        _ => return None,
    };
    Some(kind.to_owned())
}

fn codec(name: &str) -> &'static str {
    match name.trim_start_matches("io.k8s.") {
        "apimachinery.pkg.apis.meta.v1.Time" => "Time",
        "apimachinery.pkg.apis.meta.v1.MicroTime" => "MicroTime",
        "apimachinery.pkg.apis.meta.v1.FieldsV1" => "FieldsV1",
        "apimachinery.pkg.apis.meta.v1.Patch" | "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON" => "Json",
        "apimachinery.pkg.api.resource.Quantity" => "Quantity",
        "apimachinery.pkg.runtime.RawExtension" => "RawExtension",
        "apimachinery.pkg.util.intstr.IntOrString" => "IntOrString",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray" => "SchemaOrArray",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool" => "SchemaOrBool",
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => "SchemaOrStrings",
        _ => "Plain",
    }
}

/// The kinds of a definition; options and watch events belong to every group and are listed once.
fn kinds(name: &str, schema: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let gvks = schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
    let kinds = gvks.map(|g| format!("{}/{}/{}", text(&g["group"]), text(&g["version"]), text(&g["kind"])));
    let shared = name.starts_with("io.k8s.apimachinery.");
    if shared {
        let mut own: Vec<String> = kinds.filter(|k| k.starts_with("/v1/")).collect();
        if own.is_empty() && schema["x-kubernetes-group-version-kind"].is_array() {
            own.push(format!("/v1/{}", name.rsplit('.').next().unwrap_or_default()));
        }
        return own;
    }
    kinds.collect()
}

//! The shape of API objects: what fields a type has and how they are encoded, listed and merged.
//!
//! The built-in types are `static` data generated from `core/api/data`; nothing here decides what an object may contain.

use crate::r#gen::schema as tables;

/// A named object type: what upstream calls a message (protobuf) or a definition (OpenAPI).
#[derive(Debug)]
pub struct Message {
    /// The OpenAPI definition name, such as `io.k8s.api.core.v1.Pod`.
    pub name: &'static str,
    /// The fields, sorted by their JSON name.
    pub fields: &'static [Field],
    /// How the type is written in JSON and protobuf.
    pub codec: Codec,
}

impl Message {
    /// Finds a field by its JSON name.
    #[must_use]
    pub fn field(&self, json: &str) -> Option<&'static Field> {
        let at = self.fields.binary_search_by(|f| f.json.cmp(json)).ok()?;
        Some(&self.fields[at]).filter(|f| !f.inline)
    }

    /// Finds a message by its OpenAPI definition name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        let at = tables::MESSAGES.binary_search_by(|m| m.name.cmp(name)).ok()?;
        Some(tables::MESSAGES[at])
    }

    /// Finds the message of a kind, including list kinds and options; the core group is empty.
    #[must_use]
    pub fn of_kind(group: &str, version: &str, kind: &str) -> Option<&'static Self> {
        let at = tables::KINDS.binary_search_by(|k| (k.0, k.1, k.2).cmp(&(group, version, kind))).ok()?;
        Some(tables::KINDS[at].3)
    }

    /// Whether an object of this type is owned and replaced as a whole (`x-kubernetes-map-type: atomic`).
    ///
    /// For a field of one value ask the field's own [`Merge::list`], which has this in it and may say otherwise; ask
    /// here for the items of lists and maps.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        tables::ATOMIC.binary_search(&self.name).is_ok()
    }

    /// The published default of a field, as JSON, where it is not the zero value (`"TCP"` of a port's protocol).
    #[must_use]
    pub fn default_of(&self, json: &str) -> Option<&'static str> {
        let at = tables::DEFAULTS.binary_search_by(|d| (d.0, d.1).cmp(&(self.name, json))).ok()?;
        Some(tables::DEFAULTS[at].2)
    }

    /// Finds a field by its protobuf number.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.number == number)
    }

    /// The type's name without its package: `Pod`.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// How a type is written, for those that are not a plain JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// A JSON object with the listed fields.
    Plain,
    /// `metav1.Time`: RFC 3339 with seconds in JSON; seconds and nanos in protobuf.
    Time,
    /// `metav1.MicroTime`: RFC 3339 with microseconds in JSON.
    MicroTime,
    /// `metav1.Duration`: a Go duration string in JSON; nanoseconds in protobuf.
    Duration,
    /// `resource.Quantity`: a string (or number) in JSON; a string message in protobuf.
    Quantity,
    /// `intstr.IntOrString`: a JSON number or string.
    IntOrString,
    /// `runtime.RawExtension`: any JSON; bytes in protobuf.
    RawExtension,
    /// `metav1.FieldsV1`: any JSON object; bytes in protobuf.
    FieldsV1,
    /// `apiextensions.JSON` and its relatives: any JSON value; bytes in protobuf.
    Json,
    /// `apiextensions.JSONSchemaPropsOrBool`: a schema or a boolean.
    SchemaOrBool,
    /// `apiextensions.JSONSchemaPropsOrArray`: a schema or a list of schemas.
    SchemaOrArray,
    /// `apiextensions.JSONSchemaPropsOrStringArray`: a schema or a list of strings.
    SchemaOrStrings,
    /// A named list of strings, wrapped in a message in protobuf (`authorization.ExtraValue`).
    Strings,
}

/// One field of a [`Message`].
#[derive(Debug)]
pub struct Field {
    /// The name in JSON.
    pub json: &'static str,
    /// The protobuf field number; 0 where the field has none.
    pub number: u32,
    /// Whether the field holds one value, a list or a map with string keys.
    pub shape: Shape,
    /// The type of the value, of a list's item, or of a map's value.
    pub of: Kind,
    /// Whether the published schema lists the field as required.
    pub required: bool,
    /// What upstream's types write for the zero value.
    pub zero: Zero,
    /// How lists and maps are owned (apply) and merged (strategic merge patch).
    pub merge: Merge,
    /// Whether the fields of the message are written into the parent object (`inline` in upstream's types).
    ///
    /// Such a field has an empty JSON name and only says how protobuf nests: the parent lists the message's fields
    /// as its own, with number 0, so that JSON never needs to look inside.
    pub inline: bool,
}

impl Field {
    const fn new(json: &'static str, number: u32, shape: Shape, of: Kind) -> Self {
        let (zero, merge) = (Zero::Omit, Merge::NONE);
        Self { json, number, shape, of, required: false, zero, merge, inline: false }
    }

    /// A field of one value that is optional and left out when zero.
    #[must_use]
    pub const fn one(json: &'static str, number: u32, of: Kind) -> Self {
        Self::new(json, number, Shape::One, of)
    }

    /// A list that is optional and left out when empty.
    #[must_use]
    pub const fn list(json: &'static str, number: u32, of: Kind) -> Self {
        Self::new(json, number, Shape::List, of)
    }

    /// A map that is optional and left out when empty.
    #[must_use]
    pub const fn map(json: &'static str, number: u32, of: Kind) -> Self {
        Self::new(json, number, Shape::Map, of)
    }

    /// A message that is nested in protobuf while its fields stand in the parent's JSON object.
    #[must_use]
    pub const fn embedded(number: u32, of: Kind) -> Self {
        let mut field = Self::new("", number, Shape::One, of);
        field.inline = true;
        field
    }

    /// The field, listed as required.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The field with another zero behaviour.
    #[must_use]
    pub const fn zero(mut self, zero: Zero) -> Self {
        self.zero = zero;
        self
    }

    /// The field with merge rules.
    #[must_use]
    pub const fn merge(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }
}

/// One value, a list, or a map with string keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// A list.
    List,
    /// A map with string keys.
    Map,
}

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    String,
    /// Bytes: base64 in JSON.
    Bytes,
    /// A boolean.
    Bool,
    /// A 32-bit signed integer.
    Int32,
    /// A 64-bit signed integer.
    Int64,
    /// A double.
    Double,
    /// An object of a named type.
    Message(&'static Message),
}

/// What upstream's types write for a field's zero value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// An absent value stays absent (a pointer, or `omitempty`); an explicit zero is kept only behind a pointer.
    Pointer,
    /// The zero value is left out (`omitempty` on a plain scalar, list or map).
    Omit,
    /// The zero value is written: `""`, `0`, `false`, `{}`, or `null` for a list, a map or a time.
    Write,
}

/// How a list or map is owned by appliers and merged by patches.
#[derive(Clone, Copy, Debug)]
pub struct Merge {
    /// `x-kubernetes-list-type`, or for maps and objects `x-kubernetes-map-type`.
    pub list: ListType,
    /// `x-kubernetes-list-map-keys`.
    pub keys: &'static [&'static str],
    /// `x-kubernetes-patch-strategy` contains `merge`.
    pub merge: bool,
    /// `x-kubernetes-patch-strategy` contains `retainKeys`.
    pub retain_keys: bool,
    /// `x-kubernetes-patch-merge-key`; empty where there is none.
    pub key: &'static str,
}

impl Merge {
    /// No extension given: lists are atomic, objects and maps granular, patches replace lists.
    pub const NONE: Self = Self { list: ListType::Default, keys: &[], merge: false, retain_keys: false, key: "" };
}

/// `x-kubernetes-list-type` and `x-kubernetes-map-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Not given: lists are atomic; objects and maps are granular.
    Default,
    /// Owned and replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// A list of objects identified by their keys.
    Map,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, field: &str, expect: Zero) {
        let of = Message::named(message).unwrap();
        assert_eq!(of.field(field).unwrap().zero, expect, "{message}.{field}");
    }

    #[test]
    fn the_tables_are_sorted_for_search() {
        assert!(tables::MESSAGES.is_sorted_by_key(|m| m.name));
        assert!(tables::KINDS.is_sorted_by_key(|k| (k.0, k.1, k.2)));
        assert!(tables::DEFAULTS.is_sorted());
        assert!(tables::ATOMIC.is_sorted());
        for message in tables::MESSAGES {
            assert!(message.fields.is_sorted_by_key(|f| f.json), "{}", message.name);
        }
    }

    #[test]
    fn zero_values_are_written_as_upstream_writes_them() {
        check("io.k8s.api.core.v1.Container", "resources", Zero::Write);
        check("io.k8s.api.core.v1.Container", "name", Zero::Write);
        check("io.k8s.api.core.v1.Container", "image", Zero::Omit);
        check("io.k8s.api.core.v1.ServiceStatus", "loadBalancer", Zero::Write);
        check("io.k8s.api.apps.v1.DeploymentSpec", "strategy", Zero::Write);
        check("io.k8s.api.apps.v1.DeploymentSpec", "replicas", Zero::Pointer);
        check("io.k8s.api.core.v1.PodSpec", "containers", Zero::Write);
        check("io.k8s.api.core.v1.PodSpec", "hostNetwork", Zero::Omit);
        check("io.k8s.api.core.v1.PodSpec", "automountServiceAccountToken", Zero::Pointer);
        check("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "creationTimestamp", Zero::Omit);
        check("io.k8s.api.rbac.v1.ClusterRole", "rules", Zero::Write);
    }

    #[test]
    fn embedded_messages_are_flat_in_json_and_nested_in_protobuf() {
        let volume = Message::named("io.k8s.api.core.v1.Volume").unwrap();
        assert_eq!(volume.field("configMap").unwrap().number, 0);
        assert!(volume.field("").is_none());
        let source = volume.numbered(2).unwrap();
        assert!(source.inline);
        let Kind::Message(source) = source.of else { panic!("a source is a message") };
        assert_eq!(source.field("configMap").unwrap().number, 19);
    }

    #[test]
    fn kinds_atomic_types_and_defaults_are_found() {
        assert_eq!(Message::of_kind("apps", "v1", "DeploymentList").unwrap().short_name(), "DeploymentList");
        assert!(Message::named("io.k8s.api.core.v1.LocalObjectReference").unwrap().is_atomic());
        let port = Message::named("io.k8s.api.core.v1.ContainerPort").unwrap();
        assert_eq!(port.default_of("protocol"), Some("\"TCP\""));
        assert_eq!(port.default_of("name"), None);
    }
}

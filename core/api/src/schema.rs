//! The shape of API objects: what fields a type has and how they are encoded, listed and merged.
//!
//! The built-in types are `static` data generated from `core/api/data`; nothing here decides what an object may contain.

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
        self.fields.binary_search_by(|f| f.json.cmp(json)).ok().map(|at| &self.fields[at])
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
    pub inline: bool,
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
    /// The zero value is written: `""`, `0`, `false`, `{}`, or `null` for a list or map.
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

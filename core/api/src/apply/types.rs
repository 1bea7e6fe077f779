//! How a value is divided among owners: what its type says about fields, maps, lists and leaves.
//!
//! Built-in types answer from their static schema, custom ones from their structural schema, free-form values from their JSON.

use compact_str::CompactString;
use serde_json::{Map, Value};

use super::element::{Element, Scalar};
use crate::schema::{Codec, Field, Kind, ListType, Message, Shape, Zero};

/// The type of a value, as far as ownership is concerned.
#[derive(Clone, Copy, Debug)]
pub struct TypeRef<'s>(Known<'s>);

#[derive(Clone, Copy, Debug)]
enum Known<'s> {
    Message(&'static Message),
    Field(&'static Field),
    Item(Kind),
    /// A structural schema as JSON; `meta` is the type of the root's metadata.
    Custom {
        schema: &'s Value,
        meta: Option<&'static Message>,
    },
    Deduced,
}

/// What a value falls apart into.
#[derive(Clone, Copy)]
pub(super) enum Division<'s> {
    /// One owner for all of it: a scalar, or an atomic list or object.
    Leaf,
    /// An object with declared fields.
    Struct(Members<'s>),
    /// An object with arbitrary keys.
    Map(TypeRef<'s>),
    /// A list of objects that are told apart by keys.
    ListMap(Keys<'s>, TypeRef<'s>),
    /// A list of scalars without order.
    Set,
}

/// The declared fields of an object.
#[derive(Clone, Copy)]
pub(super) enum Members<'s> {
    Message(&'static Message),
    Custom {
        properties: &'s Map<String, Value>,
        meta: Option<&'static Message>,
        /// Whether the schema refuses other fields.
        closed: bool,
    },
}

/// What is known of one field of an object.
pub(super) struct Member<'s> {
    pub(super) kind: TypeRef<'s>,
    /// The field's name where it lives for ever, to save copies.
    name: Option<&'static str>,
    /// Whether the schema declares the field, as opposed to a key of a map.
    pub(super) declared: bool,
    /// Whether the type's zero value has the field too.
    pub(super) in_zero: bool,
}

/// The keys that tell the items of a list apart.
#[derive(Clone, Copy)]
pub(super) enum Keys<'s> {
    Static(&'static [&'static str], Option<&'static Message>),
    Custom(&'s [Value], Option<&'s Value>),
}

impl<'s> TypeRef<'s> {
    /// A value whose type is unknown: objects are maps, lists are atomic.
    pub const DEDUCED: TypeRef<'static> = TypeRef(Known::Deduced);

    /// An object of a built-in type.
    #[must_use]
    pub const fn message(message: &'static Message) -> Self {
        Self(Known::Message(message))
    }

    /// A custom object with this `openAPIV3Schema`; `meta` is the type of its metadata.
    #[must_use]
    pub const fn custom(schema: &'s Value, meta: &'static Message) -> Self {
        Self(Known::Custom { schema, meta: Some(meta) })
    }

    const fn below(schema: &'s Value) -> Self {
        Self(Known::Custom { schema, meta: None })
    }

    /// The division by type; a value that does not fit its type is a leaf.
    pub(super) fn divide(self, value: &Value) -> Division<'s> {
        let division = match self.0 {
            Known::Deduced if value.is_object() => Division::Map(TypeRef(Known::Deduced)),
            Known::Deduced => Division::Leaf,
            Known::Message(message) => divide_message(message),
            Known::Item(kind) => divide_kind(kind, value),
            Known::Field(field) => divide_field(field, value),
            Known::Custom { schema, meta } => divide_custom(schema, meta, value),
        };
        let fits = match division {
            Division::Leaf => true,
            Division::Struct(_) | Division::Map(_) => value.is_object() || value.is_null(),
            Division::ListMap(..) => value.as_array().map_or(value.is_null(), |l| l.iter().all(Value::is_object)),
            Division::Set => {
                let plain = |item: &Value| !item.is_object() && !item.is_array();
                value.as_array().map_or(value.is_null(), |list| list.iter().all(plain))
            }
        };
        if fits { division } else { Division::Leaf }
    }

    /// How a value with one owner is built all the same: by its fields, or by its items.
    pub(super) fn inside(self) -> (Division<'s>, Option<Self>) {
        let plain = |kind| match kind {
            Kind::Message(message) if message.codec == Codec::Plain => Division::Struct(Members::Message(message)),
            _ => Division::Leaf,
        };
        match self.0 {
            Known::Message(message) => (plain(Kind::Message(message)), None),
            Known::Item(kind) => (plain(kind), None),
            Known::Field(field) => match field.shape {
                Shape::One => (plain(field.of), None),
                Shape::List => (Division::Leaf, Some(Self(Known::Item(field.of)))),
                Shape::Map => (Division::Map(Self(Known::Item(field.of))), None),
            },
            Known::Custom { schema, .. } => (Division::Leaf, schema.get("items").map(Self::below)),
            Known::Deduced => (Division::Leaf, None),
        }
    }

    /// What JSON a value of this type has to be, for messages; `None` where anything goes.
    pub(super) fn expected(self) -> Option<&'static str> {
        let of_kind = |kind| match kind {
            Kind::String | Kind::Bytes => Some("string"),
            Kind::Bool => Some("boolean"),
            Kind::Int32 | Kind::Int64 | Kind::Double => Some("numeric (int or float)"),
            Kind::Message(message) if message.codec == Codec::Plain => Some("map"),
            Kind::Message(_) => None,
        };
        match self.0 {
            Known::Message(message) => of_kind(Kind::Message(message)),
            Known::Item(kind) => of_kind(kind),
            Known::Field(field) => match field.shape {
                Shape::One => of_kind(field.of),
                Shape::List => Some("list"),
                Shape::Map => Some("map"),
            },
            Known::Custom { schema, .. } => match schema.get("type").and_then(Value::as_str)? {
                "object" => Some("map"),
                "array" => Some("list"),
                "string" => Some("string"),
                "boolean" => Some("boolean"),
                "integer" | "number" => Some("numeric (int or float)"),
                _ => None,
            },
            Known::Deduced => None,
        }
    }
}

fn divide_message<'s>(message: &'static Message) -> Division<'s> {
    if message.codec == Codec::Plain && !message.is_atomic() {
        Division::Struct(Members::Message(message))
    } else {
        Division::Leaf
    }
}

fn divide_kind<'s>(kind: Kind, value: &Value) -> Division<'s> {
    match kind {
        Kind::Message(message) => match message.codec {
            Codec::Plain => divide_message(message),
            Codec::RawExtension | Codec::FieldsV1 | Codec::Json if value.is_object() => {
                Division::Map(TypeRef(Known::Deduced))
            }
            Codec::SchemaOrBool | Codec::SchemaOrArray | Codec::SchemaOrStrings if value.is_object() => {
                Division::Map(TypeRef(Known::Deduced))
            }
            _ => Division::Leaf,
        },
        _ => Division::Leaf,
    }
}

fn divide_field<'s>(field: &'static Field, value: &Value) -> Division<'s> {
    match (field.shape, field.merge.list) {
        (_, ListType::Atomic) => Division::Leaf,
        (Shape::One, _) => divide_kind(field.of, value),
        (Shape::Map, _) => Division::Map(TypeRef(Known::Item(field.of))),
        (Shape::List, ListType::Set) => Division::Set,
        (Shape::List, ListType::Map) if !field.merge.keys.is_empty() => {
            let message = if let Kind::Message(message) = field.of { Some(message) } else { None };
            Division::ListMap(Keys::Static(field.merge.keys, message), TypeRef(Known::Item(field.of)))
        }
        (Shape::List, _) => Division::Leaf,
    }
}

fn divide_custom<'s>(schema: &'s Value, meta: Option<&'static Message>, value: &Value) -> Division<'s> {
    let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
    let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    match text("type") {
        _ if flag("x-kubernetes-int-or-string") => Division::Leaf,
        "object" if text("x-kubernetes-map-type") == "atomic" => Division::Leaf,
        "object" => match (schema.get("properties"), schema.get("additionalProperties")) {
            (Some(Value::Object(properties)), values) => {
                let closed = !flag("x-kubernetes-preserve-unknown-fields") && values.is_none();
                Division::Struct(Members::Custom { properties, meta, closed })
            }
            (_, Some(values @ Value::Object(_))) => Division::Map(TypeRef::below(values)),
            _ => Division::Map(TypeRef(Known::Deduced)),
        },
        "array" => {
            let items = schema.get("items");
            match (text("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")) {
                ("set", _) => Division::Set,
                ("map", Some(Value::Array(keys))) => {
                    let item = items.map_or(TypeRef(Known::Deduced), TypeRef::below);
                    Division::ListMap(Keys::Custom(keys, items), item)
                }
                _ => Division::Leaf,
            }
        }
        "" if flag("x-kubernetes-preserve-unknown-fields") && value.is_object() => {
            Division::Map(TypeRef(Known::Deduced))
        }
        _ => Division::Leaf,
    }
}

impl<'s> Division<'s> {
    /// What is known of a field of an object divided this way.
    pub(super) fn member(self, name: &str) -> Member<'s> {
        let undeclared = |kind| Member { kind, name: None, declared: false, in_zero: false };
        match self {
            Self::Struct(Members::Message(message)) => match message.field(name) {
                Some(field) => Member {
                    kind: TypeRef(Known::Field(field)),
                    name: Some(field.json),
                    declared: true,
                    in_zero: field.zero == Zero::Write,
                },
                None => undeclared(TypeRef(Known::Deduced)),
            },
            Self::Struct(Members::Custom { meta: Some(meta), .. }) if name == "metadata" => {
                Member { kind: TypeRef::message(meta), name: Some("metadata"), declared: true, in_zero: false }
            }
            Self::Struct(Members::Custom { properties, meta, .. }) => match properties.get(name) {
                Some(schema) => Member { kind: TypeRef::below(schema), name: None, declared: true, in_zero: false },
                None => {
                    let builtin = meta.is_some() && matches!(name, "apiVersion" | "kind");
                    Member { declared: builtin, ..undeclared(TypeRef(Known::Deduced)) }
                }
            },
            Self::Map(kind) => undeclared(kind),
            _ => undeclared(TypeRef(Known::Deduced)),
        }
    }

    /// Whether an undeclared field is an error rather than a key of a map.
    pub(super) fn is_closed(self) -> bool {
        matches!(self, Self::Struct(Members::Message(_) | Members::Custom { closed: true, .. }))
    }
}

impl Member<'_> {
    /// The step to the field of this name.
    pub(super) fn element(&self, name: &str) -> Element {
        Element::Field(self.name.map_or_else(|| CompactString::new(name), CompactString::const_new))
    }
}

impl Keys<'_> {
    /// The step to an item, or the key that it lacks.
    pub(super) fn element<'a>(self, item: &Value) -> Result<Element, &'a str>
    where
        Self: 'a,
    {
        let mut fields = Vec::new();
        for at in 0..self.len() {
            let name = self.name(at);
            let value = item.get(name).and_then(Scalar::from_json).or_else(|| self.default(name));
            fields.push((CompactString::new(name), value.ok_or(name)?));
        }
        fields.sort();
        Ok(Element::Key(fields.into_boxed_slice()))
    }

    /// The step to an item whose missing keys count as null.
    pub(super) fn lenient(self, item: &Value) -> Element {
        let value = |name: &str| item.get(name).and_then(Scalar::from_json).or_else(|| self.default(name));
        let field = |at| {
            let name = self.name(at);
            (CompactString::new(name), value(name).unwrap_or(Scalar::Null))
        };
        let mut fields: Box<[_]> = (0..self.len()).map(field).collect();
        fields.sort();
        Element::Key(fields)
    }

    /// Whether two items plainly have the same keys; items that rely on defaults may not.
    pub(super) fn same(self, a: &Value, b: &Value) -> bool {
        (0..self.len()).all(|at| {
            let name = self.name(at);
            a.get(name) == b.get(name)
        })
    }

    const fn len(self) -> usize {
        match self {
            Self::Static(names, _) => names.len(),
            Self::Custom(names, _) => names.len(),
        }
    }

    fn name<'a>(self, at: usize) -> &'a str
    where
        Self: 'a,
    {
        match self {
            Self::Static(names, _) => names[at],
            Self::Custom(names, _) => names[at].as_str().unwrap_or_default(),
        }
    }

    fn default(self, name: &str) -> Option<Scalar> {
        match self {
            Self::Static(_, message) => Scalar::from_json(&serde_json::from_str(message?.default_of(name)?).ok()?),
            Self::Custom(_, items) => Scalar::from_json(items?.get("properties")?.get(name)?.get("default")?),
        }
    }
}

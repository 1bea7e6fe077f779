//! A structural schema (`openAPIV3Schema`), read once so that objects can be pruned, filled in and checked against it.
//!
//! Whether a schema is structural is checked when a definition is written; what is unknown here says nothing.

use std::{collections::BTreeMap, sync::Arc};

use regex::Regex;
use serde_json::Value;

/// A place in a schema: the type of a value and what it must be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// The JSON type; `None` where the schema leaves it open.
    pub(crate) kind: Option<Kind>,
    pub(crate) properties: BTreeMap<String, Self>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<Box<Self>>,
    pub(crate) default: Option<Arc<Value>>,
    pub(crate) nullable: bool,
    /// Whether fields that the schema does not name are kept.
    pub(crate) preserves: bool,
    /// Whether the value is an object with metadata of its own.
    pub(crate) embeds: bool,
    pub(crate) int_or_string: bool,
    pub(crate) list: List,
    pub(crate) checks: Box<Checks>,
}

/// A JSON type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// What fields beyond `properties` are.
#[derive(Clone, Debug, Default)]
pub(crate) enum Additional {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// Anything goes.
    Any,
    /// Each is such a value.
    Each(Box<Node>),
}

/// How the items of a list are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum List {
    /// By their place.
    #[default]
    Atomic,
    /// By their value.
    Set,
    /// By these fields.
    Map(Vec<String>),
}

/// What a value must be like beyond its type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) format: Option<String>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) length: Limits,
    pub(crate) items: Limits,
    pub(crate) properties: Limits,
    pub(crate) pattern: Option<(String, Option<Regex>)>,
    pub(crate) choices: Option<Vec<Value>>,
    pub(crate) required: Vec<String>,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Node>,
    /// The CEL rules (`x-kubernetes-validations`), as they are written.
    #[cfg(feature = "cel")]
    pub(crate) rules: Vec<Value>,
}

/// A bound of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) value: f64,
    pub(crate) exclusive: bool,
}

/// The least and the most of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) least: Option<i64>,
    pub(crate) most: Option<i64>,
}

impl Kind {
    /// The name of the type.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [Self::Object, Self::Array, Self::String, Self::Integer, Self::Number, Self::Boolean];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Node {
    /// Reads a schema.
    pub(crate) fn read(schema: &Value) -> Self {
        let flag = |name: &str| schema[name].as_bool() == Some(true);
        let properties = schema["properties"].as_object().into_iter().flatten();
        let list = match (schema["x-kubernetes-list-type"].as_str(), &schema["x-kubernetes-list-map-keys"]) {
            (Some("set"), _) => List::Set,
            (Some("map"), Value::Array(keys)) => {
                List::Map(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => List::Atomic,
        };
        Self {
            kind: schema["type"].as_str().and_then(Kind::named),
            properties: properties.map(|(name, schema)| (name.clone(), Self::read(schema))).collect(),
            additional: match &schema["additionalProperties"] {
                Value::Bool(true) => Additional::Any,
                each @ Value::Object(_) => Additional::Each(Box::new(Self::read(each))),
                _ => Additional::Unsaid,
            },
            items: schema["items"].is_object().then(|| Box::new(Self::read(&schema["items"]))),
            default: schema.get("default").filter(|default| !default.is_null()).cloned().map(Arc::new),
            nullable: flag("nullable"),
            preserves: flag("x-kubernetes-preserve-unknown-fields"),
            embeds: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list,
            checks: Box::new(Checks::read(schema)),
        }
    }

    /// The type of a field; `None` where the schema does not say.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.additional {
            Additional::Each(each) => Some(each),
            Additional::Unsaid | Additional::Any => None,
        })
    }
}

impl Checks {
    fn read(schema: &Value) -> Self {
        let text = |name: &str| schema[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let bound = |name: &str, exclusive: &str| {
            schema[name].as_f64().map(|value| Bound { value, exclusive: schema[exclusive].as_bool() == Some(true) })
        };
        let limits = |least: &str, most: &str| Limits { least: schema[least].as_i64(), most: schema[most].as_i64() };
        let several = |name: &str| schema[name].as_array().into_iter().flatten().map(Node::read).collect::<Vec<_>>();
        let required = schema["required"].as_array().into_iter().flatten();
        Self {
            format: text("format"),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: schema["multipleOf"].as_f64(),
            length: limits("minLength", "maxLength"),
            items: limits("minItems", "maxItems"),
            properties: limits("minProperties", "maxProperties"),
            pattern: text("pattern").map(|pattern| {
                let compiled = compile(&pattern).ok();
                (pattern, compiled)
            }),
            choices: schema["enum"].as_array().filter(|all| !all.is_empty()).cloned(),
            required: required.filter_map(Value::as_str).map(str::to_owned).collect(),
            all_of: several("allOf"),
            any_of: several("anyOf"),
            one_of: several("oneOf"),
            not: schema["not"].is_object().then(|| Node::read(&schema["not"])),
            #[cfg(feature = "cel")]
            rules: schema["x-kubernetes-validations"].as_array().cloned().unwrap_or_default(),
        }
    }
}

/// Compiles a pattern, with a limit of its size so that none can take all memory. Matching takes linear time.
pub(crate) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(pattern).size_limit(1 << 20).build()
}

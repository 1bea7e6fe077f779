//! OpenAPI 2 as protobuf: the messages of gnostic (`openapi.v2`), as far as our documents have use for them.
//!
//! Only names and numbers stand here; what a document says is made elsewhere, as JSON.

use std::io;

use serde_json::Value;
use windlass_api::protobuf::{put_bytes, put_double, put_int};

/// A document, piece by piece.
pub(super) struct Document {
    version: &'static str,
    paths: Vec<u8>,
    definitions: Vec<u8>,
}

impl Document {
    pub(super) fn begin(version: &'static str) -> Self {
        Self { version, paths: Vec::new(), definitions: Vec::new() }
    }

    /// One path and its operations.
    pub(super) fn path(&mut self, name: &str, item: &Value) -> io::Result<()> {
        named(&mut self.paths, 2, name, &write(&PATH_ITEM, item)?);
        Ok(())
    }

    /// One type.
    pub(super) fn definition(&mut self, name: &str, schema: &Value) -> io::Result<()> {
        named(&mut self.definitions, 1, name, &write(&SCHEMA, schema)?);
        Ok(())
    }

    /// The whole.
    pub(super) fn end(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.paths.len() + self.definitions.len() + 256);
        put_bytes(&mut out, 1, b"2.0");
        let mut info = Vec::new();
        put_bytes(&mut info, 1, b"Kubernetes");
        put_bytes(&mut info, 2, self.version.as_bytes());
        put_bytes(&mut out, 2, &info);
        put_bytes(&mut out, 8, &self.paths);
        put_bytes(&mut out, 9, &self.definitions);
        let mut requirement = Vec::new();
        named(&mut requirement, 1, "BearerToken", &[]);
        put_bytes(&mut out, 12, &requirement);
        let (mut key, mut security) = (Vec::new(), Vec::new());
        for (number, text) in [(1, "apiKey"), (2, "authorization"), (3, "header")] {
            put_bytes(&mut key, number, text.as_bytes());
        }
        put_bytes(&mut security, 2, &key);
        let mut definitions = Vec::new();
        named(&mut definitions, 1, "BearerToken", &security);
        put_bytes(&mut out, 13, &definitions);
        out
    }
}

/// How a member of a JSON object is written.
enum Form {
    Text,
    Texts,
    Flag,
    Int,
    Double,
    /// Any value, as YAML; JSON is YAML.
    Any,
    Anys,
    One(&'static Message),
    Many(&'static Message),
    /// An object whose members all have this form: name and value, one message each.
    Named(&'static Message),
    /// A message with one field, `number`, of this form.
    Wrapped(u32, &'static Self),
    /// A schema, or true or false.
    SchemaOrFlag,
    /// A parameter: a body, or part of a path or query.
    Parameter,
}

struct Message {
    fields: &'static [(&'static str, u32, Form)],
    /// Where members go whose names begin with `x-`.
    extensions: u32,
    /// Where all other members go, by their names.
    rest: Option<(u32, Form)>,
}

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("title", 3, Form::Text),
        ("description", 4, Form::Text),
        ("default", 5, Form::Any),
        ("multipleOf", 6, Form::Double),
        ("maximum", 7, Form::Double),
        ("exclusiveMaximum", 8, Form::Flag),
        ("minimum", 9, Form::Double),
        ("exclusiveMinimum", 10, Form::Flag),
        ("maxLength", 11, Form::Int),
        ("minLength", 12, Form::Int),
        ("pattern", 13, Form::Text),
        ("maxItems", 14, Form::Int),
        ("minItems", 15, Form::Int),
        ("uniqueItems", 16, Form::Flag),
        ("maxProperties", 17, Form::Int),
        ("minProperties", 18, Form::Int),
        ("required", 19, Form::Texts),
        ("enum", 20, Form::Anys),
        ("additionalProperties", 21, Form::SchemaOrFlag),
        ("type", 22, Form::Wrapped(1, &Form::Texts)),
        ("items", 23, Form::Wrapped(1, &Form::One(&SCHEMA))),
        ("allOf", 24, Form::Many(&SCHEMA)),
        ("properties", 25, Form::Named(&SCHEMA)),
        ("example", 30, Form::Any),
    ],
    extensions: 31,
    rest: None,
};

static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Form::One(&OPERATION)),
        ("put", 3, Form::One(&OPERATION)),
        ("post", 4, Form::One(&OPERATION)),
        ("delete", 5, Form::One(&OPERATION)),
        ("options", 6, Form::One(&OPERATION)),
        ("head", 7, Form::One(&OPERATION)),
        ("patch", 8, Form::One(&OPERATION)),
        ("parameters", 9, Form::Parameter),
    ],
    extensions: 10,
    rest: None,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Form::Texts),
        ("summary", 2, Form::Text),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, Form::Texts),
        ("consumes", 7, Form::Texts),
        ("parameters", 8, Form::Parameter),
        ("responses", 9, Form::One(&RESPONSES)),
        ("schemes", 10, Form::Texts),
        ("deprecated", 11, Form::Flag),
    ],
    extensions: 13,
    rest: None,
};

/// Each code is a name with a value, which is one of two things: a response.
static RESPONSES: Message =
    Message { fields: &[], extensions: 2, rest: Some((1, Form::Wrapped(1, &Form::One(&RESPONSE)))) };

static RESPONSE: Message = Message {
    fields: &[("description", 1, Form::Text), ("schema", 2, Form::Wrapped(1, &Form::One(&SCHEMA)))],
    extensions: 5,
    rest: None,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 5, Form::One(&SCHEMA)),
    ],
    extensions: 6,
    rest: None,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 6, Form::Text),
        ("format", 7, Form::Text),
        ("items", 8, Form::One(&PRIMITIVE)),
        ("uniqueItems", 20, Form::Flag),
    ],
    extensions: 23,
    rest: None,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("format", 6, Form::Text),
        ("items", 7, Form::One(&PRIMITIVE)),
        ("uniqueItems", 19, Form::Flag),
    ],
    extensions: 22,
    rest: None,
};

static PRIMITIVE: Message =
    Message { fields: &[("type", 1, Form::Text), ("format", 2, Form::Text)], extensions: 18, rest: None };

fn write(message: &Message, value: &Value) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some((_, number, form)) = message.fields.iter().find(|(own, ..)| own == name) {
            put(&mut out, *number, form, value)?;
        } else if name.starts_with("x-") {
            named(&mut out, message.extensions, name, &any(value)?);
        } else if let Some((number, form)) = &message.rest {
            let mut content = Vec::new();
            put(&mut content, 2, form, value)?;
            let mut pair = Vec::new();
            put_bytes(&mut pair, 1, name.as_bytes());
            pair.extend(content);
            put_bytes(&mut out, *number, &pair);
        }
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, number: u32, form: &Form, value: &Value) -> io::Result<()> {
    let items = || value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    match form {
        Form::Text => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Form::Texts => {
            for text in items().iter().filter_map(Value::as_str) {
                put_bytes(out, number, text.as_bytes());
            }
        }
        Form::Flag => put_int(out, number, value.as_bool().unwrap_or_default().into()),
        Form::Int => put_int(out, number, value.as_i64().unwrap_or_default()),
        Form::Double => put_double(out, number, value.as_f64().unwrap_or_default()),
        Form::Any => put_bytes(out, number, &any(value)?),
        Form::Anys => {
            for item in items() {
                put_bytes(out, number, &any(item)?);
            }
        }
        Form::One(of) => put_bytes(out, number, &write(of, value)?),
        Form::Many(of) => {
            for item in items() {
                put_bytes(out, number, &write(of, item)?);
            }
        }
        Form::Named(of) => {
            let mut all = Vec::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                named(&mut all, 1, name, &write(of, value)?);
            }
            put_bytes(out, number, &all);
        }
        Form::Wrapped(inside, form) => {
            let mut content = Vec::new();
            put(&mut content, *inside, form, value)?;
            put_bytes(out, number, &content);
        }
        Form::SchemaOrFlag => {
            let mut content = Vec::new();
            match value {
                Value::Bool(flag) => put_int(&mut content, 2, (*flag).into()),
                schema => put_bytes(&mut content, 1, &write(&SCHEMA, schema)?),
            }
            put_bytes(out, number, &content);
        }
        Form::Parameter => {
            for item in items() {
                put_bytes(out, number, &parameter(item)?);
            }
        }
    }
    Ok(())
}

/// A parameter inside the choices that lead to its kind.
fn parameter(value: &Value) -> io::Result<Vec<u8>> {
    let (mut kind, mut one, mut out) = (Vec::new(), Vec::new(), Vec::new());
    match value["in"].as_str() {
        Some("body") => put_bytes(&mut one, 1, &write(&BODY_PARAMETER, value)?),
        Some("path") => {
            put_bytes(&mut kind, 4, &write(&PATH_PARAMETER, value)?);
            put_bytes(&mut one, 2, &kind);
        }
        _ => {
            put_bytes(&mut kind, 3, &write(&QUERY_PARAMETER, value)?);
            put_bytes(&mut one, 2, &kind);
        }
    }
    put_bytes(&mut out, 1, &one);
    Ok(out)
}

/// Any value as a message.
fn any(value: &Value) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    put_bytes(&mut out, 2, &serde_json::to_vec(value)?);
    Ok(out)
}

/// A name and a message as a message.
fn named(out: &mut Vec<u8>, number: u32, name: &str, value: &[u8]) {
    let mut pair = Vec::with_capacity(name.len() + value.len() + 12);
    put_bytes(&mut pair, 1, name.as_bytes());
    put_bytes(&mut pair, 2, value);
    put_bytes(out, number, &pair);
}

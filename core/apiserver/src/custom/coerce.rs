//! The metadata of custom objects, and of objects embedded in them, in the form that all metadata has.

use serde_json::Value;
use windlass_api::{
    decode,
    path::Path,
    schema::{Field as TypeField, Kind as TypeKind, Message},
};

use super::schema::Node;
use crate::{
    errors, kinds,
    kinds::{Errors, Field, NameRule},
};

/// What to do about metadata that is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// The object is refused.
    Refused,
    /// What is malformed is dropped: it was stored when nobody looked.
    Dropped,
}

/// Brings the metadata of the object, and of every object embedded in it, into form; names its unknown fields.
pub(super) fn coerce(object: &mut Value, node: &Node, malformed: Malformed) -> windlass_kernel::Result<Vec<String>> {
    let mut unknown = Vec::new();
    metadata(object, "metadata", malformed, &mut unknown)?;
    below(object, node, &mut String::new(), malformed, &mut unknown)?;
    unknown.sort();
    Ok(unknown)
}

fn metadata(
    object: &mut Value,
    path: &str,
    malformed: Malformed,
    unknown: &mut Vec<String>,
) -> windlass_kernel::Result<()> {
    let Some(meta) = object.get_mut("metadata") else { return Ok(()) };
    let Some(message) = Message::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") else { return Ok(()) };
    unknown.extend(decode::unknown_fields(meta, message).into_iter().map(|field| format!("{path}.{field}")));
    if malformed == Malformed::Dropped
        && let Some(fields) = meta.as_object_mut()
    {
        fields.retain(|name, value| message.field(name).is_none_or(|field| fits(field, value)));
    }
    decode::normalize(meta, message).map_err(|error| errors::bad_request(format!("{path}: {error}")))
}

/// Whether a field of metadata can be read.
fn fits(field: &'static TypeField, value: &Value) -> bool {
    let mut alone = Value::Object([(field.json.to_owned(), value.clone())].into_iter().collect());
    let message = Message::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    message.is_none_or(|message| decode::normalize(&mut alone, message).is_ok())
        && (!matches!(field.of, TypeKind::String) || !value.is_number())
}

fn below(
    value: &mut Value,
    node: &Node,
    path: &mut String,
    malformed: Malformed,
    unknown: &mut Vec<String>,
) -> windlass_kernel::Result<()> {
    let end = path.len();
    match value {
        Value::Object(_) => {
            if node.embeds {
                metadata(value, &format!("{path}.metadata"), malformed, unknown)?;
            }
            for (name, inner) in value.as_object_mut().into_iter().flatten() {
                let Some(of) = node.field(name) else { continue };
                if end > 0 {
                    path.push('.');
                }
                path.push_str(name);
                below(inner, of, path, malformed, unknown)?;
                path.truncate(end);
            }
        }
        Value::Array(items) => {
            let Some(of) = &node.items else { return Ok(()) };
            for (at, item) in items.iter_mut().enumerate() {
                path.push_str(&format!("[{at}]"));
                below(item, of, path, malformed, unknown)?;
                path.truncate(end);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Checks the objects that are embedded in a custom object.
pub(super) fn check(object: &Value, node: &Node, errors: &mut Errors) {
    embedded(object, node, &Path::NOWHERE, errors);
}

fn embedded(value: &Value, node: &Node, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::Object(fields) => {
            if node.embeds {
                let own = Field::at(*path, value);
                errors.require(&own.get("apiVersion"), "must not be empty");
                errors.require(&own.get("kind"), "must not be empty");
                let meta = own.get("metadata");
                if !meta.get("name").is_empty() || !meta.get("generateName").is_empty() {
                    kinds::meta::created(&meta, NameRule::PathSegment, None, errors);
                }
            }
            for (name, inner) in fields {
                if let Some(of) = node.field(name) {
                    let below = if node.properties.contains_key(name) { path.child(name) } else { path.key(name) };
                    embedded(inner, of, &below, errors);
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                if let Some(of) = &node.items {
                    embedded(item, of, &path.index(at), errors);
                }
            }
        }
        _ => {}
    }
}

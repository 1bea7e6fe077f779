//! From a request's body to a tree that has exactly the fields its type has, in canonical notation.
//!
//! Media types, unknown and duplicate fields, and the agreement of `apiVersion` and `kind` are checked here; what the
//! values mean is not.

use serde_json::Value;
use windlass_api::{
    decode::{self, Decoded, Strictness},
    protobuf,
    resources::GroupVersionKind,
    schema::Message,
};
use windlass_kernel::{
    api::{Body, FieldValidation},
    error::{Error, ErrorKind, Result},
};

use crate::{
    custom::{self, Version},
    errors::bad_request,
    registry::{Info, Schema},
};

/// The largest body that is read.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The type that a body must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'s> {
    group: &'s str,
    version: &'s str,
    kind: &'s str,
    shape: Shape<'s>,
}

#[derive(Clone, Copy, Debug)]
enum Shape<'s> {
    BuiltIn(&'static Message),
    Custom(&'s Version),
}

impl<'s> Wanted<'s> {
    /// Objects of a resource.
    pub(crate) fn object_of(info: &'s Info) -> Self {
        let shape = match &info.schema {
            Schema::BuiltIn(message) => Shape::BuiltIn(message),
            Schema::Custom(version) => Shape::Custom(version),
        };
        Self { group: &info.group, version: &info.version, kind: &info.kind, shape }
    }

    fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }
}

impl Wanted<'static> {
    /// Some other kind.
    pub(crate) fn kind(kind: GroupVersionKind, message: &'static Message) -> Self {
        let GroupVersionKind { group, version, kind } = kind;
        Self { group, version, kind, shape: Shape::BuiltIn(message) }
    }
}

/// A body that was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The object.
    pub(crate) object: Value,
    /// What the client should hear about it.
    pub(crate) warnings: Vec<String>,
}

/// Reads an object.
pub(crate) fn object(body: Body, wanted: Wanted<'_>, validation: FieldValidation) -> Result<Read> {
    let summary = summarize(&body);
    let decoded = tree(body).map_err(|refused| match refused {
        Refused::Said(error) => error,
        Refused::Syntax(why) => bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; {why} ({summary})",
            wanted.kind
        )),
    })?;
    checked(decoded, wanted, validation, &summary)
}

/// Brings a tree into the form of its type.
pub(crate) fn checked(
    decoded: Decoded,
    wanted: Wanted<'_>,
    validation: FieldValidation,
    summary: &str,
) -> Result<Read> {
    let Decoded { value: mut object, duplicates, lines } = decoded;
    let Some(fields) = object.as_object_mut() else {
        return Err(bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: \
             json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
             Kind string \"json:\\\"kind,omitempty\\\"\" }} ({summary})",
            wanted.kind,
            kind_of(&object),
        )));
    };
    let stated = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (stated("apiVersion"), stated("kind"));
    let expected = wanted.api_version();
    if let (Shape::Custom(_), true) = (wanted.shape, kind.is_empty()) {
        return Err(bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{object}' ({summary})",
            wanted.kind
        )));
    }
    let kind = if kind.is_empty() { wanted.kind.to_owned() } else { kind };
    let version = if version.is_empty() { expected.clone() } else { version };
    let short = version.rsplit('/').next().unwrap_or(&version).to_owned();
    let unfit = |why: &dyn std::fmt::Display| {
        bad_request(format!("{kind} in version {short:?} cannot be handled as a {}: {why}", wanted.kind))
    };
    // Of a custom kind the rules say which it must be.
    if kind != wanted.kind && matches!(wanted.shape, Shape::BuiltIn(_)) {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let known = Message::of_kind(group, &short, &kind).is_some();
        return Err(if known {
            let internal = |group: &str| group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core").to_owned();
            unfit(&format!(
                "converting ({}.{kind}) to ({}.{}): unknown conversion",
                short,
                internal(wanted.group),
                wanted.kind
            ))
        } else {
            unfit(&format!("no kind {kind:?} is registered for version {version:?} in scheme \"windlass\""))
        });
    }
    if version != expected {
        return Err(bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    let unknown = match wanted.shape {
        Shape::BuiltIn(_) if validation == FieldValidation::Ignore => Vec::new(),
        Shape::BuiltIn(message) => decode::unknown_fields(&object, message),
        Shape::Custom(version) => custom::receive(&mut object, version)?,
    };
    let mut warnings = Vec::new();
    if validation != FieldValidation::Ignore {
        let unknown = unknown.iter().take(decode::MOST_NAMED).map(|path| format!("unknown field {path:?}"));
        let twice = duplicates.iter().map(|path| format!("duplicate field {path:?}"));
        if validation == FieldValidation::Strict {
            // What a YAML reader complains of is one error, whatever it says.
            let yaml = (!lines.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {}", lines.join("\n  ")));
            let odd: Vec<String> = match yaml {
                Some(yaml) => std::iter::once(yaml).chain(unknown).collect(),
                None => twice.chain(unknown).collect(),
            };
            if !odd.is_empty() {
                return Err(unfit(&format!("strict decoding error: {}", odd.join(", "))));
            }
        } else if lines.is_empty() {
            warnings = twice.chain(unknown).collect();
        } else {
            warnings = lines.into_iter().chain(unknown).collect();
        }
    }
    if let Shape::BuiltIn(message) = wanted.shape {
        decode::normalize(&mut object, message).map_err(|error| unfit(&error))?;
        let fields = crate::object::as_map(&mut object);
        fields.insert("apiVersion".into(), expected.into());
        fields.insert("kind".into(), wanted.kind.into());
    }
    Ok(Read { object, warnings })
}

/// Why a body is no tree.
pub(crate) enum Refused {
    /// Its syntax is wrong.
    Syntax(String),
    /// For another reason.
    Said(Error),
}

/// Reads a body as a tree of whatever form.
pub(crate) fn tree(body: Body) -> std::result::Result<Decoded, Refused> {
    let (media_type, bytes) = match body {
        Body::None => return Err(Refused::Syntax("json parse error: unexpected end of JSON input".into())),
        Body::Value(value) => return Ok(Decoded { value, ..Decoded::default() }),
        Body::Bytes { media_type, bytes } => (media_type, bytes),
    };
    if bytes.len() > LIMIT {
        let message = format!("Request entity too large: limit is {LIMIT}");
        return Err(Refused::Said(Error::new(ErrorKind::TooLarge, message)));
    }
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        ""
        | JSON
        | "application/json-patch+json"
        | "application/merge-patch+json"
        | "application/strategic-merge-patch+json" => decode::decode_json(&bytes, Strictness::default())
            .map_err(|error| Refused::Syntax(format!("json parse error: {error}"))),
        YAML | "application/apply-patch+yaml" => decode::decode_yaml(&bytes, Strictness::default())
            .map_err(|error| Refused::Syntax(format!("yaml parse error: {error}"))),
        PROTOBUF => protobuf::decode(&bytes)
            .map(|value| Decoded { value, ..Decoded::default() })
            .map_err(|error| Refused::Syntax(format!("proto: {error}"))),
        _ => Err(Refused::Said(unsupported(&[JSON, YAML, PROTOBUF]))),
    }
}

/// A media type that is not read here.
pub(crate) fn unsupported(accepted: &[&str]) -> Error {
    let accepted = accepted.join(", ");
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Error::new(ErrorKind::UnsupportedMediaType, message)
}

/// The group and version as objects state them.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The beginning of a body, for messages.
fn summarize(body: &Body) -> String {
    const SHOWN: usize = 30;
    let bytes = match body {
        Body::None => return "<empty>".into(),
        Body::Value(_) => return "<value>".into(),
        Body::Bytes { bytes, .. } => bytes,
    };
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { " ..." } else { "" };
    match bytes.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(cut)),
        Some(_) => cut.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")) + more,
    }
}

#[cfg(test)]
mod tests {
    use windlass_api::resources;

    use super::*;

    fn check(media_type: &str, text: &str, validation: FieldValidation, expect: &str) {
        let info = Info::from(resources::find("", "v1", "pods").unwrap());
        let body = Body::Bytes { media_type: media_type.into(), bytes: bytes::Bytes::copy_from_slice(text.as_bytes()) };
        let said = match object(body, Wanted::object_of(&info), validation) {
            Ok(read) => format!("{} {:?}", read.object["metadata"], read.warnings),
            Err(error) => format!("{} {}", error.kind().http().0, error.message()),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn bodies_are_read_by_their_media_type() {
        let strict = FieldValidation::Strict;
        check("application/yaml", "metadata: {name: x}\n", strict, r#"{"name":"x"} []"#);
        check("", r#"{"metadata":{"name":"x"}}"#, strict, r#"{"name":"x"} []"#);
        check(
            "text/plain",
            "{}",
            strict,
            "415 the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        );
    }

    #[test]
    fn a_body_in_protobuf_is_read_like_one_in_json() {
        let known = resources::find("", "v1", "configmaps").unwrap();
        let info = Info::from(known);
        let map =
            serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"k": "v"}});
        let bytes = protobuf::encode(&map, known.message).unwrap().into();
        let body = Body::Bytes { media_type: PROTOBUF.into(), bytes };
        let read = object(body, Wanted::object_of(&info), FieldValidation::Strict).unwrap();
        assert_eq!((&read.object["data"], &read.object["metadata"]["name"]), (&map["data"], &map["metadata"]["name"]));
        assert_eq!(
            read.object,
            object(Body::Value(map), Wanted::object_of(&info), FieldValidation::Strict).unwrap().object
        );
    }

    #[test]
    fn unknown_fields_are_refused_or_dropped_as_asked() {
        let pod = r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"spec":{"foo":1}}"#;
        let refused =
            r#"400 Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo""#;
        check("", pod, FieldValidation::Strict, refused);
        check("", pod, FieldValidation::Warn, r#"{"name":"x"} ["unknown field \"spec.foo\""]"#);
        check("", pod, FieldValidation::Ignore, r#"{"name":"x"} []"#);
    }

    #[test]
    fn duplicate_fields_are_told_by_path_in_json_and_by_line_in_yaml() {
        let pod = r#"{"metadata":{"name":"x"},"spec":{"hostname":"a","hostname":"b"}}"#;
        let refused = r#"400 Pod in version "v1" cannot be handled as a Pod: strict decoding error: duplicate field "spec.hostname""#;
        check("", pod, FieldValidation::Strict, refused);
        let pod = "metadata:\n  name: x\nspec:\n  hostname: a\n  hostname: b\n  foo: 1\n";
        let refused = "400 Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: \
                       yaml: unmarshal errors:\n  line 5: key \"hostname\" already set in map, unknown field \"spec.foo\"";
        check(YAML, pod, FieldValidation::Strict, refused);
        let told = r#"{"name":"x"} ["line 5: key \"hostname\" already set in map", "unknown field \"spec.foo\""]"#;
        check(YAML, pod, FieldValidation::Warn, told);
        check(YAML, pod, FieldValidation::Ignore, r#"{"name":"x"} []"#);
    }

    #[test]
    fn another_kind_is_refused() {
        let other = r#"{"kind":"ConfigMap","apiVersion":"v1"}"#;
        let refused = r#"400 ConfigMap in version "v1" cannot be handled as a Pod: converting (v1.ConfigMap) to (core.Pod): unknown conversion"#;
        check("", other, FieldValidation::Warn, refused);
        let version = r#"{"kind":"Pod","apiVersion":"v2"}"#;
        let refused = "400 the API version in the data (v2) does not match the expected API version (v1)";
        check("", version, FieldValidation::Warn, refused);
    }
}

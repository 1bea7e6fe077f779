//! Reads the table of protobuf messages and names them as OpenAPI does.

use crate::tables;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::Path;

/// The messages by definition name.
pub(crate) type Messages = BTreeMap<String, Vec<ProtoField>>;

/// A field of a protobuf message.
#[derive(Debug)]
pub(crate) struct ProtoField {
    /// The name in the message.
    pub name: String,
    /// The field number.
    pub number: u32,
    /// `optional`, `repeated` or `map`.
    pub label: String,
    /// A scalar, or the definition name of a message; of a map, its value.
    pub kind: String,
}

/// Reads `proto-fields.tsv`.
pub(crate) fn load(path: &Path) -> anyhow::Result<Messages> {
    let mut out = Messages::new();
    for row in tables::read(path, 6)? {
        let [package, message, name, number, label, kind] = &row[..] else { continue };
        let kind = kind.strip_prefix("map<string,").and_then(|k| k.strip_suffix('>')).unwrap_or(kind);
        let field = ProtoField {
            name: name.clone(),
            number: number.parse().with_context(|| format!("{package}.{message}.{name}"))?,
            label: label.clone(),
            kind: resolve(package, kind),
        };
        out.entry(definition(&format!("{package}.{message}"))).or_default().push(field);
    }
    Ok(out)
}

fn resolve(package: &str, kind: &str) -> String {
    match kind {
        "string" | "bytes" | "bool" | "int32" | "int64" | "double" => kind.to_owned(),
        _ => match kind.strip_prefix('.') {
            Some(full) => definition(full),
            None => definition(&format!("{package}.{kind}")),
        },
    }
}

/// `k8s.io.api.core.v1.Pod` is `io.k8s.api.core.v1.Pod` in OpenAPI.
fn definition(name: &str) -> String {
    let name = name.strip_prefix("k8s.io.").unwrap_or(name);
    format!("io.k8s.{name}")
        .replace("apiextensions_apiserver", "apiextensions-apiserver")
        .replace("kube_aggregator", "kube-aggregator")
}

/// The protobuf field that carries the JSON field `json`.
pub(crate) fn carrier<'a>(fields: &'a [ProtoField], json: &str) -> Option<&'a ProtoField> {
    let plain: String = json.chars().filter(char::is_ascii_alphanumeric).collect();
    let exact = fields.iter().find(|f| f.name == json);
    exact.or_else(|| fields.iter().find(|f| f.name.eq_ignore_ascii_case(&plain)))
}

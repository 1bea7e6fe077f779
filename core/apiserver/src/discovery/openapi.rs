//! OpenAPI documents, written piece by piece so that no document is ever held as a tree.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde_json::{Value, json};

use super::{
    catalog::{Resource, Schema, Snapshot, api_version},
    gnostic,
    paths::paths,
    schema::{Dialect, Types, custom_definition, custom_list, custom_name, definition},
    texts::Texts,
    version::GIT_VERSION,
};

/// `/openapi/v3`: where the document of each group and version is, by a name that changes with its content.
///
/// `edition` is that of the texts.
#[must_use]
pub fn index(snapshot: &Snapshot, edition: &str) -> Value {
    let mut documents = BTreeMap::new();
    for (group, version) in &snapshot.versions {
        let path = place(group, version);
        let url = format!("/openapi/v3/{path}?hash={}", fingerprint(snapshot, edition, group, version));
        documents.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": documents})
}

/// What a document is known by: grows out of everything that is written into it.
#[must_use]
pub(crate) fn fingerprint(snapshot: &Snapshot, edition: &str, group: &str, version: &str) -> String {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.add(edition.as_bytes());
    hash.add(GIT_VERSION.as_bytes());
    for resource in snapshot.of(group, version) {
        for word in [&resource.plural, &resource.kind].into_iter().chain(&resource.verbs) {
            hash.add(word.as_bytes());
        }
        for sub in &resource.subresources {
            hash.add(sub.name.as_bytes());
        }
        if let Schema::Custom(schema) = &resource.schema {
            hash.add(schema.to_string().as_bytes());
        }
    }
    format!("{:016X}", hash.0)
}

/// The path of a document below `/openapi/v3/`.
fn place(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{}", api_version(group, version)) }
}

/// Writes the OpenAPI 3 document of a group and version.
///
/// # Errors
///
/// Those of `out`.
pub fn v3(snapshot: &Snapshot, group: &str, version: &str, texts: &dyn Texts, out: &mut dyn Write) -> io::Result<()> {
    let resources: Vec<&Resource> = snapshot.of(group, version).map(|resource| &**resource).collect();
    out.write_all(br#"{"openapi":"3.0.0","info":{"title":"Kubernetes","version":""#)?;
    write!(out, r#"{GIT_VERSION}"}},"paths":{{"#)?;
    paths_of(&resources, Dialect::V3, &mut members(out))?;
    out.write_all(br#"},"components":{"schemas":{"#)?;
    definitions_of(&resources, Dialect::V3, texts, &mut members(out))?;
    out.write_all(br#"},"securitySchemes":{"BearerToken":{"type":"apiKey","name":"authorization","in":"header"}}}}"#)
}

/// Writes the OpenAPI 2 document of everything.
///
/// # Errors
///
/// Those of `out`.
pub fn v2(snapshot: &Snapshot, texts: &dyn Texts, out: &mut dyn Write) -> io::Result<()> {
    let resources: Vec<&Resource> = snapshot.resources.iter().map(|resource| &**resource).collect();
    out.write_all(br#"{"swagger":"2.0","info":{"title":"Kubernetes","version":""#)?;
    write!(out, r#"{GIT_VERSION}"}},"paths":{{"#)?;
    paths_of(&resources, Dialect::V2, &mut members(out))?;
    out.write_all(br#"},"definitions":{"#)?;
    definitions_of(&resources, Dialect::V2, texts, &mut members(out))?;
    out.write_all(
        br#"},"security":[{"BearerToken":[]}],"securityDefinitions":{"BearerToken":{"type":"apiKey","name":"authorization","in":"header"}}}"#,
    )
}

/// Writes the OpenAPI 2 document of everything as protobuf, as gnostic defines it (`openapi.v2.Document`).
///
/// # Errors
///
/// Those of `out`.
pub fn v2_protobuf(snapshot: &Snapshot, texts: &dyn Texts, out: &mut dyn Write) -> io::Result<()> {
    let resources: Vec<&Resource> = snapshot.resources.iter().map(|resource| &**resource).collect();
    let mut document = gnostic::Document::begin(GIT_VERSION);
    paths_of(&resources, Dialect::V2, &mut |name, item| document.path(name, item))?;
    definitions_of(&resources, Dialect::V2, texts, &mut |name, schema| document.definition(name, schema))?;
    out.write_all(&document.end())
}

/// Takes the members of an object one after the other.
type Emit<'e> = dyn FnMut(&str, &Value) -> io::Result<()> + 'e;

fn paths_of(resources: &[&Resource], dialect: Dialect, emit: &mut Emit<'_>) -> io::Result<()> {
    for resource in resources {
        paths(resource, dialect, &mut |path, item| emit(&path, &item))?;
    }
    Ok(())
}

fn definitions_of(resources: &[&Resource], dialect: Dialect, texts: &dyn Texts, emit: &mut Emit<'_>) -> io::Result<()> {
    let mut texts = texts.open();
    let mut types = Types::default();
    let mut kinds: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
    for name in ["DeleteOptions", "ObjectMeta", "ListMeta", "Patch", "Status", "WatchEvent"] {
        types.add_named(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"));
    }
    // The core group has these kinds, and every group and version knows the first two as its own.
    for kind in ["DeleteOptions", "WatchEvent", "Status"] {
        let name = format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}");
        let Some(message) = windlass_api::schema::Message::named(&name) else { continue };
        let all = kinds.entry(message.name).or_default();
        all.push(json!({"group": "", "version": "v1", "kind": kind}));
        for resource in resources.iter().filter(|_| kind != "Status") {
            let own = json!({"group": resource.group, "version": resource.version, "kind": kind});
            if !all.contains(&own) {
                all.push(own);
            }
        }
    }
    for resource in resources {
        let mut known_as = |message: &'static windlass_api::schema::Message, kind: [&str; 3]| {
            types.add(message);
            let kind = json!({"group": kind[0], "version": kind[1], "kind": kind[2]});
            let all = kinds.entry(message.name).or_default();
            if !all.contains(&kind) {
                all.push(kind);
            }
        };
        let (group, version) = (&*resource.group, &*resource.version);
        match &resource.schema {
            Schema::BuiltIn(message) => {
                known_as(message, [group, version, &resource.kind]);
                let list = windlass_api::schema::Message::named(&format!("{}List", message.name));
                if let (Some(list), true) = (list, resource.serves("list")) {
                    known_as(list, [group, version, &resource.list_kind]);
                }
            }
            Schema::Own(name, schema) => emit(name, &custom_definition(kind(resource), schema, dialect))?,
            Schema::Custom(_) | Schema::Unknown => {
                let none = Value::Null;
                let schema = if let Schema::Custom(schema) = &resource.schema { schema } else { &none };
                let name = custom_name(resource, &resource.kind);
                emit(&name, &custom_definition(kind(resource), schema, dialect))?;
                let list = custom_name(resource, &resource.list_kind);
                emit(&list, &custom_list(resource, dialect))?;
            }
        }
        for sub in &resource.subresources {
            let kind = [&*sub.kind[0], &*sub.kind[1], &*sub.kind[2]];
            match &sub.schema {
                Schema::BuiltIn(message) => known_as(message, kind),
                Schema::Own(name, schema) => emit(name, &custom_definition(kind, schema, dialect))?,
                Schema::Custom(_) | Schema::Unknown => {}
            }
        }
    }
    for message in types.iter() {
        let kinds = kinds.get(message.name).map(Vec::as_slice).unwrap_or_default();
        let said = texts.describe(message.name).unwrap_or_default();
        emit(message.name, &definition(message, kinds, dialect, said))?;
    }
    Ok(())
}

/// The group, version and kind of a resource's objects.
fn kind(resource: &Resource) -> [&str; 3] {
    [&resource.group, &resource.version, &resource.kind]
}

/// Writes members of a JSON object whose braces are the caller's.
fn members(out: &mut dyn Write) -> impl FnMut(&str, &Value) -> io::Result<()> {
    let mut first = true;
    move |name, value| {
        if !std::mem::take(&mut first) {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, name)?;
        out.write_all(b":")?;
        serde_json::to_writer(&mut *out, value)?;
        Ok(())
    }
}

/// FNV-1a: a document's name needs to differ, not to resist anyone.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

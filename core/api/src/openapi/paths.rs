//! The paths of a resource and the operations on them.

use crate::resources::GroupVersion;
use crate::schema::{Kind, Message};
use serde_json::{Map, Value, json};

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";

const READ: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAM: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// Query parameters by name, with their type.
type Query = &'static [(&'static str, &'static str)];

const CHANGE: Query = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const CHANGE_BY_PATCH: Query =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE: Query = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const LIST: Query = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

/// What the operations of a resource depend on.
#[derive(Clone, Debug)]
pub struct Served<'a> {
    /// The group, empty for core.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The name in paths.
    pub plural: &'a str,
    /// The kind of its objects.
    pub kind: &'a str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The verbs that are served.
    pub verbs: &'a [&'a str],
    /// The patch content types, without `application/`.
    pub patches: &'a [&'a str],
    /// The definition of its objects.
    pub definition: &'a str,
    /// The definition of its lists; empty where it cannot be listed.
    pub list_definition: &'a str,
    /// The sub-resources.
    pub subresources: Vec<ServedSubresource<'a>>,
}

/// What the operations of a sub-resource depend on.
#[derive(Clone, Debug)]
pub struct ServedSubresource<'a> {
    /// The last segment of its path.
    pub name: &'a str,
    /// The group, version and kind that is sent to it.
    pub kind: (&'a str, &'a str, &'a str),
    /// The verbs that are served; with `connect` it speaks no objects.
    pub verbs: &'a [&'a str],
    /// The patch content types, without `application/`.
    pub patches: &'a [&'a str],
    /// The definition that is sent to it.
    pub definition: &'a str,
}

impl Served<'_> {
    /// The definitions that the operations name.
    pub fn definitions(&self) -> impl Iterator<Item = &str> {
        let subs = self.subresources.iter().filter(|s| !s.verbs.contains(&"connect")).map(|s| s.definition);
        [self.definition, self.list_definition, STATUS, PATCH, DELETE_OPTIONS, WATCH_EVENT].into_iter().chain(subs)
    }
}

/// The paths of a resource and its sub-resources.
#[must_use]
pub fn paths_of(of: &Served<'_>) -> Map<String, Value> {
    let base = base(of.group, of.version);
    let scope = if of.namespaced { "namespaces/{namespace}/" } else { "" };
    let collection = format!("{base}{scope}{}", of.plural);
    let mut out = Map::new();
    let ops = Operations::of(of);
    let plain = ops.collection();
    if !plain.is_empty() {
        out.insert(collection.clone(), item(plain, of.namespaced, false));
    }
    if of.namespaced && of.verbs.contains(&"list") {
        let everywhere = [("get", ops.list("ForAllNamespaces", ""))];
        out.insert(format!("{base}{}", of.plural), item(everywhere.into(), false, false));
    }
    let single = ops.single();
    if !single.is_empty() {
        out.insert(format!("{collection}/{{name}}"), item(single, of.namespaced, true));
    }
    for sub in &of.subresources {
        let path = format!("{collection}/{{name}}/{}", sub.name);
        let mut plain = item(ops.sub(sub, ""), of.namespaced, true);
        if sub.verbs.contains(&"connect") {
            plain["parameters"] = options(sub.definition, plain["parameters"].take());
        }
        if sub.name == "proxy" {
            let mut deeper = item(ops.sub(sub, "WithPath"), of.namespaced, true);
            deeper["parameters"] = plain["parameters"].clone();
            if let Some(parameters) = deeper["parameters"].as_array_mut() {
                parameters.push(parameter("path", "path", "string"));
            }
            out.insert(format!("{path}/{{path}}"), deeper);
        }
        out.insert(path, plain);
    }
    out
}

/// The path that lists a group and version's resources.
pub(super) fn discovery(of: GroupVersion) -> Value {
    let id = format!("get{}APIResources", title(of.group, of.version));
    let body = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
    json!({"get": {"operationId": id, "tags": [tag(of.group, of.version)], "responses": responses(&[200], body, &READ)}})
}

/// `/api/v1/`, `/apis/apps/v1/`.
fn base(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}/") } else { format!("/apis/{group}/{version}/") }
}

/// A group's name as one word: `rbac.authorization.k8s.io` is `rbacAuthorization`.
fn word(group: &str) -> String {
    let short = if group.is_empty() { "core" } else { group.trim_end_matches(".k8s.io") };
    let mut parts = short.split(['.', '-']);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |word, part| word + &capital(part))
}

fn tag(group: &str, version: &str) -> String {
    format!("{}_{version}", word(group))
}

fn title(group: &str, version: &str) -> String {
    capital(&word(group)) + &capital(version)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Builds the operations of one resource.
struct Operations<'a> {
    of: &'a Served<'a>,
    title: String,
    tag: String,
    scope: &'static str,
}

/// Operations by HTTP method.
type Methods = Vec<(&'static str, Value)>;

impl<'a> Operations<'a> {
    fn of(of: &'a Served<'a>) -> Self {
        let scope = if of.namespaced { "Namespaced" } else { "" };
        Self { of, title: title(of.group, of.version), tag: tag(of.group, of.version), scope }
    }

    fn has(&self, verb: &str) -> bool {
        self.of.verbs.contains(&verb)
    }

    fn kind(&self) -> (&str, &str, &str) {
        (self.of.group, self.of.version, self.of.kind)
    }

    fn id(&self, verb: &str, suffix: &str) -> String {
        format!("{verb}{}{}{}{suffix}", self.title, self.scope, self.of.kind)
    }

    fn operation(&self, id: &str, action: &str, kind: (&str, &str, &str), query: Query, responses: Value) -> Value {
        let mut out = json!({
            "operationId": id,
            "tags": [self.tag],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": kind.0, "version": kind.1, "kind": kind.2},
        });
        out["responses"] = responses;
        if !query.is_empty() {
            out["parameters"] = query.iter().map(|(name, of)| parameter("query", name, of)).collect();
        }
        out
    }

    fn list(&self, suffix: &str, scope: &str) -> Value {
        let id = format!("list{}{scope}{}{suffix}", self.title, self.of.kind);
        let formats: Vec<&str> = READ.into_iter().chain(STREAM).collect();
        self.operation(&id, "list", self.kind(), LIST, responses(&[200], self.of.list_definition, &formats))
    }

    fn collection(&self) -> Methods {
        let mut out = Methods::new();
        if self.has("list") {
            out.push(("get", self.list("", self.scope)));
        }
        if self.has("create") {
            out.push(("post", self.create(&self.id("create", ""), self.kind(), self.of.definition)));
        }
        if self.has("deletecollection") {
            let id = format!("delete{}Collection{}{}", self.title, self.scope, self.of.kind);
            let mut op = self.operation(&id, "deletecollection", self.kind(), DELETE, responses(&[200], STATUS, &READ));
            if let Some(parameters) = op["parameters"].as_array_mut() {
                let more = LIST.iter().filter(|(name, _)| !["allowWatchBookmarks", "watch"].contains(name));
                parameters.extend(more.map(|(name, of)| parameter("query", name, of)));
            }
            op["requestBody"] = body(DELETE_OPTIONS, &["*/*"], false);
            out.push(("delete", op));
        }
        out
    }

    fn single(&self) -> Methods {
        let mut out = self.object("", self.of.verbs, self.kind(), self.of.definition, self.of.patches);
        if self.has("delete") {
            let responses = responses(&[200, 202], STATUS, &READ);
            let mut op = self.operation(&self.id("delete", ""), "delete", self.kind(), DELETE, responses);
            op["requestBody"] = body(DELETE_OPTIONS, &["*/*"], false);
            out.push(("delete", op));
        }
        out
    }

    fn sub(&self, sub: &ServedSubresource<'_>, suffix: &str) -> Methods {
        let name = capital(sub.name) + suffix;
        if sub.verbs.contains(&"connect") {
            let proxied: &[&'static str] = &["get", "post", "put", "patch", "delete", "head", "options"];
            let methods = if sub.name == "proxy" { proxied } else { &proxied[..2] };
            let connect = |method: &&'static str| {
                let id = format!("connect{}{}{}{}{name}", self.title, capital(method), self.scope, self.of.kind);
                let answer = text_response(&["*/*"]);
                (*method, self.operation(&id, "connect", sub.kind, &[], answer))
            };
            return methods.iter().map(connect).collect();
        }
        if sub.name == "log" {
            let formats: Vec<&str> = READ.into_iter().chain(["text/plain"]).collect();
            let answer = text_response(&formats);
            return vec![("get", self.operation(&self.id("read", &name), "get", self.kind(), LOG, answer))];
        }
        let mut out = self.object(&name, sub.verbs, sub.kind, sub.definition, sub.patches);
        if sub.verbs.contains(&"create") {
            out.push(("post", self.create(&self.id("create", &name), sub.kind, sub.definition)));
        }
        out
    }

    fn create(&self, id: &str, kind: (&str, &str, &str), definition: &str) -> Value {
        let responses = responses(&[200, 201, 202], definition, &READ);
        let mut op = self.operation(id, "post", kind, CHANGE, responses);
        op["requestBody"] = body(definition, &["*/*"], true);
        op
    }

    /// Reading, replacing and patching one object.
    fn object(
        &self,
        suffix: &str,
        verbs: &[&str],
        kind: (&str, &str, &str),
        definition: &str,
        patches: &[&str],
    ) -> Methods {
        let mut out = Methods::new();
        if verbs.contains(&"get") {
            let answer = responses(&[200], definition, &READ);
            out.push(("get", self.operation(&self.id("read", suffix), "get", kind, &[], answer)));
        }
        if verbs.contains(&"update") {
            let answer = responses(&[200, 201], definition, &READ);
            let mut op = self.operation(&self.id("replace", suffix), "put", kind, CHANGE, answer);
            op["requestBody"] = body(definition, &["*/*"], true);
            out.push(("put", op));
        }
        if verbs.contains(&"patch") {
            let answer = responses(&[200, 201], definition, &READ);
            let mut op = self.operation(&self.id("patch", suffix), "patch", kind, CHANGE_BY_PATCH, answer);
            let formats: Vec<String> = patches.iter().map(|p| format!("application/{p}")).collect();
            let formats: Vec<&str> = formats.iter().map(String::as_str).collect();
            op["requestBody"] = body(PATCH, &formats, true);
            out.push(("patch", op));
        }
        out
    }
}

const LOG: Query = &[
    ("container", "string"),
    ("follow", "boolean"),
    ("insecureSkipTLSVerifyBackend", "boolean"),
    ("limitBytes", "integer"),
    ("previous", "boolean"),
    ("sinceSeconds", "integer"),
    ("stream", "string"),
    ("tailLines", "integer"),
    ("timestamps", "boolean"),
];

/// A path's operations with the parameters that all of them take.
fn item(methods: Methods, namespaced: bool, named: bool) -> Value {
    let mut parameters = Vec::new();
    if named {
        parameters.push(parameter("path", "name", "string"));
    }
    if namespaced {
        parameters.push(parameter("path", "namespace", "string"));
    }
    parameters.push(parameter("query", "pretty", "string"));
    let mut out: Map<String, Value> = methods.into_iter().map(|(method, op)| (method.to_owned(), op)).collect();
    out.insert("parameters".to_owned(), parameters.into());
    out.into()
}

/// Path parameters with the fields of an options kind, which connections take as query parameters.
fn options(definition: &str, path: Value) -> Value {
    let Value::Array(mut out) = path else { return path };
    out.retain(|p| p["in"] == "path");
    let fields = Message::named(definition).map_or(&[][..], |m| m.fields);
    for field in fields.iter().filter(|f| !["apiVersion", "kind"].contains(&f.json)) {
        let of = match field.of {
            Kind::Bool => "boolean",
            Kind::Int32 | Kind::Int64 => "integer",
            _ => "string",
        };
        out.push(parameter("query", field.json, of));
    }
    out.into()
}

fn parameter(place: &str, name: &str, of: &str) -> Value {
    let mut out = json!({"name": name, "in": place, "schema": {"type": of, "uniqueItems": true}});
    if place == "path" {
        out["required"] = true.into();
    }
    out
}

fn body(definition: &str, formats: &[&str], required: bool) -> Value {
    let mut out = json!({"content": content(definition, formats)});
    if required {
        out["required"] = true.into();
    }
    out
}

fn content(definition: &str, formats: &[&str]) -> Value {
    let schema = json!({"schema": {"$ref": format!("#/components/schemas/{definition}")}});
    formats.iter().map(|format| ((*format).to_owned(), schema.clone())).collect::<Map<_, _>>().into()
}

fn text_response(formats: &[&str]) -> Value {
    let schema = json!({"schema": {"type": "string"}});
    let content: Map<String, Value> = formats.iter().map(|f| ((*f).to_owned(), schema.clone())).collect();
    json!({"200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"}})
}

fn responses(codes: &[u16], definition: &str, formats: &[&str]) -> Value {
    let mut out = Map::new();
    for code in codes {
        let text = match code {
            201 => "Created",
            202 => "Accepted",
            _ => "OK",
        };
        out.insert(code.to_string(), json!({"description": text, "content": content(definition, formats)}));
    }
    out.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    out.into()
}

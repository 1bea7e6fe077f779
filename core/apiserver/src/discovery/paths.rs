//! The operations of a resource as OpenAPI paths.

use serde_json::{Value, json};
use windlass_api::schema::{Kind, Shape};

use super::{
    catalog::{Resource, Schema, Subresource},
    schema::{Dialect, custom_name, scalar_schema},
};

const LIST: [(&str, &str); 10] = [
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
const WRITE: [(&str, &str); 3] = [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const FORCE: (&str, &str) = ("force", "boolean");
const DELETE: [(&str, &str); 5] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const ANSWERS: [&str; 2] = ["application/json", "application/yaml"];

/// Writes the paths of one resource, one call of `emit` for each.
pub(super) fn paths(
    resource: &Resource,
    dialect: Dialect,
    emit: &mut dyn FnMut(String, Value) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let op = Operations { resource, dialect };
    let root = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let plural = &resource.plural;
    let collection = if resource.namespaced {
        if resource.serves("list") {
            let list = op.operation("get", "list", "list", "ForAllNamespaces", None);
            emit(format!("{root}/{plural}"), json!({"get": list, "parameters": op.path_parameters(false, false)}))?;
        }
        format!("{root}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("{root}/{plural}")
    };
    let scope = if resource.namespaced { "Namespaced" } else { "" };
    let build = |verbs: &[(&str, &str, &str, &str)], named: bool, sub: Option<&Subresource>| {
        let mut item = json!({});
        for (verb, method, action, id) in verbs {
            let served = sub.map_or_else(|| resource.serves(verb), |sub| sub.verbs.iter().any(|own| own == verb));
            if served {
                item[*method] = op.operation(method, action, id, scope, sub);
            }
        }
        (item != json!({})).then(|| {
            item["parameters"] = op.path_parameters(resource.namespaced, named);
            item
        })
    };
    let whole = [
        ("deletecollection", "delete", "deletecollection", "deleteCollection"),
        ("list", "get", "list", "list"),
        ("create", "post", "post", "create"),
    ];
    let single = [
        ("delete", "delete", "delete", "delete"),
        ("get", "get", "get", "read"),
        ("patch", "patch", "patch", "patch"),
        ("update", "put", "put", "replace"),
    ];
    let posted = [single[0], single[1], single[2], single[3], ("create", "post", "post", "create")];
    if let Some(item) = build(&whole, false, None) {
        emit(collection.clone(), item)?;
    }
    if let Some(item) = build(&single, true, None) {
        emit(format!("{collection}/{{name}}"), item)?;
    }
    // What has no shape to tell is served without being described.
    for sub in resource.subresources.iter().filter(|sub| !matches!(sub.schema, Schema::Unknown)) {
        if let Some(item) = build(&posted, true, Some(sub)) {
            emit(format!("{collection}/{{name}}/{}", sub.name), item)?;
        }
    }
    Ok(())
}

struct Operations<'r> {
    resource: &'r Resource,
    dialect: Dialect,
}

impl Operations<'_> {
    fn operation(&self, method: &str, action: &str, id: &str, scope: &str, sub: Option<&Subresource>) -> Value {
        let resource = self.resource;
        let own = [resource.group.clone(), resource.version.clone(), resource.kind.clone()];
        let kind = sub.map_or(&own, |sub| &sub.kind);
        let connects =
            sub.is_some_and(|sub| kind[2].ends_with("Options") && kind[2] != "DeleteOptions" && sub.name != "status");
        let action = if connects { "connect" } else { action };
        let definition = self.definition(sub, action == "list");
        let mut parameters: Vec<Value> = match action {
            "list" => LIST.iter().map(|p| self.query(p)).collect(),
            "patch" => WRITE.iter().chain([&FORCE]).map(|p| self.query(p)).collect(),
            "post" | "put" => WRITE.iter().map(|p| self.query(p)).collect(),
            "delete" => DELETE.iter().map(|p| self.query(p)).collect(),
            "deletecollection" => LIST[1..8].iter().chain(&DELETE).map(|p| self.query(p)).collect(),
            "connect" => self.connect_parameters(sub),
            _ => Vec::new(),
        };
        let body = match action {
            "patch" => Some(format!("{META}.Patch")),
            "post" | "put" => Some(definition.clone()),
            "delete" | "deletecollection" => Some(format!("{META}.DeleteOptions")),
            _ => None,
        };
        let answer =
            if action == "deletecollection" || action == "delete" { format!("{META}.Status") } else { definition };
        let codes: &[&str] = match action {
            "post" => &["200", "201", "202"],
            "put" | "patch" => &["200", "201"],
            "delete" => &["200", "202"],
            _ => &["200"],
        };
        let name = operation_id(resource, id, scope, sub, method, connects);
        let tag = if resource.group.is_empty() { "core".to_owned() } else { camel(&resource.group, false) };
        let mut out = json!({
            "operationId": name, "tags": [format!("{tag}_{}", resource.version)],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": kind[0], "version": kind[1], "kind": kind[2]},
        });
        self.body(&mut out, &mut parameters, body, action);
        out["responses"] = self.answers(codes, &answer, connects);
        out["parameters"] = parameters.into();
        out
    }

    fn body(&self, out: &mut Value, parameters: &mut Vec<Value>, body: Option<String>, action: &str) {
        let consumes: &[&str] = if action == "patch" { &PATCHES } else { &["*/*"] };
        let required = action != "delete" && action != "deletecollection";
        if self.dialect == Dialect::V2 {
            out["consumes"] = json!(consumes);
            out["produces"] = json!(ANSWERS);
            out["schemes"] = json!(["https"]);
        }
        let Some(body) = body else { return };
        let schema = self.dialect.reference(&body);
        match self.dialect {
            Dialect::V2 => {
                let mut parameter = json!({"in": "body", "name": "body", "schema": schema});
                if required {
                    parameter["required"] = true.into();
                }
                parameters.push(parameter);
            }
            Dialect::V3 => {
                out["requestBody"] = json!({"content": {}});
                for media in consumes {
                    out["requestBody"]["content"][*media] = json!({"schema": schema});
                }
                if required {
                    out["requestBody"]["required"] = true.into();
                }
            }
        }
    }

    fn answers(&self, codes: &[&str], definition: &str, connects: bool) -> Value {
        let schema = if connects { json!({"type": "string"}) } else { self.dialect.reference(definition) };
        let mut out = json!({"401": {"description": "Unauthorized"}});
        for code in codes {
            let description = match *code {
                "200" => "OK",
                "201" => "Created",
                _ => "Accepted",
            };
            out[*code] = match self.dialect {
                Dialect::V2 => json!({"description": description, "schema": schema}),
                Dialect::V3 => {
                    let media: &[&str] = if connects { &["*/*"] } else { &ANSWERS };
                    let content: Value = media.iter().map(|m| ((*m).to_owned(), json!({"schema": schema}))).collect();
                    json!({"description": description, "content": content})
                }
            };
        }
        out
    }

    fn definition(&self, sub: Option<&Subresource>, list: bool) -> String {
        let kind = if list { &self.resource.list_kind } else { &self.resource.kind };
        match (sub.map_or(&self.resource.schema, |sub| &sub.schema), list) {
            (Schema::BuiltIn(message), false) => message.name.into(),
            (Schema::BuiltIn(message), true) => format!("{}List", message.name),
            (Schema::Own(name, _), _) => (*name).into(),
            (Schema::Custom(_) | Schema::Unknown, _) => custom_name(self.resource, kind),
        }
    }

    fn query(&self, (name, kind): &(&str, &str)) -> Value {
        self.parameter(name, "query", json!({"type": kind}))
    }

    fn parameter(&self, name: &str, place: &str, schema: Value) -> Value {
        let mut out = json!({"name": name, "in": place});
        if place == "path" {
            out["required"] = true.into();
        }
        match (self.dialect, schema) {
            (Dialect::V2, Value::Object(schema)) => {
                for (key, value) in schema {
                    out[key] = value;
                }
                out["uniqueItems"] = true.into();
            }
            (_, mut schema) => {
                schema["uniqueItems"] = true.into();
                out["schema"] = schema;
            }
        }
        out
    }

    fn path_parameters(&self, namespaced: bool, named: bool) -> Value {
        let text = json!({"type": "string"});
        let mut out = Vec::new();
        if named {
            out.push(self.parameter("name", "path", text.clone()));
        }
        if namespaced {
            out.push(self.parameter("namespace", "path", text.clone()));
        }
        out.push(self.parameter("pretty", "query", text));
        out.into()
    }

    /// The fields of an options kind are query parameters.
    fn connect_parameters(&self, sub: Option<&Subresource>) -> Vec<Value> {
        let Some(Schema::BuiltIn(message)) = sub.map(|sub| &sub.schema) else { return Vec::new() };
        let own = |name: &str| !matches!(name, "" | "apiVersion" | "kind");
        let fields = message.fields.iter().filter(|field| own(field.json) && !matches!(field.of, Kind::Message(_)));
        let schema = |shape, of| match shape {
            Shape::List => json!({"type": "array", "items": scalar_schema(of)}),
            _ => scalar_schema(of),
        };
        fields.map(|field| self.parameter(field.json, "query", schema(field.shape, field.of))).collect()
    }
}

fn operation_id(
    resource: &Resource,
    id: &str,
    scope: &str,
    sub: Option<&Subresource>,
    method: &str,
    connects: bool,
) -> String {
    let group = if resource.group.is_empty() { "Core".into() } else { camel(&resource.group, true) };
    let version = camel(&resource.version, true);
    let sub = sub.map(|sub| camel(&sub.name, true)).unwrap_or_default();
    let kind = &resource.kind;
    let id = if connects { format!("connect{}", camel(method, true)) } else { id.to_owned() };
    match (scope, &*id) {
        ("ForAllNamespaces", _) => format!("{id}{group}{version}{kind}ForAllNamespaces"),
        (_, "deleteCollection") => format!("delete{group}{version}Collection{scope}{kind}"),
        _ => format!("{id}{group}{version}{scope}{kind}{sub}"),
    }
}

/// `rbac.authorization.k8s.io` as `RbacAuthorization` or `rbacAuthorization`.
fn camel(text: &str, upper_first: bool) -> String {
    let text = text.strip_suffix(".k8s.io").unwrap_or(text);
    let mut upper = upper_first;
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter == '.' || letter == '-' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            out.extend(letter.to_uppercase());
        } else {
            out.push(letter);
        }
    }
    out
}

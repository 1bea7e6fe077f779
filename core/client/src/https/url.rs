//! Requests as HTTP says them: method, path, query, headers and body. Pure.

use std::{borrow::Cow, fmt::Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value, json};
use windlass_kernel::{
    Error, ErrorKind, Identity, Result,
    api::{Body, FieldValidation, Options, PatchType, Propagation, Request, Verb, VersionMatch},
};

/// A header's name and value.
pub(super) type Header = (Cow<'static, str>, String);

/// One HTTP request, short of where it goes.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) method: Method,
    /// The path and query.
    pub(super) target: String,
    pub(super) headers: Vec<Header>,
    pub(super) body: Bytes,
}

pub(super) fn message(request: &Request, base: &str) -> Result<Message> {
    let method = match request.verb {
        Verb::Get | Verb::List | Verb::Watch => Method::GET,
        Verb::Create | Verb::Connect => Method::POST,
        Verb::Update => Method::PUT,
        Verb::Patch(_) => Method::PATCH,
        Verb::Delete | Verb::DeleteCollection => Method::DELETE,
    };
    let mut target = base.to_owned();
    path(request, &mut target);
    let mut separator = '?';
    for (name, value) in query(request) {
        target.push(separator);
        separator = '&';
        encode(&name, &mut target);
        target.push('=');
        encode(&value, &mut target);
    }
    let (media_type, body) = body(request)?;
    let mut headers: Vec<Header> = vec![("accept".into(), "application/json".into())];
    if !media_type.is_empty() {
        headers.push(("content-type".into(), media_type));
    }
    if !request.user_agent.is_empty() {
        headers.push(("user-agent".into(), request.user_agent.clone()));
    }
    Ok(Message { method, target, headers, body })
}

/// The headers that ask to act as `identity`.
pub(super) fn impersonation(identity: &Identity) -> Vec<Header> {
    let mut headers: Vec<Header> = vec![("impersonate-user".into(), identity.name.clone())];
    headers.extend(identity.groups.iter().map(|group| ("impersonate-group".into(), group.clone())));
    if !identity.uid.is_empty() {
        headers.push(("impersonate-uid".into(), identity.uid.clone()));
    }
    headers
}

/// The value of an `Authorization` header for a name and password.
pub(super) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn path(request: &Request, out: &mut String) {
    let resource = &request.resource;
    out.push_str(if resource.group.is_empty() { "/api" } else { "/apis/" });
    out.push_str(&resource.group);
    out.push('/');
    out.push_str(&resource.version);
    // A namespace's own path has it as the name.
    let namespaces = resource.group.is_empty() && resource.resource == "namespaces";
    if !request.namespace.is_empty() && !namespaces {
        out.push_str("/namespaces/");
        encode(&request.namespace, out);
    }
    out.push('/');
    out.push_str(&resource.resource);
    for part in [&request.name, &request.subresource] {
        if !part.is_empty() {
            out.push('/');
            // A proxied path is several segments.
            let segments: Vec<_> = part.split('/').collect();
            for (at, segment) in segments.iter().enumerate() {
                if at > 0 {
                    out.push('/');
                }
                encode(segment, out);
            }
        }
    }
}

fn query(request: &Request) -> Vec<(String, String)> {
    let options = &request.options;
    let mut query: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            query.push((name.into(), value.into()));
        }
    };
    let flag = |is_set: bool| if is_set { "true" } else { "" };
    if matches!(request.verb, Verb::Get | Verb::List | Verb::Watch | Verb::DeleteCollection) {
        add("labelSelector", &options.label_selector);
        add("fieldSelector", &options.field_selector);
        add("resourceVersion", &options.resource_version);
        add("resourceVersionMatch", options.version_match.map_or("", version_match));
        add("continue", &options.continue_token);
        if options.limit > 0 {
            add("limit", &options.limit.to_string());
        }
        if let Some(timeout) = options.timeout {
            add("timeoutSeconds", &timeout.as_secs().max(1).to_string());
        }
    }
    if request.verb == Verb::Watch {
        add("watch", "true");
        add("allowWatchBookmarks", flag(options.bookmarks));
        add(
            "sendInitialEvents",
            options.send_initial_events.map_or("", |wanted| if wanted { "true" } else { "false" }),
        );
    }
    if matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_)) {
        add("dryRun", if options.dry_run { "All" } else { "" });
        add("fieldManager", &options.field_manager);
        add("fieldValidation", field_validation(options.field_validation));
    }
    if request.verb == Verb::Patch(PatchType::Apply) {
        add("force", flag(options.force));
    }
    query.extend(options.query.iter().cloned());
    query
}

fn version_match(how: VersionMatch) -> &'static str {
    match how {
        VersionMatch::Exact => "Exact",
        VersionMatch::NotOlderThan => "NotOlderThan",
    }
}

fn field_validation(how: FieldValidation) -> &'static str {
    match how {
        FieldValidation::Ignore => "Ignore",
        // What servers do unasked.
        FieldValidation::Warn => "",
        FieldValidation::Strict => "Strict",
    }
}

fn body(request: &Request) -> Result<(String, Bytes)> {
    let json = |value: &Value| {
        let bytes = serde_json::to_vec(value).map(Bytes::from);
        bytes.map_err(|error| Error::new(ErrorKind::Internal, "cannot write a body as JSON").with_source(error))
    };
    let media_type = match request.verb {
        Verb::Patch(how) => how.media_type(),
        _ => "application/json",
    };
    match &request.body {
        Body::Value(value) => Ok((media_type.into(), json(value)?)),
        Body::Bytes { media_type: own, bytes } => {
            Ok((if own.is_empty() { media_type.into() } else { own.clone() }, bytes.clone()))
        }
        Body::None if matches!(request.verb, Verb::Delete | Verb::DeleteCollection) => {
            Ok((media_type.into(), json(&delete_options(&request.options))?))
        }
        Body::None => Ok((String::new(), Bytes::new())),
    }
}

fn delete_options(options: &Options) -> Value {
    let mut fields = Map::new();
    if let Some(seconds) = options.grace_period {
        fields.insert("gracePeriodSeconds".into(), seconds.into());
    }
    if let Some(propagation) = options.propagation {
        let policy = match propagation {
            Propagation::Orphan => "Orphan",
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
        };
        fields.insert("propagationPolicy".into(), policy.into());
    }
    let mut preconditions = Map::new();
    for (name, value) in
        [("uid", &options.preconditions.uid), ("resourceVersion", &options.preconditions.resource_version)]
    {
        if let Some(value) = value {
            preconditions.insert(name.into(), value.as_str().into());
        }
    }
    if !preconditions.is_empty() {
        fields.insert("preconditions".into(), preconditions.into());
    }
    if options.dry_run {
        fields.insert("dryRun".into(), json!(["All"]));
    }
    fields.insert("apiVersion".into(), "v1".into());
    fields.insert("kind".into(), "DeleteOptions".into());
    fields.into()
}

/// Percent-encodes everything but what RFC 3986 calls unreserved.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windlass_kernel::api::GroupVersionResource;

    use super::*;

    const PODS: GroupVersionResource = GroupVersionResource::of("", "v1", "pods");
    const DEPLOYMENTS: GroupVersionResource = GroupVersionResource::of("apps", "v1", "deployments");

    fn request(verb: Verb, resource: GroupVersionResource) -> Request {
        Request::new(Arc::default(), verb, resource)
    }

    fn check(request: &Request, expect: &str) {
        let message = message(request, "/base").unwrap();
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        let media_type = message.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value);
        let text = format!("{} {} {media_type} {body}", message.method, message.target);
        assert_eq!(text.trim_end(), expect);
    }

    #[test]
    fn reads_have_paths_and_queries() {
        check(&request(Verb::Get, PODS).in_namespace("a").named("b"), "GET /base/api/v1/namespaces/a/pods/b");
        let namespaces = GroupVersionResource::of("", "v1", "namespaces");
        check(&request(Verb::Get, namespaces).in_namespace("a").named("a"), "GET /base/api/v1/namespaces/a");
        let mut list = request(Verb::List, DEPLOYMENTS);
        list.options.label_selector = "app in (a, b)".into();
        list.options.limit = 5;
        let target = "/base/apis/apps/v1/deployments?labelSelector=app%20in%20%28a%2C%20b%29&limit=5";
        check(&list, &format!("GET {target}"));
        let mut watch = request(Verb::Watch, PODS);
        watch.options =
            Options { resource_version: "7".into(), bookmarks: true, send_initial_events: Some(true), ..watch.options };
        let query = "resourceVersion=7&watch=true&allowWatchBookmarks=true&sendInitialEvents=true";
        check(&watch, &format!("GET /base/api/v1/pods?{query}"));
    }

    #[test]
    fn writes_have_bodies() {
        let create = request(Verb::Create, PODS).in_namespace("a").body(json!({"kind": "Pod"}));
        check(&create, r#"POST /base/api/v1/namespaces/a/pods application/json {"kind":"Pod"}"#);
        let mut apply =
            request(Verb::Patch(PatchType::Apply), DEPLOYMENTS).in_namespace("a").named("b").body(json!({}));
        apply.options = Options { field_manager: "me".into(), force: true, dry_run: true, ..apply.options };
        let target = "/base/apis/apps/v1/namespaces/a/deployments/b?dryRun=All&fieldManager=me&force=true";
        check(&apply, &format!("PATCH {target} application/apply-patch+yaml {{}}"));
        let mut delete = request(Verb::Delete, PODS).in_namespace("a").named("b");
        delete.options.grace_period = Some(0);
        delete.options.preconditions.uid = Some("u".into());
        let body = r#"{"apiVersion":"v1","gracePeriodSeconds":0,"kind":"DeleteOptions","preconditions":{"uid":"u"}}"#;
        check(&delete, &format!("DELETE /base/api/v1/namespaces/a/pods/b application/json {body}"));
    }

    #[test]
    fn sub_resources_keep_their_own_queries() {
        let mut logs = request(Verb::Get, PODS).in_namespace("a").named("b").subresource("log");
        logs.options.query = vec![("container".into(), "c d".into()), ("follow".into(), "true".into())];
        check(&logs, "GET /base/api/v1/namespaces/a/pods/b/log?container=c%20d&follow=true");
    }
}

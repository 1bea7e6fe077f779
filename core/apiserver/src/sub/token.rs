//! Tokens for service accounts (`authentication.k8s.io/v1` TokenRequest), bound to a pod, secret or node where asked.

use std::mem;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_api::resources::GroupVersionKind;
use windlass_kernel::{
    Document,
    api::{Answer, Request, Response},
    error::{Error, ErrorKind, Result},
};

use crate::{
    access::{self, Binding, TokenClaims},
    body::{self, Wanted},
    errors, object,
    registry::Served,
    server::ApiServer,
    verbs,
    write::{self, Gate, Whom},
};

const DEFAULT_SECONDS: i64 = 3600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;
/// What the kubelet asks for on behalf of pods that may not read their token again in time.
const EXTENDED_FROM: i64 = 3607;
const EXTENDED_TO: i64 = 365 * 24 * 3600;

/// Mints a token for the account that the request names.
pub(super) async fn request(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    let Some(keys) = &server.parts.keys else {
        return Err(errors::not_supported("minting tokens without signing keys"));
    };
    let kind = GroupVersionKind { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" };
    let message = windlass_api::schema::Message::of_kind(kind.group, kind.version, kind.kind);
    let message = message.ok_or_else(|| Error::new(ErrorKind::Internal, "TokenRequest has no schema"))?;
    let validation = request.options.field_validation;
    let read = body::object(mem::take(&mut request.body), Wanted::kind(kind, message), validation)?;
    let mut asked = read.object;
    let mut warnings = read.warnings;
    write::posted(server, served, &request, &mut asked, &mut warnings).await?;
    let gate = Gate::open(server, served, &request, Whom::Plugins).await?;
    gate.judge(None, Some(&mut asked), &mut warnings).await?;
    let spec = &asked["spec"];
    let mut audiences: Vec<String> =
        spec["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(server.parts.issuer.clone());
    }
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    check(seconds, &request.name)?;
    let account = verbs::read(server, served, &request).await?;
    let mut claims = TokenClaims {
        issuer: server.parts.issuer.clone(),
        audiences: audiences.clone(),
        namespace: request.namespace.clone(),
        account: Binding { name: request.name.clone(), uid: account.uid().to_owned() },
        seconds,
        ..TokenClaims::default()
    };
    bind(server, &request, &spec["boundObjectRef"], &mut claims).await?;
    if seconds == EXTENDED_FROM && audiences == [server.parts.issuer.as_str()] {
        claims.seconds = EXTENDED_TO;
        claims.warn_after = Some(EXTENDED_FROM);
    }
    let now = server.parts.clock.now();
    let (token, _) = access::issue(claims, &**keys, &*server.parts.clock, &*server.parts.entropy).await?;
    let expires = Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(now);
    let meta = object::meta_mut(&mut asked);
    meta.insert("name".into(), request.name.as_str().into());
    meta.insert("namespace".into(), request.namespace.as_str().into());
    meta.insert("creationTimestamp".into(), object::time(now).into());
    let spec = object::child_mut(&mut asked, "spec");
    spec.insert("audiences".into(), json!(audiences));
    spec.insert("expirationSeconds".into(), seconds.into());
    let status = json!({"token": token, "expirationTimestamp": object::time(expires)});
    object::as_map(&mut asked).insert("status".into(), status);
    Ok(Response { code: 201, warnings, answer: Answer::Value(asked) })
}

fn check(seconds: i64, name: &str) -> Result<()> {
    let why = match seconds {
        ..LEAST_SECONDS => "may not specify a duration less than 10 minutes",
        LEAST_SECONDS..=MOST_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let cause = errors::bad_value("spec.expirationSeconds", seconds, why);
    Err(errors::invalid("authentication.k8s.io", "TokenRequest", name, vec![cause]))
}

/// Binds the token to the object that it is to die with.
async fn bind(server: &ApiServer, request: &Request, reference: &Value, claims: &mut TokenClaims) -> Result<()> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    if reference.is_null() {
        return Ok(());
    }
    let (plural, namespace) = match (text("apiVersion"), text("kind")) {
        ("v1" | "", "Pod") => ("pods", request.namespace.as_str()),
        ("v1" | "", "Secret") => ("secrets", request.namespace.as_str()),
        ("v1" | "", "Node") => ("nodes", ""),
        (version, kind) => {
            let message = format!("cannot bind token to object of type {version}, Kind={kind}");
            return Err(errors::bad_request(message));
        }
    };
    let (name, uid) = (text("name"), text("uid"));
    let found = object(server, plural, namespace, name).await?;
    if !uid.is_empty() && uid != found.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. \
             The object might have been deleted and then recreated"
        );
        let served = server.parts.registry.known("", "v1", plural)?;
        return Err(errors::conflict(&served.info, name, &why));
    }
    let binding = Binding { name: name.to_owned(), uid: found.uid().to_owned() };
    match plural {
        "secrets" => claims.secret = Some(binding),
        "nodes" => claims.node = Some(binding),
        _ => {
            let pod = found.value()?;
            if pod["spec"]["serviceAccountName"] != claims.account.name.as_str() {
                let account = &claims.account.name;
                return Err(errors::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
                let uid = match object(server, "nodes", "", node).await {
                    Ok(node) => node.uid().to_owned(),
                    Err(error) if error.is(ErrorKind::NotFound) => String::new(),
                    Err(error) => return Err(error),
                };
                claims.node = Some(Binding { name: node.to_owned(), uid });
            }
            claims.pod = Some(binding);
        }
    }
    Ok(())
}

async fn object(server: &ApiServer, plural: &str, namespace: &str, name: &str) -> Result<Document> {
    let served = server.parts.registry.known("", "v1", plural)?;
    let found = server.read(&served.key(namespace, name)).await?;
    found.ok_or_else(|| errors::not_found(&served.info, name))
}

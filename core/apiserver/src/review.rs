//! Questions that are posted and answered at once, and never stored: may somebody do this, who am I, whose token is this.

mod access;
mod rules;
mod token;

use std::mem;

use serde_json::{Value, json};
use windlass_kernel::{
    Identity,
    api::{Answer, Request, Response},
    error::Result,
};

pub use self::rules::{PolicyRules, RuleSource};
use crate::{
    body::{self, Wanted},
    errors,
    registry::Served,
    server::ApiServer,
    sub, write,
};

/// Answers what the request's body asks.
pub(crate) async fn create(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    if served.info.plural == "bindings" {
        let pods = server.parts.registry.known("", "v1", "pods")?;
        return sub::bind(server, pods, request).await;
    }
    let body = mem::take(&mut request.body);
    let read = body::object(body, Wanted::object_of(&served.info), request.options.field_validation)?;
    let (mut review, mut warnings) = (read.object, read.warnings);
    write::posted(server, served, &request, &mut review, &mut warnings).await?;
    let status = match &*served.info.kind {
        "SelfSubjectAccessReview" => access::of_self(server, &request, &review).await?,
        "SubjectAccessReview" => access::of_subject(server, &served.info, &review).await?,
        "LocalSubjectAccessReview" => access::of_local(server, &served.info, &request, &review).await?,
        "SelfSubjectRulesReview" => rules::answer(server, &request, &review).await?,
        "SelfSubjectReview" => json!({"userInfo": user(&request.identity)}),
        "TokenReview" => token::answer(server, &review).await?,
        kind => return Err(errors::not_supported(kind)),
    };
    let fields = crate::object::as_map(&mut review);
    fields.insert("status".into(), status);
    Ok(Response { code: 201, warnings, answer: Answer::Value(review) })
}

/// An identity as objects state it.
pub(crate) fn user(identity: &Identity) -> Value {
    let mut user = json!({"username": identity.name, "groups": identity.groups});
    if !identity.uid.is_empty() {
        user["uid"] = identity.uid.as_str().into();
    }
    if !identity.extra.is_empty() {
        user["extra"] = json!(identity.extra);
    }
    user
}

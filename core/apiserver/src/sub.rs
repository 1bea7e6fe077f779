//! The sub-resources, one file each; which one a request is for is decided here.

mod approval;
mod binding;
mod eviction;
pub(crate) mod explanation;
mod finalize;
mod logs;
mod pod;
mod proxy;
mod scale;
mod sessions;
mod status;
mod token;

use serde_json::{Value, json};
use windlass_api::resources::Subresource;
use windlass_kernel::{
    api::{Answer, Request, Response, Verb},
    error::Result,
};

pub use self::proxy::agent_of;
#[cfg(feature = "http")]
pub(crate) use self::sessions::streams;
pub(crate) use self::{
    binding::bind,
    scale::{of as scale, rescale},
};
use crate::{
    errors,
    kinds::{self, pod as pods},
    registry::Served,
    rules::Part,
    server::ApiServer,
};

/// Serves a request for a sub-resource.
pub(crate) async fn call(
    server: &ApiServer,
    served: &Served,
    subresource: &'static Subresource,
    request: Request,
) -> Result<Response> {
    let verb = if request.verb == Verb::Connect { "connect" } else { request.verb.as_str() };
    if !subresource.verbs.contains(&verb) {
        return Err(errors::no_such_verb(&request));
    }
    match (&*served.info.plural, subresource.name) {
        (_, "status") if served.definition().is_some() => status::serve(server, served, Part::Status, request).await,
        (_, "scale") if served.definition().is_some() => scale::serve(server, served, subresource, request).await,
        ("pods", "binding") => bind(server, served, request).await,
        ("pods", "eviction") => eviction::evict(server, served, request).await,
        ("pods", explanation::NAME) => explanation::explain(server, served, &request).await,
        ("pods", "log") => logs::logs(server, served, &request).await,
        ("pods" | "services" | "nodes", "proxy") => proxy::locate(server, served, request).await,
        ("pods", "exec" | "attach" | "portforward") => sessions::open(server, served, &request).await,
        ("pods", "ephemeralcontainers") => {
            let part = Part::Special(pods::prepare_ephemeral, pods::validate_ephemeral);
            status::serve(server, served, part, request).await
        }
        ("pods", "resize") => {
            let part = Part::Special(pods::prepare_resize, pods::validate_resize);
            status::serve(server, served, part, request).await
        }
        ("namespaces", "finalize") => finalize::finalize(server, served, request).await,
        ("serviceaccounts", "token") => token::request(server, served, request).await,
        ("certificatesigningrequests", "approval") => {
            let part = Part::Special(approval::prepare, kinds::validate_approval);
            status::serve(server, served, part, request).await
        }
        (_, "status") => status::serve(server, served, Part::Status, request).await,
        (_, "scale") => scale::serve(server, served, subresource, request).await,
        (plural, name) => Err(errors::not_supported(&format!("the sub-resource {plural}/{name}"))),
    }
}

/// The Status that a post without an object of its own is answered with.
fn done() -> Response {
    let status: Value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Response { code: 201, warnings: Vec::new(), answer: Answer::Value(status) }
}

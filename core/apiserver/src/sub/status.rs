//! Sub-resources that are a part of the object: it is read whole, and a write changes that part only.

use windlass_kernel::{
    api::{Request, Response, Verb},
    error::Result,
};

use crate::{errors, registry::Served, rules::Part, server::ApiServer, verbs};

/// Reads the object or changes the part.
pub(super) async fn serve(server: &ApiServer, served: &Served, part: Part, mut request: Request) -> Result<Response> {
    match request.verb {
        Verb::Get => verbs::get(server, served, &request).await,
        Verb::Update => {
            let mut given = Some(verbs::proposal(served, &mut request)?);
            let response = verbs::replace(server, served, &request, part, &mut given).await?;
            response.ok_or_else(|| errors::not_found(&served.info, &request.name))
        }
        Verb::Patch(kind) => verbs::patched(server, served, kind, part, request).await,
        _ => Err(errors::no_such_verb(&request)),
    }
}

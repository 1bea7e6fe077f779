//! Replacing an object.

use windlass_kernel::{
    api::{Request, Response},
    error::Result,
};

use super::create::proposal;
use crate::{
    errors, object,
    registry::Served,
    rules::Part,
    server::ApiServer,
    write::{self, Change, Proposal},
};

/// Replaces the object that the request names with the one in its body.
pub(crate) async fn update(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    let mut given = Some(proposal(served, &mut request)?);
    if let Some(response) = replace(server, served, &request, Part::Main, &mut given).await? {
        return Ok(response);
    }
    let Some(given) = given.filter(|_| served.rules.create_on_update) else {
        return Err(errors::not_found(&served.info, &request.name));
    };
    server.may(&request, "create", "").await?;
    let (said, name) = (object::name(&given.object), &request.name);
    if said != name {
        let message = format!("the name of the object ({said}) does not match the name on the URL ({name})");
        return Err(errors::bad_request(message));
    }
    write::insert(server, served, &mut request, given).await
}

/// Replaces a part of the object; `None` where it does not exist, and then what was given is left.
pub(crate) async fn replace(
    server: &ApiServer,
    served: &Served,
    request: &Request,
    part: Part,
    given: &mut Option<Proposal>,
) -> Result<Option<Response>> {
    let change = Change { server, served, request, part };
    let propose = |_: &_| {
        // What names a version can be written only once, so it need not be kept for another try.
        let once = given.as_ref().is_some_and(|given| !object::meta_text(&given.object, "resourceVersion").is_empty());
        let proposal = if once { given.take() } else { given.clone() };
        proposal.ok_or_else(|| errors::modified(&served.info, &request.name))
    };
    write::edit(change, propose).await
}

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
    write::{self, Change, Owners, Proposal},
};

/// Replaces the object that the request names with the one in its body.
pub(crate) async fn update(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    let given = proposal(served, &mut request)?;
    match replace(server, served, &request, Part::Main, &given).await? {
        Some(response) => Ok(response),
        None if served.rules.create_on_update => {
            server.may(&request, "create", "").await?;
            let name = request.name.clone();
            if object::name(&given.object) != name {
                let said = object::name(&given.object);
                let message = format!("the name of the object ({said}) does not match the name on the URL ({name})");
                return Err(errors::bad_request(message));
            }
            write::insert(server, served, &mut request, given).await
        }
        None => Err(errors::not_found(served.info, &request.name)),
    }
}

/// Replaces a part of the object; `None` where it does not exist.
pub(crate) async fn replace(
    server: &ApiServer,
    served: &Served,
    request: &Request,
    part: Part,
    given: &Proposal,
) -> Result<Option<Response>> {
    let change = Change { server, served, request, part };
    let propose = |_: &_| {
        let warnings = given.warnings.clone();
        Ok(Proposal { object: given.object.clone(), owners: Owners::Record, warnings })
    };
    write::edit(change, propose).await
}

//! Creating an object.

use std::mem;

use windlass_kernel::{
    api::{Request, Response},
    error::Result,
};

use crate::{
    body::{self, Wanted},
    convert,
    registry::Served,
    server::ApiServer,
    write::{self, Owners, Proposal},
};

/// Creates the object in the request's body.
pub(crate) async fn create(server: &ApiServer, served: &Served, mut request: Request) -> Result<Response> {
    let proposal = proposal(served, &mut request)?;
    write::insert(server, served, &mut request, proposal).await
}

/// What the body of a create or update wants.
pub(crate) fn proposal(served: &Served, request: &mut Request) -> Result<Proposal> {
    let body = mem::take(&mut request.body);
    let read = body::object(body, Wanted::object_of(&served.info), request.options.field_validation)?;
    let object = convert::to_storage(served, read.object)?;
    Ok(Proposal { object, owners: Owners::Record, warnings: read.warnings })
}

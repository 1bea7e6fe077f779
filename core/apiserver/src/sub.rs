//! x
use windlass_api::resources::Subresource;
use windlass_kernel::{api::{Request, Response}, error::Result};
use crate::{errors, registry::Served, server::ApiServer};
pub(crate) async fn call(_: &ApiServer, _: &Served, _: &'static Subresource, request: Request) -> Result<Response> { Err(errors::not_supported(&request.subresource)) }
pub(crate) async fn review(_: &ApiServer, _: &Served, request: Request) -> Result<Response> { Err(errors::not_supported(&request.resource.resource)) }

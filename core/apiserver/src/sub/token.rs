//! Tokens for service accounts (`authentication.k8s.io/v1` TokenRequest).
use windlass_kernel::{api::{Request, Response}, error::Result};
use crate::{errors, registry::Served, server::ApiServer};
pub(super) async fn request(_: &ApiServer, _: &Served, _: Request) -> Result<Response> {
    Err(errors::not_supported("serviceaccounts/token"))
}

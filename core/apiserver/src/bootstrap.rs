//! x
use windlass_kernel::error::Result;
use crate::server::ApiServer;
pub(crate) async fn run(_: &ApiServer) -> Result<()> { Ok(()) }

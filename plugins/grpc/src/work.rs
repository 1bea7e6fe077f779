//! Calls on a server's side.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tonic::{Response, Status};
use tracing::Instrument;
use windlass_kernel::{Error, ErrorKind, Result};

/// Runs a call. A plugin that panics answers, too, and serves on.
///
/// # Errors
///
/// What the call refused, as `status` puts it.
pub async fn answer<T>(
    name: &'static str,
    work: impl Future<Output = Result<T>> + Send,
    status: fn(&Error) -> Status,
) -> Result<Response<T>, Status> {
    let work = AssertUnwindSafe(work).catch_unwind().instrument(tracing::debug_span!("plugin.call", name));
    match work.await {
        Ok(Ok(done)) => Ok(Response::new(done)),
        Ok(Err(error)) => {
            tracing::debug!(name, %error, "call refused");
            Err(status(&error))
        }
        Err(_) => Err(Status::internal(format!("the plugin panicked in {name}"))),
    }
}

/// A service that the plugin, such as a driver, has not.
#[must_use]
pub fn lacks(whose: &str, what: &str) -> Error {
    Error::new(ErrorKind::NotSupported, format!("this {whose} does not {what}"))
}

//! Writing the status of what a controller looks after.

use windlass_api::types::Resource;
use windlass_client::Client;
use windlass_kernel::{ErrorKind, Result};

/// Writes an object's status. Where somebody else wrote in between, or the object is gone, nothing is written: that
/// wakes the controller again.
pub(crate) async fn write<T: Resource>(client: &Client, changed: &T) -> Result<()> {
    match client.update_status(changed).await {
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
        written => written.map(drop),
    }
}

//! The namespace that a request is in, as selectors and expressions see it.

use serde_json::Value;
use windlass_kernel::error::Result;

use crate::server::ApiServer;

/// The namespace of this name; null where it does not exist.
pub(super) async fn read(server: &ApiServer, name: &str) -> Result<Value> {
    let namespaces = server.parts.registry.known("", "v1", "namespaces")?;
    match server.read(&namespaces.key("", name)).await? {
        Some(document) => document.value(),
        None => Ok(Value::Null),
    }
}

//! Running the admission plugins: all that mutate, later all that judge.

use serde_json::Value;
use windlass_kernel::{access::Admitting, api::Request, error::Result};

use crate::server::ApiServer;

/// Whether an interested plugin looks at who owns which fields.
pub(crate) fn owners_are_seen(server: &ApiServer, request: &Request) -> bool {
    server.parts.admission.iter().any(|plugin| plugin.reads_managed_fields() && plugin.handles(request))
}

/// Lets every interested plugin change the object; says whether any was interested.
pub(crate) async fn admit(
    server: &ApiServer,
    request: &Request,
    old: Option<&Value>,
    new: Option<&mut Value>,
    warnings: &mut Vec<String>,
) -> Result<bool> {
    let mut admitting = Admitting { request, old, new, warnings: Vec::new() };
    let mut any = false;
    for plugin in server.parts.admission.iter().filter(|plugin| plugin.handles(request)) {
        any = true;
        plugin.mutate(&mut admitting).await?;
    }
    warnings.append(&mut admitting.warnings);
    Ok(any)
}

/// Lets every interested plugin refuse the request.
pub(crate) async fn judge(
    server: &ApiServer,
    request: &Request,
    old: Option<&Value>,
    new: Option<&mut Value>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let mut admitting = Admitting { request, old, new, warnings: Vec::new() };
    for plugin in server.parts.admission.iter().filter(|plugin| plugin.handles(request)) {
        plugin.validate(&mut admitting).await?;
    }
    warnings.append(&mut admitting.warnings);
    Ok(())
}

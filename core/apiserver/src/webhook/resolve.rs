//! From a service to one of its endpoints, by the objects in the store.

use serde_json::Value;
use windlass_kernel::{
    Document,
    dial::Target,
    document::Index,
    error::{Error, ErrorKind, Result},
    store::{KeyRange, ListSpec, ReadAt},
};

use crate::server::ApiServer;

/// The host and port behind a service's port: the first endpoint that is ready, or whom the service stands for.
pub(super) async fn resolve(server: &ApiServer, target: &Target) -> Result<Target> {
    let Target::Service { namespace, name, port } = target else {
        return Err(Error::new(ErrorKind::NotSupported, format!("cannot reach {target:?}")));
    };
    let services = server.parts.registry.known("", "v1", "services")?;
    let found = server.read(&services.key(namespace, name)).await?;
    let found = found.ok_or_else(|| Error::new(ErrorKind::Unavailable, format!("service {name:?} not found")))?;
    let service = found.value()?;
    if service["spec"]["type"] == "ExternalName" {
        let host = service["spec"]["externalName"].as_str().unwrap_or_default().to_owned();
        return Ok(Target::Host { host, port: *port });
    }
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let named = ports.into_iter().find(|own| own["port"].as_u64() == Some(u64::from(*port)));
    let named = named.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("no service port {port} found for service {name:?}"))
    })?;
    let wanted = named["name"].as_str().unwrap_or_default();
    let slices = server.parts.registry.known("discovery.k8s.io", "v1", "endpointslices")?;
    let range = KeyRange::prefix(&slices.collection(namespace));
    let listing = server.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await?;
    for entry in listing.entries {
        let document = Document::stored(entry)?;
        if document.find(Index::Label, "kubernetes.io/service-name") != Some(name.as_str()) {
            continue;
        }
        if let Some(target) = endpoint(&document.value()?, wanted) {
            return Ok(target);
        }
    }
    Err(Error::new(ErrorKind::Unavailable, format!("no endpoints available for service {name:?}")))
}

/// The first ready endpoint of a slice that has the port.
fn endpoint(slice: &Value, wanted: &str) -> Option<Target> {
    let mut ports = slice["ports"].as_array()?.iter();
    let port = ports.find(|port| port["name"].as_str().unwrap_or_default() == wanted)?["port"].as_u64()?;
    let mut endpoints = slice["endpoints"].as_array()?.iter();
    let ready = endpoints.find(|own| own["conditions"]["ready"] != false)?;
    let host = ready["addresses"].as_array()?.first()?.as_str()?.to_owned();
    Some(Target::Host { host, port: u16::try_from(port).ok()? })
}

//! Nothing is created in a namespace that does not exist or is going away, and three namespaces never go away.

use async_trait::async_trait;
use windlass_api::resources;
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    document::Index,
    error::{Cause, Error, ErrorKind, Result},
};

use super::Reader;
use crate::{errors, object};

const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

#[derive(Debug)]
pub(super) struct NamespaceLifecycle {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        match request.verb {
            Verb::Delete | Verb::DeleteCollection => {
                request.resource.resource == "namespaces" && request.resource.group.is_empty()
            }
            Verb::Create | Verb::Update | Verb::Patch(_) | Verb::Connect => !request.namespace.is_empty(),
            Verb::Get | Verb::List | Verb::Watch => false,
        }
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let request = admitting.request;
        let resource = &request.resource;
        if admitting.new.is_none() {
            let immortal = IMMORTAL.contains(&request.name.as_str()) && request.subresource.is_empty();
            return match immortal && resource.resource == "namespaces" {
                true => Err(errors::forbidden(resource, &request.name, "this namespace may not be deleted")),
                false => Ok(()),
            };
        }
        if admitting.old.is_some() {
            return Ok(());
        }
        let namespace = request.namespace.as_str();
        let Some(found) = self.reader.get("core/namespaces", "", namespace).await? else {
            return Err(missing(namespace));
        };
        // The phase is indexed, so an active namespace is told without decoding it.
        let active = found.find(Index::Field, "status.phase").is_some_and(|phase| phase == "Active");
        if active || object::is_empty(object::meta(&found.value()?, "deletionTimestamp")) {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let message = format!("namespace {namespace} is being terminated");
        let cause = Cause { reason: "NamespaceTerminating".into(), message, field: "metadata.namespace".into() };
        let name = admitting.new.as_deref().map(object::name).unwrap_or_default();
        Err(errors::forbidden(resource, name, &why).detailed(|details| details.causes = vec![cause]))
    }
}

fn missing(namespace: &str) -> Error {
    match resources::find("", "v1", "namespaces") {
        Some(info) => errors::not_found(info, namespace),
        None => Error::new(ErrorKind::Internal, "namespaces are not a resource"),
    }
}

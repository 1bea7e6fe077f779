//! Plugins that run only where they are asked for.

mod events;
mod external;
mod owners;
mod placement;
mod pull;
mod tolerated;

use async_trait::async_trait;
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    error::{Error, ErrorKind, Result},
};

pub(super) use self::{
    events::EventRateLimit,
    external::DenyServiceExternalIPs,
    owners::OwnerReferencesPermissionEnforcement,
    placement::{ExtendedResourceToleration, LimitPodHardAntiAffinityTopology, PodNodeSelector, read as nodes},
    pull::AlwaysPullImages,
    tolerated::PodTolerationRestriction,
};
use super::Reader;
use crate::errors;

/// Refuses everything: for trying what happens then.
#[derive(Debug)]
pub(super) struct AlwaysDeny;

#[async_trait]
impl Admission for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        !matches!(request.verb, Verb::Get | Verb::List | Verb::Watch)
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let request = admitting.request;
        Err(errors::forbidden(&request.resource, &request.name, "admission control is denying all modifications"))
    }
}

/// Refuses what is written into a namespace that does not exist.
#[derive(Debug)]
pub(super) struct NamespaceExists {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        let writes = !matches!(request.verb, Verb::Get | Verb::List | Verb::Watch);
        writes && !request.namespace.is_empty() && request.resource.resource != "namespaces"
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let namespace = &admitting.request.namespace;
        match self.reader.get("core/namespaces", "", namespace).await? {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::NotFound, format!("namespaces {namespace:?} not found")).detailed(
                |details| {
                    details.name = namespace.clone();
                    details.kind = "namespaces".into();
                },
            )),
        }
    }
}

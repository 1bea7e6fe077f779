//! Only who may delete an object makes it go with another one, and only who may change an owner's finalizers keeps it from
//! going (`blockOwnerDeletion`).

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use windlass_api::resources;
use windlass_kernel::{
    Admission, Authorizer,
    access::{Admitting, Attributes, Decision},
    api::{Request, Verb},
    error::Result,
};

use super::super::Reader;
use crate::{errors, object};

#[derive(Debug)]
pub(in crate::admission) struct OwnerReferencesPermissionEnforcement {
    pub(in crate::admission) reader: Reader,
    pub(in crate::admission) authorizer: Arc<dyn Authorizer>,
}

#[async_trait]
impl Admission for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        request.subresource.is_empty() && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_))
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let request = admitting.request;
        let Some(new) = admitting.new.as_deref() else { return Ok(()) };
        let (own, before) = (owners(new), admitting.old.map(owners).unwrap_or_default());
        if own == before {
            return Ok(());
        }
        let deleting = Attributes {
            verb: "delete".into(),
            group: request.resource.group.to_string(),
            version: request.resource.version.to_string(),
            resource: request.resource.resource.to_string(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            ..Attributes::default()
        };
        if let Some(reason) = self.refuses(request, &deleting).await? {
            let why = format!("cannot set an ownerRef on a resource you can't delete: {reason}");
            return Err(errors::forbidden(&request.resource, object::name(new), &why));
        }
        for owner in own
            .iter()
            .filter(|owner| blocks(owner) && !before.iter().any(|old| old["uid"] == owner["uid"] && blocks(old)))
        {
            let Some((group, plural)) = self.resource(owner).await? else {
                let why = format!(
                    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {} Kind {}",
                    owner["apiVersion"].as_str().unwrap_or_default(),
                    owner["kind"].as_str().unwrap_or_default()
                );
                return Err(errors::forbidden(&request.resource, object::name(new), &why));
            };
            let finalizing = Attributes {
                verb: "update".into(),
                group,
                version: "*".into(),
                resource: plural,
                subresource: "finalizers".into(),
                namespace: request.namespace.clone(),
                name: owner["name"].as_str().unwrap_or_default().to_owned(),
                ..Attributes::default()
            };
            if let Some(reason) = self.refuses(request, &finalizing).await? {
                let why = format!(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {reason}"
                );
                return Err(errors::forbidden(&request.resource, object::name(new), &why));
            }
        }
        Ok(())
    }
}

impl OwnerReferencesPermissionEnforcement {
    /// Why the one who asks may not do something, if so.
    async fn refuses(&self, request: &Request, attributes: &Attributes) -> Result<Option<String>> {
        Ok(match self.authorizer.authorize(&request.identity, attributes).await? {
            Decision::Allow(_) => None,
            Decision::Deny(reason) | Decision::NoOpinion(reason) => Some(reason),
        })
    }

    /// The group and plural of an owner's kind.
    async fn resource(&self, owner: &Value) -> Result<Option<(String, String)>> {
        let (version, kind) =
            (owner["apiVersion"].as_str().unwrap_or_default(), owner["kind"].as_str().unwrap_or_default());
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        if let Some(info) = resources::of_kind(group, version, kind) {
            return Ok(Some((info.group.to_owned(), info.plural.to_owned())));
        }
        for found in self.reader.list("apiextensions.k8s.io/customresourcedefinitions", "").await? {
            let spec = found.value()?["spec"].take();
            if spec["group"] == group && spec["names"]["kind"] == kind {
                let plural = spec["names"]["plural"].as_str().unwrap_or_default();
                return Ok(Some((group.to_owned(), plural.to_owned())));
            }
        }
        Ok(None)
    }
}

fn owners(object: &Value) -> Vec<Value> {
    object::meta(object, "ownerReferences").as_array().cloned().unwrap_or_default()
}

fn blocks(owner: &Value) -> bool {
    owner["blockOwnerDeletion"] == true
}

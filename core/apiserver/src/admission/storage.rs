//! What new claims and volumes are given: protection while they are in use, and a class where none is named.

use async_trait::async_trait;
use serde_json::Value;
use windlass_api::{quantity::Amount, resources};
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    error::Result,
};

use super::{Reader, newest_default, writes};
use crate::{errors, object};

const PROTECTED: [(&str, &str); 2] =
    [("persistentvolumeclaims", "kubernetes.io/pvc-protection"), ("persistentvolumes", "kubernetes.io/pv-protection")];
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

fn creates(request: &Request, plural: &str) -> bool {
    let resource = &request.resource;
    request.verb == Verb::Create
        && request.subresource.is_empty()
        && resource.group.is_empty()
        && resource.resource == plural
}

#[derive(Debug)]
pub(super) struct StorageObjectInUseProtection;

#[async_trait]
impl Admission for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, request: &Request) -> bool {
        PROTECTED.iter().any(|(plural, _)| creates(request, plural))
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let plural = &admitting.request.resource.resource;
        let Some((_, finalizer)) = PROTECTED.iter().find(|(own, _)| own == plural) else { return Ok(()) };
        let Some(new) = admitting.new.as_deref_mut() else { return Ok(()) };
        if !object::finalizers(new).any(|own| own == *finalizer) {
            let list = object::meta_mut(new).entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push((*finalizer).into());
            }
        }
        Ok(())
    }
}

/// Gives claims that name no class the default one: of several the newest, then the first by name.
#[derive(Debug)]
pub(super) struct DefaultStorageClass {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, request: &Request) -> bool {
        creates(request, "persistentvolumeclaims")
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(claim) = admitting.new.as_deref_mut() else { return Ok(()) };
        let annotated = !object::meta(claim, "annotations")["volume.beta.kubernetes.io/storage-class"].is_null();
        if annotated || !claim["spec"]["storageClassName"].is_null() {
            return Ok(());
        }
        let classes = self.reader.list("storage.k8s.io/storageclasses", "").await?;
        if let Some(name) = newest_default(&classes, DEFAULT_CLASS)? {
            object::child_mut(claim, "spec").insert("storageClassName".into(), name.into());
        }
        Ok(())
    }
}

/// Lets claims grow only where their class says that their volumes can.
#[derive(Debug)]
pub(super) struct PersistentVolumeClaimResize {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request, "persistentvolumeclaims") && request.verb != Verb::Create
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let (Some(old), Some(new)) = (admitting.old, admitting.new.as_deref()) else { return Ok(()) };
        let size = |claim: &Value| Amount::from_json(&claim["spec"]["resources"]["requests"]["storage"]).ok();
        if size(new) <= size(old) {
            return Ok(());
        }
        let Some(info) = resources::find("", "v1", "persistentvolumeclaims") else { return Ok(()) };
        let refuse = |why: &str| Err(errors::forbidden(info, object::name(new), why));
        if old["status"]["phase"] != "Bound" {
            return refuse("Only bound persistent volume claims can be expanded");
        }
        let class = new["spec"]["storageClassName"].as_str().unwrap_or_default();
        let found = match class {
            "" => None,
            class => self.reader.get("storage.k8s.io/storageclasses", "", class).await?,
        };
        match found.map(|class| class.value()).transpose()? {
            Some(class) if class["allowVolumeExpansion"] == true => Ok(()),
            _ => refuse(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
            ),
        }
    }
}

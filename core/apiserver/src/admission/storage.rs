//! What new claims and volumes are given: protection while they are in use, and a class where none is named.

use async_trait::async_trait;
use serde_json::Value;
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    error::Result,
};

use super::Reader;
use crate::object;

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
        let mut best: Option<(String, String)> = None;
        for class in self.reader.list("storage.k8s.io/storageclasses", "").await? {
            let class = class.value()?;
            if object::meta(&class, "annotations")[DEFAULT_CLASS] == "true" {
                let own = (object::meta_text(&class, "creationTimestamp").to_owned(), object::name(&class).to_owned());
                if best.as_ref().is_none_or(|best| own.0 > best.0 || own.0 == best.0 && own.1 < best.1) {
                    best = Some(own);
                }
            }
        }
        if let Some((_, name)) = best {
            object::child_mut(claim, "spec").insert("storageClassName".into(), name.into());
        }
        Ok(())
    }
}

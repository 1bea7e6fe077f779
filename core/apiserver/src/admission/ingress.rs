//! Ingresses that name no class get the default one: of several the newest, then the first by name.

use async_trait::async_trait;
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    error::Result,
};

use super::{Reader, newest_default};
use crate::object;

const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_WAY: &str = "kubernetes.io/ingress.class";

#[derive(Debug)]
pub(super) struct DefaultIngressClass {
    pub(super) reader: Reader,
}

#[async_trait]
impl Admission for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        let resource = &request.resource;
        request.verb == Verb::Create
            && request.subresource.is_empty()
            && resource.group == "networking.k8s.io"
            && resource.resource == "ingresses"
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(ingress) = admitting.new.as_deref_mut() else { return Ok(()) };
        let annotated = !object::meta(ingress, "annotations")[OLD_WAY].is_null();
        if annotated || !ingress["spec"]["ingressClassName"].is_null() {
            return Ok(());
        }
        let classes = self.reader.list("networking.k8s.io/ingressclasses", "").await?;
        if let Some(name) = newest_default(&classes, DEFAULT)? {
            object::child_mut(ingress, "spec").insert("ingressClassName".into(), name.into());
        }
        Ok(())
    }
}

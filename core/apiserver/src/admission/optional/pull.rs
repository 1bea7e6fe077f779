//! Every image is pulled before it is run, so that only those who may pull it run it.

use async_trait::async_trait;
use serde_json::Value;
use windlass_kernel::{
    Admission,
    access::Admitting,
    api::{Request, Verb},
    error::Result,
};

use crate::{
    kinds::{Errors, field::Field},
    object,
};

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

#[derive(Debug)]
pub(in crate::admission) struct AlwaysPullImages;

#[async_trait]
impl Admission for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    fn reads_managed_fields(&self) -> bool {
        false
    }

    fn handles(&self, request: &Request) -> bool {
        let resource = &request.resource;
        resource.resource == "pods"
            && resource.group.is_empty()
            && matches!(request.subresource.as_str(), "" | "ephemeralcontainers")
            && matches!(request.verb, Verb::Create | Verb::Update | Verb::Patch(_))
    }

    async fn mutate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let old = admitting.old.cloned();
        let Some(pod) = admitting.new.as_deref_mut() else { return Ok(()) };
        // An update that names no new image is let pass as it is.
        if old.is_some_and(|old| images(&old).eq(images(pod))) {
            return Ok(());
        }
        let spec = &mut pod["spec"];
        for list in LISTS {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                object::as_map(container).insert("imagePullPolicy".into(), "Always".into());
            }
        }
        for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
            if volume["image"].is_object() {
                volume["image"]["pullPolicy"] = "Always".into();
            }
        }
        Ok(())
    }

    async fn validate(&self, admitting: &mut Admitting<'_>) -> Result<()> {
        let Some(pod) = admitting.new.as_deref() else { return Ok(()) };
        if admitting.old.is_some_and(|old| images(old).eq(images(pod))) {
            return Ok(());
        }
        let mut errors = Errors::new();
        let spec = Field::top(pod, "spec");
        for list in LISTS {
            for container in spec.get(list).items() {
                errors.one_of(&container.get("imagePullPolicy"), &["Always"]);
            }
        }
        errors.into_result("", "Pod", object::name(pod))
    }
}

/// The images of a pod's containers and volumes, in order.
fn images(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |list: &str| pod["spec"][list].as_array().into_iter().flatten();
    let containers = LISTS.into_iter().flat_map(of).map(|container| &container["image"]);
    containers.chain(of("volumes").map(|volume| &volume["image"]["reference"]))
}

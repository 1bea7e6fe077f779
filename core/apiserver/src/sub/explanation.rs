//! Why a pod is where it is, or nowhere, from the scheduler. A sub-resource of our own: upstream has none like it.

use std::sync::Arc;

use windlass_api::{
    resources::{GroupVersionKind, Subresource},
    schema::{Codec, Message},
};
use windlass_kernel::{
    api::{Answer, Request, Response},
    controller::ObjectKey,
    error::Result,
    scheduler::Diagnosis,
};

use crate::{discovery::Schema, errors, registry::Served, server::ApiServer, verbs};

/// The last segment of its path.
pub(crate) const NAME: &str = "schedulingexplanation";

/// It is read and never stored, so that the type beside its kind is only what it hangs on: the pod.
static EXPLANATION: Subresource = Subresource {
    name: NAME,
    kind: GroupVersionKind { group: "scheduling.windlass.dev", version: "v1alpha1", kind: "SchedulingExplanation" },
    verbs: &["get"],
    patches: &[],
    message: &NOTHING,
};

/// The name of its definition.
const DEFINITION: &str = "dev.windlass.scheduling.v1alpha1.SchedulingExplanation";

static NOTHING: Message = Message { name: "", fields: &[], codec: Codec::Plain };

/// What is served of a built-in resource beyond the fact table.
pub(crate) fn of(group: &str, version: &str, plural: &str) -> Option<&'static Subresource> {
    ((group, version, plural) == ("", "v1", "pods")).then_some(&EXPLANATION)
}

/// How it is described to clients.
pub(crate) fn schema() -> Schema {
    Schema::Own(DEFINITION, Arc::new(Diagnosis::schema()))
}

/// Asks the scheduler about the pod that the request names.
pub(super) async fn explain(server: &ApiServer, served: &Served, request: &Request) -> Result<Response> {
    let explainer = server.parts.explainer.as_ref();
    let explainer = explainer.ok_or_else(|| errors::not_supported("explaining pods without a scheduler"))?;
    verbs::read(server, served, request).await?;
    let told = explainer.explain(&ObjectKey::new(&*request.namespace, &*request.name)).await?;
    Ok(Response { code: 200, warnings: Vec::new(), answer: Answer::Value(told.to_json()) })
}

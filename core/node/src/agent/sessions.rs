//! Sessions into pods: the runtime's, found by pod and container name.

use windlass_kernel::{
    Error, ErrorKind, Result,
    node::{Session, SessionRequest},
    runtime::{ContainerFilter, ContainerId, ContainerState, Opening},
};

use super::{Inner, start};
use crate::make::labels;

pub(super) async fn open(inner: &Inner, request: SessionRequest) -> Result<Session> {
    let opening = match request {
        SessionRequest::Exec { pod, uid, container, command, streams } => {
            let container = running(inner, &pod, &uid, &container).await?;
            Opening::Exec { container, command, streams }
        }
        SessionRequest::Attach { pod, uid, container, streams } => {
            let container = running(inner, &pod, &uid, &container).await?;
            Opening::Attach { container, streams }
        }
        SessionRequest::PortForward { pod, uid } => {
            let uid = uid_of(inner, &pod, &uid)?;
            let sandbox = start::sandbox_of(inner, &uid).await?;
            Opening::PortForward { sandbox: sandbox.ok_or_else(|| inner.no_pod(&pod))? }
        }
    };
    inner.needs.runtime.session(opening).await
}

/// The uid of a pod that is known here; by name where none is given.
pub(crate) fn uid_of(inner: &Inner, pod: &windlass_kernel::controller::ObjectKey, uid: &str) -> Result<String> {
    if !uid.is_empty() {
        return Ok(uid.to_owned());
    }
    let known = inner.handles().into_iter().map(|handle| handle.desired());
    let named = known.filter(|desired| crate::pod::key(&desired.pod) == *pod);
    // Another may have taken the name of one that still ends.
    let found = named.min_by_key(|desired| desired.gone);
    found.map(|found| crate::pod::uid(&found.pod)).ok_or_else(|| inner.no_pod(pod))
}

async fn running(
    inner: &Inner,
    pod: &windlass_kernel::controller::ObjectKey,
    uid: &str,
    name: &str,
) -> Result<ContainerId> {
    let uid = uid_of(inner, pod, uid)?;
    let labels = [(labels::UID.to_owned(), uid), (labels::CONTAINER.to_owned(), name.to_owned())].into();
    let found = inner.needs.runtime.containers(&ContainerFilter { labels, ..ContainerFilter::default() }).await?;
    let newest = found.into_iter().max_by_key(|container| (container.created, container.key.attempt));
    match newest {
        Some(container) if container.state == ContainerState::Running => Ok(container.id),
        Some(_) => Err(Error::new(ErrorKind::Conflict, format!("container {name} of pod {pod} does not run"))),
        None => Err(Error::new(ErrorKind::NotFound, format!("container not found (\"{name}\")"))),
    }
}

//! One pod as the agent thinks of it: what was observed, what is remembered, what to do next, and what to say. Pure.

mod backoff;
mod ephemeral;
mod observed;
mod plan;
mod records;
pub(crate) mod resize;
mod status;

use std::{borrow::Cow, time::Duration};

use windlass_api::core::v1::{Container, EphemeralContainer, Pod};
use windlass_kernel::controller::ObjectKey;

pub(crate) use self::{
    backoff::Backoff,
    observed::Observed,
    plan::{Action, Why, deadline, plan},
    records::{Health, Pulling, Records, Waiting},
    status::{Scene, status},
};

/// The pod's namespace and name.
pub(crate) fn key(pod: &Pod) -> ObjectKey {
    let meta = &pod.metadata;
    ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

pub(crate) fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

/// Whether the pod's phase, as it was written down, is final.
pub(crate) fn ended(pod: &Pod) -> bool {
    matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// The grace period of a pod that is being deleted.
pub(crate) fn deletion(pod: &Pod) -> Option<Duration> {
    pod.metadata.deletion_timestamp.as_ref()?;
    Some(seconds(pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| grace(pod))))
}

/// The grace period that the pod asks for, in seconds.
pub(crate) fn grace(pod: &Pod) -> i64 {
    pod.spec.termination_grace_period_seconds.unwrap_or(30)
}

pub(crate) fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// Whether an init container goes on beside the main ones (KEP-753).
pub(crate) fn sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Init,
    Main,
    /// Put beside the others later, to look at them (KEP-277).
    Ephemeral,
}

/// Init containers first, then the main ones; true for init.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let init = pod.spec.init_containers.iter().map(|container| (container, true));
    init.chain(pod.spec.containers.iter().map(|container| (container, false)))
}

/// The container of that name, of whatever role.
pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<(Cow<'a, Container>, Role)> {
    let own = containers(pod).find(|(container, _)| container.name == name);
    let own = own.map(|(container, init)| (Cow::Borrowed(container), if init { Role::Init } else { Role::Main }));
    own.or_else(|| Some((Cow::Owned(ephemeral::plain(ephemeral(pod, name)?)), Role::Ephemeral)))
}

pub(crate) fn ephemeral<'a>(pod: &'a Pod, name: &str) -> Option<&'a EphemeralContainer> {
    pod.spec.ephemeral_containers.iter().find(|container| container.name == name)
}

/// The restart policy that applies to a container of the pod.
pub(crate) fn restarts(pod: &Pod, container: &Container, init: bool, code: i32) -> bool {
    if init && sidecar(container) {
        return true;
    }
    match pod.spec.restart_policy.as_deref() {
        Some("Never") => false,
        Some("OnFailure") => code != 0,
        // An init container that succeeded is done, whatever the policy.
        _ => !init || code != 0,
    }
}

/// The field path of a container, for events.
pub(crate) fn field_path(name: &str, role: Role) -> String {
    let list = match role {
        Role::Init => "initContainers",
        Role::Main => "containers",
        Role::Ephemeral => "ephemeralContainers",
    };
    format!("spec.{list}{{{name}}}")
}

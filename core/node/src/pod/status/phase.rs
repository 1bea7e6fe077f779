//! A pod's phase from its containers' statuses. Pure.

use windlass_api::core::v1::{ContainerStatus, Pod};

use crate::pod::sidecar;

/// The phase of a pod that is not known to have ended otherwise.
pub(super) fn phase(pod: &Pod, inits: &[ContainerStatus], mains: &[ContainerStatus]) -> &'static str {
    let never = pod.spec.restart_policy.as_deref() == Some("Never");
    let (mut pending, mut failed) = (false, false);
    for (container, status) in pod.spec.init_containers.iter().zip(inits) {
        let code = last_code(status);
        if sidecar(container) {
            pending |= status.started != Some(true) && code.is_none();
        } else if status.state.terminated.is_some() || (never && code.is_some()) {
            let bad = code != Some(0);
            failed |= bad && never;
            pending |= bad;
        } else {
            pending = true;
        }
    }
    if failed {
        return "Failed";
    }
    let waits = |status: &&ContainerStatus| {
        status.state.running.is_none() && status.state.terminated.is_none() && status.last_state.terminated.is_none()
    };
    let begun = mains.iter().any(|status| status.container_id.is_some());
    if (pending && !begun) || mains.iter().any(|status| waits(&status)) {
        return "Pending";
    }
    if mains.iter().any(|status| status.state.running.is_some()) {
        return "Running";
    }
    match pod.spec.restart_policy.as_deref() {
        Some("Never" | "OnFailure") if mains.iter().all(|status| last_code(status) == Some(0)) => "Succeeded",
        Some("Never") => "Failed",
        _ => "Running",
    }
}

/// The phase of a pod that was ended: it failed unless every container ended well.
pub(super) fn last(mains: &[ContainerStatus]) -> &'static str {
    if mains.iter().all(|status| last_code(status) == Some(0)) { "Succeeded" } else { "Failed" }
}

fn last_code(status: &ContainerStatus) -> Option<i32> {
    let ended = status.state.terminated.as_ref().or(status.last_state.terminated.as_ref());
    ended.filter(|_| status.state.running.is_none()).map(|ended| ended.exit_code)
}

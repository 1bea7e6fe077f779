//! A pod's conditions from its containers' statuses. Pure.

use windlass_api::core::v1::{ContainerStatus, Pod, PodCondition};

use crate::pod::{Observed, Records, sidecar};

/// All conditions that an agent writes; their times are the host's business.
pub(super) fn conditions(
    pod: &Pod,
    observed: &Observed,
    inits: &[ContainerStatus],
    mains: &[ContainerStatus],
    phase: &str,
) -> Vec<PodCondition> {
    let network = pod.spec.host_network == Some(true) || !observed.ips.is_empty();
    let sandbox = condition("PodReadyToStartContainers", observed.ready().is_some() && network);
    let initialized = initialized(pod, inits, mains, phase);
    let ready = containers_ready(pod, inits, mains, phase);
    let whole = whole(pod, &ready);
    vec![sandbox, initialized, whole, ready]
}

/// What a resize waits for, where one is not done (KEP-1287).
pub(super) fn resize(records: &Records) -> Vec<PodCondition> {
    let holds = |kind: &str, reason: &str, message: &str| PodCondition {
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..condition(kind, true)
    };
    let pending = records.pending.as_ref().map(|why| holds("PodResizePending", why.reason, &why.message));
    let failing = records.resizing.as_ref().map(|(why, _)| holds("PodResizeInProgress", "Error", why));
    pending.into_iter().chain(failing).collect()
}

/// That the pod ends for the node's sake (KEP-3329).
pub(super) fn disruption(records: &Records) -> Option<PodCondition> {
    let (_, message) = records.failed.as_ref().filter(|_| records.disrupted)?;
    Some(PodCondition {
        reason: Some("TerminationByKubelet".into()),
        message: Some(message.clone()),
        ..condition("DisruptionTarget", true)
    })
}

fn condition(kind: &str, holds: bool) -> PodCondition {
    PodCondition { type_: kind.into(), status: if holds { "True" } else { "False" }.into(), ..PodCondition::default() }
}

fn because(kind: &str, reason: &str, message: String) -> PodCondition {
    let message = Some(message).filter(|message| !message.is_empty());
    PodCondition { reason: Some(reason.into()), message, ..condition(kind, false) }
}

fn initialized(pod: &Pod, inits: &[ContainerStatus], mains: &[ContainerStatus], phase: &str) -> PodCondition {
    let kind = "Initialized";
    // Once the main containers have begun, what init containers do later changes nothing.
    let begun = mains.iter().any(|status| status.container_id.is_some());
    let incomplete: Vec<_> = pod
        .spec
        .init_containers
        .iter()
        .zip(inits)
        .filter(|(container, status)| match sidecar(container) {
            true => status.started != Some(true),
            false => !status.ready,
        })
        .map(|(container, _)| container.name.as_str())
        .collect();
    match phase {
        "Succeeded" => PodCondition { reason: Some("PodCompleted".into()), ..condition(kind, true) },
        _ if incomplete.is_empty() || begun => condition(kind, true),
        _ => because(
            kind,
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{}]", incomplete.join(" ")),
        ),
    }
}

fn containers_ready(pod: &Pod, inits: &[ContainerStatus], mains: &[ContainerStatus], phase: &str) -> PodCondition {
    let kind = "ContainersReady";
    let sidecars = pod.spec.init_containers.iter().zip(inits).filter(|(container, _)| sidecar(container));
    let statuses = sidecars.map(|(_, status)| status).chain(mains);
    let unready: Vec<_> = statuses.filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
    match phase {
        "Succeeded" => because(kind, "PodCompleted", String::new()),
        "Failed" => because(kind, "PodFailed", String::new()),
        _ if unready.is_empty() => condition(kind, true),
        _ => because(kind, "ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))),
    }
}

/// Readiness with the gates that others open (KEP-580).
fn whole(pod: &Pod, ready: &PodCondition) -> PodCondition {
    let kind = "Ready";
    if ready.status != "True" {
        return PodCondition { type_: kind.into(), ..ready.clone() };
    }
    let closed: Vec<String> = pod
        .spec
        .readiness_gates
        .iter()
        .filter_map(|gate| {
            let name = &gate.condition_type;
            let found = pod.status.conditions.iter().find(|condition| condition.type_ == *name);
            match found {
                None => Some(format!("corresponding condition of pod readiness gate \"{name}\" does not exist.")),
                Some(found) if found.status != "True" => {
                    Some(format!("the status of pod readiness gate \"{name}\" is not \"True\", but {}", found.status))
                }
                Some(_) => None,
            }
        })
        .collect();
    match closed.is_empty() {
        true => condition(kind, true),
        false => because(kind, "ReadinessGatesNotReady", closed.join(", ")),
    }
}

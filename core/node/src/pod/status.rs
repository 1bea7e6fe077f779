//! A pod's status from what the runtime says and what is remembered, in the words that Kubernetes uses. Pure.

mod conditions;
mod phase;

use std::net::IpAddr;

use windlass_api::{
    core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodIP, PodStatus,
    },
    types::Time,
};
use windlass_kernel::runtime::{ContainerState as RuntimeState, ContainerStatus as Instance};

use super::{Observed, Records, ephemeral::plain, sidecar};

/// What a status tells of the surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Scene<'a> {
    /// The node's addresses.
    pub(crate) hosts: &'a [IpAddr],
    /// The runtime's name, for container ids.
    pub(crate) runtime: &'a str,
    /// Whether the pod is being ended, or has ended.
    pub(crate) ending: bool,
    /// Whether nothing will run any more.
    pub(crate) over: bool,
}

/// The status of a pod.
pub(crate) fn status(pod: &Pod, observed: &Observed, records: &Records, scene: &Scene<'_>) -> PodStatus {
    if observed.sandboxes.is_empty() && observed.containers.is_empty() && (super::ended(pod) || scene.over) {
        return without_traces(pod, records, scene);
    }
    let one = |container: &Container, init: bool| container_status(pod, container, init, observed, records, scene);
    let inits: Vec<_> = pod.spec.init_containers.iter().map(|container| one(container, true)).collect();
    let mains: Vec<_> = pod.spec.containers.iter().map(|container| one(container, false)).collect();
    let extras: Vec<_> = pod.spec.ephemeral_containers.iter().map(|extra| watcher(one(&plain(extra), false))).collect();
    let mut phase = phase::phase(pod, &inits, &mains);
    let mut status = PodStatus::default();
    if let Some((reason, message)) = records.failed.as_ref().filter(|_| scene.over) {
        phase = "Failed";
        status.reason = Some(reason.clone());
        status.message = Some(message.clone());
    } else if scene.over && scene.ending && !matches!(phase, "Succeeded" | "Failed") {
        phase = phase::last(&mains);
    }
    status.phase = Some(phase.into());
    status.conditions = conditions::conditions(pod, observed, &inits, &mains, phase);
    status.conditions.extend(conditions::resize(records));
    status.conditions.extend(conditions::disruption(records));
    status.init_container_statuses = inits;
    status.container_statuses = mains;
    status.ephemeral_container_statuses = extras;
    addresses(&mut status, pod, observed, scene);
    status.start_time = pod.status.start_time.or(records.seen.map(Time));
    status.qos_class = Some(crate::make::resources::class(pod).as_str().into());
    status.observed_generation = pod.metadata.generation;
    status
}

/// A pod of which the runtime knows nothing any more keeps the status that was written down.
fn without_traces(pod: &Pod, records: &Records, scene: &Scene<'_>) -> PodStatus {
    let mut status = pod.status.clone();
    if let Some((reason, message)) = &records.failed {
        status.phase = Some("Failed".into());
        status.reason = Some(reason.clone());
        status.message = Some(message.clone());
        let disruption = conditions::disruption(records);
        status.conditions.retain(|own| disruption.as_ref().is_none_or(|new| new.type_ != own.type_));
        status.conditions.extend(disruption);
        status.start_time = status.start_time.or(records.seen.map(Time));
        status.qos_class = Some(crate::make::resources::class(pod).as_str().into());
    }
    if !super::ended(pod) && scene.over && status.phase.as_deref() != Some("Failed") {
        status.phase = Some("Failed".into());
        let PodStatus { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } = &mut status;
        for one in container_statuses.iter_mut().chain(init_container_statuses).chain(ephemeral_container_statuses) {
            if one.state.terminated.is_none() {
                one.state = ContainerState { terminated: Some(lost(one)), ..ContainerState::default() };
            }
            one.ready = false;
            one.started = Some(false);
        }
    }
    status
}

/// What is said of a container that is gone without a trace (as upstream: exit code 137).
fn lost(status: &ContainerStatus) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some("The container could not be located when the pod was terminated".into()),
        container_id: status.container_id.clone(),
        ..ContainerStateTerminated::default()
    }
}

/// An ephemeral container is never ready, and nobody asks whether it has started.
fn watcher(status: ContainerStatus) -> ContainerStatus {
    ContainerStatus { ready: false, started: None, ..status }
}

fn addresses(status: &mut PodStatus, pod: &Pod, observed: &Observed, scene: &Scene<'_>) {
    status.host_ip = scene.hosts.first().map(ToString::to_string);
    status.host_ips = scene.hosts.iter().map(|ip| HostIP { ip: ip.to_string() }).collect();
    let host = pod.spec.host_network == Some(true);
    let ips = if host && !observed.sandboxes.is_empty() { scene.hosts } else { &observed.ips };
    status.pod_ip = ips.first().map(ToString::to_string).or_else(|| pod.status.pod_ip.clone());
    status.pod_ips = ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect();
    if status.pod_ips.is_empty() {
        status.pod_ips.clone_from(&pod.status.pod_ips);
    }
}

fn container_status(
    pod: &Pod,
    container: &Container,
    init: bool,
    observed: &Observed,
    records: &Records,
    scene: &Scene<'_>,
) -> ContainerStatus {
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        ..ContainerStatus::default()
    };
    if let Some(has) = records.actual.as_ref().and_then(|actual| actual.get(&container.name)) {
        status.allocated_resources.clone_from(&container.resources.requests);
        status.resources = Some(has.clone());
    }
    let mut instances = observed.instances(&container.name).filter(|one| one.container.state != RuntimeState::Created);
    let Some(latest) = instances.next() else {
        // Of a pod that has ended some instances may be gone before others.
        if let Some(known) = written(pod, &container.name).filter(|_| super::ended(pod)) {
            return known.clone();
        }
        status.state = match (scene.over, records.waiting.get(&container.name)) {
            (_, Some(waiting)) => wait(&waiting.reason, &waiting.message),
            (_, None) if pod.spec.init_containers.is_empty() => wait("ContainerCreating", ""),
            (_, None) => wait("PodInitializing", ""),
        };
        return status;
    };
    let id = |one: &Instance| Some(format!("{}://{}", scene.runtime, one.container.id));
    status.container_id = id(latest);
    if !latest.container.image.as_str().is_empty() && !latest.container.image.as_str().starts_with("sha256:") {
        status.image = latest.container.image.to_string();
    }
    status.image_id = latest.container.image_id.to_string();
    status.restart_count = i32::try_from(latest.container.key.attempt).unwrap_or(i32::MAX);
    let terminated = |one: &Instance| Some(terminated(one, id(one), records));
    if let Some(before) = instances.next() {
        status.last_state = ContainerState { terminated: terminated(before), ..ContainerState::default() };
    }
    match latest.container.state {
        RuntimeState::Running => {
            let running = ContainerStateRunning { started_at: latest.started.map(Time) };
            status.state = ContainerState { running: Some(running), ..ContainerState::default() };
            let health = records.health(&container.name, &latest.container.id);
            let started = container.startup_probe.is_none() || health.is_some_and(|h| h.startup == Some(true));
            status.started = Some(started);
            let probed = container.readiness_probe.is_none() || health.is_some_and(|h| h.readiness == Some(true));
            status.ready = started && probed && (!init || sidecar(container));
        }
        RuntimeState::Exited => {
            let ended = ContainerState { terminated: terminated(latest), ..ContainerState::default() };
            match records.waiting.get(&container.name).filter(|_| !scene.ending) {
                Some(waiting) => {
                    status.state = wait(&waiting.reason, &waiting.message);
                    status.last_state = ended;
                }
                None => status.state = ended,
            }
            let succeeded = latest.exit.is_some_and(|exit| exit.code == 0);
            status.ready = init && !sidecar(container) && succeeded;
        }
        RuntimeState::Created | RuntimeState::Unknown => {
            status.state = ContainerState { terminated: terminated(latest), ..ContainerState::default() };
        }
    }
    status
}

/// What was written down of a container.
fn written<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let PodStatus { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } = &pod.status;
    let mut all = container_statuses.iter().chain(init_container_statuses).chain(ephemeral_container_statuses);
    all.find(|status| status.name == name)
}

fn wait(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting {
        reason: Some(reason.into()),
        message: Some(message.to_owned()).filter(|message| !message.is_empty()),
    };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(one: &Instance, id: Option<String>, records: &Records) -> ContainerStateTerminated {
    let code = one.exit.map_or(255, |exit| exit.code);
    let reason = match (one.reason.as_str(), code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    let words = records.messages.get(&one.container.id).cloned().filter(|words| !words.is_empty());
    ContainerStateTerminated {
        exit_code: code,
        reason: Some(reason.into()),
        message: words.or_else(|| Some(one.message.clone()).filter(|message| !message.is_empty())),
        started_at: one.started.map(Time),
        finished_at: one.exit.map(|exit| Time(exit.finished)),
        container_id: id,
        ..ContainerStateTerminated::default()
    }
}

#[cfg(test)]
mod tests;

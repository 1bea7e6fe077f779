//! What to do next for a pod that is to run. Pure: the same state gives the same plan, and a plan carried out in part is
//! planned anew. Ending a pod is not its business.

use jiff::Timestamp;
use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::runtime::{ContainerId, ContainerState, ContainerStatus, SandboxId};

use super::{
    Observed, Records, container, containers,
    observed::{code, exited, running},
    restarts, sidecar,
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a sandbox, as that try.
    Sandbox(u32),
    /// End what still runs in an old sandbox, and its network.
    StopSandbox(SandboxId),
    /// Remove a sandbox with all that is left in it.
    RemoveSandbox(SandboxId),
    /// Start an instance of a container.
    Start { name: String, attempt: u32 },
    /// End an instance.
    Stop { id: ContainerId, name: String, why: Why },
    /// Forget an ended instance.
    Remove(ContainerId),
}

/// Why an instance is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// Nothing is known of its process.
    Unknown,
    /// It cannot be given other resources while it runs.
    Resize,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In this order.
    pub(crate) actions: Vec<Action>,
    /// Containers that are held back after they ended, and until when.
    pub(crate) held: Vec<(String, Timestamp)>,
    /// When to look again if nothing happens before.
    pub(crate) wake: Option<Timestamp>,
    /// Everything has run to its end: the pod is to be ended.
    pub(crate) over: bool,
}

impl Plan {
    fn later(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// How far one container is.
enum Stage {
    /// An init container that is done, or a sidecar that has started.
    Passed,
    /// What follows has to wait for it.
    Pending,
    /// It failed for good, and the pod with it.
    Failed,
}

/// Compares what the pod wants with what there is.
pub(crate) fn plan(pod: &Pod, observed: &Observed, records: &Records, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if over(pod, observed) {
        plan.over = true;
        return plan;
    }
    if let Some(deadline) = deadline(pod, records) {
        plan.later(deadline);
    }
    let Some(sandbox) = observed.ready() else {
        for old in &observed.sandboxes {
            plan.actions.push(Action::StopSandbox(old.id.clone()));
        }
        let attempt = observed.sandboxes.iter().map(|old| old.key.attempt + 1).max().unwrap_or(0);
        plan.actions.push(Action::Sandbox(attempt));
        return plan;
    };
    for old in observed.sandboxes.iter().filter(|old| old.id != sandbox.id) {
        remove_old_sandbox(&mut plan, pod, observed, &old.id);
    }
    // Whoever looks at a pod may do so before its init containers are through.
    for container in &pod.spec.ephemeral_containers {
        Step { plan: &mut plan, pod, observed, records, now, init: false }.once(&container.name);
    }
    let begun = pod.spec.containers.iter().any(|container| observed.current(&container.name).is_some());
    let mut stage = Stage::Passed;
    for container in &pod.spec.init_containers {
        // Once the main containers have begun, only sidecars are still looked after.
        if begun && !sidecar(container) {
            continue;
        }
        let mut one = Step { plan: &mut plan, pod, observed, records, now, init: true };
        stage = one.look(container);
        if !begun && !matches!(stage, Stage::Passed) {
            break;
        }
    }
    if begun || matches!(stage, Stage::Passed) {
        for container in &pod.spec.containers {
            Step { plan: &mut plan, pod, observed, records, now, init: false }.look(container);
        }
    }
    for (container, _) in containers(pod) {
        forget(&mut plan, observed, &container.name);
    }
    plan
}

/// When the pod is to be ended, where it says so.
pub(crate) fn deadline(pod: &Pod, records: &Records) -> Option<Timestamp> {
    let start = pod.status.start_time.map(|start| start.0).or(records.seen)?;
    start.checked_add(super::seconds(pod.spec.active_deadline_seconds?)).ok()
}

/// Whether all main containers have ended for good, or an init container failed for good.
fn over(pod: &Pod, observed: &Observed) -> bool {
    let final_exit = |container: &Container, init: bool| {
        let code = observed.latest(&container.name).and_then(code);
        code.is_some_and(|code| !restarts(pod, container, init, code))
    };
    let failed = |container: &&Container| {
        !sidecar(container)
            && observed.latest(&container.name).and_then(code).is_some_and(|code| code != 0)
            && final_exit(container, true)
    };
    let begun = pod.spec.containers.iter().any(|container| observed.latest(&container.name).is_some());
    if !begun && pod.spec.init_containers.iter().any(|container| failed(&container)) {
        return true;
    }
    !pod.spec.containers.is_empty() && pod.spec.containers.iter().all(|container| final_exit(container, false))
}

/// An old sandbox goes when nothing of it is the last word on a container.
fn remove_old_sandbox(plan: &mut Plan, pod: &Pod, observed: &Observed, id: &SandboxId) {
    let mut inside = observed.containers.iter().filter(|status| status.container.sandbox == *id);
    let needed = inside.any(|status| {
        let name = &status.container.key.name;
        container(pod, name).is_some()
            && observed.instances(name).take(2).any(|kept| kept.container.id == status.container.id)
    });
    if !needed {
        plan.actions.push(Action::RemoveSandbox(id.clone()));
    }
}

/// Of the ended instances before the newest one, only the last is kept, for its log and state.
fn forget(plan: &mut Plan, observed: &Observed, name: &str) {
    let old = observed.instances(name).skip(2).filter(|status| !running(status));
    plan.actions.extend(old.map(|status| Action::Remove(status.container.id.clone())));
}

struct Step<'a> {
    plan: &'a mut Plan,
    pod: &'a Pod,
    observed: &'a Observed,
    records: &'a Records,
    now: Timestamp,
    init: bool,
}

impl Step<'_> {
    fn look(&mut self, container: &Container) -> Stage {
        let Some(status) = self.observed.current(&container.name) else {
            return self.first(container);
        };
        match status.container.state {
            ContainerState::Running => self.runs(container, status),
            ContainerState::Exited => self.ended(container, status),
            // Made and never started: whoever made it did not get on. A new one is made in its place.
            ContainerState::Created => {
                self.plan.actions.push(Action::Remove(status.container.id.clone()));
                self.start(&container.name, status.container.key.attempt + 1)
            }
            ContainerState::Unknown => {
                self.stop(status, Why::Unknown);
                Stage::Pending
            }
        }
    }

    /// An ephemeral container runs once and never again, whatever becomes of it or its sandbox.
    fn once(&mut self, name: &str) {
        let Some(status) = self.observed.latest(name) else {
            self.start(name, 0);
            return;
        };
        match status.container.state {
            ContainerState::Created => {
                self.plan.actions.push(Action::Remove(status.container.id.clone()));
                self.start(name, status.container.key.attempt + 1);
            }
            ContainerState::Unknown => self.stop(status, Why::Unknown),
            ContainerState::Running | ContainerState::Exited => {}
        }
    }

    /// No instance in this sandbox.
    fn first(&mut self, container: &Container) -> Stage {
        let before = self.observed.latest(&container.name).and_then(code);
        if let Some(code) = before.filter(|_| !self.init)
            && !restarts(self.pod, container, self.init, code)
        {
            return Stage::Passed;
        }
        self.start(&container.name, self.observed.next_attempt(&container.name))
    }

    fn start(&mut self, name: &str, attempt: u32) -> Stage {
        if let Some(at) = self.records.not_before.get(name).filter(|at| **at > self.now) {
            self.plan.later(*at);
        } else {
            self.plan.actions.push(Action::Start { name: name.to_owned(), attempt });
        }
        Stage::Pending
    }

    fn stop(&mut self, status: &ContainerStatus, why: Why) {
        let (id, name) = (status.container.id.clone(), status.container.key.name.clone());
        self.plan.actions.push(Action::Stop { id, name, why });
    }

    fn runs(&mut self, container: &Container, status: &ContainerStatus) -> Stage {
        let health = self.records.health(&container.name, &status.container.id);
        if health.is_some_and(|health| health.startup == Some(false)) {
            self.stop(status, Why::Startup);
            return Stage::Pending;
        }
        if health.is_some_and(|health| health.liveness == Some(false)) {
            self.stop(status, Why::Liveness);
        }
        if !self.init {
            return Stage::Passed;
        }
        let started = container.startup_probe.is_none() || health.is_some_and(|health| health.startup == Some(true));
        if sidecar(container) && started { Stage::Passed } else { Stage::Pending }
    }

    fn ended(&mut self, container: &Container, status: &ContainerStatus) -> Stage {
        let code = code(status).unwrap_or(255);
        if !restarts(self.pod, container, self.init, code) {
            return if self.init && code != 0 { Stage::Failed } else { Stage::Passed };
        }
        let finished = status.exit.map_or(status.container.created, |exit| exit.finished);
        if let Some(backoff) = self.records.restarts.get(&container.name) {
            let until = backoff.until(finished);
            if until > self.now {
                self.plan.held.push((container.name.clone(), until));
                self.plan.later(until);
                return Stage::Pending;
            }
        }
        debug_assert!(exited(status));
        self.start(&container.name, self.observed.next_attempt(&container.name))
    }
}

#[cfg(test)]
mod tests;

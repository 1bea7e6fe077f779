//! One scripted pod: its status after each step. Pure but for the handle of its script.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use windlass_api::{
    core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
    },
    types::Time,
};
use windlass_kernel::{
    controller::ObjectKey,
    node::{Amounts, Measured, PodUsage, Report},
};

use super::{Behaviour, Script, behaviour, life::Life};

/// The next step of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Start,
    Ready,
    Exit(i32),
    Release,
}

/// Which pod it is. One of the same name and another uid is another pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
}

impl Id {
    pub(super) fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let key = ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        Self { key, uid: meta.uid.clone().unwrap_or_default() }
    }
}

/// What is known of the health of a container that runs a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// Whether it is one of those whose readiness counts.
    pub(super) serves: bool,
    /// Whether it has started, by its probe.
    pub(super) started: bool,
    /// What it says itself.
    pub(super) said: bool,
    /// What its readiness probe says.
    pub(super) probed: bool,
}

impl Signs {
    fn ready(self) -> bool {
        self.serves && self.started && self.said && self.probed
    }
}

/// A pod as a fake node runs it.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) pod: Arc<Pod>,
    pub(super) uid: String,
    pub(super) status: PodStatus,
    pub(super) ending: bool,
    pub(super) released: bool,
    pub(super) script: Script,
    /// Where programs run, in place of a script.
    pub(super) life: Option<Arc<Life>>,
    /// What the script does next, and when.
    next: Option<(Next, Duration)>,
    /// How long the next restart waits.
    pause: Option<Duration>,
    /// The containers that do not run again, with their exit codes.
    finished: BTreeMap<String, i32>,
}

impl Running {
    pub(super) fn new(pod: &Arc<Pod>, host: &str, ip: String) -> Self {
        let mut status = PodStatus {
            phase: Some("Pending".into()),
            host_ip: Some(host.into()),
            host_ips: vec![HostIP { ip: host.into() }],
            ..PodStatus::default()
        };
        let ip = if pod.spec.host_network == Some(true) { host.to_owned() } else { ip };
        status.pod_ips = vec![PodIP { ip: ip.clone() }];
        status.pod_ip = Some(ip);
        let (pod, uid) = (Arc::clone(pod), Id::of(pod).uid);
        let finished = BTreeMap::new();
        Self {
            pod,
            uid,
            status,
            ending: false,
            released: false,
            script: None,
            life: None,
            next: None,
            pause: None,
            finished,
        }
    }

    /// The same pod for another agent, whose task is not started yet.
    pub(super) fn copied(&self) -> Self {
        Self { script: None, life: None, ..self.clone() }
    }

    pub(super) fn plan(&mut self, next: Next, at: Duration) {
        self.next = Some((next, at));
    }

    /// When the script's next step is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.next.map(|(_, at)| at)
    }

    /// Takes the script's next step and plans the one behind it.
    pub(super) fn advance(&mut self, behaviour: &Behaviour, now: Timestamp, uptime: Duration) {
        let Some((next, _)) = self.next.take() else { return };
        match next {
            Next::Start => {
                self.started(now);
                self.plan(Next::Ready, uptime + behaviour.ready);
            }
            Next::Ready => {
                self.ready(now);
                self.next = behaviour.end.map(|end| (Next::Exit(end.code), uptime + end.after));
            }
            Next::Exit(code) => self.exit(code, behaviour, now, uptime),
            Next::Release => self.released(now),
        }
    }

    /// All containers end, and run again where the restart policy says so.
    pub(super) fn exit(&mut self, code: i32, behaviour: &Behaviour, now: Timestamp, uptime: Duration) {
        self.exited(code, now);
        self.next = None;
        if self.restarts(code) {
            let pause = self.pause.unwrap_or(behaviour.restart);
            self.plan(Next::Start, uptime + pause);
            self.pause = Some((pause * 2).min(behaviour.restart * 30));
        }
    }

    /// What its running containers use by its script, or else as usual; `None` where that cannot be measured.
    pub(super) fn usage(&self, id: &Id, usual: Amounts, (at, window): (Timestamp, Duration)) -> Option<PodUsage> {
        let runs = self.status.container_statuses.iter().filter(|own| own.state.running.is_some());
        let used = |own: &ContainerStatus| Some((own.name.clone(), behaviour::usage(&self.pod, &own.name, usual)?));
        let amounts = runs.map(used).collect::<Option<Vec<_>>>()?;
        Some(PodUsage { pod: id.key.clone(), uid: id.uid.clone(), containers: Measured { at, window, amounts } })
    }

    pub(super) fn report(&self, key: &ObjectKey) -> Report {
        Report { pod: key.clone(), uid: self.uid.clone(), status: self.status.clone(), released: self.released }
    }

    /// All containers run; init containers are done.
    pub(super) fn started(&mut self, now: Timestamp) {
        self.status.phase = Some("Running".into());
        let done = |container: &Container| ContainerStatus {
            state: ContainerState { terminated: Some(terminated(0, now, now)), ..ContainerState::default() },
            ready: true,
            ..named(container, &self.uid)
        };
        self.status.init_container_statuses = self.pod.spec.init_containers.iter().map(done).collect();
        let before = std::mem::take(&mut self.status.container_statuses);
        let run = |container: &Container| {
            let old = before.iter().find(|old| old.name == container.name);
            let running = ContainerStateRunning { started_at: Some(Time(now)) };
            ContainerStatus {
                state: ContainerState { running: Some(running), ..ContainerState::default() },
                last_state: old.map(|old| ended_state(&old.last_state, &old.state)).unwrap_or_default(),
                restart_count: old.map_or(0, |old| old.restart_count + 1),
                started: Some(true),
                ..named(container, &self.uid)
            }
        };
        self.status.container_statuses = self.pod.spec.containers.iter().map(run).collect();
        self.conditions(false);
    }

    pub(super) fn ready(&mut self, _: Timestamp) {
        for status in &mut self.status.container_statuses {
            status.ready = true;
        }
        self.conditions(true);
    }

    /// All containers end.
    pub(super) fn exited(&mut self, code: i32, now: Timestamp) {
        let again = self.restarts(code);
        for status in &mut self.status.container_statuses {
            let started = status.state.running.as_ref().and_then(|running| running.started_at).map_or(now, |at| at.0);
            let ended =
                ContainerState { terminated: Some(terminated(code, started, now)), ..ContainerState::default() };
            status.ready = false;
            status.started = Some(false);
            if again {
                let waiting = ContainerStateWaiting { reason: Some("CrashLoopBackOff".into()), message: None };
                status.last_state = ended;
                status.state = ContainerState { waiting: Some(waiting), ..ContainerState::default() };
            } else {
                status.state = ended;
            }
        }
        if !again {
            self.status.phase = Some(if code == 0 { "Succeeded" } else { "Failed" }.into());
        }
        self.conditions(false);
    }

    /// Everything has ended and nothing is held any more.
    pub(super) fn released(&mut self, now: Timestamp) {
        if !ended_phase(&self.status) {
            // A script ends when it is told to; a program that still runs is killed.
            let code = if self.life.is_some() { 137 } else { 0 };
            let PodStatus { init_container_statuses, container_statuses, .. } = &mut self.status;
            let init = init_container_statuses.iter_mut().filter(|status| status.state.running.is_some());
            for status in container_statuses.iter_mut().chain(init) {
                if self.life.is_some() && status.state.running.is_none() {
                    continue;
                }
                let started = status.state.running.as_ref().and_then(|running| running.started_at);
                let ended = terminated(code, started.map_or(now, |at| at.0), now);
                status.state = ContainerState { terminated: Some(ended), ..ContainerState::default() };
                status.ready = false;
                status.started = Some(false);
            }
            self.conditions(false);
        }
        self.released = true;
        self.script = None;
    }

    /// Whether the containers run again after having ended with `code`.
    pub(super) fn restarts(&self, code: i32) -> bool {
        match self.pod.spec.restart_policy.as_deref() {
            Some("Never") => false,
            Some("OnFailure") => code != 0,
            _ => true,
        }
    }

    /// How long the end takes: at once where nothing runs, and never longer than the grace period.
    pub(super) fn stop_delay(&self, stop: Duration, grace: Duration) -> Duration {
        if self.status.phase.as_deref() == Some("Running") { stop.min(grace) } else { Duration::ZERO }
    }

    fn conditions(&mut self, ready: bool) {
        self.conditions_of(true, ready);
    }

    fn conditions_of(&mut self, initialized: bool, ready: bool) {
        let finished = self.status.phase.as_deref() == Some("Succeeded");
        let condition = |type_: &str, holds: bool| PodCondition {
            type_: type_.into(),
            status: if holds { "True" } else { "False" }.into(),
            reason: (!holds).then(|| if finished { "PodCompleted" } else { "ContainersNotReady" }.into()),
            ..PodCondition::default()
        };
        self.status.conditions = vec![
            condition("PodReadyToStartContainers", true),
            condition("Initialized", initialized),
            condition("Ready", ready),
            condition("ContainersReady", ready),
        ];
    }
}

/// Steps of single containers, where programs run.
impl Running {
    /// Every container waits to be made.
    pub(super) fn conceive(&mut self) {
        let reason = if self.pod.spec.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        let known = |statuses: &[ContainerStatus], own: &Container, uid: &str| {
            let known = statuses.iter().find(|status| status.name == own.name).cloned();
            known.unwrap_or_else(|| ContainerStatus { state: waiting(reason, None), ..named(own, uid) })
        };
        let PodSpec { init_containers, containers, .. } = &self.pod.spec;
        let status = &mut self.status;
        let of = |all: &[Container], old: &[ContainerStatus]| {
            all.iter().map(|own| known(old, own, &self.uid)).collect::<Vec<_>>()
        };
        status.init_container_statuses = of(init_containers, &status.init_container_statuses);
        status.container_statuses = of(containers, &status.container_statuses);
        self.summarize();
    }

    /// Whatever ran was cut off.
    pub(super) fn interrupted(&mut self, now: Timestamp) {
        self.finished.clear();
        let PodStatus { init_container_statuses, container_statuses, .. } = &mut self.status;
        for status in init_container_statuses.iter_mut().chain(container_statuses) {
            if let Some(ran) = status.state.running.take() {
                let started = ran.started_at.map_or(now, |at| at.0);
                status.state.terminated = Some(terminated(137, started, now));
                (status.ready, status.started) = (false, Some(false));
            }
        }
    }

    /// A container runs. How often it ran before.
    pub(super) fn begin_container(&mut self, container: &Container, signs: Signs, now: Timestamp) -> i32 {
        let (uid, again) = (self.uid.clone(), self.status_of(&container.name).as_deref().is_some_and(ran));
        let Some(status) = self.status_of(&container.name) else { return 0 };
        let (old, count) = (std::mem::take(&mut status.state), status.restart_count);
        let last = if old.terminated.is_some() { old } else { std::mem::take(&mut status.last_state) };
        let restarts = count + i32::from(again);
        let running = ContainerStateRunning { started_at: Some(Time(now)) };
        *status = ContainerStatus {
            state: ContainerState { running: Some(running), ..ContainerState::default() },
            last_state: last,
            restart_count: restarts,
            ready: signs.ready(),
            started: Some(signs.started),
            ..named(container, &uid)
        };
        self.summarize();
        restarts
    }

    pub(super) fn set_signs(&mut self, name: &str, signs: Signs) {
        let Some(status) = self.status_of(name).filter(|status| status.state.running.is_some()) else { return };
        (status.ready, status.started) = (signs.ready(), Some(signs.started));
        self.summarize();
    }

    /// A container ends; `last` where it does not run again.
    pub(super) fn exit_container(&mut self, name: &str, code: i32, last: bool, now: Timestamp) {
        let init = self.pod.spec.init_containers.iter().any(|own| own.name == name && !is_sidecar(own));
        let Some(status) = self.status_of(name) else { return };
        let started = status.state.running.as_ref().and_then(|running| running.started_at).map_or(now, |at| at.0);
        let ended = terminated(code, started, now);
        status.state = ContainerState { terminated: Some(ended), ..ContainerState::default() };
        (status.ready, status.started) = (init && code == 0, Some(false));
        if last {
            self.finished.insert(name.to_owned(), code);
        }
        self.summarize();
    }

    /// A container that ended waits for its next run.
    pub(super) fn back_off(&mut self, name: &str, pause: Duration) {
        let (pod, uid) = (Id::of(&self.pod).key, self.uid.clone());
        let text = format!(
            "back-off {}s restarting failed container={name} pod={}_{}({uid})",
            pause.as_secs(),
            pod.name,
            pod.namespace
        );
        self.wait(name, "CrashLoopBackOff", &text);
    }

    /// A container waits.
    pub(super) fn wait(&mut self, name: &str, reason: &str, message: &str) {
        let Some(status) = self.status_of(name) else { return };
        let old = std::mem::replace(&mut status.state, waiting(reason, Some(message)));
        if old.terminated.is_some() {
            status.last_state = old;
        }
        self.summarize();
    }

    fn status_of(&mut self, name: &str) -> Option<&mut ContainerStatus> {
        let PodStatus { init_container_statuses, container_statuses, .. } = &mut self.status;
        init_container_statuses.iter_mut().chain(container_statuses).find(|status| status.name == name)
    }

    /// The phase and the conditions that the containers make.
    fn summarize(&mut self) {
        let PodSpec { init_containers, containers, .. } = &self.pod.spec;
        let code = |own: &Container| self.finished.get(&own.name).copied();
        let PodStatus { init_container_statuses, container_statuses, .. } = &self.status;
        let made = container_statuses.iter().all(ran);
        let beside: Vec<_> =
            init_containers.iter().zip(init_container_statuses).filter(|(own, _)| is_sidecar(own)).collect();
        let begun = beside.iter().all(|(_, status)| status.started == Some(true)) || container_statuses.iter().any(ran);
        let initialized = begun && init_containers.iter().all(|own| is_sidecar(own) || code(own) == Some(0));
        let failed = init_containers.iter().any(|own| !is_sidecar(own) && code(own).is_some_and(|code| code != 0));
        let idle = beside.iter().all(|(_, status)| status.state.running.is_none());
        let over = idle && (failed || containers.iter().all(|own| code(own).is_some()));
        let well = !failed && containers.iter().all(|own| code(own) == Some(0));
        let serving = beside.iter().map(|(_, status)| *status).chain(container_statuses).all(|status| status.ready);
        let phase = match (over, well, made) {
            (true, true, _) => "Succeeded",
            (true, false, _) => "Failed",
            (false, _, true) => "Running",
            (false, _, false) => "Pending",
        };
        // A pod that is ending has no phase of its own until all is known.
        if !(over && self.ending) {
            self.status.phase = Some(phase.into());
        }
        self.conditions_of(initialized, !over && initialized && serving);
    }
}

/// Whether an init container goes on beside the main ones (KEP-753).
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether a container has run.
fn ran(status: &ContainerStatus) -> bool {
    status.state.running.is_some() || status.state.terminated.is_some() || status.last_state.terminated.is_some()
}

fn waiting(reason: &str, message: Option<&str>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message: message.map(Into::into) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn named(container: &Container, uid: &str) -> ContainerStatus {
    let image = container.image.clone().unwrap_or_default();
    ContainerStatus {
        name: container.name.clone(),
        image_id: format!("fake://{image}"),
        image,
        container_id: Some(format!("fake://{uid}/{}", container.name)),
        ..ContainerStatus::default()
    }
}

fn terminated(code: i32, started: Timestamp, finished: Timestamp) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: code,
        reason: Some(if code == 0 { "Completed" } else { "Error" }.into()),
        started_at: Some(Time(started)),
        finished_at: Some(Time(finished)),
        ..ContainerStateTerminated::default()
    }
}

/// The last ended state of a container that runs again.
fn ended_state(last: &ContainerState, state: &ContainerState) -> ContainerState {
    if state.terminated.is_some() { state.clone() } else { last.clone() }
}

/// The grace period of a pod that is being deleted.
pub(super) fn ending(pod: &Pod) -> Option<Duration> {
    pod.metadata.deletion_timestamp.as_ref()?;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
    Some(Duration::from_secs(u64::try_from(grace).unwrap_or(0)))
}

pub(super) fn ended(pod: &Pod) -> bool {
    ended_phase(&pod.status)
}

pub(super) fn ended_phase(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

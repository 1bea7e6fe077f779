//! One scripted pod: its status after each step. Pure but for the handle of its script.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use windlass_api::{
    core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    types::Time,
};
use windlass_kernel::{controller::ObjectKey, node::Report};

use super::Script;

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

/// A pod as a fake node runs it.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) pod: Arc<Pod>,
    pub(super) uid: String,
    pub(super) status: PodStatus,
    pub(super) ending: bool,
    pub(super) released: bool,
    pub(super) script: Script,
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
        Self { pod: Arc::clone(pod), uid: Id::of(pod).uid, status, ending: false, released: false, script: None }
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
            for status in &mut self.status.container_statuses {
                let started = status.state.running.as_ref().and_then(|running| running.started_at);
                let ended = terminated(0, started.map_or(now, |at| at.0), now);
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
        let finished = self.status.phase.as_deref() == Some("Succeeded");
        let condition = |type_: &str, holds: bool| PodCondition {
            type_: type_.into(),
            status: if holds { "True" } else { "False" }.into(),
            reason: (!holds).then(|| if finished { "PodCompleted" } else { "ContainersNotReady" }.into()),
            ..PodCondition::default()
        };
        self.status.conditions = vec![
            condition("PodReadyToStartContainers", true),
            condition("Initialized", true),
            condition("Ready", ready),
            condition("ContainersReady", ready),
        ];
    }
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

fn ended_phase(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

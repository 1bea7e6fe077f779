//! What the runtime holds, and what changes it. Each change is told to whoever follows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{process::ChildStdin, sync::watch};
use windlass::kernel::{
    Error, ErrorKind, Result,
    runtime::{
        Change, ContainerConfig, ContainerExit, ContainerFilter, ContainerId, ContainerState, ContainerStatus,
        RuntimeEvent, SandboxConfig, SandboxId, SandboxStatus, Subject,
    },
};

use super::logs::Log;

pub(crate) struct SandboxRecord {
    pub(crate) config: SandboxConfig,
    pub(crate) status: SandboxStatus,
}

pub(crate) struct ContainerRecord {
    pub(crate) config: ContainerConfig,
    pub(crate) status: ContainerStatus,
    pub(crate) log: Arc<Log>,
    /// Of the process group, while it runs.
    pub(crate) pid: Option<i32>,
    /// The input, until a session takes it.
    pub(crate) stdin: Option<ChildStdin>,
    /// Turns true when the process has ended.
    pub(crate) ended: watch::Sender<bool>,
}

#[derive(Default)]
pub(crate) struct State {
    last: u64,
    pub(crate) sandboxes: BTreeMap<SandboxId, SandboxRecord>,
    pub(crate) containers: BTreeMap<ContainerId, ContainerRecord>,
    pub(crate) listeners: Vec<futures::channel::mpsc::UnboundedSender<RuntimeEvent>>,
}

/// The state, shared by calls and tasks. It is never held across an await.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn no_sandbox(id: &SandboxId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no sandbox {id}"))
}

pub(crate) fn no_container(id: &ContainerId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no container {id}"))
}

impl State {
    /// An id that was never given before.
    pub(crate) fn id(&mut self) -> String {
        self.last += 1;
        format!("{:08x}{:056x}", std::process::id(), self.last)
    }

    pub(crate) fn container(&mut self, id: &ContainerId) -> Result<&mut ContainerRecord> {
        self.containers.get_mut(id).ok_or_else(|| no_container(id))
    }

    pub(crate) fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        let of = |record: &ContainerRecord| record.status.container.sandbox == *sandbox;
        self.containers.iter().filter(|(_, record)| of(record)).map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn selected(&self, filter: &ContainerFilter) -> impl Iterator<Item = &ContainerRecord> {
        self.containers.values().filter(move |record| {
            let container = &record.status.container;
            filter.id.as_ref().is_none_or(|id| *id == container.id)
                && filter.sandbox.as_ref().is_none_or(|id| *id == container.sandbox)
                && filter.state.is_none_or(|state| state == container.state)
                && has(&container.labels, &filter.labels)
        })
    }

    pub(crate) fn tell(&mut self, subject: Subject, what: Change) {
        let event = RuntimeEvent::Changed { subject, what };
        self.listeners.retain(|listener| listener.unbounded_send(event.clone()).is_ok());
    }

    /// The process of a container has ended.
    pub(crate) fn exited(&mut self, id: &ContainerId, exit: ContainerExit, reason: &str) {
        let Some(record) = self.containers.get_mut(id) else { return };
        record.status.container.state = ContainerState::Exited;
        record.status.exit = Some(exit);
        record.status.reason = reason.into();
        (record.pid, record.stdin) = (None, None);
        record.ended.send_replace(true);
        self.tell(Subject::Container(id.clone()), Change::Exited);
    }
}

pub(crate) fn has(all: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| all.get(key) == Some(value))
}

//! What the runtime says about one pod.

use std::net::IpAddr;

use windlass_kernel::runtime::{ContainerState, ContainerStatus, Sandbox, SandboxState};

/// The sandboxes of one pod, newest first, and all of their containers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) sandboxes: Vec<Sandbox>,
    /// The addresses of the newest sandbox.
    pub(crate) ips: Vec<IpAddr>,
    pub(crate) containers: Vec<ContainerStatus>,
}

impl Observed {
    pub(crate) fn sort(&mut self) {
        self.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.key.attempt, sandbox.created)));
        self.containers
            .sort_by_key(|status| std::cmp::Reverse((status.container.created, status.container.key.attempt)));
    }

    /// The newest sandbox, if it can run containers.
    pub(crate) fn ready(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.state == SandboxState::Ready)
    }

    /// The instances of a container, newest first.
    pub(crate) fn instances<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a ContainerStatus> + use<'a> {
        let name = name.to_owned();
        self.containers.iter().filter(move |status| status.container.key.name == name)
    }

    pub(crate) fn latest(&self, name: &str) -> Option<&ContainerStatus> {
        self.instances(name).next()
    }

    /// The newest instance in the newest sandbox.
    pub(crate) fn current(&self, name: &str) -> Option<&ContainerStatus> {
        let sandbox = &self.sandboxes.first()?.id;
        self.latest(name).filter(|status| status.container.sandbox == *sandbox)
    }

    /// The number of the next instance.
    pub(crate) fn next_attempt(&self, name: &str) -> u32 {
        self.instances(name).map(|status| status.container.key.attempt + 1).max().unwrap_or(0)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|status| running(status))
    }
}

/// Whether processes may be there.
pub(crate) fn running(status: &ContainerStatus) -> bool {
    matches!(status.container.state, ContainerState::Running | ContainerState::Unknown)
}

pub(crate) fn exited(status: &ContainerStatus) -> bool {
    status.container.state == ContainerState::Exited
}

/// The exit code of an instance that ended.
pub(crate) fn code(status: &ContainerStatus) -> Option<i32> {
    exited(status).then(|| status.exit.map_or(255, |exit| exit.code))
}

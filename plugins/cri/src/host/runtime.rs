//! `ContainerRuntime` over CRI's runtime service.
//!
//! Runtimes answer `UNKNOWN` to much that has a meaning. What it was is then read from the state of what was asked for,
//! never from the text.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use windlass_kernel::{
    ClockExt, ContainerRuntime, Error, ErrorKind, Result,
    node::Session,
    runtime::{
        Checkpoints, Container, ContainerConfig, ContainerFilter, ContainerId, ContainerState, ContainerStats,
        ContainerStatus, ExecOutput, Info, InfoOf, Opening, PodRanges, Resources, RuntimeEvents, RuntimeStatus,
        RuntimeVersion, Sandbox, SandboxConfig, SandboxFilter, SandboxId, SandboxMetering, SandboxStats, SandboxStatus,
    },
};

use super::{RemoteRuntime, unless_gone};
use crate::wire::{self, error_from_wire, wire as cri};

/// Calls and unwraps the answer: `call!(self, method(request), "do it")`.
macro_rules! call {
    ($self:ident, $method:ident($request:expr), $what:expr) => {
        $self
            .client()
            .$method($request)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| error_from_wire($what, status))
    };
}

#[async_trait]
impl ContainerRuntime for RemoteRuntime {
    async fn version(&self) -> Result<RuntimeVersion> {
        self.ask_version().await
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        let status = call!(self, status(cri::StatusRequest { verbose: false }), "ask for the runtime's status")?;
        // Older runtimes do not know the call: then the driver is not known.
        let config = call!(self, runtime_config(cri::RuntimeConfigRequest {}), "ask for the runtime's configuration");
        Ok(wire::status(status, config.ok()))
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        let request = cri::RunPodSandboxRequest {
            config: Some(wire::sandbox_config(config)),
            runtime_handler: config.handler.clone(),
        };
        let key = &config.key;
        let failed = match call!(self, run_pod_sandbox(request), &format!("run sandbox {}", key.name)) {
            Ok(answer) => return Ok(answer.pod_sandbox_id.into()),
            Err(error) => error,
        };
        let taken = self.sandboxes(&SandboxFilter::default()).await?.into_iter().any(|sandbox| sandbox.key == *key);
        Err(if taken { taken_by(&key.name, failed) } else { failed })
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let request = cri::StopPodSandboxRequest { pod_sandbox_id: id.to_string() };
        unless_gone(call!(self, stop_pod_sandbox(request), "stop a sandbox")).map(drop)
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        // Removing alone leaves the network of some runtimes' sandboxes behind if they were not stopped.
        self.stop_sandbox(id).await?;
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id: id.to_string() };
        unless_gone(call!(self, remove_pod_sandbox(request), "remove a sandbox")).map(drop)
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Option<SandboxStatus>> {
        let request = cri::PodSandboxStatusRequest { pod_sandbox_id: id.to_string(), verbose: false };
        let answer = unless_gone(call!(self, pod_sandbox_status(request), "ask for a sandbox's status"))?;
        answer.map(|answer| wire::sandbox_status(answer.status)).transpose()
    }

    async fn sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<Sandbox>> {
        let request = cri::ListPodSandboxRequest { filter: Some(wire::sandbox_filter(filter)) };
        let found = call!(self, list_pod_sandbox(request), "list sandboxes")?.items.into_iter().map(wire::sandbox);
        // Runtimes take the beginning of an id for the id.
        Ok(found.filter(|sandbox| filter.id.as_ref().is_none_or(|id| *id == sandbox.id)).collect())
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        sandbox_config: &SandboxConfig,
    ) -> Result<ContainerId> {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_string(),
            config: Some(wire::container_config(config)?),
            sandbox_config: Some(wire::sandbox_config(sandbox_config)),
        };
        let key = &config.key;
        let failed = match call!(self, create_container(request), &format!("create container {}", key.name)) {
            Ok(answer) => return Ok(answer.container_id.into()),
            Err(error) => error,
        };
        if self.sandbox(sandbox).await?.is_none() {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no sandbox {sandbox}")).with_source(failed));
        }
        let filter = ContainerFilter { sandbox: Some(sandbox.clone()), ..ContainerFilter::default() };
        let taken = self.containers(&filter).await?.into_iter().any(|container| container.key == *key);
        Err(if taken { taken_by(&key.name, failed) } else { failed })
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let request = cri::StartContainerRequest { container_id: id.to_string() };
        let Err(failed) = call!(self, start_container(request), "start a container") else { return Ok(()) };
        match self.container(id).await? {
            None => Err(gone(id, failed)),
            Some(status) if status.container.state == ContainerState::Running => Ok(()),
            // It ran before, so it was not this call that failed to run it.
            Some(status) if status.container.state == ContainerState::Exited && status.started.is_some() => {
                Err(Error::new(ErrorKind::Conflict, "cannot start a container that has exited").with_source(failed))
            }
            Some(_) => Err(failed),
        }
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let request = cri::StopContainerRequest { container_id: id.to_string(), timeout: wire::seconds(grace) };
        unless_gone(call!(self, stop_container(request), "stop a container"))?;
        self.confirm_stopped(id).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let request = cri::RemoveContainerRequest { container_id: id.to_string() };
        unless_gone(call!(self, remove_container(request), "remove a container")).map(drop)
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerStatus>> {
        let request = cri::ContainerStatusRequest { container_id: id.to_string(), verbose: false };
        let answer = unless_gone(call!(self, container_status(request), "ask for a container's status"))?;
        answer.map(|answer| wire::container_status(answer.status)).transpose()
    }

    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let request = cri::ListContainersRequest { filter: Some(wire::container_filter(filter)) };
        let found = call!(self, list_containers(request), "list containers")?.containers.into_iter();
        Ok(found
            .map(wire::container)
            .filter(|container| filter.id.as_ref().is_none_or(|id| *id == container.id))
            .filter(|container| filter.sandbox.as_ref().is_none_or(|id| *id == container.sandbox))
            .collect())
    }

    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        let request = cri::UpdateContainerResourcesRequest {
            container_id: id.to_string(),
            linux: Some(wire::resources(resources)),
            annotations: Default::default(),
        };
        match call!(self, update_container_resources(request), "change a container's limits") {
            Ok(_) => Ok(()),
            Err(error) => Err(self.because_gone(id, error).await?),
        }
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let request = cri::ReopenContainerLogRequest { container_id: id.to_string() };
        match call!(self, reopen_container_log(request), "reopen a container's log") {
            Ok(_) => Ok(()),
            Err(error) => Err(self.because_gone(id, error).await?),
        }
    }

    async fn exec(&self, id: &ContainerId, command: &[String], timeout: Option<Duration>) -> Result<ExecOutput> {
        let request = cri::ExecSyncRequest {
            container_id: id.to_string(),
            cmd: command.to_vec(),
            timeout: timeout.map_or(0, |timeout| wire::seconds(timeout).max(1)),
        };
        match call!(self, exec_sync(request), "run a command in a container") {
            Ok(done) => Ok(ExecOutput { code: done.exit_code, stdout: done.stdout, stderr: done.stderr }),
            Err(error) if error.is(ErrorKind::Timeout) => Err(error),
            Err(error) => Err(self.because_not_running(id, error).await?),
        }
    }

    async fn session(&self, opening: Opening) -> Result<Session> {
        self.open_session(opening).await
    }

    async fn stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>> {
        let request = cri::ListContainerStatsRequest {
            filter: Some(cri::ContainerStatsFilter {
                id: filter.id.as_ref().map(ToString::to_string).unwrap_or_default(),
                pod_sandbox_id: filter.sandbox.as_ref().map(ToString::to_string).unwrap_or_default(),
                label_selector: filter.labels.clone(),
            }),
        };
        let stats = call!(self, list_container_stats(request), "ask for the containers' usage")?.stats;
        let stats: Vec<_> = stats.into_iter().map(wire::container_stats).collect::<Result<_>>()?;
        // The wire cannot ask for a state.
        let known = match filter.state {
            Some(_) => Some(self.containers(filter).await?),
            None => None,
        };
        let wanted = |id: &ContainerId| {
            known.as_ref().is_none_or(|known| known.iter().any(|container| container.id == *id))
                && filter.id.as_ref().is_none_or(|wanted| wanted == id)
        };
        Ok(stats.into_iter().filter(|stats| wanted(&stats.id)).collect())
    }

    async fn info(&self, of: &InfoOf) -> Result<Info> {
        Ok(match of {
            InfoOf::Runtime => {
                call!(self, status(cri::StatusRequest { verbose: true }), "ask what the runtime is")?.info
            }
            InfoOf::Sandbox(id) => {
                let request = cri::PodSandboxStatusRequest { pod_sandbox_id: id.to_string(), verbose: true };
                let answer = unless_gone(call!(self, pod_sandbox_status(request), "ask what a sandbox is"))?;
                answer.map(|answer| answer.info).unwrap_or_default()
            }
            InfoOf::Container(id) => {
                let request = cri::ContainerStatusRequest { container_id: id.to_string(), verbose: true };
                let answer = unless_gone(call!(self, container_status(request), "ask what a container is"))?;
                answer.map(|answer| answer.info).unwrap_or_default()
            }
        })
    }

    fn events(&self) -> RuntimeEvents {
        self.stream_events()
    }

    fn metering(&self) -> Option<&dyn SandboxMetering> {
        self.offers.metering.then_some(self as _)
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        self.offers.checkpoints.then_some(self as _)
    }

    fn pod_ranges(&self) -> Option<&dyn PodRanges> {
        Some(self)
    }
}

impl RemoteRuntime {
    /// What `failed` means if there is no such container: not every runtime has a code of its own for that.
    async fn because_gone(&self, id: &ContainerId, failed: Error) -> Result<Error> {
        Ok(if self.container(id).await?.is_none() { gone(id, failed) } else { failed })
    }

    /// What `failed` means if the container does not run.
    pub(super) async fn because_not_running(&self, id: &ContainerId, failed: Error) -> Result<Error> {
        Ok(match self.container(id).await? {
            None => gone(id, failed),
            Some(status) if status.container.state != ContainerState::Running => {
                Error::new(ErrorKind::Conflict, format!("container {id} does not run")).with_source(failed)
            }
            Some(_) => failed,
        })
    }
}

impl RemoteRuntime {
    /// Waits until the status of what was stopped says so: containerd answers a stop as soon as the process is gone, which may
    /// be a moment before its status shows it.
    async fn confirm_stopped(&self, id: &ContainerId) -> Result<()> {
        let (end, mut pause) = (self.rim.clock.uptime() + CONFIRM, Duration::from_millis(1));
        while self.container(id).await?.is_some_and(|status| status.container.state == ContainerState::Running) {
            if self.rim.clock.uptime() >= end {
                let message = format!("container {id} runs on after the runtime stopped it");
                return Err(Error::new(ErrorKind::Timeout, message).maybe_applied());
            }
            self.rim.clock.sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// How long a container that was stopped may be shown as running.
const CONFIRM: Duration = Duration::from_secs(3);

fn gone(id: &ContainerId, failed: Error) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no container {id}")).with_source(failed)
}

fn taken_by(name: &str, failed: Error) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("the key of {name} is taken")).with_source(failed)
}

#[async_trait]
impl SandboxMetering for RemoteRuntime {
    async fn sandbox_stats(&self, filter: &SandboxFilter) -> Result<Vec<SandboxStats>> {
        let request = cri::ListPodSandboxStatsRequest {
            filter: Some(cri::PodSandboxStatsFilter {
                id: filter.id.as_ref().map(ToString::to_string).unwrap_or_default(),
                label_selector: filter.labels.clone(),
            }),
        };
        let stats = call!(self, list_pod_sandbox_stats(request), "ask for the sandboxes' usage")?.stats;
        let stats: Vec<_> = stats.into_iter().map(wire::sandbox_stats).collect::<Result<_>>()?;
        let known = match filter.state {
            Some(_) => Some(self.sandboxes(filter).await?),
            None => None,
        };
        let wanted = |id: &SandboxId| {
            known.as_ref().is_none_or(|known| known.iter().any(|sandbox| sandbox.id == *id))
                && filter.id.as_ref().is_none_or(|wanted| wanted == id)
        };
        Ok(stats.into_iter().filter(|stats| wanted(&stats.id)).collect())
    }
}

#[async_trait]
impl Checkpoints for RemoteRuntime {
    async fn checkpoint(&self, id: &ContainerId, archive: &Path, timeout: Option<Duration>) -> Result<()> {
        let request = cri::CheckpointContainerRequest {
            container_id: id.to_string(),
            location: archive.to_string_lossy().into_owned(),
            timeout: timeout.map_or(0, |timeout| wire::seconds(timeout).max(1)),
        };
        call!(self, checkpoint_container(request), "checkpoint a container").map(drop)
    }
}

#[async_trait]
impl PodRanges for RemoteRuntime {
    async fn set_pod_ranges(&self, ranges: &[String]) -> Result<()> {
        let network_config = Some(cri::NetworkConfig { pod_cidr: ranges.join(",") });
        let request = cri::UpdateRuntimeConfigRequest { runtime_config: Some(cri::RuntimeConfig { network_config }) };
        call!(self, update_runtime_config(request), "tell the pods' addresses").map(drop)
    }
}

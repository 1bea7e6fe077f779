//! The runtime service.

use tonic::{Request, Response, Status, async_trait};
use windlass_kernel::{
    Error, ErrorKind, Result as KernelResult,
    node::Streams,
    runtime::{
        ContainerFilter, ContainerId, ContainerState, Info, InfoOf, Opening, SandboxFilter, SandboxId, SandboxMetering,
        SandboxState, Security,
    },
};

use super::{Served, answer, events, gone, lacks};
use crate::wire::{self, limit, required, runtime_service_server::RuntimeService, span, wire as cri};

type Answer<T> = Result<Response<T>, Status>;

fn sandbox_id(id: String) -> KernelResult<SandboxId> {
    required("pod_sandbox_id", id).map(Into::into)
}

fn container_id(id: String) -> KernelResult<ContainerId> {
    required("container_id", id).map(Into::into)
}

fn command(command: Vec<String>) -> KernelResult<Vec<String>> {
    if command.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "cmd: is required"));
    }
    Ok(command)
}

impl Served {
    /// A container in which something can be run.
    async fn running(&self, id: &ContainerId) -> KernelResult<()> {
        match self.plugin.runtime.container(id).await? {
            None => Err(gone("container", id.as_str())),
            Some(status) if status.container.state != ContainerState::Running => {
                Err(Error::new(ErrorKind::Conflict, format!("container {id} does not run")))
            }
            Some(_) => Ok(()),
        }
    }

    /// What is told beyond the status, where that is asked for.
    async fn info(&self, verbose: bool, of: InfoOf) -> KernelResult<Info> {
        if verbose { self.plugin.runtime.info(&of).await } else { Ok(Info::new()) }
    }

    fn metering(&self) -> KernelResult<&dyn SandboxMetering> {
        self.plugin.runtime.metering().ok_or_else(|| lacks("count by sandbox"))
    }
}

#[async_trait]
impl RuntimeService for Served {
    async fn version(&self, _: Request<cri::VersionRequest>) -> Answer<cri::VersionResponse> {
        answer("Version", async { Ok(wire::version_to_wire(self.plugin.runtime.version().await?)) }).await
    }

    async fn status(&self, request: Request<cri::StatusRequest>) -> Answer<cri::StatusResponse> {
        answer("Status", async {
            let status = self.plugin.runtime.status().await?;
            let info = self.info(request.into_inner().verbose, InfoOf::Runtime).await?;
            Ok(cri::StatusResponse { info, ..wire::status_to_wire(status) })
        })
        .await
    }

    async fn runtime_config(&self, _: Request<cri::RuntimeConfigRequest>) -> Answer<cri::RuntimeConfigResponse> {
        answer("RuntimeConfig", async {
            let driver = self.plugin.runtime.status().await?.cgroups;
            Ok(wire::runtime_config_to_wire(driver.ok_or_else(|| lacks("say how it drives control groups"))?))
        })
        .await
    }

    async fn update_runtime_config(
        &self,
        request: Request<cri::UpdateRuntimeConfigRequest>,
    ) -> Answer<cri::UpdateRuntimeConfigResponse> {
        answer("UpdateRuntimeConfig", async {
            let network = request.into_inner().runtime_config.and_then(|config| config.network_config);
            let ranges = network.map(|network| network.pod_cidr).unwrap_or_default();
            let ranges: Vec<String> = ranges.split(',').filter(|range| !range.is_empty()).map(Into::into).collect();
            // A runtime whose networks come from elsewhere has no use for it.
            if let Some(service) = self.plugin.runtime.pod_ranges().filter(|_| !ranges.is_empty()) {
                service.set_pod_ranges(&ranges).await?;
            }
            Ok(cri::UpdateRuntimeConfigResponse {})
        })
        .await
    }

    async fn run_pod_sandbox(&self, request: Request<cri::RunPodSandboxRequest>) -> Answer<cri::RunPodSandboxResponse> {
        answer("RunPodSandbox", async {
            let request = request.into_inner();
            let config = wire::sandbox_config_from_wire(request.config, request.runtime_handler)?;
            named(&config.security)?;
            let id = self.plugin.runtime.run_sandbox(&config).await?;
            Ok(cri::RunPodSandboxResponse { pod_sandbox_id: id.to_string() })
        })
        .await
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<cri::StopPodSandboxRequest>,
    ) -> Answer<cri::StopPodSandboxResponse> {
        answer("StopPodSandbox", async {
            self.plugin.runtime.stop_sandbox(&sandbox_id(request.into_inner().pod_sandbox_id)?).await?;
            Ok(cri::StopPodSandboxResponse {})
        })
        .await
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<cri::RemovePodSandboxRequest>,
    ) -> Answer<cri::RemovePodSandboxResponse> {
        answer("RemovePodSandbox", async {
            self.plugin.runtime.remove_sandbox(&sandbox_id(request.into_inner().pod_sandbox_id)?).await?;
            Ok(cri::RemovePodSandboxResponse {})
        })
        .await
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<cri::PodSandboxStatusRequest>,
    ) -> Answer<cri::PodSandboxStatusResponse> {
        answer("PodSandboxStatus", async {
            let request = request.into_inner();
            let id = sandbox_id(request.pod_sandbox_id)?;
            let status = self.plugin.runtime.sandbox(&id).await?;
            let status = status.ok_or_else(|| gone("sandbox", id.as_str()))?;
            Ok(cri::PodSandboxStatusResponse {
                status: Some(wire::sandbox_status_to_wire(status)),
                info: self.info(request.verbose, InfoOf::Sandbox(id)).await?,
                ..cri::PodSandboxStatusResponse::default()
            })
        })
        .await
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<cri::ListPodSandboxRequest>,
    ) -> Answer<cri::ListPodSandboxResponse> {
        answer("ListPodSandbox", async {
            let filter = wire::sandbox_filter_from_wire(request.into_inner().filter);
            let found = self.plugin.runtime.sandboxes(&filter).await?;
            Ok(cri::ListPodSandboxResponse { items: found.into_iter().map(wire::sandbox_to_wire).collect() })
        })
        .await
    }

    async fn create_container(
        &self,
        request: Request<cri::CreateContainerRequest>,
    ) -> Answer<cri::CreateContainerResponse> {
        answer("CreateContainer", async {
            let request = request.into_inner();
            let sandbox = sandbox_id(request.pod_sandbox_id)?;
            let config = wire::container_config_from_wire(request.config)?;
            named(&config.security)?;
            let handler = self.plugin.runtime.sandbox(&sandbox).await?;
            let handler = handler.ok_or_else(|| gone("sandbox", sandbox.as_str()))?.sandbox.handler;
            let around = wire::sandbox_config_from_wire(request.sandbox_config, handler)?;
            let id = self.plugin.runtime.create_container(&sandbox, &config, &around).await?;
            Ok(cri::CreateContainerResponse { container_id: id.to_string() })
        })
        .await
    }

    async fn start_container(
        &self,
        request: Request<cri::StartContainerRequest>,
    ) -> Answer<cri::StartContainerResponse> {
        answer("StartContainer", async {
            self.plugin.runtime.start_container(&container_id(request.into_inner().container_id)?).await?;
            Ok(cri::StartContainerResponse {})
        })
        .await
    }

    async fn stop_container(&self, request: Request<cri::StopContainerRequest>) -> Answer<cri::StopContainerResponse> {
        answer("StopContainer", async {
            let request = request.into_inner();
            let id = container_id(request.container_id)?;
            self.plugin.runtime.stop_container(&id, span(request.timeout)).await?;
            Ok(cri::StopContainerResponse {})
        })
        .await
    }

    async fn remove_container(
        &self,
        request: Request<cri::RemoveContainerRequest>,
    ) -> Answer<cri::RemoveContainerResponse> {
        answer("RemoveContainer", async {
            self.plugin.runtime.remove_container(&container_id(request.into_inner().container_id)?).await?;
            Ok(cri::RemoveContainerResponse {})
        })
        .await
    }

    async fn container_status(
        &self,
        request: Request<cri::ContainerStatusRequest>,
    ) -> Answer<cri::ContainerStatusResponse> {
        answer("ContainerStatus", async {
            let request = request.into_inner();
            let id = container_id(request.container_id)?;
            let status = self.plugin.runtime.container(&id).await?;
            let status = status.ok_or_else(|| gone("container", id.as_str()))?;
            Ok(cri::ContainerStatusResponse {
                status: Some(wire::container_status_to_wire(status)),
                info: self.info(request.verbose, InfoOf::Container(id)).await?,
            })
        })
        .await
    }

    async fn list_containers(
        &self,
        request: Request<cri::ListContainersRequest>,
    ) -> Answer<cri::ListContainersResponse> {
        answer("ListContainers", async {
            let filter = wire::container_filter_from_wire(request.into_inner().filter);
            let found = self.plugin.runtime.containers(&filter).await?;
            Ok(cri::ListContainersResponse { containers: found.into_iter().map(wire::container_to_wire).collect() })
        })
        .await
    }

    async fn update_container_resources(
        &self,
        request: Request<cri::UpdateContainerResourcesRequest>,
    ) -> Answer<cri::UpdateContainerResourcesResponse> {
        answer("UpdateContainerResources", async {
            let request = request.into_inner();
            let limits = wire::resources_from_wire(request.linux.unwrap_or_default());
            self.plugin.runtime.update_container(&container_id(request.container_id)?, &limits).await?;
            Ok(cri::UpdateContainerResourcesResponse {})
        })
        .await
    }

    async fn reopen_container_log(
        &self,
        request: Request<cri::ReopenContainerLogRequest>,
    ) -> Answer<cri::ReopenContainerLogResponse> {
        answer("ReopenContainerLog", async {
            self.plugin.runtime.reopen_log(&container_id(request.into_inner().container_id)?).await?;
            Ok(cri::ReopenContainerLogResponse {})
        })
        .await
    }

    async fn checkpoint_container(
        &self,
        request: Request<cri::CheckpointContainerRequest>,
    ) -> Answer<cri::CheckpointContainerResponse> {
        answer("CheckpointContainer", async {
            let service = self.plugin.runtime.checkpoints().ok_or_else(|| lacks("make checkpoints"))?;
            let request = request.into_inner();
            let (id, archive) = (container_id(request.container_id)?, required("location", request.location)?);
            service.checkpoint(&id, archive.as_ref(), limit(request.timeout)).await?;
            Ok(cri::CheckpointContainerResponse {})
        })
        .await
    }

    async fn exec_sync(&self, request: Request<cri::ExecSyncRequest>) -> Answer<cri::ExecSyncResponse> {
        answer("ExecSync", async {
            let request = request.into_inner();
            let (id, words) = (container_id(request.container_id)?, command(request.cmd)?);
            let done = self.plugin.runtime.exec(&id, &words, limit(request.timeout)).await?;
            Ok(cri::ExecSyncResponse { stdout: done.stdout, stderr: done.stderr, exit_code: done.code })
        })
        .await
    }

    async fn exec(&self, request: Request<cri::ExecRequest>) -> Answer<cri::ExecResponse> {
        answer("Exec", async {
            let request = request.into_inner();
            let (container, command) = (container_id(request.container_id)?, command(request.cmd)?);
            let streams = wire::streams(Streams {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                tty: request.tty,
            })?;
            self.running(&container).await?;
            let url = self.streaming.promise(Opening::Exec { container, command, streams })?;
            Ok(cri::ExecResponse { url })
        })
        .await
    }

    async fn attach(&self, request: Request<cri::AttachRequest>) -> Answer<cri::AttachResponse> {
        answer("Attach", async {
            let request = request.into_inner();
            let container = container_id(request.container_id)?;
            let streams = wire::streams(Streams {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                tty: request.tty,
            })?;
            self.running(&container).await?;
            Ok(cri::AttachResponse { url: self.streaming.promise(Opening::Attach { container, streams })? })
        })
        .await
    }

    async fn port_forward(&self, request: Request<cri::PortForwardRequest>) -> Answer<cri::PortForwardResponse> {
        answer("PortForward", async {
            let sandbox = sandbox_id(request.into_inner().pod_sandbox_id)?;
            let status = self.plugin.runtime.sandbox(&sandbox).await?;
            let status = status.ok_or_else(|| gone("sandbox", sandbox.as_str()))?;
            if status.sandbox.state != SandboxState::Ready {
                return Err(Error::new(ErrorKind::Conflict, format!("sandbox {sandbox} does not run")));
            }
            Ok(cri::PortForwardResponse { url: self.streaming.promise(Opening::PortForward { sandbox })? })
        })
        .await
    }

    async fn container_stats(
        &self,
        request: Request<cri::ContainerStatsRequest>,
    ) -> Answer<cri::ContainerStatsResponse> {
        answer("ContainerStats", async {
            let id = container_id(request.into_inner().container_id)?;
            let filter = ContainerFilter { id: Some(id.clone()), ..ContainerFilter::default() };
            let found = self.plugin.runtime.stats(&filter).await?.into_iter().next();
            let stats = found.ok_or_else(|| gone("running container", id.as_str()))?;
            Ok(cri::ContainerStatsResponse { stats: Some(wire::container_stats_to_wire(stats)) })
        })
        .await
    }

    async fn list_container_stats(
        &self,
        request: Request<cri::ListContainerStatsRequest>,
    ) -> Answer<cri::ListContainerStatsResponse> {
        answer("ListContainerStats", async {
            let filter = wire::container_stats_filter_from_wire(request.into_inner().filter);
            let found = self.plugin.runtime.stats(&filter).await?;
            Ok(cri::ListContainerStatsResponse {
                stats: found.into_iter().map(wire::container_stats_to_wire).collect(),
            })
        })
        .await
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<cri::PodSandboxStatsRequest>,
    ) -> Answer<cri::PodSandboxStatsResponse> {
        answer("PodSandboxStats", async {
            let id = sandbox_id(request.into_inner().pod_sandbox_id)?;
            let filter = SandboxFilter { id: Some(id.clone()), ..SandboxFilter::default() };
            let found = self.metering()?.sandbox_stats(&filter).await?.into_iter().next();
            let stats = found.ok_or_else(|| gone("running sandbox", id.as_str()))?;
            Ok(cri::PodSandboxStatsResponse { stats: Some(wire::sandbox_stats_to_wire(stats)) })
        })
        .await
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<cri::ListPodSandboxStatsRequest>,
    ) -> Answer<cri::ListPodSandboxStatsResponse> {
        answer("ListPodSandboxStats", async {
            let filter = wire::sandbox_stats_filter_from_wire(request.into_inner().filter);
            let found = self.metering()?.sandbox_stats(&filter).await?;
            Ok(cri::ListPodSandboxStatsResponse { stats: found.into_iter().map(wire::sandbox_stats_to_wire).collect() })
        })
        .await
    }

    type GetContainerEventsStream = events::Told;

    async fn get_container_events(&self, _: Request<cri::GetEventsRequest>) -> Answer<Self::GetContainerEventsStream> {
        Ok(Response::new(self.tell()))
    }
}

/// A group needs its user to be named: CRI has runtimes refuse one alone (`run_as_group`).
fn named(security: &Security) -> KernelResult<()> {
    if security.group.is_some() && security.user.is_none() {
        let message = "run_as_group needs run_as_user or run_as_username";
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

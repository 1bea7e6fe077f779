//! The kernel's traits. What changes something runs to its end.

use std::time::Duration;

use async_trait::async_trait;
use windlass_kernel::{
    ContainerRuntime, ImageStore, Result,
    node::Session,
    runtime::{
        CgroupDriver, Checkpoints, Container, ContainerConfig, ContainerFilter, ContainerId, ContainerStats,
        ContainerStatus, ExecOutput, FsUsage, Image, ImageRef, Info, InfoOf, Opening, PodRanges, Pull, Readiness,
        Resources, RuntimeEvents, RuntimeStatus, RuntimeVersion, Sandbox, SandboxConfig, SandboxFilter, SandboxId,
        SandboxMetering, SandboxStats, SandboxStatus,
    },
};

use super::{Containerd, calls::answered};

#[async_trait]
impl ContainerRuntime for Containerd {
    async fn version(&self) -> Result<RuntimeVersion> {
        let answer = answered("ask for containerd's version", self.0.calls.version().version(()).await)?;
        Ok(RuntimeVersion { name: "containerd".into(), version: answer.version, api: "v1".into() })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        self.version().await?;
        let ready = || Readiness { ready: true, ..Readiness::default() };
        let network = match self.0.network.ready().await {
            Ok(()) => ready(),
            Err(error) => {
                Readiness { ready: false, reason: "NetworkPluginNotReady".into(), message: error.to_string() }
            }
        };
        Ok(RuntimeStatus {
            runtime: ready(),
            network,
            cgroups: Some(CgroupDriver::Cgroupfs),
            handlers: vec!["runc".into()],
        })
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        let (this, config) = (self.clone(), config.clone());
        self.own("cri.run_sandbox", async move { this.make_sandbox(config).await }).await
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let (this, id) = (self.clone(), id.clone());
        self.own("cri.stop_sandbox", async move { this.halt_sandbox(id.as_str()).await }).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        let (this, id) = (self.clone(), id.clone());
        self.own("cri.remove_sandbox", async move { this.drop_sandbox(id.as_str()).await }).await
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Option<SandboxStatus>> {
        self.tell_sandbox(id).await
    }

    async fn sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<Sandbox>> {
        self.list_sandboxes(filter).await
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        _: &SandboxConfig,
    ) -> Result<ContainerId> {
        let (this, sandbox, config) = (self.clone(), sandbox.clone(), config.clone());
        self.own("cri.create_container", async move { this.make_container(sandbox, config).await }).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let (this, id) = (self.clone(), id.clone());
        self.own("cri.start_container", async move { this.launch(id).await }).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let (this, id) = (self.clone(), id.clone());
        self.own("cri.stop_container", async move { this.halt(id.as_str(), grace).await }).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let (this, id) = (self.clone(), id.clone());
        self.own("cri.remove_container", async move { this.drop_container(id.as_str()).await }).await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerStatus>> {
        self.tell_container(id).await
    }

    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        self.list_containers(filter).await
    }

    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        let (this, id, resources) = (self.clone(), id.clone(), resources.clone());
        self.own("cri.update_container", async move { this.change_limits(id, resources).await }).await
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        self.renew_log(id).await
    }

    async fn exec(&self, id: &ContainerId, command: &[String], timeout: Option<Duration>) -> Result<ExecOutput> {
        self.run_command(id, command, timeout).await
    }

    async fn session(&self, opening: Opening) -> Result<Session> {
        self.open(opening).await
    }

    async fn stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>> {
        self.use_of_containers(filter).await
    }

    async fn info(&self, of: &InfoOf) -> Result<Info> {
        self.told_of(of).await
    }

    fn events(&self) -> RuntimeEvents {
        self.listen()
    }

    fn metering(&self) -> Option<&dyn SandboxMetering> {
        Some(self)
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        None
    }

    fn pod_ranges(&self) -> Option<&dyn PodRanges> {
        None
    }
}

#[async_trait]
impl SandboxMetering for Containerd {
    async fn sandbox_stats(&self, filter: &SandboxFilter) -> Result<Vec<SandboxStats>> {
        self.use_of_sandboxes(filter).await
    }
}

#[async_trait]
impl ImageStore for Containerd {
    async fn image(&self, image: &ImageRef) -> Result<Option<Image>> {
        self.find_image(image).await
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.list_images().await
    }

    async fn pull(&self, pull: &Pull) -> Result<ImageRef> {
        self.pull_image(pull).await
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        let (this, image) = (self.clone(), image.clone());
        self.own("cri.remove_image", async move { this.forget_image(&image).await }).await
    }

    async fn filesystems(&self) -> Result<Vec<FsUsage>> {
        self.space().await
    }
    async fn image_info(&self, image: &ImageRef) -> Result<Info> {
        self.told_of_image(image).await
    }
}

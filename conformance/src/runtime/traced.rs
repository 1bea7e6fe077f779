//! Each call of a runtime, noted in a trace, and the ids of what a check made.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use windlass_kernel::{
    ContainerRuntime, ImageStore, Result,
    node::Session,
    runtime::{
        Checkpoints, Container, ContainerConfig, ContainerFilter, ContainerId, ContainerStats, ContainerStatus,
        ExecOutput, FsUsage, Image, ImageRef, Info, InfoOf, Opening, PodRanges, Pull, Resources, RuntimeEvents,
        RuntimeStatus, RuntimeVersion, Sandbox, SandboxConfig, SandboxFilter, SandboxId, SandboxMetering, SandboxStats,
        SandboxStatus,
    },
};

use super::Fixture;
use crate::report::Trace;

/// Notes each call of a runtime and its images in a trace, with what was answered, and passes it on. Secrets are not noted.
#[derive(Debug)]
pub struct Traced {
    runtime: Arc<dyn ContainerRuntime>,
    images: Arc<dyn ImageStore>,
    trace: Trace,
    prefix: String,
    made: Mutex<BTreeSet<String>>,
}

impl Traced {
    /// The runtime and the images of a check, noted in its trace.
    #[must_use]
    pub fn new(fixture: &Fixture) -> Self {
        Self {
            runtime: Arc::clone(&fixture.runtime),
            images: Arc::clone(&fixture.images),
            trace: fixture.trace.clone(),
            prefix: fixture.prefix.clone(),
            made: Mutex::default(),
        }
    }

    /// The ids of the check's sandboxes and containers, also of those that nobody waited for, once they were listed.
    #[must_use]
    pub fn made(&self) -> BTreeSet<String> {
        self.made.lock().clone()
    }

    fn note(&self, id: &str) {
        self.made.lock().insert(id.to_owned());
    }

    fn metering(&self) -> &dyn SandboxMetering {
        self.runtime.metering().expect("the runtime had the service")
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ContainerRuntime for Traced {
    async fn version(&self) -> Result<RuntimeVersion> {
        self.trace.noted("version".into(), self.runtime.version()).await
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        self.trace.noted("status".into(), self.runtime.status()).await
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        let made = self.trace.noted(format!("run_sandbox {:?}", config.key), self.runtime.run_sandbox(config)).await?;
        self.note(made.as_str());
        Ok(made)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.trace.noted(format!("stop_sandbox {id}"), self.runtime.stop_sandbox(id)).await
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.trace.noted(format!("remove_sandbox {id}"), self.runtime.remove_sandbox(id)).await
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Option<SandboxStatus>> {
        self.trace.noted(format!("sandbox {id}"), self.runtime.sandbox(id)).await
    }

    async fn sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<Sandbox>> {
        let found = self.trace.noted(format!("sandboxes {filter:?}"), self.runtime.sandboxes(filter)).await?;
        let own = found.iter().filter(|sandbox| sandbox.labels.get("suite") == Some(&self.prefix));
        own.for_each(|sandbox| self.note(sandbox.id.as_str()));
        Ok(found)
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        sandbox_config: &SandboxConfig,
    ) -> Result<ContainerId> {
        let call = format!("create_container in {sandbox} {:?} {} {:?}", config.key, config.image, config.command);
        let made = self.trace.noted(call, self.runtime.create_container(sandbox, config, sandbox_config)).await?;
        self.note(made.as_str());
        Ok(made)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        self.trace.noted(format!("start_container {id}"), self.runtime.start_container(id)).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.trace.noted(format!("stop_container {id} {grace:?}"), self.runtime.stop_container(id, grace)).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.trace.noted(format!("remove_container {id}"), self.runtime.remove_container(id)).await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerStatus>> {
        self.trace.noted(format!("container {id}"), self.runtime.container(id)).await
    }

    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let found = self.trace.noted(format!("containers {filter:?}"), self.runtime.containers(filter)).await?;
        let own = found.iter().filter(|container| container.labels.get("suite") == Some(&self.prefix));
        own.for_each(|container| self.note(container.id.as_str()));
        Ok(found)
    }

    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        let call = format!("update_container {id} {resources:?}");
        self.trace.noted(call, self.runtime.update_container(id, resources)).await
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        self.trace.noted(format!("reopen_log {id}"), self.runtime.reopen_log(id)).await
    }

    async fn exec(&self, id: &ContainerId, command: &[String], timeout: Option<Duration>) -> Result<ExecOutput> {
        let call = format!("exec {id} {command:?} within {timeout:?}");
        self.trace.noted(call, self.runtime.exec(id, command, timeout)).await
    }

    async fn session(&self, opening: Opening) -> Result<Session> {
        self.trace.noted(format!("session {opening:?}"), self.runtime.session(opening)).await
    }

    async fn stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>> {
        self.trace.noted(format!("stats {filter:?}"), self.runtime.stats(filter)).await
    }

    async fn info(&self, of: &InfoOf) -> Result<Info> {
        self.trace.noted(format!("info {of:?}"), self.runtime.info(of)).await
    }

    fn events(&self) -> RuntimeEvents {
        let trace = self.trace.clone();
        trace.note("-> events");
        self.runtime.events().inspect(move |event| trace.note(format!("<- event {event:?}"))).boxed()
    }

    fn metering(&self) -> Option<&dyn SandboxMetering> {
        self.runtime.metering().is_some().then_some(self)
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        self.runtime.checkpoints().is_some().then_some(self)
    }

    fn pod_ranges(&self) -> Option<&dyn PodRanges> {
        self.runtime.pod_ranges().is_some().then_some(self)
    }
}

#[async_trait]
impl SandboxMetering for Traced {
    async fn sandbox_stats(&self, filter: &SandboxFilter) -> Result<Vec<SandboxStats>> {
        self.trace.noted(format!("sandbox_stats {filter:?}"), self.metering().sandbox_stats(filter)).await
    }
}

#[async_trait]
impl Checkpoints for Traced {
    async fn checkpoint(&self, id: &ContainerId, archive: &Path, timeout: Option<Duration>) -> Result<()> {
        let service = self.runtime.checkpoints().expect("the runtime had the service");
        let call = format!("checkpoint {id} to {}", archive.display());
        self.trace.noted(call, service.checkpoint(id, archive, timeout)).await
    }
}

#[async_trait]
impl PodRanges for Traced {
    async fn set_pod_ranges(&self, ranges: &[String]) -> Result<()> {
        let service = self.runtime.pod_ranges().expect("the runtime had the service");
        self.trace.noted(format!("set_pod_ranges {ranges:?}"), service.set_pod_ranges(ranges)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ImageStore for Traced {
    async fn image(&self, image: &ImageRef) -> Result<Option<Image>> {
        self.trace.noted(format!("image {image}"), self.images.image(image)).await
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.trace.noted("images".into(), self.images.images()).await
    }

    async fn pull(&self, pull: &Pull) -> Result<ImageRef> {
        self.trace.noted(format!("pull {pull:?}"), self.images.pull(pull)).await
    }

    async fn remove_image(&self, image: &ImageRef) -> Result<()> {
        self.trace.noted(format!("remove_image {image}"), self.images.remove_image(image)).await
    }

    async fn filesystems(&self) -> Result<Vec<FsUsage>> {
        self.trace.noted("filesystems".into(), self.images.filesystems()).await
    }

    async fn image_info(&self, image: &ImageRef) -> Result<Info> {
        self.trace.noted(format!("image_info {image}"), self.images.image_info(image)).await
    }
}

//! The calls of the fake runtime.

use std::{collections::BTreeMap, path::Path, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, channel::mpsc};
use serde_json::json;
use windlass_kernel::{
    ClockExt, ContainerRuntime, Error, ErrorKind, Result, SpawnExt,
    node::Session,
    runtime::{
        Change, Checkpoints, Container, ContainerConfig, ContainerExit, ContainerFilter, ContainerId, ContainerState,
        ContainerStats, ContainerStatus, CpuUsage, ExecOutput, FsUsage, Info, InfoOf, MemoryUsage, Opening, PodRanges,
        Readiness, Resources, RuntimeEvent, RuntimeEvents, RuntimeStatus, RuntimeVersion, Sandbox, SandboxConfig,
        SandboxFilter, SandboxId, SandboxMetering, SandboxState, SandboxStatus,
    },
};

use super::{
    FakeRuntime, Launch,
    state::{ContainerRecord, SandboxRecord},
};
use crate::pipe::pipe;

pub(super) fn no_container(id: &ContainerId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no container {id}"))
}

fn taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("the key of {name} is taken"))
}

fn has(all: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| all.get(key) == Some(value))
}

fn selects(filter: &ContainerFilter, container: &Container) -> bool {
    filter.id.as_ref().is_none_or(|id| *id == container.id)
        && filter.sandbox.as_ref().is_none_or(|id| *id == container.sandbox)
        && filter.state.is_none_or(|state| state == container.state)
        && has(&container.labels, &filter.labels)
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn version(&self) -> Result<RuntimeVersion> {
        self.pace("version").await?;
        Ok(RuntimeVersion { name: "fake".into(), version: env!("CARGO_PKG_VERSION").into(), api: "v1".into() })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        self.pace("status").await?;
        let ready = Readiness { ready: true, ..Readiness::default() };
        Ok(RuntimeStatus { runtime: ready.clone(), network: ready, ..RuntimeStatus::default() })
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
        self.pace("run_sandbox").await?;
        let mut state = self.state.lock();
        if state.sandboxes.values().any(|record| record.config.key == config.key) {
            return Err(taken(&config.key.name));
        }
        let id = SandboxId::from(state.id());
        let sandbox = Sandbox {
            id: id.clone(),
            key: config.key.clone(),
            state: SandboxState::Ready,
            created: self.clock.now(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            handler: config.handler.clone(),
        };
        let status =
            SandboxStatus { sandbox, ips: state.address(config), namespaces: config.security.namespaces.clone() };
        state.sandboxes.insert(id.clone(), SandboxRecord { config: config.clone(), status });
        state.tell_sandbox(&id, Change::Started);
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.pace("stop_sandbox").await?;
        self.state.lock().stop_sandbox(id, self.clock.now());
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.pace("remove_sandbox").await?;
        let (mut state, now) = (self.state.lock(), self.clock.now());
        state.stop_sandbox(id, now);
        for container in state.containers_of(id) {
            state.remove_container(&container, now);
        }
        if state.sandboxes.remove(id).is_some() {
            state.tell_sandbox(id, Change::Removed);
        }
        Ok(())
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Option<SandboxStatus>> {
        self.pace("sandbox").await?;
        Ok(self.state.lock().sandboxes.get(id).map(|record| record.status.clone()))
    }

    async fn sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<Sandbox>> {
        self.pace("sandboxes").await?;
        let selects = |sandbox: &&Sandbox| {
            filter.id.as_ref().is_none_or(|id| *id == sandbox.id)
                && filter.state.is_none_or(|state| state == sandbox.state)
                && has(&sandbox.labels, &filter.labels)
        };
        let state = self.state.lock();
        Ok(state.sandboxes.values().map(|record| &record.status.sandbox).filter(selects).cloned().collect())
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        _: &SandboxConfig,
    ) -> Result<ContainerId> {
        self.pace("create_container").await?;
        let mut state = self.state.lock();
        let Some(pod) = state.sandboxes.get(sandbox) else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no sandbox {sandbox}")));
        };
        let log_path = match (pod.config.log_directory.as_str(), config.log_path.as_str()) {
            ("", _) | (_, "") => String::new(),
            (folder, path) => format!("{}/{path}", folder.trim_end_matches('/')),
        };
        let siblings = state.containers_of(sandbox);
        if siblings.iter().any(|id| state.containers[id].config.key == config.key) {
            return Err(taken(&config.key.name));
        }
        let Some(image) = state.find_image(config.image.as_str()) else {
            return Err(Error::new(ErrorKind::NotFound, format!("image {} is not there", config.image)));
        };
        let image_id = image.id.clone();
        let id = ContainerId::from(state.id());
        let status = ContainerStatus {
            container: Container {
                id: id.clone(),
                sandbox: sandbox.clone(),
                key: config.key.clone(),
                image: config.image.clone(),
                image_id,
                state: ContainerState::Created,
                created: self.clock.now(),
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
            },
            started: None,
            exit: None,
            reason: String::new(),
            message: String::new(),
            mounts: config.mounts.clone(),
            resources: Some(config.resources.clone()),
            user: None,
            log_path,
        };
        let command: Vec<String> = config.command.iter().chain(&config.args).cloned().collect();
        let act = (self.script)(&Launch { container: config, command: &command, exec: false });
        let record = ContainerRecord {
            config: config.clone(),
            status,
            act,
            task: None,
            log: None,
            stdin: (None, None),
            attached: Vec::new(),
            started_at: Duration::ZERO,
        };
        state.containers.insert(id.clone(), record);
        state.tell_container(&id, Change::Created);
        Ok(id)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        self.pace("start_container").await?;
        let mut state = self.state.lock();
        let record = state.containers.get_mut(id).ok_or_else(|| no_container(id))?;
        match record.status.container.state {
            ContainerState::Created => {}
            ContainerState::Running => return Ok(()),
            ContainerState::Exited | ContainerState::Unknown => {
                return Err(Error::new(ErrorKind::Conflict, "cannot start a container that has exited"));
            }
        }
        if !record.act.runs {
            record.status.container.state = ContainerState::Exited;
            record.status.exit = Some(ContainerExit { code: 128, finished: self.clock.now() });
            record.status.reason = "StartError".into();
            state.tell_container(id, Change::Exited);
            return Err(Error::new(ErrorKind::Internal, "the command cannot be run"));
        }
        record.status.container.state = ContainerState::Running;
        record.status.started = Some(self.clock.now());
        record.started_at = self.clock.uptime();
        if record.config.stdin {
            let (write, read) = pipe();
            record.stdin = (Some(write), Some(read));
        }
        let (act, stdin, path) = (record.act.clone(), record.stdin.1.take(), record.status.log_path.clone());
        if !path.is_empty() {
            let file = state.files.entry(path).or_default().clone();
            if let Some(record) = state.containers.get_mut(id) {
                record.log = Some(file);
            }
        }
        state.tell_container(id, Change::Started);
        drop(state);
        let task = self.spawn.spawn("fake.container", self.clone().play(id.clone(), act, stdin));
        if let Some(record) = self.state.lock().containers.get_mut(id)
            && record.status.container.state == ContainerState::Running
        {
            record.task = Some(task);
        }
        Ok(())
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.pace("stop_container").await?;
        let (ended, on_stop) = {
            let state = self.state.lock();
            let Some(record) = state.containers.get(id) else { return Ok(()) };
            if record.status.container.state != ContainerState::Running {
                return Ok(());
            }
            (state.ended.clone(), record.act.on_stop)
        };
        match on_stop {
            Some(code) if !grace.is_zero() => {
                self.end(id, code, "");
                return Ok(());
            }
            _ => {}
        }
        let over = async {
            loop {
                let listener = ended.listen();
                let running = |record: &ContainerRecord| record.status.container.state == ContainerState::Running;
                if !self.state.lock().containers.get(id).is_some_and(running) {
                    return;
                }
                listener.await;
            }
        };
        if self.clock.within(grace, over).await.is_none() {
            self.end(id, 137, "");
        }
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.pace("remove_container").await?;
        self.state.lock().remove_container(id, self.clock.now());
        Ok(())
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerStatus>> {
        self.pace("container").await?;
        Ok(self.state.lock().containers.get(id).map(|record| record.status.clone()))
    }

    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        self.pace("containers").await?;
        let state = self.state.lock();
        let all = state.containers.values().map(|record| &record.status.container);
        Ok(all.filter(|container| selects(filter, container)).cloned().collect())
    }

    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        self.pace("update_container").await?;
        let mut state = self.state.lock();
        let record = state.containers.get_mut(id).ok_or_else(|| no_container(id))?;
        record.status.resources = Some(resources.clone());
        Ok(())
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        self.pace("reopen_log").await?;
        let mut state = self.state.lock();
        let path = state.containers.get(id).ok_or_else(|| no_container(id))?.status.log_path.clone();
        let file = state.files.entry(path).or_default().clone();
        if let Some(record) = state.containers.get_mut(id) {
            record.log = Some(file);
        }
        Ok(())
    }

    async fn exec(&self, id: &ContainerId, command: &[String], timeout: Option<Duration>) -> Result<ExecOutput> {
        self.pace("exec").await?;
        let act = self.command(id, command)?;
        let code = match timeout {
            Some(timeout) => self.clock.timeout(timeout, self.outcome(&act)).await?,
            None => self.outcome(&act).await,
        };
        Ok(ExecOutput { code, stdout: act.stdout.into(), stderr: act.stderr.into() })
    }

    async fn session(&self, opening: Opening) -> Result<Session> {
        self.pace("session").await?;
        match opening {
            Opening::Exec { container, command, streams } => {
                Ok(self.open_exec(self.command(&container, &command)?, streams))
            }
            Opening::Attach { container, streams } => self.attach(&container, streams),
            Opening::PortForward { sandbox } => {
                let state = self.state.lock();
                let record = state.sandboxes.get(&sandbox);
                let record =
                    record.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no sandbox {sandbox}")))?;
                Ok(self.open_ports(record.config.clone()))
            }
        }
    }

    async fn stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>> {
        self.pace("stats").await?;
        let (state, now) = (self.state.lock(), self.clock.now());
        let running = |record: &&ContainerRecord| record.status.container.state == ContainerState::Running;
        let chosen = |record: &&ContainerRecord| selects(filter, &record.status.container);
        let stats = |record: &ContainerRecord| {
            let told = state.usage.get(&record.config.key.name);
            let memory = told.map_or(1 << 20, |(memory, _)| *memory);
            let layer = |bytes: u64| FsUsage { at: now, bytes, inodes: 1, ..FsUsage::default() };
            ContainerStats {
                id: record.status.container.id.clone(),
                key: record.config.key.clone(),
                labels: record.config.labels.clone(),
                cpu: Some(CpuUsage { at: now, used: self.cpu(record.started_at) }),
                memory: Some(MemoryUsage { at: now, working_set: memory, usage: memory, ..MemoryUsage::default() }),
                layer: told.map(|(_, bytes)| layer(*bytes)),
            }
        };
        Ok(state.containers.values().filter(running).filter(chosen).map(stats).collect())
    }

    async fn info(&self, of: &InfoOf) -> Result<Info> {
        self.pace("info").await?;
        let state = self.state.lock();
        let told = match of {
            InfoOf::Runtime => Some(json!({ "images": state.images.len() })),
            InfoOf::Sandbox(id) => state.sandboxes.get(id).map(|record| json!({ "hostname": record.config.hostname })),
            InfoOf::Container(id) => {
                let command = |record: &ContainerRecord| [&*record.config.command, &*record.config.args].concat();
                state.containers.get(id).map(|record| json!({ "command": command(record) }))
            }
        };
        Ok(told.map(|told| ("info".into(), told.to_string())).into_iter().collect())
    }

    fn events(&self) -> RuntimeEvents {
        let (give, take) = mpsc::unbounded();
        // The receiver is still here.
        let _ = give.unbounded_send(RuntimeEvent::Relist);
        self.state.lock().listeners.push(give);
        take.boxed()
    }

    fn metering(&self) -> Option<&dyn SandboxMetering> {
        None
    }

    fn checkpoints(&self) -> Option<&dyn Checkpoints> {
        self.checkpoints.then_some(self as _)
    }

    fn pod_ranges(&self) -> Option<&dyn PodRanges> {
        None
    }
}

#[async_trait]
impl Checkpoints for FakeRuntime {
    async fn checkpoint(&self, id: &ContainerId, archive: &Path, timeout: Option<Duration>) -> Result<()> {
        self.pace("checkpoint").await?;
        let mut state = self.state.lock();
        let record = state.containers.get(id).ok_or_else(|| no_container(id))?;
        if record.status.container.state != ContainerState::Running {
            return Err(Error::new(ErrorKind::Conflict, format!("container {id} does not run")));
        }
        let text = format!("{} within {timeout:?}", record.config.key.name);
        let file = state.files.entry(archive.to_string_lossy().into_owned()).or_default();
        *file.lock() = text;
        Ok(())
    }
}

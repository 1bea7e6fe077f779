//! The trait, call by call: what changes the state, and what only tells it.

use std::{fmt, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, channel::mpsc};
use windlass::{
    cri::skel::Setup,
    kernel::{
        Clock, ContainerRuntime, Dial, Error, ErrorKind, ImageStore, Result, Spawn,
        node::Session,
        runtime::{
            Change, Checkpoints, Container, ContainerConfig, ContainerFilter, ContainerId, ContainerState,
            ContainerStats, ContainerStatus, CpuUsage, ExecOutput, MemoryUsage, Namespace, Opening, PodRanges,
            Readiness, Resources, RuntimeEvent, RuntimeEvents, RuntimeStatus, RuntimeVersion, Sandbox, SandboxConfig,
            SandboxFilter, SandboxId, SandboxMetering, SandboxState, SandboxStatus, Subject,
        },
    },
};

use super::{
    logs::Log,
    state::{ContainerRecord, SandboxRecord, Shared, has, no_sandbox},
};

/// Containers as processes of this machine. Clones share it.
#[derive(Clone)]
pub(crate) struct Processes {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawn: Arc<dyn Spawn>,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) state: Shared,
}

impl Processes {
    pub(crate) fn new(setup: Setup) -> Self {
        Self { clock: setup.clock, spawn: setup.spawn, dial: setup.dial, state: Shared::default() }
    }
}

impl fmt::Debug for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processes").finish_non_exhaustive()
    }
}

fn taken(name: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("the key of {name} is taken"))
}

#[async_trait]
impl ContainerRuntime for Processes {
    async fn version(&self) -> Result<RuntimeVersion> {
        Ok(RuntimeVersion { name: "processes".into(), version: env!("CARGO_PKG_VERSION").into(), api: "v1".into() })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        let ready = Readiness { ready: true, ..Readiness::default() };
        Ok(RuntimeStatus { runtime: ready.clone(), network: ready, ..RuntimeStatus::default() })
    }

    async fn run_sandbox(&self, config: &SandboxConfig) -> Result<SandboxId> {
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
        // Every sandbox has the machine's own network.
        let own = config.security.namespaces.network != Namespace::Node;
        let ips = own.then(|| Ipv4Addr::LOCALHOST.into()).into_iter().collect();
        let status = SandboxStatus { sandbox, ips, namespaces: config.security.namespaces.clone() };
        state.sandboxes.insert(id.clone(), SandboxRecord { config: config.clone(), status });
        state.tell(Subject::Sandbox(id.clone()), Change::Started);
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        let containers = self.state.lock().containers_of(id);
        futures::future::join_all(containers.iter().map(|container| self.stop(container, Duration::ZERO))).await;
        let mut state = self.state.lock();
        let Some(record) = state.sandboxes.get_mut(id) else { return Ok(()) };
        record.status.ips.clear();
        let before = std::mem::replace(&mut record.status.sandbox.state, SandboxState::NotReady);
        if before == SandboxState::Ready {
            state.tell(Subject::Sandbox(id.clone()), Change::Exited);
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.stop_sandbox(id).await?;
        let containers = self.state.lock().containers_of(id);
        for container in containers {
            self.remove_container(&container).await?;
        }
        let mut state = self.state.lock();
        if state.sandboxes.remove(id).is_some() {
            state.tell(Subject::Sandbox(id.clone()), Change::Removed);
        }
        Ok(())
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Option<SandboxStatus>> {
        Ok(self.state.lock().sandboxes.get(id).map(|record| record.status.clone()))
    }

    async fn sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<Sandbox>> {
        let state = self.state.lock();
        let wanted = |sandbox: &&Sandbox| {
            filter.id.as_ref().is_none_or(|id| *id == sandbox.id)
                && filter.state.is_none_or(|state| state == sandbox.state)
                && has(&sandbox.labels, &filter.labels)
        };
        Ok(state.sandboxes.values().map(|record| &record.status.sandbox).filter(wanted).cloned().collect())
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
        _: &SandboxConfig,
    ) -> Result<ContainerId> {
        let image = self.image(&config.image).await?;
        let mut state = self.state.lock();
        let pod = state.sandboxes.get(sandbox).ok_or_else(|| no_sandbox(sandbox))?;
        if pod.status.sandbox.state != SandboxState::Ready {
            return Err(Error::new(ErrorKind::Conflict, format!("sandbox {sandbox} was stopped")));
        }
        let folder = Path::new(&pod.config.log_directory);
        let path = (!pod.config.log_directory.is_empty() && !config.log_path.is_empty())
            .then(|| folder.join(&config.log_path));
        if state.containers_of(sandbox).iter().any(|id| state.containers[id].config.key == config.key) {
            return Err(taken(&config.key.name));
        }
        let image = image.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no {}", config.image)))?;
        let id = ContainerId::from(state.id());
        let container = Container {
            id: id.clone(),
            sandbox: sandbox.clone(),
            key: config.key.clone(),
            image: config.image.clone(),
            image_id: image.id,
            state: ContainerState::Created,
            created: self.clock.now(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        };
        let status = ContainerStatus {
            container,
            started: None,
            exit: None,
            reason: String::new(),
            message: String::new(),
            log_path: path.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            mounts: Vec::new(),
            resources: Some(config.resources.clone()),
            user: None,
        };
        let ended = tokio::sync::watch::Sender::new(false);
        let record =
            ContainerRecord { config: config.clone(), status, log: Log::at(path), pid: None, stdin: None, ended };
        state.containers.insert(id.clone(), record);
        state.tell(Subject::Container(id.clone()), Change::Created);
        Ok(id)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        self.start(id)
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.stop(id, grace).await;
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.stop(id, Duration::ZERO).await;
        let mut state = self.state.lock();
        if state.containers.remove(id).is_some() {
            state.tell(Subject::Container(id.clone()), Change::Removed);
        }
        Ok(())
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<ContainerStatus>> {
        Ok(self.state.lock().containers.get(id).map(|record| record.status.clone()))
    }

    async fn containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        Ok(self.state.lock().selected(filter).map(|record| record.status.container.clone()).collect())
    }

    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        // Nothing enforces them: a real runtime writes them into a control group here.
        self.state.lock().container(id)?.status.resources = Some(resources.clone());
        Ok(())
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let log = Arc::clone(&self.state.lock().container(id)?.log);
        log.reopen()
    }

    async fn exec(&self, id: &ContainerId, command: &[String], timeout: Option<Duration>) -> Result<ExecOutput> {
        self.run(id, command, timeout).await
    }

    async fn session(&self, opening: Opening) -> Result<Session> {
        self.open(opening).await
    }

    async fn stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>> {
        let state = self.state.lock();
        let stats = state.selected(filter).filter_map(|record| {
            let (used, bytes) = usage(record.pid?)?;
            let at = self.clock.now();
            Some(ContainerStats {
                id: record.status.container.id.clone(),
                key: record.config.key.clone(),
                labels: record.config.labels.clone(),
                cpu: Some(CpuUsage { at, used }),
                memory: Some(MemoryUsage {
                    at,
                    working_set: bytes,
                    usage: bytes,
                    rss: bytes,
                    ..MemoryUsage::default()
                }),
                layer: None,
            })
        });
        Ok(stats.collect())
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
        None
    }

    fn pod_ranges(&self) -> Option<&dyn PodRanges> {
        None
    }
}

/// The CPU time of a process and of those that it waited for, and the bytes that it has in memory; `None` if it has ended.
fn usage(pid: i32) -> Option<(Duration, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, but a closing parenthesis ends it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |place: usize| fields.get(place)?.parse::<u64>().ok();
    let ticks = field(11)? + field(12)? + field(13)? + field(14)?;
    // Linux counts in hundredths of a second for whoever reads this file, and pages have 4 KiB.
    Some((Duration::from_millis(ticks * 10), field(21)? * 4096))
}

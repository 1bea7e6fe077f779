//! Containers: made from an image that is there, started once, and removed with everything of theirs.

use containerd_client::services::v1 as api;
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{
        Container, ContainerConfig, ContainerFilter, ContainerId, ContainerState, ContainerStatus, Namespace,
        Resources, SandboxConfig, SandboxId, SandboxState,
    },
};

use super::{
    Containerd,
    calls::{answered, unless_gone},
    images::Facts,
    record::{self, Entry, Kept, label, typed},
    sandboxes::written,
    spec::{Part, limits_of, merged},
    users::{Identity, Names},
};
use crate::wire::error_from_wire;

impl Containerd {
    pub(super) async fn need_container(&self, id: &ContainerId) -> Result<Kept> {
        let gone = || Error::new(ErrorKind::NotFound, format!("there is no container {id}"));
        self.0.calls.kept_container(id.as_str()).await?.ok_or_else(gone)
    }

    pub(super) async fn make_container(&self, sandbox: SandboxId, config: ContainerConfig) -> Result<ContainerId> {
        // No container is made in a sandbox that goes.
        let _sandbox = self.0.locks.lock(sandbox.as_str()).await;
        let around = self.need_sandbox(&sandbox).await?;
        if self.sandbox_state(&around).await? != SandboxState::Ready {
            return Err(Error::new(ErrorKind::Conflict, format!("sandbox {sandbox} does not run")));
        }
        let key = record::container_key(sandbox.as_str(), &config.key);
        let named = || format!("container {} {} of sandbox {sandbox}", config.key.name, config.key.attempt);
        self.0.calls.free_key(&key, named).await?;
        let absent = || Error::new(ErrorKind::NotFound, format!("there is no image {}", config.image));
        let image = self.facts_of(&config.image).await?.ok_or_else(absent)?;
        let id = self.fresh_id();
        // What is unpacked only halfway, by whoever imported it, is unpacked now.
        self.unpack(&image).await?;
        let mounts = self.prepare(&id, &image.chain).await?;
        let made = async {
            let at = self.0.state_dir.join("users").join(&id);
            let names = self.blocking(move || Names::read(&mounts, &at)).await?;
            self.describe(&id, key, &sandbox, &around, &config, &image, &names).await
        };
        match made.await {
            Ok(()) => Ok(id.as_str().into()),
            Err(error) => {
                if let Err(left) = self.unprepare(&id).await {
                    tracing::warn!(container = id, error = %left, "a root file system that nobody has is left");
                }
                Err(error)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "everything that a container comes from, once")]
    async fn describe(
        &self,
        id: &str,
        key: String,
        sandbox: &SandboxId,
        around: &Kept,
        config: &ContainerConfig,
        image: &Facts,
        names: &Names,
    ) -> Result<()> {
        let of_image = image.config();
        let user: Identity = names.resolve(&config.security, of_image.user().as_deref().unwrap_or_default())?;
        let around: SandboxConfig = around.sandbox_config()?;
        let gone = || Error::new(ErrorKind::Conflict, format!("the process of sandbox {sandbox} has ended"));
        let pause = self.running_task(sandbox.as_str()).await?.ok_or_else(gone)?;
        let target = match &config.security.namespaces.pid {
            Namespace::Target(target) => self.running_task(target.as_str()).await?,
            _ => None,
        };
        let log = match (around.log_directory.as_str(), config.log_path.as_str()) {
            ("", _) | (_, "") => String::new(),
            (folder, path) => std::path::Path::new(folder).join(path).display().to_string(),
        };
        let part = (config.clone(), self.sandbox_folder(sandbox.as_str()), self.group_of(&around, id));
        let of = sandbox.clone();
        let signal = of_image.stop_signal().clone();
        // It looks at files and makes folders.
        let spec = self.blocking(move || {
            let (config, folder, cgroup) = part;
            let part = Part {
                config: &config,
                image: &of_image,
                sandbox: of.as_str(),
                around: &around,
                pause,
                target,
                folder: &folder,
                user: &user,
                cgroup,
            };
            written(&part.spec()?)
        });
        let signal = if config.stop_signal.is_empty() { signal } else { None };
        let entry = Entry {
            id: id.to_owned(),
            labels: [
                (label::KIND, record::CONTAINER.to_owned()),
                (label::KEY, key),
                (label::SANDBOX, sandbox.to_string()),
                (label::IMAGE, image.id.clone()),
                (label::LOG, log),
                (label::SIGNAL, signal.unwrap_or_else(|| config.stop_signal.clone())),
            ]
            .into(),
            config: record::of_container(config)?,
            image: config.image.to_string(),
            spec: spec.await?,
            runtime: self.0.options.clone(),
        };
        self.0.calls.write_down(entry).await.map(drop)
    }

    pub(super) async fn launch(&self, id: ContainerId) -> Result<()> {
        let kept = self.need_container(&id).await?;
        let _id = self.0.locks.lock(id.as_str()).await;
        // What holds a lock is settled before it is looked at.
        let running = self.settle_locked(id.as_str()).await?;
        let kept = self.0.calls.kept_container(id.as_str()).await?.unwrap_or(kept);
        if running {
            return Ok(());
        }
        if kept.exit().is_some() {
            return Err(Error::new(ErrorKind::Conflict, format!("container {id} has ended already")));
        }
        if self.running_task(kept.label(label::SANDBOX)).await?.is_none() {
            let message = format!("the sandbox of container {id} does not run");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // An earlier process may have stopped between the steps of a start.
        self.delete_task(id.as_str()).await?;
        self.end_carrying(id.as_str()).await?;
        let request = match self.make_start(&kept).await {
            Ok(request) => request,
            Err(error) => {
                // Nobody else would, before it is removed.
                if let Err(left) = self.end_carrying(id.as_str()).await {
                    tracing::warn!(container = %id, error = %left, "streams that nobody has are carried");
                }
                return Err(error);
            }
        };
        match self.start_task(request).await {
            Err(status) => Err(self.not_started(id.as_str(), status).await),
            Ok(()) => Ok(()),
        }
    }

    /// Has a container's streams carried, and notes that it is about to run.
    async fn make_start(&self, kept: &Kept) -> Result<api::CreateTaskRequest> {
        let config = kept.container_config()?;
        let rootfs = self.rootfs(&kept.id).await?;
        let pipes = self.carry(&kept.id, &config, kept.label(label::LOG)).await?;
        let started = self.0.setup.clock.now().to_string();
        self.0.calls.label(&kept.id, &[(label::STARTED, started)]).await?;
        Ok(api::CreateTaskRequest {
            container_id: kept.id.clone(),
            rootfs,
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            terminal: config.tty,
            ..api::CreateTaskRequest::default()
        })
    }

    async fn start_task(&self, request: api::CreateTaskRequest) -> Result<(), tonic::Status> {
        let id = request.container_id.clone();
        self.0.calls.tasks().create(request).await?;
        self.0.calls.tasks().start(api::StartRequest { container_id: id, exec_id: String::new() }).await?;
        Ok(())
    }

    /// A container that cannot be started has ended. One of which that is not known is looked at by whoever asks next.
    async fn not_started(&self, id: &str, status: tonic::Status) -> Error {
        let why = status.message().to_owned();
        let error = error_from_wire("start a container", status);
        if !error.is(ErrorKind::Unavailable) {
            let noted = async {
                self.kill_task(id).await?;
                self.delete_task(id).await?;
                self.end_carrying(id).await?;
                self.note_failure(id, &why).await
            };
            if let Err(error) = noted.await {
                tracing::warn!(container = id, %error, "that a container could not be started is not noted");
            }
        }
        error
    }

    /// The root file system that was prepared.
    async fn rootfs(&self, id: &str) -> Result<Vec<containerd_client::types::Mount>> {
        let request =
            api::snapshots::MountsRequest { snapshotter: self.0.calls.snapshotter.to_string(), key: id.to_owned() };
        Ok(answered("find a root file system", self.0.calls.snapshots().mounts(request).await)?.mounts)
    }

    /// Removes a container, running or not. Gone is success.
    pub(super) async fn drop_container(&self, id: &str) -> Result<()> {
        // Not the lock of the sandbox: whoever removes that holds it.
        let _id = self.0.locks.lock(id).await;
        if self.0.calls.kept_container(id).await?.is_none() {
            return Ok(());
        }
        self.kill_task(id).await?;
        self.delete_task(id).await?;
        self.end_carrying(id).await?;
        self.unprepare(id).await?;
        self.0.written.lock().remove(id);
        self.0.calls.strike_out(id).await
    }

    pub(super) async fn tell_container(&self, id: &ContainerId) -> Result<Option<ContainerStatus>> {
        let Some(kept) = self.0.calls.kept_container(id.as_str()).await? else { return Ok(None) };
        let state = self.state_of(&kept).await?;
        // An end may have been noted just now.
        let Some(kept) = self.0.calls.kept_container(id.as_str()).await? else { return Ok(None) };
        let config = kept.container_config()?;
        let exit = kept.exit();
        Ok(Some(ContainerStatus {
            container: kept.as_container(state)?,
            started: kept.started().filter(|_| state != ContainerState::Created),
            exit,
            reason: exit.map(|_| kept.label(label::REASON).to_owned()).unwrap_or_default(),
            message: exit.map(|_| kept.label(label::MESSAGE).to_owned()).unwrap_or_default(),
            log_path: kept.label(label::LOG).to_owned(),
            mounts: config.mounts,
            resources: Some(config.resources),
            user: kept.user(),
        }))
    }

    pub(super) async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let all = match (&filter.id, &filter.sandbox) {
            (Some(id), _) => self.0.calls.kept_container(id.as_str()).await?.into_iter().collect(),
            (None, Some(sandbox)) => self.parts_of(sandbox.as_str()).await?,
            (None, None) => self.0.calls.all_kept(&[(label::KIND, record::CONTAINER)]).await?,
        };
        let running = self.running_tasks().await?;
        let mut found = Vec::new();
        for kept in all {
            let state = match (kept.exit(), running.contains_key(&kept.id)) {
                (Some(_), _) => ContainerState::Exited,
                (None, true) if kept.started().is_some() => ContainerState::Running,
                (None, _) => self.state_of(&kept).await?,
            };
            let Some(container) = self.listed(&kept.id, kept.as_container(state)) else { continue };
            let labelled = filter.labels.iter().all(|(name, value)| container.labels.get(name) == Some(value));
            let inside = filter.sandbox.as_ref().is_none_or(|sandbox| *sandbox == container.sandbox);
            if labelled && inside && filter.state.is_none_or(|state| state == container.state) {
                found.push(container);
            }
        }
        Ok(found)
    }

    /// Changes the limits of a container, now where it runs, and for its start where it does not.
    pub(super) async fn change_limits(&self, id: ContainerId, resources: Resources) -> Result<()> {
        self.need_container(&id).await?;
        let _id = self.0.locks.lock(id.as_str()).await;
        let kept = self.need_container(&id).await?;
        if kept.exit().is_some() {
            return Err(Error::new(ErrorKind::Conflict, format!("container {id} has ended")));
        }
        let mut config = kept.container_config()?;
        config.resources = merged(&config.resources, &resources);
        if self.running_task(id.as_str()).await?.is_some() {
            let limits = serde_json::to_vec(&limits_of(&config.resources, None)?)
                .map_err(|error| Error::new(ErrorKind::Internal, "cannot write limits").with_source(error))?;
            let request = api::UpdateTaskRequest {
                container_id: id.to_string(),
                resources: Some(typed("LinuxResources", limits)),
                ..api::UpdateTaskRequest::default()
            };
            answered("change the limits of a container", self.0.calls.tasks().update(request).await)?;
        }
        let unreadable = |error| Error::new(ErrorKind::Internal, "cannot read a specification").with_source(error);
        let mut spec: oci_spec::runtime::Spec = serde_json::from_slice(&kept.spec).map_err(unreadable)?;
        if let Some(mut linux) = spec.linux().clone() {
            let rules = linux.resources().as_ref().and_then(|resources| resources.devices().clone());
            linux.set_resources(Some(limits_of(&config.resources, rules)?));
            spec.set_linux(Some(linux));
        }
        self.0.calls.rewrite(id.as_str(), &config, written(&spec)?).await
    }

    pub(super) async fn renew_log(&self, id: &ContainerId) -> Result<()> {
        let kept = self.need_running(id).await?;
        if kept.label(label::LOG).is_empty() {
            return Ok(());
        }
        self.ensure_carried(&kept).await?;
        self.ask_reopen(id.as_str()).await
    }

    /// Whether there is a snapshot of that name.
    pub(super) async fn has_snapshot(&self, name: &str) -> Result<bool> {
        let request = api::snapshots::StatSnapshotRequest {
            snapshotter: self.0.calls.snapshotter.to_string(),
            key: name.to_owned(),
        };
        Ok(unless_gone("look for a snapshot", self.0.calls.snapshots().stat(request).await)?.is_some())
    }
}

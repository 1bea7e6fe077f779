//! Sandboxes: a process that holds what the containers of a pod share, and its network.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use containerd_client::services::v1::{self as api, snapshots};
use windlass_api::quantity::Amount;
use windlass_kernel::{
    Error, ErrorKind, Result,
    network::{Attachment, AttachmentKey, Bandwidth, PodIdentity, Rate, Wishes},
    runtime::{Namespace, Sandbox, SandboxConfig, SandboxFilter, SandboxId, SandboxState, SandboxStatus},
};

use super::{
    Containerd,
    calls::{Calls, answered, unless_gone},
    files,
    images::Facts,
    record::{self, Entry, Kept, label},
    spec::Pause,
    users::{Identity, Names},
};

/// The interface of a sandbox in its network.
const INTERFACE: &str = "eth0";
/// Bits that may go at once above a rate, as the CNI plugin's default is: as good as all.
const BURST: u64 = i32::MAX as u64;

impl Containerd {
    pub(super) fn sandbox_folder(&self, id: &str) -> PathBuf {
        self.0.state_dir.join("sandboxes").join(id)
    }

    /// The control group of what has an id, below the sandbox's parent.
    pub(super) fn group_of(&self, around: &SandboxConfig, id: &str) -> String {
        match around.cgroup_parent.trim_matches('/') {
            "" => format!("/{}/{id}", self.0.calls.namespace),
            parent => format!("/{parent}/{id}"),
        }
    }

    pub(super) async fn need_sandbox(&self, id: &SandboxId) -> Result<Kept> {
        let gone = || Error::new(ErrorKind::NotFound, format!("there is no sandbox {id}"));
        self.0.calls.kept_sandbox(id.as_str()).await?.ok_or_else(gone)
    }

    /// Whether a sandbox is complete, and its process runs.
    pub(super) async fn sandbox_state(&self, kept: &Kept) -> Result<SandboxState> {
        let running = self.running_task(&kept.id).await?.is_some();
        Ok(ready(kept, running))
    }

    pub(super) async fn make_sandbox(&self, config: SandboxConfig) -> Result<SandboxId> {
        refuse_unknown(&config)?;
        let key = record::sandbox_key(&config.key);
        let _key = self.0.locks.lock(&key).await;
        let named = || format!("sandbox {}/{} {}", config.key.namespace, config.key.name, config.key.attempt);
        self.0.calls.free_key(&key, named).await?;
        let image = self.sandbox_facts().await?;
        let id = self.fresh_id();
        let _id = self.0.locks.lock(&id).await;
        match self.fill_sandbox(&id, key, &config, &image).await {
            Ok(()) => Ok(id.into()),
            Err(error) => {
                // What is left is listed, and its remover tries again.
                if let Err(left) = self.take_sandbox(&id).await {
                    tracing::warn!(sandbox = id, error = %left, "a sandbox that could not be made is not gone");
                }
                Err(error)
            }
        }
    }

    /// Writes a sandbox down before anything of it is there, and says that it is complete at the end.
    async fn fill_sandbox(&self, id: &str, key: String, config: &SandboxConfig, image: &Facts) -> Result<()> {
        let folder = self.sandbox_folder(id);
        let of_image = image.config();
        let user = self.pause_user(id, config, image).await?;
        let (of, made, at, cgroup) = (id.to_owned(), config.clone(), folder.clone(), self.group_of(config, id));
        // It looks at files.
        let spec = self.blocking(move || {
            let pause = Pause { id: &of, config: &made, image: &of_image, folder: &at, user: &user, cgroup };
            written(&pause.spec()?)
        });
        let spec = spec.await?;
        let entry = Entry {
            id: id.to_owned(),
            labels: [
                (label::KIND, record::SANDBOX.to_owned()),
                (label::KEY, key),
                (label::HANDLER, config.handler.clone()),
            ]
            .into(),
            config: record::of_sandbox(config),
            image: self.0.sandbox_image.to_string(),
            spec,
            runtime: self.0.options.clone(),
        };
        self.0.calls.write_down(entry).await?;
        let (at, made) = (folder.clone(), config.clone());
        self.blocking(move || files::make(&at, &made)).await?;
        let rootfs = self.prepare(id, &image.chain).await?;
        let request =
            api::CreateTaskRequest { container_id: id.to_owned(), rootfs, ..api::CreateTaskRequest::default() };
        let pid = answered("make a sandbox's process", self.0.calls.tasks().create(request).await)?.pid;
        if config.security.namespaces.network != Namespace::Node {
            let at = folder.clone();
            self.blocking(move || files::pin(&at, pid)).await?;
            let attached = self.0.network.attach(&self.wanted_attachment(id, config)?).await?;
            let addresses: Vec<String> = attached.ips().map(|ip: IpAddr| ip.to_string()).collect();
            self.0.calls.label(id, &[(label::ADDRESSES, addresses.join(","))]).await?;
        }
        let request = api::StartRequest { container_id: id.to_owned(), ..api::StartRequest::default() };
        answered("start a sandbox's process", self.0.calls.tasks().start(request).await)?;
        self.0.calls.label(id, &[(label::STARTED, self.0.setup.clock.now().to_string())]).await
    }

    /// Who a sandbox's own process is. It is never somebody that nobody named.
    async fn pause_user(&self, id: &str, config: &SandboxConfig, image: &Facts) -> Result<Identity> {
        let of_image = image.config().user().clone().unwrap_or_default();
        if let Some(user) = Identity::of_numbers(&config.security, &of_image)? {
            return Ok(user);
        }
        // Names are in the image's files only. The sandbox's own files are not there yet.
        let key = format!("{id}-users");
        let mounts = self.prepare(&key, &image.chain).await?;
        let at = self.0.state_dir.join("users").join(id);
        let names = self.blocking(move || Names::read(&mounts, &at)).await;
        self.unprepare(&key).await?;
        names?.resolve(&config.security, &of_image)
    }

    /// A root file system of one's own over an image's.
    pub(super) async fn prepare(&self, id: &str, chain: &str) -> Result<Vec<containerd_client::types::Mount>> {
        let request = snapshots::PrepareSnapshotRequest {
            snapshotter: self.0.calls.snapshotter.to_string(),
            key: id.to_owned(),
            parent: chain.to_owned(),
            ..snapshots::PrepareSnapshotRequest::default()
        };
        Ok(answered("prepare a root file system", self.0.leased.snapshots().prepare(request).await)?.mounts)
    }

    /// Removes what [`prepare`](Self::prepare) made. Gone is success.
    pub(super) async fn unprepare(&self, id: &str) -> Result<()> {
        self.unprepare_in(&self.0.leased, id).await
    }

    /// The same for what was prepared in a lease, which would list it for as long as it lasts otherwise.
    pub(super) async fn unprepare_in(&self, calls: &Calls, id: &str) -> Result<()> {
        let request =
            snapshots::RemoveSnapshotRequest { snapshotter: self.0.calls.snapshotter.to_string(), key: id.to_owned() };
        unless_gone("remove a root file system", calls.snapshots().remove(request).await).map(drop)
    }

    /// What names a sandbox's place in its network: enough to take it away, whatever was asked for.
    fn attachment(&self, id: &str) -> Attachment {
        let at = files::network(&self.sandbox_folder(id));
        Attachment {
            key: AttachmentKey::new(id, INTERFACE),
            // What a mount was taken from is an empty file.
            namespace: is_mounted(&at).then_some(at),
            ..Attachment::default()
        }
    }

    /// The same, with all that is asked for.
    fn wanted_attachment(&self, id: &str, config: &SandboxConfig) -> Result<Attachment> {
        let key = &config.key;
        let pod = PodIdentity { namespace: key.namespace.clone(), name: key.name.clone(), uid: key.uid.clone() };
        let bandwidth = bandwidth(config)?;
        let ports = config.ports.iter().filter(|port| port.host_port != 0).cloned().collect();
        let wishes = Wishes { ports, bandwidth, ..Wishes::default() };
        Ok(Attachment { pod: Some(pod), wishes, ..self.attachment(id) })
    }

    /// Stops a sandbox. Gone is success.
    pub(super) async fn halt_sandbox(&self, id: &str) -> Result<()> {
        let _id = self.0.locks.lock(id).await;
        match self.0.calls.kept_sandbox(id).await? {
            Some(kept) => self.quiet_sandbox(&kept).await,
            None => Ok(()),
        }
    }

    /// Removes a sandbox. Gone is success.
    pub(super) async fn drop_sandbox(&self, id: &str) -> Result<()> {
        let _id = self.0.locks.lock(id).await;
        self.take_sandbox(id).await
    }

    async fn take_sandbox(&self, id: &str) -> Result<()> {
        let Some(kept) = self.0.calls.kept_sandbox(id).await? else { return Ok(()) };
        self.quiet_sandbox(&kept).await?;
        for container in self.parts_of(id).await? {
            self.drop_container(&container.id).await?;
        }
        self.unprepare(id).await?;
        let folder = self.sandbox_folder(id);
        self.blocking(move || files::remove(&folder)).await?;
        // Last, so that whatever is left is found.
        self.0.calls.strike_out(id).await
    }

    /// Stops the containers of a sandbox, then its process, then its network.
    async fn quiet_sandbox(&self, kept: &Kept) -> Result<()> {
        let id = kept.id.as_str();
        for container in self.parts_of(id).await? {
            self.halt(&container.id, Duration::ZERO).await?;
        }
        self.kill_task(id).await?;
        self.delete_task(id).await?;
        let folder = self.sandbox_folder(id);
        // One whose record cannot be read may have a network, and can be removed.
        if !kept.sandbox_config().is_ok_and(|config| config.security.namespaces.network == Namespace::Node) {
            self.0.network.detach(&self.attachment(id)).await?;
        }
        self.blocking(move || files::unpin(&folder).and_then(|()| files::forget_memory(&folder))).await?;
        if kept.label(label::ADDRESSES).is_empty() {
            return Ok(());
        }
        self.0.calls.label(id, &[(label::ADDRESSES, String::new())]).await
    }

    pub(super) async fn parts_of(&self, sandbox: &str) -> Result<Vec<Kept>> {
        self.0.calls.all_kept(&[(label::SANDBOX, sandbox)]).await
    }

    pub(super) async fn tell_sandbox(&self, id: &SandboxId) -> Result<Option<SandboxStatus>> {
        let Some(kept) = self.0.calls.kept_sandbox(id.as_str()).await? else { return Ok(None) };
        let state = self.sandbox_state(&kept).await?;
        let namespaces = kept.sandbox_config()?.security.namespaces;
        Ok(Some(SandboxStatus { sandbox: kept.as_sandbox(state)?, ips: kept.addresses(), namespaces }))
    }

    pub(super) async fn list_sandboxes(&self, filter: &SandboxFilter) -> Result<Vec<Sandbox>> {
        let all = match &filter.id {
            Some(id) => self.0.calls.kept_sandbox(id.as_str()).await?.into_iter().collect(),
            None => self.0.calls.all_kept(&[(label::KIND, record::SANDBOX)]).await?,
        };
        let running = self.running_tasks().await?;
        let mut found = Vec::new();
        for kept in all {
            let sandbox = kept.as_sandbox(ready(&kept, running.contains_key(&kept.id)));
            let Some(sandbox) = self.listed(&kept.id, sandbox) else { continue };
            let labelled = filter.labels.iter().all(|(name, value)| sandbox.labels.get(name) == Some(value));
            if labelled && filter.state.is_none_or(|state| state == sandbox.state) {
                found.push(sandbox);
            }
        }
        Ok(found)
    }
}

fn ready(kept: &Kept, running: bool) -> SandboxState {
    if running && kept.started().is_some() { SandboxState::Ready } else { SandboxState::NotReady }
}

/// As containerd keeps it.
pub(super) fn written(spec: &oci_spec::runtime::Spec) -> Result<Vec<u8>> {
    serde_json::to_vec(spec)
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a specification").with_source(error))
}

/// Refuses what this runtime does not have.
fn refuse_unknown(config: &SandboxConfig) -> Result<()> {
    if !matches!(config.handler.as_str(), "" | "runc") {
        let message = format!("there is no runtime handler {:?}: this runtime has runc only", config.handler);
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    if config.security.namespaces.users.is_some() {
        let message =
            "the native containerd runtime has no user namespaces: use a runtime behind a CRI socket for them";
        return Err(Error::new(ErrorKind::NotSupported, message));
    }
    if config.cgroup_parent.ends_with(".slice") {
        let message = format!("{} is a slice of systemd's: this runtime needs a path", config.cgroup_parent);
        return Err(Error::new(ErrorKind::NotSupported, message));
    }
    // Before anything is there.
    bandwidth(config).map(drop)
}

/// The limits that annotations of the pod ask for.
fn bandwidth(config: &SandboxConfig) -> Result<Bandwidth> {
    Ok(Bandwidth {
        ingress: rate(config, "kubernetes.io/ingress-bandwidth")?,
        egress: rate(config, "kubernetes.io/egress-bandwidth")?,
    })
}

/// A rate that an annotation of the pod asks for.
fn rate(config: &SandboxConfig, name: &str) -> Result<Option<Rate>> {
    let Some(text) = config.annotations.get(name) else { return Ok(None) };
    let wrong = || Error::new(ErrorKind::Invalid, format!("{name}: {text:?} is no rate in bits per second"));
    let amount: Amount = text.parse().map_err(|_| wrong())?;
    let bits = u64::try_from(amount.as_i64()).ok().filter(|bits| *bits > 0).ok_or_else(wrong)?;
    Ok(Some(Rate { bits, burst: BURST }))
}

/// Whether something is mounted there: the namespace is on a file system of the kernel's own.
fn is_mounted(at: &std::path::Path) -> bool {
    let magic = nix::sys::statfs::FsType(0x6e73_6673);
    nix::sys::statfs::statfs(at).is_ok_and(|stat| stat.filesystem_type() == magic)
}

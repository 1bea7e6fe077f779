//! Starts a containerd that outlives its starter, finds it again, and stops it.

use std::{
    fs, io,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parking_lot::Mutex;
use windlass_kernel::{ClockExt, ContainerRuntime, Error, ErrorKind, Result, SpawnExt, runtime::SandboxFilter};

use super::{Layout, Settings, leftovers};
use crate::host::{RemoteRuntime, Rim};

/// How long a containerd may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(20);

/// What containerd answers to without a plugin.
const VERSION: &str = "/containerd.services.version.v1.Version/Version";

/// Starts a containerd of one's own.
#[derive(Debug)]
pub struct Launcher {
    settings: Settings,
    layout: Layout,
    rim: Rim,
    programs: Programs,
    child: Mutex<Option<Child>>,
}

/// A containerd that answers.
#[derive(Clone, Debug)]
pub struct Running {
    /// CRI on its socket.
    pub runtime: RemoteRuntime,
    /// The socket.
    pub socket: PathBuf,
    /// Its process id.
    pub pid: i32,
    /// Whether it ran before.
    pub found: bool,
}

/// A containerd whose own services answer.
#[derive(Clone, Debug)]
pub struct Bare {
    /// The socket.
    pub socket: PathBuf,
    /// Its process id.
    pub pid: i32,
    /// Whether it ran before.
    pub found: bool,
}

/// What the plugins of pods are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    AsSettingsSay,
    /// What made the network of a pod is what takes it away.
    AsItIs,
}

#[derive(Clone, Debug)]
struct Programs {
    containerd: PathBuf,
    ctr: PathBuf,
    runc: PathBuf,
    plugins: PathBuf,
}

impl Programs {
    /// Looks for what is needed; `Err` names everything that is missing.
    fn find() -> Result<Self> {
        let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        let program = |name: &str| folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
        let plugins = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
        let plugins = plugins.iter().map(PathBuf::from).find(|folder| folder.join("bridge").exists());
        let found = (program("containerd"), program("ctr"), program("runc"), plugins);
        let missing: Vec<&str> = [
            found.0.is_none().then_some("containerd"),
            found.1.is_none().then_some("ctr"),
            found.2.is_none().then_some("runc"),
            found.3.is_none().then_some("the CNI plugins"),
        ]
        .into_iter()
        .flatten()
        .collect();
        match found {
            (Some(containerd), Some(ctr), Some(runc), Some(plugins)) => Ok(Self { containerd, ctr, runc, plugins }),
            _ => Err(Error::new(ErrorKind::Unavailable, format!("this machine lacks {}", missing.join(", ")))),
        }
    }
}

impl Launcher {
    /// A launcher for what `settings` say. Nothing is started.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) naming what the machine lacks: root or programs.
    pub fn new(settings: Settings, rim: Rim) -> Result<Self> {
        let layout = Layout::of(&settings)?;
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::new(ErrorKind::Unavailable, "containers need root"));
        }
        Ok(Self { settings, layout, rim, programs: Programs::find()?, child: Mutex::new(None) })
    }

    /// Where everything is.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Finds the one that runs, or starts one; waits until its CRI answers.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ErrorKind::Timeout) when it does not answer in time; its log says why.
    pub async fn start(&self) -> Result<Running> {
        self.start_with(Network::AsSettingsSay).await
    }

    async fn start_with(&self, network: Network) -> Result<Running> {
        let (pid, found) = self.find(network)?;
        let runtime = self.answered(|| self.ask_cri().boxed()).await?;
        Ok(Running { runtime, socket: self.layout.socket(), pid, found })
    }

    /// The same without CRI, as the settings may want it: waits until containerd's own services answer.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_bare(&self) -> Result<Bare> {
        let (pid, found) = self.find(Network::AsSettingsSay)?;
        self.answered(|| self.ask_version().boxed()).await?;
        Ok(Bare { socket: self.layout.socket(), pid, found })
    }

    async fn ask_cri(&self) -> Result<RemoteRuntime> {
        let runtime = self.connect().await?;
        match runtime.status().await.is_ok_and(|status| status.runtime.ready) {
            true => Ok(runtime),
            false => Err(Error::new(ErrorKind::Unavailable, "the runtime is not ready")),
        }
    }

    async fn ask_version(&self) -> Result<()> {
        let socket: Arc<str> = self.layout.socket().to_string_lossy().into();
        let channel = windlass_grpc::open(socket, Arc::clone(&self.rim.dial));
        let answer = windlass_grpc::raw(&channel, VERSION, Bytes::new(), Some(PATIENCE)).await?;
        match answer.code {
            0 => Ok(()),
            _ => Err(Error::new(ErrorKind::Unavailable, "containerd does not tell its version")),
        }
    }

    /// The one that runs, or a new one, and whether it ran before.
    fn find(&self, network: Network) -> Result<(i32, bool)> {
        match self.pid() {
            Some(pid) => {
                if network == Network::AsSettingsSay {
                    self.write_network()?;
                }
                self.write_registries()?;
                Ok((pid, true))
            }
            None => Ok((self.spawn(network)?, false)),
        }
    }

    /// Asks until there is an answer.
    async fn answered<'a, T>(&'a self, ask: impl Fn() -> BoxFuture<'a, Result<T>> + Send) -> Result<T> {
        let end = self.rim.clock.uptime() + PATIENCE;
        loop {
            let last = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let log = self.layout.log();
            if self.pid().is_none() {
                let message = format!("containerd ended at once; see {}", log.display());
                return Err(Error::new(ErrorKind::Unavailable, message).with_source(last));
            }
            if self.rim.clock.uptime() >= end {
                let message = format!("containerd does not answer after {PATIENCE:?}; see {}", log.display());
                return Err(Error::new(ErrorKind::Timeout, message).with_source(last));
            }
            self.rim.clock.sleep(PAUSE).await;
        }
    }

    /// What the reference runtime over this containerd's own services is made of. `carrier` is as there.
    #[cfg(feature = "containerd")]
    #[must_use]
    pub fn native(&self, carrier: Vec<String>) -> super::Native {
        let state = &self.layout.state;
        super::Native {
            snapshotter: self.settings.snapshotter.clone(),
            sandbox_image: self.settings.sandbox_image.as_str().into(),
            runc: Some((self.programs.runc.clone(), state.join("runc"))),
            plain_registries: self.settings.plain_registries.clone(),
            mirrors: self.settings.mirrors.clone(),
            ..super::Native::new(self.layout.socket(), state.join("native"), carrier)
        }
    }

    async fn connect(&self) -> Result<RemoteRuntime> {
        RemoteRuntime::connect(self.layout.socket().to_string_lossy().into_owned(), self.rim.clone()).await
    }

    /// The process that runs on our configuration.
    fn pid(&self) -> Option<i32> {
        if let Some(child) = self.child.lock().as_mut() {
            // Our own child is known without a look at its command line, which is empty for a moment at its start. This
            // also takes the exit status, so that an ended child does not look as if it ran.
            if matches!(child.try_wait(), Ok(None)) {
                return i32::try_from(child.id()).ok();
            }
        }
        let pid: i32 = fs::read_to_string(self.layout.pid()).ok()?.trim().parse().ok()?;
        // The number may have gone to another process since.
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.layout.config();
        let ours = command.split(|byte| *byte == 0).any(|argument| argument == config.as_os_str().as_encoded_bytes());
        ours.then_some(pid)
    }

    /// Says anew what the pods' network is, where that is not what was said: containerd sees it when it is written.
    fn write_network(&self) -> Result<()> {
        let (path, text) = self.layout.network_file(&self.settings);
        if !self.settings.cri || fs::read_to_string(&path).is_ok_and(|before| before == text) {
            return Ok(());
        }
        fs::write(&path, text).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("cannot write {}", path.display())).with_source(error)
        })
    }

    /// Says anew where images come from: containerd reads it at every pull.
    fn write_registries(&self) -> Result<()> {
        let folder = self.layout.registries();
        let failed = |path: &Path| {
            let message = format!("cannot write {}", path.display());
            move |error: io::Error| Error::new(ErrorKind::Internal, message).with_source(error)
        };
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&folder)(error)),
            _ => {}
        }
        for (path, text) in self.layout.registry_files(&self.settings) {
            let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
            written.map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Writes the configuration and starts the process in a group of its own: a terminal's signals do not reach it.
    fn spawn(&self, network: Network) -> Result<i32> {
        let failed = |what: String| move |error: io::Error| Error::new(ErrorKind::Internal, what).with_source(error);
        for folder in [&self.layout.data, &self.layout.state] {
            // Others may pass through, as processes in containers with other users do, but not look. A folder that is there
            // already stays as it is.
            let made = fs::DirBuilder::new().recursive(true).mode(0o711).create(folder);
            made.map_err(failed(format!("cannot make {}", folder.display())))?;
        }
        let (there, _) = self.layout.network_file(&self.settings);
        for (path, text) in self.layout.files(&self.settings, &self.programs.plugins, &self.programs.runc) {
            if network == Network::AsItIs && path == there && path.exists() {
                continue;
            }
            let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
            written.map_err(failed(format!("cannot write {}", path.display())))?;
        }
        self.write_registries()?;
        let log = self.layout.log();
        let open = fs::OpenOptions::new().create(true).append(true).open(&log);
        let log = open.map_err(failed(format!("cannot open {}", log.display())))?;
        let errors = log.try_clone().map_err(failed("cannot open the log twice".into()))?;
        let child = Command::new(&self.programs.containerd)
            .arg("--config")
            .arg(self.layout.config())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(failed("cannot start containerd".into()))?;
        let pid = i32::try_from(child.id()).unwrap_or_default();
        *self.child.lock() = Some(child);
        fs::write(self.layout.pid(), pid.to_string()).map_err(failed("cannot note containerd's process".into()))?;
        Ok(pid)
    }

    /// Imports an image archive.
    ///
    /// Through `ctr`, which comes with containerd: CRI cannot import.
    ///
    /// # Errors
    ///
    /// Those that `ctr` reports.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        let mut command = Command::new(&self.programs.ctr);
        command.arg("--address").arg(self.layout.socket()).args(["--namespace", "k8s.io", "images", "import"]);
        command.args(["--snapshotter", &self.settings.snapshotter]).arg(archive).stdin(Stdio::null());
        let name = archive.display().to_string();
        let failed = move |why: String| Error::new(ErrorKind::Internal, format!("cannot import {name}: {why}"));
        let output = self.rim.spawn.run_blocking("cri.import", move || command.output()).await;
        match output {
            Some(Ok(output)) if output.status.success() => Ok(()),
            Some(Ok(output)) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            Some(Err(error)) => Err(failed("ctr did not run".into()).with_source(error)),
            None => Err(failed("it was interrupted".into())),
        }
    }

    /// Stops containerd. Containers go on and are found again by the next [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// [`Timeout`](ErrorKind::Timeout) if it does not end.
    pub async fn stop(&self) -> Result<()> {
        let end = self.rim.clock.uptime() + PATIENCE;
        let mut signal = Some(Signal::SIGTERM);
        while let Some(pid) = self.pid() {
            if let Some(signal) = signal.take() {
                // It may have ended by itself just now.
                let _ = kill(Pid::from_raw(pid), signal);
            }
            if self.rim.clock.uptime() >= end {
                return Err(Error::new(ErrorKind::Timeout, format!("containerd ({pid}) does not end")));
            }
            self.rim.clock.sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Removes every sandbox (of a containerd without CRI whoever runs them has to, before), stops containerd, and removes the bridge, the mounts and the short-lived files; with
    /// `purge` the images and logs too. What is not there is no error.
    ///
    /// # Errors
    ///
    /// The first thing that could not be removed.
    pub async fn tear_down(&self, purge: bool) -> Result<()> {
        if self.settings.cri && self.layout.config().exists() {
            self.remove_sandboxes().await?;
        }
        self.stop().await?;
        let (layout, bridge) = (self.layout.clone(), self.settings.bridge.clone());
        let done =
            self.rim.spawn.run_blocking("cri.tear_down", move || leftovers::remove(&layout, &bridge, purge)).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "the removal was interrupted")))
    }

    /// Only a containerd that runs can remove what it holds: it is started for that if need be.
    async fn remove_sandboxes(&self) -> Result<()> {
        let running = self.start_with(Network::AsItIs).await?;
        for sandbox in running.runtime.sandboxes(&SandboxFilter::default()).await? {
            running.runtime.remove_sandbox(&sandbox.id).await?;
        }
        Ok(())
    }
}

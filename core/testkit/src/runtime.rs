//! A container runtime in memory that keeps its contract. What its containers do is told by a [`Script`].
//!
//! Time passes only through the clock it was given; logs are files of its own, never the machine's.

mod act;
mod images;
mod process;
mod service;
mod state;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, Result, Spawn,
    dial::ByteStream,
    runtime::{Image, ImageId, RegistryAuth, SandboxConfig},
};

pub use self::act::{Act, Launch};
use self::state::State;

/// What a process does: asked for each container that is started and each command in one.
pub type Script = Arc<dyn Fn(&Launch<'_>) -> Act + Send + Sync>;

/// Who answers at a port of a sandbox.
pub type PortScript = Arc<dyn Fn(&SandboxConfig, u16) -> Result<ByteStream> + Send + Sync>;

/// A container runtime and image store in memory. Clones share it.
#[derive(Clone)]
pub struct FakeRuntime {
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    script: Script,
    ports: PortScript,
    checkpoints: bool,
    state: Arc<Mutex<State>>,
}

impl FakeRuntime {
    /// An empty runtime whose processes do what their commands say (see [`Act::of_words`]).
    pub fn new(clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        let closed =
            |_: &SandboxConfig, port| Err(Error::new(ErrorKind::Unavailable, format!("nothing is at port {port}")));
        let (script, ports) = (Arc::new(Act::of_words), Arc::new(closed));
        Self { clock, spawn, script, ports, checkpoints: false, state: Arc::default() }
    }

    /// Lets `script` say what processes do.
    #[must_use]
    pub fn with_script(mut self, script: impl Fn(&Launch<'_>) -> Act + Send + Sync + 'static) -> Self {
        self.script = Arc::new(script);
        self
    }

    /// Lets `ports` answer at the ports of sandboxes.
    #[must_use]
    pub fn with_ports(
        mut self,
        ports: impl Fn(&SandboxConfig, u16) -> Result<ByteStream> + Send + Sync + 'static,
    ) -> Self {
        self.ports = Arc::new(ports);
        self
    }

    /// Makes checkpoints of running containers: files of its own, like logs, that say of which container and within what time.
    #[must_use]
    pub fn with_checkpoints(mut self) -> Self {
        self.checkpoints = true;
        self
    }

    /// Puts an image into the store.
    pub fn add_image(&self, name: &str) -> ImageId {
        self.state.lock().add_image(name)
    }

    /// Puts an image into the registry that pulls are answered from; `auth` is the user name and password that it asks
    /// for.
    pub fn publish(&self, name: &str, auth: Option<(&str, &str)>) {
        let auth = auth.map(|(username, password)| RegistryAuth {
            username: username.into(),
            password: password.into(),
            ..RegistryAuth::default()
        });
        self.state.lock().registry.insert(name.into(), auth);
    }

    /// Lets the images be in a folder of the machine, whose disk then counts as theirs. Otherwise they are nowhere.
    pub fn keep_images_at(&self, folder: &str) {
        folder.clone_into(&mut self.state.lock().images_at);
    }

    /// Lets running containers of that name use so many bytes of memory, and have so many in their layer.
    pub fn consume(&self, container: &str, memory: u64, layer: u64) {
        self.state.lock().usage.insert(container.into(), (memory, layer));
    }

    /// The text of a log; `None` if there is none at the path.
    #[must_use]
    pub fn log(&self, path: &str) -> Option<String> {
        self.state.lock().files.get(path).map(|file| file.lock().clone())
    }

    /// Renames a log. What is open stays open.
    pub fn rename_log(&self, from: &str, to: &str) {
        let mut state = self.state.lock();
        if let Some(file) = state.files.remove(from) {
            state.files.insert(to.into(), file);
        }
    }

    /// Makes every call of a method, by its name in the trait, take so long.
    pub fn slow_down(&self, method: &'static str, span: Duration) {
        self.state.lock().delays.insert(method, span);
    }

    /// Makes the next call of a method fail without effect.
    pub fn fail_next(&self, method: &'static str, kind: ErrorKind) {
        self.state.lock().failures.entry(method).or_default().push_back(kind);
    }

    /// Ends a container's process as if by itself. Nothing happens if it does not run.
    pub fn end(&self, id: &windlass_kernel::runtime::ContainerId, code: i32, reason: &str) {
        let now = self.clock.now();
        self.state.lock().finish(id, code, reason, now);
    }

    /// All images, without a call.
    #[must_use]
    pub fn stored_images(&self) -> Vec<Image> {
        self.state.lock().images.values().cloned().collect()
    }

    /// What comes before every call: its delay, and the failure that was asked for.
    async fn pace(&self, method: &'static str) -> Result<()> {
        let delay = self.state.lock().delays.get(method).copied();
        if let Some(delay) = delay {
            self.clock.sleep(delay).await;
        }
        let failure = self.state.lock().failures.get_mut(method).and_then(std::collections::VecDeque::pop_front);
        failure.map_or(Ok(()), |kind| Err(Error::new(kind, format!("{method} was told to fail"))))
    }
}

impl fmt::Debug for FakeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("FakeRuntime")
            .field("sandboxes", &state.sandboxes.len())
            .field("containers", &state.containers.len())
            .finish_non_exhaustive()
    }
}

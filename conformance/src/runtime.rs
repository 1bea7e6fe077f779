//! What every [`ContainerRuntime`] must keep, and every [`ImageStore`].
//!
//! Checks share nothing but the runtime: each uses names that begin with its own prefix, so that one real runtime serves
//! them all. What they wait for is bounded by the fixture's clock.

mod commands;
mod events;
mod images;
mod lifecycle;
mod listing;
mod sandboxes;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use windlass_kernel::{
    Clock, ClockExt, ContainerRuntime, ErrorKind, ImageStore,
    runtime::{
        ContainerConfig, ContainerId, ContainerKey, ContainerState, ContainerStatus, ImageRef, SandboxConfig,
        SandboxId, SandboxKey, SandboxState,
    },
};

/// How long a check waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a container of the suite does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Runs until it gets its stop signal, then exits with 0.
    Wait,
    /// Runs and takes no notice of its stop signal.
    Stubborn,
    /// Exits at once.
    Exit(i32),
    /// Writes a line to each output, then exits.
    Say {
        /// The line of the standard output.
        stdout: String,
        /// The line of the standard error.
        stderr: String,
        /// The exit code.
        code: i32,
    },
    /// Copies its input to its output until the input ends.
    Copy,
    /// Writes `tick` over and over, some times a second.
    Tick,
    /// Cannot be run.
    Missing,
}

impl Program {
    /// The program as a command for images with a POSIX shell and a `sleep` that takes fractions.
    #[must_use]
    pub fn shell(&self) -> Vec<String> {
        let script = match self {
            Self::Wait => "trap 'exit 0' TERM; while :; do sleep 0.05; done".to_owned(),
            Self::Stubborn => "trap '' TERM; while :; do sleep 0.05; done".to_owned(),
            Self::Exit(code) => format!("exit {code}"),
            Self::Say { stdout, stderr, code } => format!("echo '{stdout}'; echo '{stderr}' >&2; exit {code}"),
            Self::Copy => "exec cat".to_owned(),
            Self::Tick => "while :; do echo tick; sleep 0.05; done".to_owned(),
            Self::Missing => return vec!["/does/not/exist".into()],
        };
        vec!["/bin/sh".into(), "-c".into(), script]
    }
}

/// Reads a file as text; `None` if there is none.
pub type ReadFile = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Renames a file.
pub type RenameFile = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A runtime, and what a check has to know of its surroundings.
#[derive(Clone)]
pub struct Fixture {
    /// The runtime.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Its images.
    pub images: Arc<dyn ImageStore>,
    /// The time that the runtime lives in.
    pub clock: Arc<dyn Clock>,
    /// An image that is there, by a name with a tag.
    pub image: ImageRef,
    /// What makes a container of that image do what the suite needs.
    pub command: fn(&Program) -> Vec<String>,
    /// What this check's names begin with: no other has it.
    pub prefix: String,
    /// A folder for logs, which exists.
    pub logs: String,
    /// Reads a log.
    pub read: ReadFile,
    /// Renames a log.
    pub rename: RenameFile,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("runtime", &self.runtime).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// One check of the suite.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name, a sentence in snake case.
    pub name: &'static str,
    run: fn(Fixture) -> BoxFuture<'static, ()>,
}

impl Check {
    /// Runs the check.
    ///
    /// # Panics
    ///
    /// Where the contract is broken.
    pub async fn run(&self, fixture: Fixture) {
        (self.run)(fixture).await;
    }
}

/// Every check, for harnesses that report them one by one.
#[must_use]
pub fn checks() -> Vec<Check> {
    [sandboxes::CHECKS, lifecycle::CHECKS, listing::CHECKS, commands::CHECKS, events::CHECKS, images::CHECKS].concat()
}

/// Runs every check. `fresh` is given a prefix that differs for each.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn run<F: Future<Output = Fixture>>(fresh: impl Fn(String) -> F) {
    for (number, check) in checks().into_iter().enumerate() {
        tracing::debug!(check = check.name, "runtime suite");
        check.run(fresh(format!("c{number}")).await).await;
    }
}

impl Fixture {
    fn sandbox_config(&self, name: &str) -> SandboxConfig {
        let name = format!("{}-{name}", self.prefix);
        SandboxConfig {
            hostname: name.clone(),
            log_directory: self.logs.clone(),
            labels: self.labels(),
            annotations: BTreeMap::from([("example.com/note".into(), "kept".into())]),
            key: SandboxKey { uid: format!("uid-{name}"), name, namespace: "default".into(), attempt: 0 },
            ..SandboxConfig::default()
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("suite".into(), self.prefix.clone())])
    }

    fn container_config(&self, name: &str, program: &Program) -> ContainerConfig {
        ContainerConfig {
            key: ContainerKey { name: name.into(), attempt: 0 },
            image: self.image.clone(),
            command: (self.command)(program),
            labels: BTreeMap::from([("suite".into(), self.prefix.clone()), ("name".into(), name.into())]),
            annotations: BTreeMap::from([("example.com/note".into(), "kept too".into())]),
            log_path: format!("{}-{name}.log", self.prefix),
            ..ContainerConfig::default()
        }
    }

    async fn sandbox(&self, name: &str) -> Pod<'_> {
        let config = self.sandbox_config(name);
        let id = self.runtime.run_sandbox(&config).await.expect("a sandbox runs");
        Pod { fixture: self, config, id }
    }

    async fn status(&self, id: &ContainerId) -> ContainerStatus {
        self.runtime.container(id).await.expect("a status is told").expect("the container is there")
    }

    async fn exited(&self, id: &ContainerId) -> ContainerStatus {
        self.until("the container to exit", || async {
            let status = self.status(id).await;
            (status.container.state == ContainerState::Exited).then_some(status)
        })
        .await
    }

    /// Looks until there is something to see.
    async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let end = self.clock.uptime() + PATIENCE;
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(self.clock.uptime() < end, "waited {PATIENCE:?} for {what}");
            self.clock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for what has to happen on its own.
    async fn within<F: Future + Send>(&self, what: &str, work: F) -> F::Output
    where
        F::Output: Send,
    {
        match self.clock.within(PATIENCE, work).await {
            Some(done) => done,
            None => panic!("waited {PATIENCE:?} for {what}"),
        }
    }
}

/// A sandbox of a check.
struct Pod<'a> {
    fixture: &'a Fixture,
    config: SandboxConfig,
    id: SandboxId,
}

impl Pod<'_> {
    async fn create(&self, config: &ContainerConfig) -> ContainerId {
        let created = self.fixture.runtime.create_container(&self.id, config, &self.config).await;
        created.expect("a container is created")
    }

    /// A started container.
    async fn start(&self, name: &str, program: &Program) -> ContainerId {
        let id = self.create(&self.fixture.container_config(name, program)).await;
        self.fixture.runtime.start_container(&id).await.expect("a container starts");
        id
    }

    async fn state(&self) -> Option<SandboxState> {
        let status = self.fixture.runtime.sandbox(&self.id).await.expect("a status is told");
        status.map(|status| status.sandbox.state)
    }

    /// Ends the check: what it made goes.
    async fn remove(self) {
        self.fixture.runtime.remove_sandbox(&self.id).await.expect("a sandbox is removed");
    }
}

#[track_caller]
fn refused<T: fmt::Debug>(answer: windlass_kernel::Result<T>, kind: ErrorKind) {
    let error = answer.expect_err("it has to be refused");
    assert!(error.is(kind), "refused with {:?} in place of {kind:?}: {error}", error.kind());
}

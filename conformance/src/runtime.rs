//! What every [`ContainerRuntime`] must keep, and every [`ImageStore`]; and what a CRI server must answer on the wire.
//!
//! Checks share nothing but the runtime: each uses names that begin with its own prefix, so that one real runtime serves
//! them all. What they wait for is bounded by the fixture's clock. What a check leaves on the machine is named after it.

mod commands;
mod config;
mod crash;
mod events;
mod images;
mod lifecycle;
mod listing;
mod machine;
mod parallel;
mod perform;
mod program;
mod sandboxes;
mod sessions;
mod traced;
mod usage;
mod wire;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use windlass_kernel::{
    Clock, ClockExt, ContainerRuntime, ErrorKind, ImageStore,
    runtime::{
        ContainerConfig, ContainerId, ContainerKey, ContainerState, ContainerStatus, ImageRef, Pull, SandboxConfig,
        SandboxId, SandboxKey, SandboxState,
    },
};

pub use self::{
    machine::Machine,
    perform::{cases, perform, run, warm_up},
    program::Program,
    traced::Traced,
};
use crate::report::Trace;

/// How long a check waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a program may take to say how it takes its signal.
const READY: Duration = Duration::from_secs(10);

/// Reads a file as text; `None` if there is none.
pub type ReadFile = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Renames a file.
pub type RenameFile = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Kills the runtime at once and starts it anew. It has ended when the runtime answers again.
pub type Restart = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A call of a method, such as `/runtime.v1.RuntimeService/Version`, word by word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawCall {
    /// The method.
    pub method: &'static str,
    /// The message, as it is.
    pub message: Vec<u8>,
    /// How long the caller waits. The server is told, as gRPC does.
    pub deadline: Option<Duration>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawAnswer {
    /// gRPC's code.
    pub code: i32,
    /// The answer's message, where there is one.
    pub body: Vec<u8>,
}

/// Makes a call of a server.
pub type Raw = Arc<dyn Fn(RawCall) -> BoxFuture<'static, RawAnswer> + Send + Sync>;

/// What a runtime offers that nothing in its traits says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Whether it tells of everything that happens. Otherwise its events may be nothing but reminders to look.
    pub events: bool,
    /// Whether commands get terminals that have a size.
    pub terminals: bool,
    /// Whether containers run programs in files of their own, with mounts, environments and users.
    pub containers: bool,
    /// A port at which programs of sandboxes can be reached, where they can.
    pub port: Option<u16>,
}

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
    /// The control group above what the checks make; empty leaves it to the runtime.
    pub cgroup_parent: String,
    /// The runtime handler; empty for the default one.
    pub handler: String,
    /// A folder for logs, which exists.
    pub logs: String,
    /// Reads a log.
    pub read: ReadFile,
    /// Renames a log.
    pub rename: RenameFile,
    /// What the runtime offers.
    pub offers: Offers,
    /// An image that a registry has and nobody needs: it is pulled and removed.
    pub pull: Option<Pull>,
    /// The machine that it runs on, where what is left there can be seen.
    pub machine: Option<Machine>,
    /// Kills the runtime, where that can be done.
    pub restart: Option<Restart>,
    /// Talks to the server word by word, where there is one.
    pub raw: Option<Raw>,
    /// Where the calls are noted.
    pub trace: Trace,
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("runtime", &self.runtime).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// One check of the suite, by clauses of CRI (`runtime.v1`).
///
/// It is run with [`perform`], which looks for what is left.
pub type Check = crate::check::Check<Fixture>;

/// Every check, for harnesses that report them one by one.
#[must_use]
pub fn checks() -> Vec<Check> {
    [
        sandboxes::CHECKS,
        lifecycle::CHECKS,
        listing::CHECKS,
        config::CHECKS,
        commands::CHECKS,
        sessions::CHECKS,
        events::CHECKS,
        usage::CHECKS,
        images::CHECKS,
        parallel::CHECKS,
        crash::CHECKS,
        wire::CHECKS,
    ]
    .concat()
}

/// Nothing beyond the runtime itself is needed.
fn always(_: &Fixture) -> Option<&'static str> {
    None
}

fn without_containers(fixture: &Fixture) -> Option<&'static str> {
    (!fixture.offers.containers).then_some("containers of this runtime have no files of their own")
}

impl Fixture {
    fn sandbox_config(&self, name: &str) -> SandboxConfig {
        let name = format!("{}-{name}", self.prefix);
        SandboxConfig {
            hostname: name.clone(),
            log_directory: self.logs.clone(),
            cgroup_parent: self.cgroup_parent.clone(),
            handler: self.handler.clone(),
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
            // Runtimes that verify signatures refuse containers without (CRI-O).
            user_image: self.image.to_string(),
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

    /// Waits until a container has said that it is ready for a signal, or as long as a slow one may take to say so.
    async fn ready(&self, id: &ContainerId) {
        let path = self.status(id).await.log_path;
        let told = async {
            while !(self.read)(&path).is_some_and(|text| text.contains(Program::READY)) {
                self.clock.sleep(Duration::from_millis(10)).await;
            }
        };
        // Logs have checks of their own.
        let _ = self.clock.within(READY, told).await;
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

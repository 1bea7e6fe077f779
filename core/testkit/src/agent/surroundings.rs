//! What a node gives the programs of its pods beside a place to run, as a kubelet does for containers.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use futures::{future::BoxFuture, stream::BoxStream};
use windlass_api::core::v1::{Container, LifecycleHandler, Pod, Probe};
use windlass_kernel::{Clock, Dial, Spawn, node::Notice, runtime::ExecOutput};

/// Whose surroundings they are.
#[derive(Clone, Debug)]
pub struct Own {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The pod's address.
    pub ip: String,
    /// The node's address.
    pub host_ip: String,
}

/// Where the volumes of a pod are made.
#[derive(Clone, Debug)]
pub struct Folders {
    /// What goes with the pod.
    pub pod: PathBuf,
    /// What its node has in place of a file system.
    pub node: PathBuf,
    /// What is claimed and outlives pods.
    pub claims: PathBuf,
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// Whether the container has started.
    Startup,
    /// Whether it is still alive.
    Liveness,
    /// Whether it can serve.
    Readiness,
}

/// What an answer means: what was wrong with it, and a verdict where there is a new one.
pub type Answer = (Option<String>, Option<bool>);

/// Runs a command in place of a container.
pub type Exec = Arc<dyn Fn(Vec<String>) -> BoxFuture<'static, ExecOutput> + Send + Sync>;

/// A container that can be asked.
#[derive(Clone)]
pub struct Contact {
    /// The container.
    pub container: Container,
    /// The pod's address.
    pub ip: String,
    /// Runs commands in it.
    pub exec: Exec,
    /// Reaches the ports of its pod.
    pub dial: Arc<dyn Dial>,
    /// Where connections run.
    pub spawn: Arc<dyn Spawn>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact").field("container", &self.container.name).finish_non_exhaustive()
    }
}

/// Makes what surrounds programs, asks them, and tells of them.
#[async_trait]
pub trait Surroundings: fmt::Debug + Send + Sync + 'static {
    /// The environment of a container, in its order; an error is why the container cannot be made yet.
    async fn environment(&self, own: &Own, container: &Container) -> Result<Vec<(String, String)>, String>;

    /// The volumes of a pod, none of which is made yet.
    fn volumes(&self, own: &Own, folders: Folders) -> Box<dyn PodVolumes>;

    /// Where a container finds the volumes of its pod: the path of each mount, and what is there.
    fn mounts(
        &self,
        container: &Container,
        env: &[(String, String)],
        volumes: &BTreeMap<String, PathBuf>,
    ) -> Result<Vec<(String, PathBuf)>, String>;

    /// Probes a container that has just begun. The stream ends with a verdict that is final.
    fn probe(&self, contact: &Contact, what: Probing, probe: &Probe) -> BoxStream<'static, Answer>;

    /// Runs a hook to its end; an error is what was wrong with its answer.
    async fn hook(&self, contact: &Contact, hook: &LifecycleHandler) -> Result<(), String>;

    /// Makes an Event.
    fn notice(&self, notice: Notice);
}

/// The volumes of one pod.
#[async_trait]
pub trait PodVolumes: Send + Sync {
    /// Makes them all, or writes again what has changed, and says where each is; an error is why one cannot be made.
    async fn make(&mut self, pod: &Pod) -> Result<BTreeMap<String, PathBuf>, String>;

    /// Waits until what they show has changed.
    async fn outdated(&self, pod: &Pod);
}

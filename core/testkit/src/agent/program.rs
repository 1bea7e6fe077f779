//! Programs: what runs in containers of certain images in place of a script, such as a closure or a function of Python.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Weak},
};

use futures::future::BoxFuture;
use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::{Clock, Stop, dial::ByteStream};

use super::{Inner, disk::Disk, life::Instance, pod::Id};

/// What runs in a container.
pub trait Program: fmt::Debug + Send + Sync + 'static {
    /// Runs until the process ends, and says its exit code. Dropping the future kills the process.
    fn run(&self, process: Process) -> BoxFuture<'static, i32>;

    /// Whether a container is ready as soon as it runs, and its readiness probe, if it has one, succeeds. Otherwise it is
    /// so when the program says so too.
    fn ready_at_once(&self) -> bool {
        true
    }
}

/// Finds the program of a container.
type Find = dyn Fn(&Container) -> Option<Arc<dyn Program>> + Send + Sync;

/// Which containers run programs, and where the files of those are. The default knows none.
#[derive(Clone, Default)]
pub struct Programs {
    find: Option<Arc<Find>>,
    disk: Disk,
}

impl Programs {
    /// The programs that `find` knows: it is asked once for each container of each pod that begins.
    #[must_use]
    pub fn new(find: impl Fn(&Container) -> Option<Arc<dyn Program>> + Send + Sync + 'static) -> Self {
        Self { find: Some(Arc::new(find)), disk: Disk::default() }
    }

    /// The same programs with files that others know too.
    #[must_use]
    pub fn with_disk(self, disk: Disk) -> Self {
        Self { disk, ..self }
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The programs of a pod, by container; `None` where it is a script's.
    pub(super) fn of(&self, pod: &Pod) -> Option<BTreeMap<String, Arc<dyn Program>>> {
        let find = self.find.as_ref()?;
        let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
        let found: BTreeMap<_, _> = containers.filter_map(|own| Some((own.name.clone(), find(own)?))).collect();
        (!found.is_empty()).then_some(found)
    }
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs").field("find", &self.find.is_some()).field("disk", &self.disk).finish()
    }
}

/// Carries out a command.
pub type Commands = Arc<dyn Fn(&[String]) -> Option<(i32, Vec<u8>)> + Send + Sync>;

/// Takes a connection to a port.
pub type Serve = Arc<dyn Fn(ByteStream) + Send + Sync>;

/// One run of a program: what it is given, and what it can do.
#[derive(Clone, Debug)]
pub struct Process {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container, with its command and arguments.
    pub container: Container,
    /// The environment, in its order.
    pub env: Vec<(String, String)>,
    /// How often the container ran before in this pod.
    pub restarts: i32,
    /// The pod's volumes: the folder of each.
    pub volumes: BTreeMap<String, PathBuf>,
    /// Where the container finds them: the path of each mount, and the folder or file that is there.
    pub mounts: Vec<(String, PathBuf)>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) agent: Weak<Inner>,
    pub(super) id: Id,
    pub(super) instance: Arc<Instance>,
    pub(super) stop: Stop,
}

impl Process {
    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Asked for when the pod is to end. Whoever has not ended when the grace period is over is killed.
    #[must_use]
    pub fn stopping(&self) -> &Stop {
        &self.stop
    }

    /// Appends to the container's log.
    pub fn write(&self, text: &str) {
        self.instance.write(text, self.clock.now());
    }

    /// Says whether the container is ready.
    pub fn ready(&self, ready: bool) {
        // A thread may outlive the process that it was.
        let Some(agent) = self.agent.upgrade().filter(|_| !self.instance.ended()) else { return };
        let signs = self.instance.sign(|signs| signs.said = ready);
        agent.step(&self.id, &mut |running, _| running.set_signs(&self.container.name, signs));
    }

    /// Lets `run` carry out the commands of sessions and probes, as long as this process runs: an exit code and what was
    /// written. Those that it leaves alone are answered as in any simulated container.
    pub fn carry_out(&self, run: Commands) {
        self.instance.carry_out(run);
    }

    /// Hands connections to a port of the pod to `serve`, as long as this process runs.
    pub fn serve(&self, port: u16, serve: Serve) {
        self.instance.serve(port, serve);
    }
}

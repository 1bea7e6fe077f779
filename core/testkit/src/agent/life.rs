//! The life of a pod whose containers run programs: what outlives its containers, and how it begins and ends.

mod health;
mod instance;
mod player;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_listener::Event;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use windlass_api::core::v1::Pod;
use windlass_kernel::{
    ClockExt, Dial, Error, ErrorKind, Result, SpawnExt, Stop,
    api::Chunks,
    dial::{ByteStream, Target},
    node::{LogRequest, Ports},
};

pub(super) use self::instance::Instance;
use self::player::Player;
use super::{
    Inner,
    disk::Disk,
    pod::{Id, Running},
    program::{Program, Serve},
};

/// What outlives the containers of a pod: logs, ports, volumes, and the wish that it ends.
#[derive(Debug)]
pub(super) struct Life {
    stop: Stop,
    instances: Mutex<BTreeMap<String, Instances>>,
    /// The pod as it is now.
    pod: Mutex<Arc<Pod>>,
    changes: Event,
    folder: Mutex<Option<Folder>>,
}

#[derive(Debug, Default)]
struct Instances {
    now: Arc<Instance>,
    before: Option<Arc<Instance>>,
}

/// A folder that is removed when it is dropped, by whoever made it.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    disk: Disk,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // In a child of the process that made it, the disk is another's.
        if self.disk.made().is_some() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Life {
    fn new(pod: &Arc<Pod>) -> Self {
        Self {
            stop: Stop::new(),
            instances: Mutex::default(),
            pod: Mutex::new(Arc::clone(pod)),
            changes: Event::new(),
            folder: Mutex::default(),
        }
    }

    pub(super) fn stop(&self) {
        self.stop.stop();
    }

    /// Removes what goes with the pod.
    pub(super) fn release(&self) {
        let folder = self.folder.lock().take();
        drop(folder);
    }

    /// Takes the pod as it is now, for volumes that show it.
    pub(super) fn update(&self, pod: &Arc<Pod>) {
        let before = std::mem::replace(&mut *self.pod.lock(), Arc::clone(pod));
        let (old, new) = (&before.metadata, &pod.metadata);
        if old.labels != new.labels || old.annotations != new.annotations {
            self.changes.notify(usize::MAX);
        }
    }

    fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.pod.lock())
    }

    fn begin(&self, container: &str) -> Arc<Instance> {
        let mut instances = self.instances.lock();
        let new = Arc::new(Instance::default());
        match instances.get_mut(container) {
            Some(own) => own.before = Some(std::mem::replace(&mut own.now, Arc::clone(&new))),
            None => drop(instances.insert(container.into(), Instances { now: Arc::clone(&new), before: None })),
        }
        new
    }

    /// The present run of a container; without a name, of the first one.
    pub(super) fn instance(&self, container: &str) -> Option<Arc<Instance>> {
        let instances = self.instances.lock();
        let own = if container.is_empty() { instances.values().next() } else { instances.get(container) };
        own.map(|own| Arc::clone(&own.now))
    }

    pub(super) fn logs(&self, request: LogRequest) -> Result<Chunks> {
        let name = &request.container;
        let instance = if request.previous {
            self.instances.lock().get(name).and_then(|own| own.before.clone())
        } else {
            self.instance(name)
        };
        let Some(instance) = instance else {
            let what = if request.previous { "previous terminated container" } else { "container" };
            let pod = &request.pod.name;
            return Err(Error::new(ErrorKind::BadRequest, format!("{what} {name:?} in pod {pod:?} not found")));
        };
        Ok(instance.logs(request))
    }

    fn served(&self, port: u16) -> Option<Serve> {
        self.instances.lock().values().find_map(|own| own.now.served(port))
    }

    fn connect(&self, port: u16) -> Result<ByteStream> {
        let Some(serve) = self.served(port) else {
            return Err(Error::new(ErrorKind::Unavailable, format!("connect to port {port}: connection refused")));
        };
        let (near, far) = crate::pipe::duplex();
        serve(Box::new(far));
        Ok(Box::new(near))
    }
}

/// The ports that a pod's programs serve.
pub(super) struct Served(pub(super) Arc<Life>);

impl Ports for Served {
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>> {
        let connected = self.0.connect(port);
        async move { connected }.boxed()
    }
}

/// Reaches the ports of one pod at its own address, and nothing else.
#[derive(Debug)]
struct Within {
    life: Arc<Life>,
    ip: String,
}

#[async_trait]
impl Dial for Within {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        match target {
            Target::Host { host, port } if *host == self.ip || host == "localhost" || host == "127.0.0.1" => {
                self.life.connect(*port)
            }
            other => Err(Error::new(ErrorKind::Unavailable, format!("{other:?} is out of a simulated pod's reach"))),
        }
    }
}

impl Inner {
    /// Begins the life of a pod, as a task of its own.
    pub(super) fn live(self: &Arc<Self>, id: &Id, running: &mut Running, programs: BTreeMap<String, Arc<dyn Program>>) {
        let life = Arc::new(Life::new(&running.pod));
        running.conceive();
        let player = Player {
            agent: Arc::downgrade(self),
            clock: Arc::clone(&self.clock),
            spawn: Arc::clone(&self.spawn),
            id: id.clone(),
            pod: Arc::clone(&running.pod),
            ip: running.status.pod_ip.clone().unwrap_or_default(),
            host_ip: self.node.address.clone(),
            node: self.node.name.clone(),
            disk: self.node.programs.disk().clone(),
            pause: self.node.behaviour_of(&running.pod).restart,
            around: self.surroundings.get().cloned(),
            life: Arc::clone(&life),
            programs,
        };
        running.life = Some(life);
        running.script = Some(Arc::new(self.spawn.spawn("fake.pod", player.run())));
    }

    /// Waits for the end of a pod's life, but not longer than its grace period, and releases it.
    pub(super) fn outlive(self: &Arc<Self>, id: &Id, running: &mut Running, grace: Duration) -> BoxFuture<'static, ()> {
        let (agent, clock) = (Arc::downgrade(self), Arc::clone(&self.clock));
        let (script, id) = (running.script.take(), id.clone());
        let outlived = async move {
            if let Some(life) = &script {
                clock.within(grace, life.ended()).await;
            }
            // Whoever still runs is killed.
            drop(script);
            if let Some(agent) = agent.upgrade() {
                agent.step(&id, &mut Running::released);
            }
        };
        outlived.boxed()
    }
}

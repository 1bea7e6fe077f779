//! The folder in which plugins of the node make themselves known by sockets, as kubelets watch one (`plugins_registry`).
//!
//! Each socket is spoken with by a task of its own: one that hangs or says nonsense keeps nobody else waiting, and is told of
//! in an event of the node.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_kernel::{
    Clock, ClockExt, DevicePlugin, Error, Result, Spawn, SpawnExt, Task, VolumeDriver,
    node::{About, NodeContext, Notice},
};

use crate::{
    arrivals::Arrivals,
    devices::{Devices, Registered},
    drivers::Drivers,
};

/// How long a socket may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Delays after a failure, and between looks where the kernel does not tell of changes.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_secs(10);

/// What registers itself at a socket.
#[derive(Clone, Debug)]
pub enum Found {
    /// A volume driver.
    Driver(Arc<dyn VolumeDriver>),
    /// A device plugin, and what it brings.
    Devices(String, Arc<dyn DevicePlugin>),
}

/// Speaks with what registers itself at a socket.
#[async_trait]
pub trait Greeting: std::fmt::Debug + Send + Sync + 'static {
    /// What registers itself there.
    async fn found(&self, socket: &Path) -> Result<Found>;

    /// Tells it what came of that: nothing, or why it was refused.
    async fn answer(&self, socket: &Path, refused: Option<&str>) -> Result<()>;
}

/// Adds the plugins that register themselves in a folder, and removes those whose sockets go.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The folder. It is made if it is missing.
    pub folder: PathBuf,
    /// Speaks with them.
    pub greeting: Arc<dyn Greeting>,
    /// Where volume drivers are added.
    pub drivers: Drivers,
    /// Where device plugins are added.
    pub devices: Devices,
    /// The cluster, for events.
    pub context: Arc<dyn NodeContext>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where tasks run.
    pub spawn: Arc<dyn Spawn>,
}

/// A socket file; another one of the same path is another.
type Socket = (PathBuf, u64, i64);

/// A plugin that is spoken with, until this is dropped.
#[derive(Debug)]
struct Plugin {
    drivers: Drivers,
    devices: Devices,
    added: Arc<Mutex<Option<Added>>>,
    _task: Task,
}

/// What was added, as it is removed.
#[derive(Clone, Debug)]
enum Added {
    Driver(String),
    Devices(Registered),
}

impl Drop for Plugin {
    fn drop(&mut self) {
        match self.added.lock().take() {
            Some(Added::Driver(name)) => self.drivers.remove(&name),
            Some(Added::Devices(registered)) => self.devices.remove(&registered),
            None => {}
        }
    }
}

impl Registry {
    /// Watches until it is dropped; then the drivers that it added are forgotten.
    pub async fn run(self) {
        let (arrivals, mut plugins, mut watched) = (Arrivals::default(), BTreeMap::new(), None);
        loop {
            let folder = self.folder.clone();
            let made = self.spawn.run_blocking("node.registry", move || fs::create_dir_all(folder)).await;
            if let Some(Err(error)) = made {
                let folder = self.folder.display();
                tracing::warn!(%folder, %error, "the folder in which plugins register cannot be made");
            }
            let next = arrivals.watch(&self.folder, &*self.spawn);
            let heard = next.as_ref().map(crate::arrivals::Watched::listen);
            drop(std::mem::replace(&mut watched, next));
            let folder = self.folder.clone();
            let sockets = self.spawn.run_blocking("node.registry", move || sockets(&folder)).await.unwrap_or_default();
            plugins.retain(|socket, _| sockets.contains(socket));
            for socket in sockets {
                plugins.entry(socket).or_insert_with_key(|socket| self.greet(&socket.0));
            }
            match heard {
                Some(heard) => heard.await,
                None => self.clock.sleep(LOOK).await,
            }
        }
    }

    /// Speaks with a socket until it has been added.
    fn greet(&self, socket: &Path) -> Plugin {
        let added = Arc::<Mutex<Option<Added>>>::default();
        let (this, socket, known) = (self.clone(), socket.to_owned(), Arc::clone(&added));
        let task = self.spawn.spawn("node.plugin", async move {
            let mut delay = FIRST;
            while let Err(error) = this.register(&socket, &known).await {
                this.tell(&socket, &error);
                this.clock.sleep(delay).await;
                delay = (delay * 2).min(LONGEST);
            }
        });
        Plugin { drivers: self.drivers.clone(), devices: self.devices.clone(), added, _task: task }
    }

    async fn register(&self, socket: &Path, known: &Mutex<Option<Added>>) -> Result<()> {
        let found = self.clock.timeout(PATIENCE, self.greeting.found(socket)).await.flatten();
        let added = match found {
            Ok(Found::Driver(driver)) => self.drivers.add(driver, &*self.clock).await.map(Added::Driver),
            Ok(Found::Devices(resource, plugin)) => {
                self.devices.add(&resource, plugin, &self.clock, &self.spawn).map(Added::Devices)
            }
            Err(error) => Err(error),
        };
        // From here to the note nothing waits: a plugin that was added is always removed with its socket.
        let refused = added.as_ref().err().map(ToString::to_string);
        if let Ok(added) = &added {
            *known.lock() = Some(added.clone());
        }
        let answered = self.clock.timeout(PATIENCE, self.greeting.answer(socket, refused.as_deref())).await.flatten();
        if let (Err(error), Ok(added)) = (&answered, &added) {
            // It serves all the same.
            tracing::warn!(?added, %error, "a plugin was not told that it is registered");
        }
        added.map(|added| tracing::info!(?added, socket = %socket.display(), "a plugin registered itself"))
    }

    fn tell(&self, socket: &Path, error: &Error) {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let message = format!("registration of the plugin at {} failed: {error}{cause}", socket.display());
        tracing::warn!("{message}");
        self.context.notice(Notice {
            about: About::Node,
            kind: "Warning",
            reason: "FailedPluginRegistration".into(),
            message,
            field_path: String::new(),
        });
    }
}

/// The sockets in a folder.
fn sockets(folder: &Path) -> Vec<Socket> {
    let socket = |entry: fs::DirEntry| {
        let meta = entry.metadata().ok()?;
        meta.file_type().is_socket().then(|| (entry.path(), meta.ino(), meta.ctime_nsec()))
    };
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(socket).collect()
}

//! Drivers to be checked, each in folders of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use futures::FutureExt;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use windlass_conformance::volume::{Fixture, Offers};
use windlass_csi::{
    host::RemoteDriver,
    hostpath::{HostPath, Settings},
    skel::{self, Setup},
};
use windlass_kernel::{Stop, VolumeDriver, volume::Secrets};
use windlass_lab::Rim;

/// How large the volumes of the checks are.
const SIZE: u64 = 4 << 20;

/// Into a mount namespace of one's own. The error says what the machine lacks.
pub(crate) fn enter() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("no mount namespace (needs root): {error}"))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| format!("mounts cannot be kept apart: {error}"))?;
    let found = Command::new("losetup").arg("--version").stdout(Stdio::null()).status();
    found.map_err(|error| format!("there is no losetup: {error}"))?;
    Path::new("/dev/loop-control").exists().then_some(()).ok_or_else(|| "there are no loop devices".into())
}

/// How a driver is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// By calls.
    Direct,
    /// By a host, over a server in this process.
    Hosted,
    /// By a host, in another process.
    Process,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Hosted => "hosted",
            Self::Process => "process",
        }
    }
}

/// Everything that a test needs.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) runtime: Runtime,
    pub(crate) rim: Rim,
}

/// What is around a driver. It all ends with this.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    stop: Stop,
    child: Arc<Mutex<Option<Child>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.stop();
        end(&self.child);
        // A check that failed may have left mounts, which keep the folder from going.
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let at = table.lines().rev().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        for at in at.filter(|at| at.starts_with(self.folder.path())) {
            let _ = nix::mount::umount(&at);
        }
    }
}

/// Ends a process at once.
fn end(child: &Mutex<Option<Child>>) {
    if let Some(mut child) = child.lock().take() {
        child.kill().expect("a driver is killed");
        child.wait().expect("a driver ends");
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("csi").tempdir().expect("a folder");
        fs::create_dir(folder.path().join("work")).expect("a folder");
        Self { folder, stop: Stop::new(), child: Arc::default() }
    }

    /// Ends the server of the place.
    pub(crate) fn end(&self) {
        self.stop.stop();
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("csi.sock")
    }
}

impl Kit {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let rim = windlass_lab::rim(runtime.handle());
        Self { runtime, rim }
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup { clock: Arc::clone(&self.rim.clock), spawn: Arc::clone(&self.rim.spawn) }
    }

    /// The driver of this crate, with the folders of a place.
    pub(crate) fn hostpath(&self, place: &Place) -> HostPath {
        HostPath::open(Settings::at(place.root(), "n1"), self.setup()).expect("a driver")
    }

    /// A driver behind a socket in this process.
    pub(crate) fn served(&self, driver: Arc<dyn VolumeDriver>, place: &Place) -> RemoteDriver {
        let (socket, stop) = (place.socket(), place.stop.clone());
        self.runtime.block_on(async {
            // Bound when this returns; so whoever connects next is answered.
            let serving = skel::bind(driver, &socket).expect("a socket");
            self.rim.spawn.start("serve", serving.run(stop).map(|done| done.expect("a server ends well")).boxed());
            self.connect(&socket).await
        })
    }

    async fn connect(&self, socket: &Path) -> RemoteDriver {
        let socket = socket.display().to_string();
        RemoteDriver::connect(socket, Arc::clone(&self.rim.dial)).await.expect("a driver answers")
    }

    pub(crate) fn fixture(&self, kind: Kind) -> (Fixture, Place) {
        let place = Place::new();
        let fixture = match kind {
            Kind::Direct => self.around(&place, Arc::new(self.hostpath(&place))),
            Kind::Hosted => self.remote(&place, self.served(Arc::new(self.hostpath(&place)), &place)),
            Kind::Process => {
                let root = place.root();
                self.process(&place, move || {
                    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-hostpath"));
                    command.arg(&root).arg("n1");
                    command
                })
            }
        };
        (fixture, place)
    }

    /// A driver in a process of its own, which can be killed.
    pub(crate) fn process(&self, place: &Place, command: impl Fn() -> Command + Send + Sync + 'static) -> Fixture {
        let (socket, child) = (place.socket(), Arc::clone(&place.child));
        spawn(command(), &socket, &child);
        let remote = self.runtime.block_on(self.connect(&socket));
        let again = remote.clone();
        let mut fixture = self.remote(place, remote);
        fixture.restart = Some(Arc::new(move || {
            end(&child);
            spawn(command(), &socket, &child);
            let driver = again.clone();
            // A connection that was cut is noticed by the first call on it.
            async move { while driver.info().await.is_err() {} }.boxed()
        }));
        fixture
    }

    pub(crate) fn remote(&self, place: &Place, driver: RemoteDriver) -> Fixture {
        let raw = driver.clone();
        let mut fixture = self.around(place, Arc::new(driver));
        fixture.raw = Some(Arc::new(move |method, message| {
            let driver = raw.clone();
            async move { driver.raw(method, message.into()).await.expect("a driver answers").code }.boxed()
        }));
        fixture
    }

    pub(crate) fn around(&self, place: &Place, driver: Arc<dyn VolumeDriver>) -> Fixture {
        Fixture {
            driver,
            clock: Arc::clone(&self.rim.clock),
            prefix: "c".into(),
            folder: place.work(),
            state: Some(place.root()),
            parameters: [("kind".to_owned(), "fast".to_owned())].into(),
            secrets: Secrets([("key".to_owned(), "hidden".to_owned())].into()),
            size: SIZE,
            fs_type: String::new(),
            offers: Offers { folders: true, blocks: true, ephemeral: true },
            restart: None,
            raw: None,
        }
    }
}

/// Starts a driver, and waits until it answers.
fn spawn(mut command: Command, socket: &Path, child: &Mutex<Option<Child>>) {
    let mut started = command
        .env("CSI_ENDPOINT", format!("unix://{}", socket.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a driver starts");
    let mut line = String::new();
    BufReader::new(started.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    assert!(line.starts_with("serving on"), "the driver did not start: {line:?}");
    *child.lock() = Some(started);
}

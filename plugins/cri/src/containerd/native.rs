//! The reference runtime: sandboxes, containers and images over containerd's own services, without its CRI plugin.
//!
//! Networks are a [`PodNetwork`]'s. Everything else is containerd's: what is known of a sandbox or a container is kept by containerd
//! as labels and an extension of its record, so that whoever starts anew finds all of it; below the state directory are only what the
//! kernel holds (mounts, named pipes) and files that a container sees.
//!
//! A sandbox is a process of its own (a pause), not just pinned namespaces: containers that share processes need a first one that
//! reaps, one shim then carries the whole pod, and the low-level runtime makes the namespaces and brings the loopback up. Its network
//! namespace is pinned by a mount, so that it can be taken down in good order even after the process was killed.

mod calls;
mod carry;
mod containers;
mod events;
mod execs;
mod exits;
mod files;
mod frames;
mod groups;
mod images;
mod info;
mod ports;
mod pulls;
mod record;
mod runtime;
mod sandboxes;
mod sessions;
mod spec;
mod streams;
mod unpack;
mod usage;
mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Weak},
    time::Duration,
};

use containerd_client::services::v1 as api;
use futures::{FutureExt, StreamExt, channel::oneshot};
use parking_lot::Mutex;
use prost_types::Any;
use windlass_kernel::{
    EntropyExt, Error, ErrorKind, PodNetwork, Result, SpawnExt, Task,
    dial::Target,
    runtime::{ContainerFilter, FsUsage, ImageRef, RuntimeEvent},
};

pub use self::carry::carry;
use self::{
    calls::{Calls, answered},
    images::Facts,
};
use super::mirrors::{self, Mirrors};
use crate::skel::Setup;

/// The shim that containers are run by.
const RUNTIME: &str = "io.containerd.runc.v2";
/// How it is told its options.
const OPTIONS: &str = "containerd.runc.v1.Options";
/// What our leases are labelled with.
const LEASE: &str = "windlass.dev/lease";

/// What a [`Containerd`] is made of.
#[derive(Clone, Debug)]
pub struct Native {
    /// containerd's socket.
    pub socket: PathBuf,
    /// containerd's namespace that everything is in. Nobody else may run containers in it.
    pub namespace: String,
    /// The snapshotter that root file systems come from.
    pub snapshotter: String,
    /// The image of sandboxes: it has to be there, or in a registry that asks for no secret.
    pub sandbox_image: ImageRef,
    /// What does not outlive a reboot: pipes, mounts and files of sandboxes. A short path, since socket names have little room.
    pub state_dir: PathBuf,
    /// The low-level runtime and the folder of its state, where they are not the usual ones.
    pub runc: Option<(PathBuf, PathBuf)>,
    /// Registries that are spoken to without TLS, as `host:port`, beside those on this machine's loopback.
    pub plain_registries: Vec<String>,
    /// Registries that are asked before others are. They are told no secrets but those that name them.
    pub mirrors: Mirrors,
    /// The command that runs [`carry`], to which its arguments are added: `windlass-carry`, or a program of one's own.
    pub carrier: Vec<String>,
}

impl Native {
    /// A runtime on the containerd at a socket, in the namespace that CRI's clients look into.
    pub fn new(socket: impl Into<PathBuf>, state_dir: impl Into<PathBuf>, carrier: Vec<String>) -> Self {
        Self {
            socket: socket.into(),
            namespace: "k8s.io".into(),
            snapshotter: "overlayfs".into(),
            sandbox_image: "registry.k8s.io/pause:3.10.1".into(),
            state_dir: state_dir.into(),
            runc: None,
            plain_registries: Vec::new(),
            mirrors: Mirrors::new(),
            carrier,
        }
    }
}

/// A container runtime over containerd's own services. Clones are the same one.
///
/// Calls that change something run to their end even when their future is dropped.
#[derive(Clone)]
pub struct Containerd(
    Arc<Inner>,
    #[allow(dead_code, reason = "the watch ends with the last one that has it")] Option<Arc<Task>>,
);

/// Everything that is shared.
struct Inner {
    calls: Calls,
    /// The same, for snapshots that no container's record names yet.
    leased: Calls,
    network: Arc<dyn PodNetwork>,
    setup: Setup,
    sandbox_image: ImageRef,
    state_dir: PathBuf,
    options: Any,
    plain_registries: Vec<String>,
    mirrors: Mirrors,
    carrier: Vec<String>,
    locks: Locks,
    children: Mutex<Vec<Child>>,
    /// What is in images, by the digest that a name leads to: it never changes.
    facts: Mutex<BTreeMap<String, Arc<Facts>>>,
    /// Records that cannot be read, which was said.
    unreadable: Mutex<BTreeSet<String>>,
    /// What containers wrote, with the uptime at which it was asked.
    written: Mutex<BTreeMap<String, (Duration, FsUsage)>>,
}

impl fmt::Debug for Containerd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Containerd")
            .field("calls", &self.0.calls)
            .field("state_dir", &self.0.state_dir)
            .finish_non_exhaustive()
    }
}

impl Containerd {
    /// Connects to containerd, takes up what runs there, and ends what an earlier process left half done.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when nothing answers at the socket; [`Invalid`](ErrorKind::Invalid) where a setting
    /// cannot be used.
    pub async fn connect(native: Native, network: Arc<dyn PodNetwork>, setup: Setup) -> Result<Self> {
        let socket: Arc<str> = native.socket.to_string_lossy().into();
        let there = setup.dial.dial(&Target::Unix(socket.to_string())).await;
        there.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("no containerd answers at {socket}")).with_source(error)
        })?;
        check_state_dir(&native.state_dir)?;
        mirrors::check(&native.mirrors)?;
        let channel = windlass_grpc::open(socket, Arc::clone(&setup.dial));
        let calls = Calls::new(channel, &native.namespace, &native.snapshotter)?;
        ensure_namespace(&calls, &native.namespace).await?;
        let lease = format!("windlass-{}", setup.entropy.uuid());
        let leased = calls.leased(&lease)?;
        renew_lease(&calls, &lease).await?;
        let this = Self(
            Arc::new(Inner {
                calls,
                leased,
                network,
                setup,
                sandbox_image: native.sandbox_image,
                state_dir: native.state_dir,
                options: runc_options(native.runc.as_ref()),
                plain_registries: native.plain_registries,
                mirrors: native.mirrors,
                carrier: native.carrier,
                locks: Locks::default(),
                children: Mutex::default(),
                facts: Mutex::default(),
                unreadable: Mutex::default(),
                written: Mutex::default(),
            }),
            None,
        );
        this.take_up().await?;
        // Ends are noted for as long as anybody has the runtime.
        let watching = this.unwatched().watch();
        let watching = this.0.setup.spawn.spawn("cri.watch", watching);
        Ok(Self(this.0, Some(Arc::new(watching))))
    }

    /// Takes up what runs: ends are noted, streams are carried again where nobody does, and ends are watched for.
    async fn take_up(&self) -> Result<()> {
        self.end_left_commands().await;
        // Folders of look-ups that were interrupted.
        let _ = streams::remove_folder(&self.0.state_dir.join("users"));
        for kept in self.0.calls.all_kept(&[(record::label::KIND, record::CONTAINER)]).await? {
            // One that cannot be taken up keeps nobody from the others.
            match self.settle(&kept.id).await {
                Ok(false) => {}
                Ok(true) => {
                    if let Err(error) = self.ensure_carried(&kept).await {
                        tracing::warn!(container = kept.id, %error, "the container's streams are not carried");
                    }
                }
                Err(error) => tracing::warn!(container = kept.id, %error, "how the container is cannot be told"),
            }
        }
        Ok(())
    }

    /// The same runtime, whose being there does not keep the watch.
    fn unwatched(&self) -> Self {
        Self(Arc::clone(&self.0), None)
    }

    /// Notes ends: those that are told, and after an interruption those that were not.
    async fn watch(self) {
        let mut events = self.listen();
        while let Some(event) = events.next().await {
            if event == RuntimeEvent::Relist
                && let Err(error) = self.list_containers(&ContainerFilter::default()).await
            {
                tracing::debug!(%error, "ends that were not told are not noted yet");
            }
        }
    }

    /// Runs a call that changes something to its end, whether or not somebody waits for it.
    async fn own<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (give, take) = oneshot::channel();
        let work = async move {
            // Nobody may wait any more.
            let _ = give.send(work.await);
        };
        self.0.setup.spawn.start(name, work.boxed());
        let ended = |_| Err(Error::new(ErrorKind::Internal, format!("{name} was interrupted")).maybe_applied());
        take.await.unwrap_or_else(ended)
    }

    /// Runs work that blocks.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let done = self.0.setup.spawn.run_blocking("cri.blocking", work).await;
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "work on the machine was interrupted")))
    }

    /// An id that nothing had before: as long as ids of containers usually are.
    fn fresh_id(&self) -> String {
        let mut bytes = [0; 32];
        self.0.setup.entropy.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A socket's address has room for 107 bytes; below the directory are an id and three names.
fn check_state_dir(folder: &Path) -> Result<()> {
    let longest = folder.as_os_str().len() + "/io/".len() + 64 + "/".len() + carry::SOCKET.len();
    let plain = folder.is_absolute() && !folder.to_string_lossy().contains([':', ',', '\\', '\n', '"']);
    if longest > 107 || !plain {
        let message = format!("the state directory {} is too long, or no plain absolute path", folder.display());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    fs::create_dir_all(folder).map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("cannot make {}", folder.display())).with_source(error)
    })
}

async fn ensure_namespace(calls: &Calls, name: &str) -> Result<()> {
    let namespace = api::Namespace { name: name.to_owned(), ..api::Namespace::default() };
    let request = api::CreateNamespaceRequest { namespace: Some(namespace) };
    match calls.namespaces().create(request).await {
        Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(()),
        answer => answered("make a namespace", answer).map(drop),
    }
}

/// Makes a lease for this process. Those of earlier ones go, and with them what nothing else holds.
async fn renew_lease(calls: &Calls, id: &str) -> Result<()> {
    // Of the process, and of pulls that it did not end.
    let filters = ["snapshots", "pull"].map(|of| format!("labels.\"{LEASE}\"==\"{of}\"")).to_vec();
    let answer = calls.leases().list(api::ListRequest { filters }).await;
    let earlier = answered("list leases", answer)?.leases;
    let labels = [(LEASE.to_owned(), "snapshots".to_owned())].into();
    let request = api::CreateRequest { id: id.to_owned(), labels };
    answered("make a lease", calls.leases().create(request).await)?;
    for lease in earlier {
        calls::unless_gone(
            "end a lease",
            calls.leases().delete(api::DeleteRequest { id: lease.id, sync: false }).await,
        )?;
    }
    Ok(())
}

/// The shim's options, by their numbers.
#[derive(Clone, PartialEq, prost::Message)]
struct RuncOptions {
    #[prost(string, tag = "6")]
    binary_name: String,
    #[prost(string, tag = "7")]
    root: String,
}

fn runc_options(runc: Option<&(PathBuf, PathBuf)>) -> Any {
    let text = |path: &PathBuf| path.display().to_string();
    let options = runc.map(|(program, root)| RuncOptions { binary_name: text(program), root: text(root) });
    Any { type_url: OPTIONS.into(), value: prost::Message::encode_to_vec(&options.unwrap_or_default()) }
}

/// One lock for each name that is in use.
#[derive(Default)]
struct Locks(Mutex<BTreeMap<String, Weak<async_lock::Mutex<()>>>>);

impl Locks {
    async fn lock(&self, name: &str) -> async_lock::MutexGuardArc<()> {
        let lock = {
            let mut locks = self.0.lock();
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(name).and_then(Weak::upgrade);
            let lock = known.unwrap_or_default();
            locks.insert(name.to_owned(), Arc::downgrade(&lock));
            lock
        };
        lock.lock_arc().await
    }
}

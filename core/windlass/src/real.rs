//! A node that runs real containers, on this machine: a container runtime, the reference agent, service rules and DNS.

#[cfg(feature = "device")]
mod devices;
mod drivers;
mod leftovers;
mod machine;
mod native;
mod network;
mod ranges;
#[cfg(feature = "cni")]
mod routes;
#[cfg(feature = "csi")]
mod storage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures::{
    FutureExt,
    future::{BoxFuture, join},
};
use ipnet::IpNet;
use windlass_cri::{
    containerd::{Launcher, Mirrors, Settings, oci},
    host::{RemoteRuntime, Rim},
    skel::{Plugin as Parts, Setup},
};
use windlass_kernel::{Dial, Error, ErrorKind, NodeAgent, Result, VolumeDriver};
use windlass_node::{
    Config, EvictionLimits, ImageLimits, Needs, PodAgent,
    host::Registration,
    statics::{Folder, Source, Sources, Url},
};

pub use windlass_controllers::node_ipam::PodRanges;
pub use windlass_cri::containerd::Mirror;
pub use windlass_node::{ClusterDns, remove_folder};

#[cfg(feature = "cni")]
pub use self::routes::Routes;
#[cfg(feature = "csi")]
pub use self::storage::{CLASS, announce_volumes, open_volumes};
pub use self::{
    leftovers::{Leftovers, native_note, socket_note},
    machine::primary_address,
    network::{DNS_ADDRESS, Rules, Services, let_nodes_follow_services},
    ranges::{CLUSTER_RANGE, Routing, pod_ranges},
};
use crate::{
    NodeParts, NodeSource,
    rim::{SystemDial, trusted_certificates},
};

/// A node over a container runtime on this machine.
#[derive(Clone, Debug)]
pub struct ContainerNode {
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub address: IpAddr,
    /// Where volumes, logs and a containerd of our own go: an absolute path.
    pub data_dir: PathBuf,
    /// The socket of a runtime that runs already; without one, a containerd of our own is started.
    pub socket: Option<PathBuf>,
    /// Speaks to containerd's own services in place of CRI: the command that carries the streams of containers, which is
    /// `windlass-carry` or a program that runs `windlass_cri::containerd::carry`. Needs the feature `containerd`.
    pub carrier: Option<Vec<String>>,
    /// Registries that are asked for images before others are. A runtime behind a CRI socket has its own.
    pub mirrors: Mirrors,
    /// Where image archives (OCI layout, tar) are that a containerd of our own is to hold.
    pub images: PathBuf,
    /// Drivers of this process that bring volumes to the node. Others register themselves in
    /// [`plugins`](ContainerNode::plugins).
    pub drivers: Vec<Arc<dyn VolumeDriver>>,
    /// The host and the port at which pods reach the API, before the service `kubernetes` leads there.
    pub api: (String, u16),
    /// The port at which the node's own API is served ([`NodeApi`](crate::serve::NodeApi)); 0 where nobody serves it.
    pub api_port: u16,
    /// When the node makes room, and ends pods for it.
    pub eviction: EvictionLimits,
    /// The folder whose files describe static pods, if there is one.
    pub static_pods: Option<PathBuf>,
    /// The address that static pods are described at, if there is one: `http://…`, or `https://…` of a server that the machine
    /// trusts.
    pub static_pods_url: Option<String>,
    /// Headers that are sent to that address.
    pub static_pods_headers: Vec<(String, String)>,
    /// Labels of the node beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Taints that the node starts with (`key`, `value`, `effect`).
    pub taints: Vec<(String, String, String)>,
    /// Whether the node makes its object itself; else somebody else has to.
    pub register: bool,
    /// How many pods fit.
    pub max_pods: u32,
    /// Where pods ask for names, and the domain of services.
    pub dns: ClusterDns,
    /// The range that the node's pods have addresses of. Without it, that which the cluster gives the node. Neither matters
    /// where that is the business of a runtime that runs already.
    pub pod_range: Option<IpNet>,
    /// The range of which all nodes of the cluster have theirs.
    pub cluster_range: IpNet,
    /// How pods of other nodes are reached; `None` where they are not, or somebody else sees to it.
    pub routing: Option<Routing>,
}

impl ContainerNode {
    /// The settings of a containerd of our own for a data directory.
    #[must_use]
    pub fn settings(data_dir: &Path) -> Settings {
        // A socket's name has little room, so the short-lived files go to a short place that the directory names.
        let hash = data_dir
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        Settings::new(data_dir.join("containerd"), format!("/run/windlass/{:08x}", hash >> 32))
    }

    /// The folder in which plugins of the node make themselves known, as in a kubelet's `plugins_registry`.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.data_dir.join("node/plugins_registry")
    }

    /// The folder in which device plugins serve and register, as in a kubelet's `device-plugins`: its `kubelet.sock` is the node's.
    #[must_use]
    pub fn device_plugins(&self) -> PathBuf {
        self.data_dir.join("node/device-plugins")
    }

    /// Whether the addresses and the network of the node's pods are its own business, and not that of a runtime that runs already.
    #[must_use]
    pub fn has_own_network(&self) -> bool {
        self.socket.is_none() || self.carrier.is_some()
    }

    /// Starts a containerd and imports what it is to hold. Those images are told: no registry could give them back.
    async fn own_runtime(&self, settings: Settings, rim: Rim) -> Result<(RemoteRuntime, BTreeSet<String>)> {
        let pause = settings.sandbox_image.clone();
        let launcher = Launcher::new(settings, rim)?;
        let running = launcher.start().await?;
        tracing::info!(pid = running.pid, found = running.found, "containerd runs");
        Ok((running.runtime, self.import_all(&launcher, pause).await?))
    }

    /// Imports every archive, and tells the names of what no registry could give back.
    async fn import_all(&self, launcher: &Launcher, pause: String) -> Result<BTreeSet<String>> {
        let mut held = BTreeSet::from([pause]);
        let mut archives: Vec<PathBuf> =
            fs::read_dir(&self.images).into_iter().flatten().flatten().map(|e| e.path()).collect();
        archives.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
        archives.sort();
        for archive in archives {
            launcher.import(&archive).await?;
            let unreadable = |error| {
                let message = format!("cannot read the names in the image archive {}", archive.display());
                Error::new(ErrorKind::Invalid, message).with_source(error)
            };
            held.extend(oci::names(&archive).map_err(unreadable)?);
        }
        Ok(held)
    }

    /// The runtime, and the names of images that are never removed.
    async fn runtime(&self, parts: &NodeParts, dial: &Arc<dyn Dial>) -> Result<(Parts, BTreeSet<String>)> {
        let settings = self.network(parts).await?;
        let setup = Setup {
            dial: Arc::clone(dial),
            clock: Arc::clone(&parts.clock),
            spawn: Arc::clone(&parts.spawn),
            entropy: Arc::clone(&parts.entropy),
        };
        if let Some(carrier) = &self.carrier {
            let native = native::Place { settings, socket: self.socket.as_deref(), carrier, setup };
            return native.start(self).await;
        }
        let rim = Rim { dial: setup.dial, clock: setup.clock, spawn: setup.spawn };
        let (runtime, held) = match &self.socket {
            Some(socket) => (RemoteRuntime::connect(socket.to_string_lossy(), rim).await?, BTreeSet::new()),
            None => self.own_runtime(settings, rim).await?,
        };
        Ok((Parts::of(runtime), held))
    }
}

#[async_trait]
impl NodeSource for ContainerNode {
    fn registration(&self) -> Registration {
        let (labels, taints) = (self.labels.clone(), self.taints.clone());
        Registration { labels, taints, register: self.register, port: self.api_port, ..Registration::named(&self.name) }
    }

    fn addressed(&self) -> bool {
        true
    }

    fn static_pods(&self) -> Result<Option<Arc<dyn Source>>> {
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        if let Some(path) = &self.static_pods {
            sources.push(Box::new(Folder::at(path)));
        }
        if let Some(url) = &self.static_pods_url {
            let url = Url::new(url, &trusted_certificates(), Arc::new(SystemDial))?;
            sources.push(Box::new(url.with_headers(self.static_pods_headers.clone())?));
        }
        Ok((!sources.is_empty()).then(|| Arc::new(Sources::of(sources)) as _))
    }

    fn find_drivers(&self, parts: &NodeParts) -> Option<BoxFuture<'static, ()>> {
        let drivers = drivers::find(&self.drivers, self.plugins(), parts);
        #[cfg(feature = "device")]
        let devices = devices::find(self.device_plugins(), parts);
        #[cfg(not(feature = "device"))]
        let devices = futures::future::ready(());
        Some(join(drivers, devices).map(drop).boxed())
    }

    async fn agent(&self, parts: NodeParts) -> Result<Arc<dyn NodeAgent>> {
        if !self.data_dir.is_absolute() {
            let message = format!("the data directory {} is not an absolute path", self.data_dir.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let dial: Arc<dyn Dial> = Arc::new(SystemDial);
        let (runtime, held) = self.runtime(&parts, &dial).await?;
        let config = Config {
            addresses: vec![self.address],
            dns: self.dns.clone(),
            max_pods: self.max_pods,
            api: Some(self.api.clone()),
            images: ImageLimits { keep: held, ..ImageLimits::default() },
            drivers: parts.drivers,
            devices: parts.devices,
            eviction: self.eviction.clone(),
            ..Config::new(&self.name, self.data_dir.join("node"))
        };
        let needs = Needs {
            runtime: runtime.runtime,
            images: runtime.images,
            context: parts.context,
            clock: parts.clock,
            spawn: parts.spawn,
            entropy: parts.entropy,
            dial,
        };
        Ok(Arc::new(PodAgent::start(config, needs).await?))
    }
}

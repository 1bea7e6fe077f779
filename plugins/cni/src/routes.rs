//! Routes from this node to the pods of others, straight through the nodes' network or in VXLAN packets, over netlink.
//!
//! The kernel is the record: routes carry a mark, and the other entries are on a device of our own, so that a restarted
//! process finds what an earlier one made. Which nodes there are is for others to follow. What the bridge needs to know
//! of it stands in a file.

mod entries;
mod guard;
mod node_file;
mod plan;
mod underlay;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use ipnet::IpNet;
use windlass_kernel::{
    Error, ErrorKind, PodRoutes, Result, Spawn, SpawnExt,
    routes::{Disturbances, RoutedNode, RoutesChange, Unreached},
};

pub(crate) use self::node_file::{NODE_FILE, NodeFile};
use self::{entries::Entries, plan::Planner, underlay::Underlay};
use crate::{failed, namespace, net::Socket};

/// The mark of our routes (`rtm_protocol`), which `ip route` shows as `proto 87`. Nobody registered it.
pub const MARK: u8 = 87;

/// How packets get to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As they are, by routes with the nodes' addresses as gateways. All nodes have to be in one directly attached subnet.
    Routed,
    /// In packets from node to node, whatever is between them.
    Vxlan {
        /// The number of the virtual network (VNI), the same on all nodes.
        vni: u32,
        /// The UDP port, the same on all nodes.
        port: u16,
    },
}

impl Mode {
    /// VXLAN with the number and the port that flannel uses too.
    pub const VXLAN: Self = Self::Vxlan { vni: 1, port: 8472 };

    /// The mode's name, as the bridge's configuration has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Vxlan { .. } => "vxlan",
        }
    }
}

/// How routes are made, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How packets get to another node: the same on all nodes.
    pub mode: Mode,
    /// The ranges of which all nodes have theirs. Between them, addresses of pods are not masqueraded.
    pub cluster_ranges: Vec<IpNet>,
    /// The mark of the routes: another one for each cluster that this machine is a node of.
    pub mark: u8,
    /// Where the bridge finds what it needs of this.
    pub node_file: PathBuf,
    /// The node's network namespace; `None` for this process's.
    pub namespace: Option<PathBuf>,
}

impl Settings {
    /// The usual settings of a machine that is a node of one cluster.
    #[must_use]
    pub fn new(mode: Mode, cluster_ranges: Vec<IpNet>) -> Self {
        Self { mode, cluster_ranges, mark: MARK, node_file: NODE_FILE.into(), namespace: None }
    }

    /// The name of the VXLAN device, if there is to be one.
    fn device(&self) -> Option<String> {
        match self.mode {
            Mode::Routed => None,
            Mode::Vxlan { vni, .. } => Some(format!("wlvx{vni}")),
        }
    }
}

/// Routes of one network namespace. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct NodeRoutes {
    settings: Arc<Settings>,
    spawn: Arc<dyn Spawn>,
    /// What was made, from the first complete set on.
    made: Arc<async_lock::Mutex<Option<Made>>>,
}

#[derive(Debug)]
struct Made {
    own: RoutedNode,
    underlay: Underlay,
    /// The links that packets to other nodes leave by.
    links: BTreeSet<u32>,
    nodes: BTreeMap<String, Entries>,
    /// Whose each range is.
    owners: BTreeMap<IpNet, String>,
}

impl Made {
    /// Forgets a node; the answer is what leads to it.
    fn forget(&mut self, name: &str) -> Entries {
        let entries = self.nodes.remove(name).unwrap_or_default();
        for range in entries.ways.keys() {
            self.owners.remove(range);
        }
        entries
    }
}

impl NodeRoutes {
    /// Routes by these settings. Nothing is made yet.
    #[must_use]
    pub fn new(settings: Settings, spawn: Arc<dyn Spawn>) -> Self {
        Self { settings: Arc::new(settings), spawn, made: Arc::default() }
    }

    /// Runs work that blocks, one call at a time, on a thread in the namespace. Once it fails, all has to be made anew.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Settings, &mut Option<Made>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (settings, mut made) = (Arc::clone(&self.settings), self.made.lock_arc().await);
        let done = self.spawn.run_blocking("cni.routes", move || {
            let mut own = made.take();
            let work = || work(&settings, &mut own);
            let done = match settings.namespace.as_deref().map(namespace::open).transpose()? {
                Some(there) => namespace::inside(&there, work),
                None => work(),
            };
            *made = own.filter(|_| done.is_ok());
            done
        });
        done.await
            .unwrap_or_else(|| Err(Error::new(ErrorKind::Internal, "the router's worker panicked").maybe_applied()))
    }
}

#[async_trait]
impl PodRoutes for NodeRoutes {
    async fn replace(&self, own: RoutedNode, others: Vec<RoutedNode>) -> Result<Vec<Unreached>> {
        self.work(move |settings, made| {
            let mut socket = open()?;
            let underlay = Underlay::set_up(settings, &mut socket, &own)?;
            let there = Entries::read(settings, &mut socket, &underlay)?;
            let links = underlay.links(&mut socket, &own)?;
            let mut new = Made { own, underlay, links, nodes: BTreeMap::new(), owners: BTreeMap::new() };
            let unreached = step(settings, &mut socket, &mut new, &there, others)?;
            NodeFile::of(settings, &new.own, new.underlay.mtu()).write(&settings.node_file)?;
            *made = Some(new);
            Ok(unreached)
        })
        .await
    }

    async fn change(&self, change: RoutesChange) -> Result<Vec<Unreached>> {
        self.work(move |settings, made| {
            let made = made.as_mut().ok_or_else(|| {
                Error::new(ErrorKind::Conflict, "routes cannot be changed before all of them were made")
            })?;
            let mut there = Entries::default();
            for name in change.put.iter().map(|node| &node.name).chain(&change.gone) {
                there.extend(made.forget(name));
            }
            step(settings, &mut open()?, made, &there, change.put)
        })
        .await
    }

    fn disturbances(&self) -> Option<Disturbances> {
        Some(self.follow())
    }

    async fn clear(&self) -> Result<()> {
        self.work(|settings, made| {
            let mut socket = open()?;
            for four in [true, false] {
                for way in socket.ways(settings.mark, four).map_err(failed("list routes"))? {
                    socket.remove_way(&way, settings.mark).map_err(failed("remove a route"))?;
                }
            }
            if let Some(device) = settings.device() {
                // With it goes what is on it.
                socket.remove(&device).map_err(failed(format!("remove {device}")))?;
            }
            NodeFile::remove(&settings.node_file)?;
            *made = None;
            Ok(())
        })
        .await
    }
}

fn open() -> Result<Socket> {
    Socket::open().map_err(failed("open a netlink socket"))
}

/// Makes what these nodes need, of which `there` exists, and removes what of that nobody needs.
fn step(
    settings: &Settings,
    socket: &mut Socket,
    made: &mut Made,
    there: &Entries,
    nodes: Vec<RoutedNode>,
) -> Result<Vec<Unreached>> {
    let mut planner = Planner { own: &made.own, underlay: &made.underlay, owners: &mut made.owners };
    let (mut planned, mut unreached) = (Vec::new(), Vec::new());
    for node in nodes {
        match planner.plan(&node, |ip| socket.sends(ip)) {
            Ok(entries) => {
                made.links.extend(entries.ways.values().map(|way| way.link));
                planned.push((node.name, entries));
            }
            Err(why) => unreached.push(Unreached { node: node.name, why }),
        }
    }
    let mut wanted = Entries::default();
    for (_, entries) in &planned {
        wanted.extend(entries.clone());
    }
    // All that goes is gone before anything comes: a range may move from one node to another.
    there.remove_but(&wanted, settings, socket, &made.underlay)?;
    for (name, entries) in planned {
        match entries.add_to(there, settings, socket, &made.underlay) {
            Ok(()) => {
                made.nodes.insert(name, entries);
            }
            Err(why) => {
                entries.remove_but(&Entries::default(), settings, socket, &made.underlay)?;
                for range in entries.ways.keys() {
                    made.owners.remove(range);
                }
                unreached.push(Unreached { node: name, why });
            }
        }
    }
    Ok(unreached)
}

//! A node and pods as network namespaces of this process, to try networks in: nothing of it is seen outside, and all of it
//! ends with the process.
//!
//! It looks at what a network really made. What a network owes is for a suite to say.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use ipnet::IpNet;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use windlass_kernel::{Error, ErrorKind, Result};

use crate::{
    namespace,
    net::{Socket, bring_lo_up},
};

/// Where plugins keep their state by default: in the lab it is empty at first and in memory.
const STATE: &str = "/var/lib/cni";

/// How long a connection may take before it counts as not made.
const PATIENCE: Duration = Duration::from_secs(2);

/// The node of a lab: this process. Pods are made in it.
#[derive(Debug)]
pub struct Lab {
    pods: PathBuf,
}

/// An interface as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is up.
    pub up: bool,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses with their prefixes.
    pub addresses: Vec<IpNet>,
}

impl Lab {
    /// Why this machine cannot have labs, if it cannot.
    #[must_use]
    pub fn missing() -> Option<String> {
        (!nix::unistd::geteuid().is_root()).then(|| "network namespaces need root".into())
    }

    /// Puts this process into a network namespace and a mount namespace of its own.
    ///
    /// It has to be done before other threads are started: those that run already stay where they are.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) with what could not be done.
    pub fn enter() -> Result<Self> {
        let failed = |what: &'static str| {
            move |error: io::Error| {
                Error::new(ErrorKind::Unavailable, format!("cannot {what} for the lab: {error}")).with_source(error)
            }
        };
        let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
        unshare(flags).map_err(io::Error::from).map_err(failed("make namespaces"))?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .map_err(io::Error::from)
            .map_err(failed("make mounts private"))?;
        fs::create_dir_all(STATE).map_err(failed("make /var/lib/cni"))?;
        mount(Some("lab"), STATE, Some("tmpfs"), MsFlags::empty(), none)
            .map_err(io::Error::from)
            .map_err(failed("mount memory on /var/lib/cni"))?;
        let pods = Path::new(STATE).join("pods");
        fs::create_dir_all(&pods).map_err(failed("make a folder"))?;
        let lab = Self { pods };
        bring_lo_up().map_err(failed("bring lo up"))?;
        Ok(lab)
    }

    /// A folder in memory for whatever else is needed, which the inventory does not look into.
    ///
    /// # Errors
    ///
    /// Where it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.pods.join(format!(".{name}"));
        fs::create_dir_all(&path).map_err(broken(format!("make {}", path.display())))?;
        Ok(path)
    }

    /// Makes a pod's network namespace and returns its file.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn pod(&self, name: &str) -> Result<PathBuf> {
        let path = self.pods.join(name);
        fs::File::create(&path).map_err(broken(format!("make {}", path.display())))?;
        let target = path.clone();
        let made = thread::Builder::new().spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let none = None::<&str>;
            mount(Some("/proc/thread-self/ns/net"), &target, none, MsFlags::MS_BIND, none)
        });
        let made = made.map_err(broken("start a thread"))?.join();
        let made = made.unwrap_or(Err(nix::errno::Errno::EINTR)).map_err(io::Error::from);
        made.map_err(broken("make a network namespace"))?;
        Ok(path)
    }

    /// Runs work on a thread in a namespace of the lab, such as one that stands for another node. Sockets and processes that
    /// it makes are there.
    ///
    /// # Errors
    ///
    /// Those of the work, and that the namespace cannot be entered.
    pub fn inside<T: Send>(&self, namespace: &Path, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        namespace::inside(&namespace::open(namespace)?, work)
    }

    /// Removes a pod's network namespace, and all that is in it.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn remove_pod(&self, pod: &Path) -> Result<()> {
        umount2(pod, MntFlags::MNT_DETACH)
            .map_err(io::Error::from)
            .and_then(|()| fs::remove_file(pod))
            .map_err(broken(format!("remove {}", pod.display())))
    }

    /// An interface of a pod; `None` if it has none of the name.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn interface(&self, pod: &Path, name: &str) -> Result<Option<Seen>> {
        inside(pod, || {
            let mut socket = Socket::open()?;
            let Some(link) = socket.link(name)? else { return Ok(None) };
            Ok(Some(Seen { up: link.up, mac: link.mac, addresses: socket.addresses(link.index)? }))
        })
    }

    /// Takes an interface of a pod away, as somebody else might.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn cut(&self, pod: &Path, name: &str) -> Result<()> {
        inside(pod, || Socket::open()?.remove(name))
    }

    /// Whether a connection to `to`, from a pod or from the node, arrives at a port of the pod `server`.
    ///
    /// # Errors
    ///
    /// Where the port cannot be listened at.
    pub fn connects(&self, from: Option<&Path>, to: SocketAddr, server: &Path, port: u16) -> Result<bool> {
        // Bound to all addresses of both families.
        let listener = inside(server, || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?;
        listener.set_nonblocking(true).map_err(broken("prepare a listener"))?;
        let connect = || TcpStream::connect_timeout(&to, PATIENCE);
        let stream = match from {
            Some(pod) => inside(pod, || Ok(connect().ok()))?,
            None => connect().ok(),
        };
        // What is connected is in the listener's queue, if it is that listener's.
        Ok(stream.is_some() && listener.accept().is_ok())
    }

    /// Everything that is on the node: links, addresses, limits, rules, and files of plugins.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn inventory(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut socket = Socket::open().map_err(broken("open a netlink socket"))?;
        for link in socket.links().map_err(broken("list links"))? {
            for address in socket.addresses(link.index).map_err(broken("list addresses"))? {
                // The kernel gives every link one of these by itself, some time after it is up.
                if matches!(address, IpNet::V6(net) if net.addr().is_unicast_link_local()) {
                    continue;
                }
                found.insert(format!("address {address} on {}", link.name));
            }
            for queue in socket.queues(link.index).map_err(broken("list queues"))? {
                if queue == "tbf" {
                    found.insert(format!("limit {queue} on {}", link.name));
                }
            }
            found.insert(format!("link {}", link.name));
        }
        rules(&mut found);
        self.files(Path::new(STATE), &mut found);
        Ok(found)
    }

    fn files(&self, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path == self.pods {
                continue;
            }
            if path.is_dir() {
                self.files(&path, found);
            } else {
                found.insert(format!("file {}", path.display()));
            }
        }
    }
}

/// The packet rules of nftables, those of iptables among them, each with the chain that it is in.
fn rules(found: &mut BTreeSet<String>) {
    let listed = Command::new("nft").args(["-s", "list", "ruleset"]).stdin(Stdio::null()).output();
    let Ok(listed) = listed else { return };
    let (mut table, mut chain) = (String::new(), String::new());
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let text = line.trim().trim_end_matches('{').trim_end_matches(',').trim();
        match line.chars().take_while(|c| *c == '\t').count() {
            _ if text.is_empty() || text == "}" => {}
            0 => text.clone_into(&mut table),
            1 => {
                text.clone_into(&mut chain);
                found.insert(format!("rules {table} {chain}"));
            }
            _ if chain.starts_with("chain ") => {
                found.insert(format!("rule {table} {chain} {text}"));
            }
            // The elements of a set stand on one line or on several.
            _ => {
                let text = text.trim_start_matches("elements = {").trim_end_matches('}');
                for part in text.split(", ").map(str::trim).filter(|part| !part.is_empty()) {
                    found.insert(format!("rule {table} {chain} {part}"));
                }
            }
        }
    }
}

fn inside<T: Send>(pod: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T> {
    namespace::inside(&namespace::open(pod)?, || work().map_err(broken(format!("look into {}", pod.display()))))
}

fn broken(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |error| Error::new(ErrorKind::Internal, format!("cannot {what}: {error}")).with_source(error)
}

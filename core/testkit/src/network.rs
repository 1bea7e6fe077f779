//! A pod network in memory that keeps its contract, and the node and pods around it.
//!
//! An attach takes steps of virtual time, so that it can be interrupted between any two of them.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ipnet::IpNet;
use parking_lot::Mutex;
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, PodNetwork, Result,
    network::{Address, Attached, Attachment, AttachmentKey, Interface},
    runtime::PortMapping,
};

/// How long each step of an attach takes.
const STEP: Duration = Duration::from_millis(1);

/// A pod network in memory. Clones share it.
#[derive(Clone)]
pub struct FakeNetwork {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The interfaces of each pod's namespace, with their addresses.
    pods: BTreeMap<PathBuf, BTreeMap<String, IpNet>>,
    attachments: BTreeMap<AttachmentKey, Held>,
    /// The last address that was given, so that none is given again at once.
    last: u8,
    failure: Option<ErrorKind>,
    broken: Option<String>,
}

/// What an attachment holds, as far as it has come.
#[derive(Clone, Debug, Default)]
struct Held {
    namespace: PathBuf,
    address: Option<Ipv4Addr>,
    linked: bool,
    limits: usize,
    ports: Vec<PortMapping>,
    done: bool,
}

impl FakeNetwork {
    /// A network with addresses from 10.244.0.2 to 10.244.0.254, and no pods.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// The address of the node, at which mapped ports are reached.
    #[must_use]
    pub fn node(&self) -> IpAddr {
        Ipv4Addr::new(10, 244, 0, 1).into()
    }

    /// Makes a pod's network namespace.
    pub fn add_pod(&self, name: &str) -> PathBuf {
        let path = Path::new("/run/netns").join(name);
        self.state.lock().pods.insert(path.clone(), BTreeMap::new());
        path
    }

    /// Removes a pod's network namespace with all interfaces in it.
    pub fn remove_pod(&self, namespace: &Path) {
        self.state.lock().pods.remove(namespace);
    }

    /// The address of an interface of a pod; `None` if it has none of that name.
    #[must_use]
    pub fn interface(&self, namespace: &Path, name: &str) -> Option<IpNet> {
        self.state.lock().pods.get(namespace)?.get(name).copied()
    }

    /// Takes an interface of a pod away, as somebody else might.
    pub fn cut(&self, namespace: &Path, name: &str) {
        if let Some(interfaces) = self.state.lock().pods.get_mut(namespace) {
            interfaces.remove(name);
        }
    }

    /// Whether a connection to `to` arrives at a port of the pod `server`.
    #[must_use]
    pub fn connects(&self, to: SocketAddr, server: &Path, port: u16) -> bool {
        let state = self.state.lock();
        let mut held = state.attachments.values().filter(|held| held.namespace == server && held.linked);
        let leads = |held: &Held| {
            let own = held.address.is_some_and(|ip| to == SocketAddr::new(ip.into(), port));
            let mapped = |mapping: &PortMapping| mapping.host_port == to.port() && mapping.container_port == port;
            own || (to.ip() == self.node() && held.ports.iter().any(mapped))
        };
        held.any(leads)
    }

    /// Everything that the network keeps on the node, item by item.
    #[must_use]
    pub fn inventory(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (key, held) in &self.state.lock().attachments {
            found.insert(format!("reservation {key}"));
            found.extend(held.address.map(|ip| format!("address {ip} of {key}")));
            found.extend(held.linked.then(|| format!("link {key}")));
            found.extend((0..held.limits).map(|n| format!("limit {n} of {key}")));
            found.extend(held.ports.iter().map(|port| format!("rule {} to {key}", port.host_port)));
        }
        found
    }

    /// Makes the next attach fail without effect.
    pub fn fail_next(&self, kind: ErrorKind) {
        self.state.lock().failure = Some(kind);
    }

    /// Makes [`ready`](PodNetwork::ready) say that it is not, and why; `None` makes it ready again.
    pub fn set_broken(&self, why: Option<&str>) {
        self.state.lock().broken = why.map(Into::into);
    }

    /// One step of an attach, after its time.
    async fn step<T>(&self, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.clock.sleep(STEP).await;
        work(&mut self.state.lock())
    }

    async fn make(&self, wanted: &Attachment, namespace: &Path) -> Result<Attached> {
        let key = &wanted.key;
        let ip = self.step(|state| state.reserve(key)).await?;
        let address = IpNet::new(ip.into(), 24).unwrap_or_else(|_| IpAddr::from(ip).into());
        self.step(|state| state.plug(key, namespace, address)).await?;
        self.step(|state| state.fulfil(wanted)).await?;
        self.step(|state| state.held(key).map(|held| held.done = true)).await?;
        let interface = Interface {
            name: key.interface.clone(),
            mac: "02:00:00:00:00:01".into(),
            sandbox: Some(namespace.to_owned()),
            ..Interface::default()
        };
        let address = Address { address, gateway: Some(self.node()), interface: Some(0) };
        Ok(Attached { interfaces: vec![interface], addresses: vec![address], ..Attached::default() })
    }
}

impl State {
    fn begin(&mut self, key: &AttachmentKey, namespace: &Path) -> Result<()> {
        if let Some(kind) = self.failure.take() {
            return Err(Error::new(kind, "attach was told to fail"));
        }
        if self.attachments.contains_key(key) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{key} is attached already")));
        }
        if !self.pods.contains_key(namespace) {
            let message = format!("{} is no network namespace", namespace.display());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.attachments.insert(key.clone(), Held { namespace: namespace.to_owned(), ..Held::default() });
        Ok(())
    }

    /// The attachment, unless somebody detached it meanwhile.
    fn held(&mut self, key: &AttachmentKey) -> Result<&mut Held> {
        let gone = || Error::new(ErrorKind::Conflict, format!("{key} was detached meanwhile"));
        self.attachments.get_mut(key).ok_or_else(gone)
    }

    fn reserve(&mut self, key: &AttachmentKey) -> Result<Ipv4Addr> {
        let taken: BTreeSet<_> = self.attachments.values().filter_map(|held| held.address).collect();
        let turn = (self.last.max(1)..254).chain(1..254).map(|n| (n + 1, Ipv4Addr::new(10, 244, 0, n + 1)));
        let (last, ip) = turn
            .into_iter()
            .find(|(_, ip)| !taken.contains(ip))
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the network has no free address"))?;
        self.held(key)?.address = Some(ip);
        self.last = last;
        Ok(ip)
    }

    fn plug(&mut self, key: &AttachmentKey, namespace: &Path, address: IpNet) -> Result<()> {
        self.held(key)?.linked = true;
        let pod = self.pods.get_mut(namespace);
        let pod = pod.ok_or_else(|| Error::new(ErrorKind::NotFound, "the namespace went away"))?;
        pod.insert(key.interface.clone(), address);
        Ok(())
    }

    fn fulfil(&mut self, wanted: &Attachment) -> Result<()> {
        let taken: BTreeSet<_> =
            self.attachments.values().flat_map(|held| held.ports.iter().map(|port| port.host_port)).collect();
        let ports = &wanted.wishes.ports;
        if let Some(port) = ports.iter().find(|port| taken.contains(&port.host_port)) {
            return Err(Error::new(ErrorKind::Conflict, format!("the node's port {} is taken", port.host_port)));
        }
        let limits = [wanted.wishes.bandwidth.ingress, wanted.wishes.bandwidth.egress].into_iter().flatten().count();
        let held = self.held(&wanted.key)?;
        held.ports.clone_from(ports);
        held.limits = limits;
        Ok(())
    }

    fn free(&mut self, key: &AttachmentKey) {
        let Some(held) = self.attachments.remove(key) else { return };
        if let Some(pod) = self.pods.get_mut(&held.namespace) {
            pod.remove(&key.interface);
        }
    }
}

#[async_trait]
impl PodNetwork for FakeNetwork {
    async fn attach(&self, attachment: &Attachment) -> Result<Attached> {
        attachment.key.validate()?;
        let Some(namespace) = attachment.namespace.clone() else {
            return Err(Error::new(ErrorKind::Invalid, format!("{} has no network namespace", attachment.key)));
        };
        self.state.lock().begin(&attachment.key, &namespace)?;
        let done = self.make(attachment, &namespace).await;
        if done.is_err() {
            self.state.lock().free(&attachment.key);
        }
        done
    }

    async fn detach(&self, attachment: &Attachment) -> Result<()> {
        attachment.key.validate()?;
        self.state.lock().free(&attachment.key);
        Ok(())
    }

    async fn check(&self, attachment: &Attachment) -> Result<()> {
        let state = self.state.lock();
        let key = &attachment.key;
        let held = state.attachments.get(key).filter(|held| held.done);
        let held = held.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{key} is not attached")))?;
        let interface = state.pods.get(&held.namespace).and_then(|pod| pod.get(&key.interface));
        match interface {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::Conflict, format!("{key}: the interface is gone"))),
        }
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> Result<()> {
        let mut state = self.state.lock();
        let stale: Vec<_> = state.attachments.keys().filter(|key| !valid.contains(key)).cloned().collect();
        stale.iter().for_each(|key| state.free(key));
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        let broken = self.state.lock().broken.clone();
        broken.map_or(Ok(()), |why| Err(Error::new(ErrorKind::Unavailable, why)))
    }
}

impl fmt::Debug for FakeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("FakeNetwork").field("attachments", &state.attachments.len()).finish_non_exhaustive()
    }
}

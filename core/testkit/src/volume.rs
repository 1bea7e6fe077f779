//! A volume driver in memory that keeps its contract, for orchestrators to be tested with.
//!
//! It makes, grows, attaches and lists volumes, and cuts snapshots of them; there is no node that could mount them, since nothing of a fake is on any
//! machine.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, Result, VolumeDriver,
    volume::{
        AttachVolume, Attaching, CapacityRange, CapacityReporting, ControllerFeatures, CreateSnapshot, CreateVolume,
        DriverInfo, ExpandVolume, Expanded, Expanding, Expansion, Inspecting, Listing, Modifying, NodeId, Page,
        Provisioning, Refusal, Secrets, Snapshot, SnapshotFilter, SnapshotId, SnapshotListing, Snapshotting, Source,
        Topology, ValidateVolume, Validated, Volume, VolumeController, VolumeId, VolumeNode, VolumeState,
    },
};

/// How long each call takes.
const STEP: Duration = Duration::from_millis(5);

/// How large a volume is where nobody says.
const USUAL: u64 = 1 << 30;

/// How large the largest is.
const MOST: u64 = 1 << 50;

/// A volume driver in memory. Clones share it.
#[derive(Clone)]
pub struct FakeDriver {
    name: String,
    /// Where its volumes are reached from.
    places: Vec<Topology>,
    attaches: bool,
    /// How long after it was cut a snapshot can be used, where it cuts any.
    ripens: Option<Duration>,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<String, Held>,
    /// Volumes and the nodes that have them.
    attached: BTreeSet<(String, String)>,
    /// Snapshots by their ids, and what they were asked for with.
    snapshots: BTreeMap<String, (CreateSnapshot, Snapshot)>,
    /// What secrets came with each call, by the name of the call.
    secrets: Vec<(&'static str, Secrets)>,
    failures: Vec<ErrorKind>,
    /// Kinds of errors that are answered when the work is done.
    lost: Vec<ErrorKind>,
}

/// A volume, and what it was asked for with.
#[derive(Clone, Debug)]
struct Held {
    request: CreateVolume,
    volume: Volume,
}

impl FakeDriver {
    /// A driver without volumes, whose volumes are reached from everywhere.
    pub fn new(name: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { name: name.into(), places: Vec::new(), attaches: false, ripens: None, clock, state: Arc::default() }
    }

    /// A driver whose volumes are reached from one place each: that of these which is asked for.
    #[must_use]
    pub fn in_places(mut self, places: impl IntoIterator<Item = Topology>) -> Self {
        self.places = places.into_iter().collect();
        self
    }

    /// A driver whose volumes have to be attached.
    #[must_use]
    pub fn attaching_volumes(mut self) -> Self {
        self.attaches = true;
        self
    }

    /// A driver that cuts snapshots, which can be used so long after.
    #[must_use]
    pub fn cutting_snapshots(mut self, ripens: Duration) -> Self {
        self.ripens = Some(ripens);
        self
    }

    /// The snapshots that there are, with what they were asked for with.
    #[must_use]
    pub fn snapshots(&self) -> Vec<(CreateSnapshot, Snapshot)> {
        self.state.lock().snapshots.values().cloned().collect()
    }

    /// The secrets that came with each call so far, by the name of the call as CSI has it. Calls without any are left out.
    #[must_use]
    pub fn secrets(&self) -> Vec<(&'static str, Secrets)> {
        self.state.lock().secrets.clone()
    }

    fn note(&self, call: &'static str, secrets: &Secrets) {
        if !secrets.0.is_empty() {
            self.state.lock().secrets.push((call, secrets.clone()));
        }
    }

    /// Which volumes are attached to which nodes.
    #[must_use]
    pub fn attached(&self) -> Vec<(VolumeId, NodeId)> {
        let attached = self.state.lock().attached.clone();
        attached.iter().map(|(volume, node)| (volume.as_str().into(), node.as_str().into())).collect()
    }

    /// Lets the next call that makes, grows, attaches, detaches or deletes fail, with nothing done. Several fail one after the other.
    pub fn fail_next(&self, kind: ErrorKind) {
        self.state.lock().failures.push(kind);
    }

    /// Lets the next call that makes a snapshot fail, with everything done. Several fail one after the other.
    pub fn lose_next(&self, kind: ErrorKind) {
        self.state.lock().lost.push(kind);
    }

    /// The volumes that there are, with what they were asked for with.
    #[must_use]
    pub fn volumes(&self) -> Vec<(CreateVolume, Volume)> {
        self.state.lock().volumes.values().map(|held| (held.request.clone(), held.volume.clone())).collect()
    }

    /// Takes its time, and fails where it was told to.
    async fn step(&self) -> Result<()> {
        self.clock.sleep(STEP).await;
        let mut state = self.state.lock();
        if state.failures.is_empty() {
            return Ok(());
        }
        let kind = state.failures.remove(0);
        Err(Error::new(kind, "the driver was told to fail"))
    }

    /// The place for a volume; `None` where all are as good.
    fn place(&self, request: &CreateVolume) -> Result<Option<Topology>> {
        let Some(first) = self.places.first() else { return Ok(None) };
        let Some(wanted) = &request.topology else { return Ok(Some(first.clone())) };
        let own = |place: &&Topology| self.places.contains(place);
        let found = wanted.preferred.iter().find(own).or_else(|| wanted.requisite.iter().find(own));
        match found {
            Some(place) => Ok(Some(place.clone())),
            None if wanted.requisite.is_empty() => Ok(Some(first.clone())),
            None => Err(Error::new(ErrorKind::Full, "the driver is in none of the places that are asked for")),
        }
    }
}

impl FakeDriver {
    /// When a snapshot can be used.
    fn ripe(&self, snapshot: &Snapshot) -> jiff::Timestamp {
        snapshot.created.saturating_add(self.ripens.unwrap_or_default()).unwrap_or(jiff::Timestamp::MAX)
    }

    /// A snapshot as it is now.
    fn seen(&self, snapshot: &Snapshot) -> Snapshot {
        Snapshot { ready: self.clock.now() >= self.ripe(snapshot), ..snapshot.clone() }
    }
}

fn unknown(id: &SnapshotId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no snapshot {id}"))
}

fn size(range: CapacityRange) -> Result<u64> {
    let bytes = range.required.unwrap_or_else(|| USUAL.min(range.limit.unwrap_or(USUAL)));
    if range.contains(bytes) && bytes <= MOST {
        return Ok(bytes);
    }
    Err(Refusal::OutOfRange.error(format!("no volume is as large as {range:?}")))
}

fn missing(id: &VolumeId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no volume {id}"))
}

fn named(text: &str) -> Result<()> {
    if text.is_empty() { Err(Error::new(ErrorKind::Invalid, "a name is required")) } else { Ok(()) }
}

#[async_trait]
impl VolumeDriver for FakeDriver {
    async fn info(&self) -> Result<DriverInfo> {
        Ok(DriverInfo {
            name: self.name.clone(),
            version: "1".into(),
            manifest: BTreeMap::new(),
            topology: !self.places.is_empty(),
            expansion: Some(Expansion::Online),
        })
    }

    async fn ready(&self) -> Result<bool> {
        Ok(true)
    }

    fn controller(&self) -> Option<&dyn VolumeController> {
        Some(self)
    }

    fn node(&self) -> Option<&dyn VolumeNode> {
        None
    }
}

#[async_trait]
impl VolumeController for FakeDriver {
    fn features(&self) -> ControllerFeatures {
        ControllerFeatures { clones: true, ..ControllerFeatures::default() }
    }

    async fn validate(&self, request: &ValidateVolume) -> Result<Validated> {
        named(request.volume.as_str())?;
        if request.capabilities.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "capabilities are required"));
        }
        let state = self.state.lock();
        let held = state.volumes.get(request.volume.as_str()).ok_or_else(|| missing(&request.volume))?;
        let has = |capability| held.request.capabilities.contains(capability);
        if !request.capabilities.iter().all(has) {
            return Ok(Validated::Refused("the volume was made for other uses".into()));
        }
        Ok(Validated::Confirmed {
            context: request.context.clone(),
            capabilities: request.capabilities.clone(),
            parameters: request.parameters.clone(),
            mutable_parameters: request.mutable_parameters.clone(),
        })
    }

    fn provisioning(&self) -> Option<&dyn Provisioning> {
        Some(self)
    }

    fn attaching(&self) -> Option<&dyn Attaching> {
        self.attaches.then_some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn inspecting(&self) -> Option<&dyn Inspecting> {
        Some(self)
    }

    fn capacity(&self) -> Option<&dyn CapacityReporting> {
        None
    }

    fn snapshotting(&self) -> Option<&dyn Snapshotting> {
        self.ripens.map(|_| self as _)
    }

    fn snapshot_listing(&self) -> Option<&dyn SnapshotListing> {
        self.ripens.map(|_| self as _)
    }

    fn expanding(&self) -> Option<&dyn Expanding> {
        Some(self)
    }

    fn modifying(&self) -> Option<&dyn Modifying> {
        None
    }
}

#[async_trait]
impl Provisioning for FakeDriver {
    async fn create(&self, request: &CreateVolume) -> Result<Volume> {
        named(&request.name)?;
        if request.capabilities.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "capabilities are required"));
        }
        let bytes = size(request.capacity)?;
        let place = self.place(request)?;
        self.note("CreateVolume", &request.secrets);
        self.step().await?;
        let mut state = self.state.lock();
        let id = format!("fake-{}", request.name);
        if let Some(held) = state.volumes.get(&id) {
            let same = held.volume.capacity.is_some_and(|bytes| request.capacity.contains(bytes))
                && held.request.capabilities == request.capabilities
                && held.request.parameters == request.parameters
                && held.request.source == request.source;
            let other = || Error::new(ErrorKind::AlreadyExists, format!("volume {} is another", request.name));
            return if same { Ok(held.volume.clone()) } else { Err(other()) };
        }
        let held = match &request.source {
            None => 0,
            Some(Source::Volume(id)) => {
                state.volumes.get(id.as_str()).ok_or_else(|| missing(id))?.volume.capacity.unwrap_or_default()
            }
            Some(Source::Snapshot(id)) => {
                let (_, held) = state.snapshots.get(id.as_str()).ok_or_else(|| unknown(id))?;
                if self.clock.now() < self.ripe(held) {
                    return Err(Refusal::Pending.error(format!("snapshot {id} cannot be used yet")));
                }
                held.size.unwrap_or_default()
            }
        };
        let bytes = bytes.max(held);
        if !request.capacity.contains(bytes) {
            return Err(Refusal::OutOfRange.error("the copy would be smaller than what it is a copy of"));
        }
        let volume = Volume {
            id: id.as_str().into(),
            capacity: Some(bytes),
            context: BTreeMap::from([("fake".into(), request.name.clone())]),
            source: request.source.clone(),
            topology: place.into_iter().collect(),
        };
        state.volumes.insert(id, Held { request: request.clone(), volume: volume.clone() });
        Ok(volume)
    }

    async fn delete(&self, volume: &VolumeId, secrets: &Secrets) -> Result<()> {
        named(volume.as_str())?;
        self.note("DeleteVolume", secrets);
        self.step().await?;
        let mut state = self.state.lock();
        if let Some((_, node)) = state.attached.iter().find(|(own, _)| own == volume.as_str()) {
            return Err(Refusal::Precondition.error(format!("volume {volume} is attached to node {node}")));
        }
        state.volumes.remove(volume.as_str());
        Ok(())
    }
}

#[async_trait]
impl Attaching for FakeDriver {
    async fn attach(&self, request: &AttachVolume) -> Result<BTreeMap<String, String>> {
        named(request.volume.as_str())?;
        named(request.node.as_str())?;
        self.note("ControllerPublishVolume", &request.secrets);
        self.step().await?;
        let mut state = self.state.lock();
        if !state.volumes.contains_key(request.volume.as_str()) {
            return Err(missing(&request.volume));
        }
        let (volume, node) = (request.volume.to_string(), request.node.to_string());
        let elsewhere = state.attached.iter().find(|(own, other)| *own == volume && *other != node);
        if let Some((_, other)) = elsewhere.filter(|_| !request.capability.mode.many_nodes()) {
            return Err(Refusal::Precondition.error(format!("volume {volume} is attached to node {other}")));
        }
        let answer = BTreeMap::from([("device".to_owned(), format!("{volume} at {node}"))]);
        state.attached.insert((volume, node));
        Ok(answer)
    }

    async fn detach(&self, volume: &VolumeId, node: Option<&NodeId>, secrets: &Secrets) -> Result<()> {
        named(volume.as_str())?;
        self.note("ControllerUnpublishVolume", secrets);
        self.step().await?;
        let of = |own: &(String, String)| own.0 == volume.as_str() && node.is_none_or(|node| node.as_str() == own.1);
        self.state.lock().attached.retain(|own| !of(own));
        Ok(())
    }
}

#[async_trait]
impl Snapshotting for FakeDriver {
    async fn snapshot(&self, request: &CreateSnapshot) -> Result<Snapshot> {
        named(&request.name)?;
        named(request.source.as_str())?;
        self.note("CreateSnapshot", &request.secrets);
        self.step().await?;
        let now = self.clock.now();
        let mut state = self.state.lock();
        let id = format!("snap-{}", request.name);
        if let Some((_, held)) = state.snapshots.get(&id) {
            let other = || Error::new(ErrorKind::AlreadyExists, format!("snapshot {} is of another", request.name));
            return if held.source == request.source { Ok(self.seen(held)) } else { Err(other()) };
        }
        let held = state.volumes.get(request.source.as_str()).ok_or_else(|| missing(&request.source))?;
        let snapshot = Snapshot {
            id: id.as_str().into(),
            source: request.source.clone(),
            size: held.volume.capacity,
            created: now,
            ready: false,
        };
        state.snapshots.insert(id, (request.clone(), snapshot.clone()));
        if state.lost.is_empty() {
            return Ok(self.seen(&snapshot));
        }
        let kind = state.lost.remove(0);
        Err(Error::new(kind, "the driver was told to lose its answer").maybe_applied())
    }

    async fn delete_snapshot(&self, snapshot: &SnapshotId, secrets: &Secrets) -> Result<()> {
        named(snapshot.as_str())?;
        self.note("DeleteSnapshot", secrets);
        self.step().await?;
        self.state.lock().snapshots.remove(snapshot.as_str());
        Ok(())
    }
}

#[async_trait]
impl SnapshotListing for FakeDriver {
    async fn list_snapshots(&self, filter: &SnapshotFilter) -> Result<Page<Snapshot>> {
        self.note("ListSnapshots", &filter.secrets);
        let state = self.state.lock();
        let wanted = |own: &Snapshot| {
            filter.source.as_ref().is_none_or(|source| *source == own.source)
                && filter.snapshot.as_ref().is_none_or(|id| *id == own.id)
        };
        let all = state.snapshots.values().map(|(_, own)| own).filter(|own| wanted(own));
        page(all, |own| own.id.to_string(), ("snap-", filter.limit, filter.token.as_deref()), |own| self.seen(own))
    }
}

#[async_trait]
impl Listing for FakeDriver {
    async fn list(&self, limit: Option<u32>, token: Option<&str>) -> Result<Page<VolumeState>> {
        let state = self.state.lock();
        let entry = |held: &Held| VolumeState { volume: held.volume.clone(), ..VolumeState::default() };
        page(state.volumes.values(), |held| held.volume.id.to_string(), ("fake-", limit, token), entry)
    }
}

/// Some of all entries, which come in the order of their ids: those behind a token, which begins as their ids do.
fn page<'a, T: 'a, E>(
    all: impl Iterator<Item = &'a T>,
    id: impl Fn(&T) -> String,
    (prefix, limit, token): (&str, Option<u32>, Option<&str>),
    entry: impl Fn(&T) -> E,
) -> Result<Page<E>> {
    if let Some(token) = token.filter(|token| !token.starts_with(prefix)) {
        return Err(Refusal::Pending.error(format!("{token:?} is not where a page ended")));
    }
    let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut rest = all.filter(|own| token.is_none_or(|token| id(own).as_str() > token));
    let some: Vec<&T> = rest.by_ref().take(most).collect();
    let next = rest.next().and(some.last()).map(|last| id(last));
    Ok(Page { entries: some.into_iter().map(entry).collect(), next })
}

#[async_trait]
impl Inspecting for FakeDriver {
    async fn inspect(&self, volume: &VolumeId) -> Result<VolumeState> {
        let state = self.state.lock();
        let held = state.volumes.get(volume.as_str()).ok_or_else(|| missing(volume))?;
        Ok(VolumeState { volume: held.volume.clone(), ..VolumeState::default() })
    }
}

#[async_trait]
impl Expanding for FakeDriver {
    async fn expand(&self, request: &ExpandVolume) -> Result<Expanded> {
        if request.capacity == CapacityRange::default() {
            return Err(Error::new(ErrorKind::Invalid, "a size is required"));
        }
        self.note("ControllerExpandVolume", &request.secrets);
        self.step().await?;
        let mut state = self.state.lock();
        let held = state.volumes.get_mut(request.volume.as_str()).ok_or_else(|| missing(&request.volume))?;
        let bytes = size(request.capacity)?.max(held.volume.capacity.unwrap_or_default());
        held.volume.capacity = Some(bytes);
        Ok(Expanded { capacity: bytes, node_expansion: false })
    }
}

impl fmt::Debug for FakeDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeDriver").field("name", &self.name).finish_non_exhaustive()
    }
}

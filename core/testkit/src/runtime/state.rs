//! What the fake runtime holds.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use event_listener::Event;
use futures::channel::mpsc;
use jiff::Timestamp;
use parking_lot::Mutex;
use windlass_kernel::{
    ErrorKind, Task,
    runtime::{
        Change, ContainerConfig, ContainerExit, ContainerId, ContainerState, ContainerStatus, Image, ImageId,
        Namespace, RegistryAuth, RuntimeEvent, SandboxConfig, SandboxId, SandboxState, SandboxStatus, Subject,
    },
};

use super::act::Act;
use crate::pipe::{Reader, Writer};

/// An open log.
pub(super) type File = Arc<Mutex<String>>;

#[derive(Debug)]
pub(super) struct SandboxRecord {
    pub(super) config: SandboxConfig,
    pub(super) status: SandboxStatus,
}

#[derive(Debug)]
pub(super) struct ContainerRecord {
    pub(super) config: ContainerConfig,
    pub(super) status: ContainerStatus,
    pub(super) act: Act,
    pub(super) task: Option<Task>,
    pub(super) log: Option<File>,
    /// The input of a container that has one: what sessions write to, and what its process reads.
    pub(super) stdin: (Option<Writer>, Option<Reader>),
    /// The outputs of sessions that are attached.
    pub(super) attached: Vec<Writer>,
    /// Uptime of the runtime's clock at the start.
    pub(super) started_at: Duration,
}

#[derive(Debug, Default)]
pub(super) struct State {
    last: u64,
    pub(super) sandboxes: BTreeMap<SandboxId, SandboxRecord>,
    pub(super) containers: BTreeMap<ContainerId, ContainerRecord>,
    pub(super) images: BTreeMap<ImageId, Image>,
    /// Memory and layer of containers, by name, where they are not the usual ones.
    pub(super) usage: BTreeMap<String, (u64, u64)>,
    /// Where the images are said to be.
    pub(super) images_at: String,
    pub(super) registry: BTreeMap<String, Option<RegistryAuth>>,
    pub(super) files: BTreeMap<String, File>,
    pub(super) delays: BTreeMap<&'static str, Duration>,
    pub(super) failures: BTreeMap<&'static str, VecDeque<ErrorKind>>,
    pub(super) listeners: Vec<mpsc::UnboundedSender<RuntimeEvent>>,
    /// Told of every container that ends.
    pub(super) ended: Arc<Event>,
}

impl State {
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// An id as long as those of real runtimes.
    pub(super) fn id(&mut self) -> String {
        format!("{:064x}", self.number())
    }

    pub(super) fn address(&mut self, config: &SandboxConfig) -> Vec<IpAddr> {
        if config.security.namespaces.network == Namespace::Node {
            return Vec::new();
        }
        let [_, a, b, c] = u32::try_from(self.number()).unwrap_or_default().to_be_bytes();
        vec![IpAddr::V4(Ipv4Addr::new(10, a.wrapping_add(88), b, c))]
    }

    pub(super) fn add_image(&mut self, name: &str) -> ImageId {
        let number = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let (id, digest) = (format!("sha256:{number:064x}"), format!("sha256:{:064x}", !number));
        // The tag begins after the last colon, unless that is before a port.
        let repository = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => name,
        };
        let image = Image {
            id: id.as_str().into(),
            tags: vec![name.into()],
            digests: vec![format!("{repository}@{digest}")],
            size: 1 << 20,
            user: None,
            pinned: false,
        };
        self.images.insert(image.id.clone(), image);
        self.tell(&RuntimeEvent::Images);
        id.into()
    }

    pub(super) fn find_image(&self, name: &str) -> Option<&Image> {
        let named = |image: &&Image| {
            image.id.as_str() == name || image.tags.iter().chain(&image.digests).any(|known| known == name)
        };
        self.images.values().find(named)
    }

    pub(super) fn tell(&mut self, event: &RuntimeEvent) {
        self.listeners.retain(|listener| listener.unbounded_send(event.clone()).is_ok());
    }

    pub(super) fn tell_container(&mut self, id: &ContainerId, what: Change) {
        self.tell(&RuntimeEvent::Changed { subject: Subject::Container(id.clone()), what });
    }

    pub(super) fn tell_sandbox(&mut self, id: &SandboxId, what: Change) {
        self.tell(&RuntimeEvent::Changed { subject: Subject::Sandbox(id.clone()), what });
    }

    /// Ends a running container; nothing happens otherwise.
    pub(super) fn finish(&mut self, id: &ContainerId, code: i32, reason: &str, now: Timestamp) {
        let Some(record) = self.containers.get_mut(id) else { return };
        if record.status.container.state != ContainerState::Running {
            return;
        }
        record.status.container.state = ContainerState::Exited;
        record.status.exit = Some(ContainerExit { code, finished: now });
        let usual = if code == 0 { "Completed" } else { "Error" };
        record.status.reason = if reason.is_empty() { usual.into() } else { reason.into() };
        record.attached.clear();
        record.stdin = (None, None);
        // The process itself may be the one that calls: then it is about to end anyway.
        record.task = None;
        self.ended.notify(usize::MAX);
        self.tell_container(id, Change::Exited);
    }

    /// Removes a container, whatever it does.
    pub(super) fn remove_container(&mut self, id: &ContainerId, now: Timestamp) {
        self.finish(id, 137, "", now);
        if self.containers.remove(id).is_some() {
            self.tell_container(id, Change::Removed);
        }
    }

    pub(super) fn stop_sandbox(&mut self, id: &SandboxId, now: Timestamp) {
        for container in self.containers_of(id) {
            self.finish(&container, 137, "", now);
        }
        let Some(record) = self.sandboxes.get_mut(id) else { return };
        record.status.ips.clear();
        if std::mem::replace(&mut record.status.sandbox.state, SandboxState::NotReady) == SandboxState::Ready {
            self.tell_sandbox(id, Change::Exited);
        }
    }

    pub(super) fn containers_of(&self, id: &SandboxId) -> Vec<ContainerId> {
        let of = |record: &ContainerRecord| record.status.container.sandbox == *id;
        self.containers.iter().filter(|(_, record)| of(record)).map(|(id, _)| id.clone()).collect()
    }

    /// Writes records to a container's log, and the bytes to the sessions that are attached.
    pub(super) fn write(&mut self, id: &ContainerId, stream: &str, bytes: &[u8], now: Timestamp) -> Vec<Writer> {
        let Some(record) = self.containers.get_mut(id) else { return Vec::new() };
        if let Some(log) = &record.log {
            let mut log = log.lock();
            for line in String::from_utf8_lossy(bytes).split_inclusive('\n') {
                let (tag, text) = line.strip_suffix('\n').map_or(("P", line), |text| ("F", text));
                *log += &format!("{now} {stream} {tag} {text}\n");
            }
        }
        std::mem::take(&mut record.attached)
    }
}

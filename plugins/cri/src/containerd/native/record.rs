//! What containerd keeps for us with each sandbox and container: the configuration as an extension, and its life as labels.
//! There is no other record: whoever starts anew reads everything from here.

use std::{collections::BTreeMap, net::IpAddr};

use containerd_client::services::v1 as api;
use jiff::Timestamp;
use oci_spec::runtime::Spec;
use prost::Message;
use prost_types::{Any, FieldMask};
use windlass_kernel::{
    Error, ErrorKind, Result,
    runtime::{
        Container, ContainerConfig, ContainerExit, ContainerId, ContainerKey, ContainerState, Sandbox, SandboxConfig,
        SandboxKey, SandboxState,
    },
};

use super::{
    Containerd,
    calls::{Calls, answered, time, unless_gone},
};
use crate::wire;

/// The name of the extension, and the type of what is in it.
const CONFIG: &str = "windlass.dev/config";

/// Labels. With its name none may be longer than 4096 bytes, which is containerd's limit: what may be longer stands elsewhere.
pub(super) mod label {
    /// `sandbox` or `container`.
    pub(crate) const KIND: &str = "windlass.dev/kind";
    /// A digest of its key.
    pub(crate) const KEY: &str = "windlass.dev/key";
    /// The sandbox of a container.
    pub(crate) const SANDBOX: &str = "windlass.dev/sandbox";
    /// The runtime handler of a sandbox.
    pub(crate) const HANDLER: &str = "windlass.dev/handler";
    /// The id of the image.
    pub(crate) const IMAGE: &str = "windlass.dev/image";
    /// The log file.
    pub(crate) const LOG: &str = "windlass.dev/log";
    /// The signal that asks it to end.
    pub(crate) const SIGNAL: &str = "windlass.dev/stop-signal";
    /// When it was started. A sandbox has it when it is complete.
    pub(crate) const STARTED: &str = "windlass.dev/started";
    /// The code and the time of its end.
    pub(crate) const EXIT: &str = "windlass.dev/exit";
    /// A word on that.
    pub(crate) const REASON: &str = "windlass.dev/reason";
    /// A sentence on that.
    pub(crate) const MESSAGE: &str = "windlass.dev/message";
    /// The addresses of a sandbox.
    pub(crate) const ADDRESSES: &str = "windlass.dev/addresses";
}

/// The word of a sandbox.
pub(super) const SANDBOX: &str = "sandbox";
/// The word of a container.
pub(super) const CONTAINER: &str = "container";

/// A sandbox or container as containerd keeps it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) created: Timestamp,
    pub(super) spec: Vec<u8>,
    config: Vec<u8>,
}

impl Kept {
    fn read(container: api::Container) -> Self {
        let mut extensions = container.extensions;
        Self {
            id: container.id,
            labels: container.labels.into_iter().collect(),
            created: time(container.created_at),
            spec: container.spec.map(|spec| spec.value).unwrap_or_default(),
            config: extensions.remove(CONFIG).map(|any| any.value).unwrap_or_default(),
        }
    }

    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_sandbox(&self) -> bool {
        self.label(label::KIND) == SANDBOX
    }

    pub(super) fn sandbox_config(&self) -> Result<SandboxConfig> {
        let wire = wire::wire::PodSandboxConfig::decode(self.config.as_slice()).map_err(|error| self.broken(error))?;
        wire::sandbox_config_from_wire(Some(wire), self.label(label::HANDLER).to_owned())
            .map_err(|error| self.broken(error))
    }

    pub(super) fn container_config(&self) -> Result<ContainerConfig> {
        let wire = wire::wire::ContainerConfig::decode(self.config.as_slice()).map_err(|error| self.broken(error))?;
        wire::container_config_from_wire(Some(wire)).map_err(|error| self.broken(error))
    }

    fn broken(&self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::new(ErrorKind::Internal, format!("the record of {} cannot be read", self.id)).with_source(error)
    }

    /// When it was started, if it was.
    pub(super) fn started(&self) -> Option<Timestamp> {
        self.label(label::STARTED).parse().ok()
    }

    /// How it ended, if that is known.
    pub(super) fn exit(&self) -> Option<ContainerExit> {
        let (code, finished) = self.label(label::EXIT).split_once(' ')?;
        Some(ContainerExit { code: code.parse().ok()?, finished: finished.parse().ok()? })
    }

    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.label(label::ADDRESSES).split(',').filter_map(|text| text.parse().ok()).collect()
    }

    /// Who it runs as, with a group and further ones, as its specification says.
    pub(super) fn user(&self) -> Option<(i64, i64, Vec<i64>)> {
        let spec: Spec = serde_json::from_slice(&self.spec).ok()?;
        let user = spec.process().as_ref()?.user();
        let further = user.additional_gids().iter().flatten().map(|gid| i64::from(*gid)).collect();
        Some((user.uid().into(), user.gid().into(), further))
    }

    pub(super) fn as_sandbox(&self, state: SandboxState) -> Result<Sandbox> {
        let config = self.sandbox_config()?;
        Ok(Sandbox {
            id: self.id.as_str().into(),
            key: config.key,
            state,
            created: self.created,
            labels: config.labels,
            annotations: config.annotations,
            handler: config.handler,
        })
    }

    pub(super) fn as_container(&self, state: ContainerState) -> Result<Container> {
        let config = self.container_config()?;
        Ok(Container {
            id: ContainerId::from(self.id.as_str()),
            sandbox: self.label(label::SANDBOX).into(),
            key: config.key,
            image: config.image,
            image_id: self.label(label::IMAGE).into(),
            state,
            created: self.created,
            labels: config.labels,
            annotations: config.annotations,
        })
    }
}

/// What is written down at the beginning.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) labels: BTreeMap<&'static str, String>,
    pub(super) config: Vec<u8>,
    pub(super) image: String,
    pub(super) spec: Vec<u8>,
    pub(super) runtime: Any,
}

/// A digest of a sandbox's key, by which it is found.
pub(super) fn sandbox_key(key: &SandboxKey) -> String {
    digest(&[SANDBOX, &key.namespace, &key.name, &key.uid, &key.attempt.to_string()])
}

/// A digest of a container's key and sandbox, by which it is found.
pub(super) fn container_key(sandbox: &str, key: &ContainerKey) -> String {
    digest(&[CONTAINER, sandbox, &key.name, &key.attempt.to_string()])
}

/// No two lists of words have one text: each word's length stands before it.
fn digest(words: &[&str]) -> String {
    let text: String = words.iter().map(|word| format!("{}:{word}", word.len())).collect();
    super::super::sha256(text.as_bytes())
}

/// A sandbox's configuration as it is kept.
pub(super) fn of_sandbox(config: &SandboxConfig) -> Vec<u8> {
    wire::sandbox_config(config).encode_to_vec()
}

/// A container's configuration as it is kept.
pub(super) fn of_container(config: &ContainerConfig) -> Result<Vec<u8>> {
    Ok(wire::container_config(config)?.encode_to_vec())
}

/// How containerd is told the type of a specification.
pub(super) fn typed(name: &str, value: Vec<u8>) -> Any {
    Any { type_url: format!("types.containerd.io/opencontainers/runtime-spec/1/{name}"), value }
}

impl Containerd {
    /// What a list has. A record that cannot be read is left out, and told of once: whoever asks for it by its id is told why.
    pub(super) fn listed<T>(&self, id: &str, read: Result<T>) -> Option<T> {
        let known = &self.0.unreadable;
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                if known.lock().insert(id.to_owned()) {
                    tracing::warn!(id, %error, "a record is left out of lists");
                }
                None
            }
        }
    }
}

impl Calls {
    /// A sandbox or container of ours.
    pub(super) async fn kept(&self, id: &str) -> Result<Option<Kept>> {
        if id.is_empty() {
            return Ok(None);
        }
        let answer = self.containers().get(api::GetContainerRequest { id: id.to_owned() }).await;
        // What cannot be an id is none.
        let answer = match answer {
            Err(status) if status.code() == tonic::Code::InvalidArgument => return Ok(None),
            answer => unless_gone("look for a container", answer)?,
        };
        let kept = answer.and_then(|answer| answer.container).map(Kept::read);
        Ok(kept.filter(|kept| kept.labels.contains_key(label::KIND)))
    }

    /// A sandbox, or nothing where the id is of something else.
    pub(super) async fn kept_sandbox(&self, id: &str) -> Result<Option<Kept>> {
        Ok(self.kept(id).await?.filter(Kept::is_sandbox))
    }

    /// A container, or nothing where the id is of something else.
    pub(super) async fn kept_container(&self, id: &str) -> Result<Option<Kept>> {
        Ok(self.kept(id).await?.filter(|kept| !kept.is_sandbox()))
    }

    /// All of those that have every one of these labels, the oldest first.
    pub(super) async fn all_kept(&self, labels: &[(&str, &str)]) -> Result<Vec<Kept>> {
        let filter: Vec<_> = labels.iter().map(|(name, value)| format!("labels.\"{name}\"==\"{value}\"")).collect();
        let request = api::ListContainersRequest { filters: vec![filter.join(",")] };
        let answer = answered("list containers", self.containers().list(request).await)?;
        let mut kept: Vec<_> = answer.containers.into_iter().map(Kept::read).collect();
        kept.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(kept)
    }

    /// Fails where something has the key.
    pub(super) async fn free_key(&self, key: &str, what: impl Fn() -> String) -> Result<()> {
        match self.all_kept(&[(label::KEY, key)]).await?.first() {
            None => Ok(()),
            Some(kept) => Err(Error::new(ErrorKind::AlreadyExists, format!("{} is there as {}", what(), kept.id))),
        }
    }

    /// Writes one down. Its snapshot is named like it.
    pub(super) async fn write_down(&self, entry: Entry) -> Result<Kept> {
        let config = Any { type_url: CONFIG.into(), value: entry.config };
        let runtime = api::container::Runtime { name: super::RUNTIME.into(), options: Some(entry.runtime) };
        let container = api::Container {
            labels: entry.labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            image: entry.image,
            runtime: Some(runtime),
            spec: Some(typed("Spec", entry.spec)),
            snapshotter: self.snapshotter.to_string(),
            snapshot_key: entry.id.clone(),
            extensions: [(CONFIG.to_owned(), config)].into(),
            id: entry.id,
            ..api::Container::default()
        };
        let request = api::CreateContainerRequest { container: Some(container) };
        let answer = answered("write a container down", self.containers().create(request).await)?;
        let written = answer.container.ok_or_else(|| Error::new(ErrorKind::Internal, "containerd wrote nothing"))?;
        Ok(Kept::read(written))
    }

    /// Changes labels. An empty text takes a label away, as far as anyone can tell.
    pub(super) async fn label(&self, id: &str, labels: &[(&str, String)]) -> Result<()> {
        let changed = api::Container {
            id: id.to_owned(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            ..api::Container::default()
        };
        self.change(changed, labels.iter().map(|(name, _)| format!("labels.{name}")).collect()).await
    }

    /// Changes the configuration and the specification of a container.
    pub(super) async fn rewrite(&self, id: &str, config: &ContainerConfig, spec: Vec<u8>) -> Result<()> {
        let config = Any { type_url: CONFIG.into(), value: of_container(config)? };
        let changed = api::Container {
            id: id.to_owned(),
            spec: Some(typed("Spec", spec)),
            extensions: [(CONFIG.to_owned(), config)].into(),
            ..api::Container::default()
        };
        self.change(changed, vec!["spec".into(), format!("extensions.{CONFIG}")]).await
    }

    async fn change(&self, container: api::Container, paths: Vec<String>) -> Result<()> {
        let request =
            api::UpdateContainerRequest { container: Some(container), update_mask: Some(FieldMask { paths }) };
        answered("note what happened to a container", self.containers().update(request).await).map(drop)
    }

    /// Strikes one out.
    pub(super) async fn strike_out(&self, id: &str) -> Result<()> {
        let request = api::DeleteContainerRequest { id: id.to_owned() };
        unless_gone("remove a container", self.containers().delete(request).await).map(drop)
    }
}

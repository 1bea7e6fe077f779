//! A pod's volumes as plain folders of this process's machine: the same files as on a node, without mounts.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{FutureExt, StreamExt, future};
use jiff::Timestamp;
use windlass_api::core::v1::{Container, Pod, Volume};
use windlass_kernel::{Clock, ClockExt, Error, Spawn, SpawnExt, controller::ObjectKey, node::NodeContext};

use super::super::{
    objects::{self, Object},
    prepare::whole,
    volumes::renewal,
};
use crate::{
    make::fields::Place,
    volume::{self, Source, TokenRequest},
};

/// Where volumes are made.
#[derive(Clone, Debug)]
pub struct Folders {
    /// What belongs to the pod and goes with it.
    pub pod: PathBuf,
    /// What the node has in place of a file system of its own (HostPathVolumeSource).
    pub node: PathBuf,
    /// What is claimed and outlives pods: by namespace and claim.
    pub claims: PathBuf,
}

/// What the volumes of one pod are made with, and what they show.
#[derive(Debug)]
pub struct Volumes {
    context: Arc<dyn NodeContext>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    folders: Folders,
    addresses: (Vec<IpAddr>, Vec<IpAddr>),
    /// The versions that were read.
    shown: BTreeMap<Object, Option<String>>,
    /// Tokens that are good, and when they are to be renewed.
    tokens: BTreeMap<TokenRequest, (String, Timestamp)>,
}

impl Volumes {
    /// Nothing is made yet. `addresses` are the pod's and the node's.
    #[must_use]
    pub fn new(
        context: Arc<dyn NodeContext>,
        clock: Arc<dyn Clock>,
        spawn: Arc<dyn Spawn>,
        folders: Folders,
        addresses: (Option<IpAddr>, Option<IpAddr>),
    ) -> Self {
        let addresses = (addresses.0.into_iter().collect(), addresses.1.into_iter().collect());
        Self { context, clock, spawn, folders, addresses, shown: BTreeMap::new(), tokens: BTreeMap::new() }
    }

    /// Makes every volume, or writes again those whose objects have changed. Each is all old or all new to its readers.
    ///
    /// # Errors
    ///
    /// Why one cannot be made, in the words of its event.
    pub async fn make(&mut self, pod: &Pod) -> Result<BTreeMap<String, PathBuf>, String> {
        let mut paths = BTreeMap::new();
        for volume in &pod.spec.volumes {
            let failed = |why| format!("MountVolume.SetUp failed for volume \"{}\" : {why}", volume.name);
            paths.insert(volume.name.clone(), self.one(pod, volume).await.map_err(failed)?);
        }
        Ok(paths)
    }

    /// Waits until an object has come to another version than the one that was read, or a token is to be renewed.
    pub async fn outdated(&self, pod: &Pod) {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let changes = self.shown.iter().map(|((kind, name), read)| {
            let mut versions = self.context.versions(kind.resource(), &ObjectKey::new(namespace.clone(), name.clone()));
            async move {
                while let Some(now) = versions.next().await {
                    if now != *read {
                        return;
                    }
                }
                future::pending().await
            }
            .boxed()
        });
        let due = self.tokens.values().map(|(_, renewal)| *renewal).min();
        let expiry = due.map(|due| {
            let left = std::time::Duration::try_from(due.duration_since(self.clock.now())).unwrap_or_default();
            let clock = Arc::clone(&self.clock);
            async move { clock.sleep(left).await }.boxed()
        });
        let mut waits: Vec<_> = changes.chain(expiry).collect();
        // With nothing to wait for, it waits for ever.
        waits.push(future::pending().boxed());
        future::select_all(waits).await;
    }

    async fn one(&mut self, pod: &Pod, volume: &Volume) -> Result<PathBuf, String> {
        let folder = match &volume.persistent_volume_claim {
            Some(claim) => {
                self.folders.claims.join(pod.metadata.namespace.as_deref().unwrap_or_default()).join(&claim.claim_name)
            }
            None => self.folders.pod.join(&volume.name),
        };
        let kind = match &volume.persistent_volume_claim {
            Some(_) => volume::Kind::Folder,
            None => match volume::kind(volume)? {
                // Nothing is mounted here: memory is a folder like others.
                volume::Kind::Folder | volume::Kind::Memory(_) => volume::Kind::Folder,
                volume::Kind::Stored => return Err("this type of volume is not supported".into()),
                volume::Kind::Host { path, kind } => {
                    volume::Kind::Host { path: self.folders.node.join(path.strip_prefix("/").unwrap_or(&path)), kind }
                }
            },
        };
        let ours = volume::is_ours(volume);
        let files = if ours { self.files(pod, volume).await? } else { vec![] };
        let version = format!("v{}", self.clock.now().as_nanosecond());
        let work = move || -> Result<PathBuf, String> {
            let at = volume::prepare(&kind, &folder, None)?;
            if ours {
                volume::write(&at, &files, &version, None).map_err(|error| error.to_string())?;
            }
            Ok(at)
        };
        self.spawn.run_blocking("node.files", work).await.unwrap_or_else(|| Err("its making panicked".into()))
    }

    async fn files(&mut self, pod: &Pod, volume: &Volume) -> Result<Vec<volume::File>, String> {
        let (mut needed, mut tokens) = (vec![], BTreeMap::new());
        for source in volume::sources(volume).0 {
            match source {
                Source::Object { kind, name, .. } => needed.push((kind, name)),
                Source::Token { request, .. } => {
                    let token = self.token(pod, &request).await?;
                    tokens.insert(request, token);
                }
                Source::Downward(_) | Source::Unsupported(_) => {}
            }
        }
        let found = objects::read(self.context.as_ref(), pod, needed).await.map_err(|error| whole(&error))?;
        self.shown.extend(found.versions);
        let node = pod.spec.node_name.clone().unwrap_or_default();
        let (ips, hosts) = self.addresses.clone();
        let place = Place { node, hosts, ips, allocatable: BTreeMap::new() };
        volume::files(pod, volume, &found.data, &tokens, &place)
    }

    async fn token(&mut self, pod: &Pod, request: &TokenRequest) -> Result<String, String> {
        let now = self.clock.now();
        if let Some((token, _)) = self.tokens.get(request).filter(|(_, renewal)| *renewal > now) {
            return Ok(token.clone());
        }
        let failed = |error: Error| format!("failed to fetch token: {}", whole(&error));
        let minted = request.mint(self.context.as_ref(), pod).await.map_err(failed)?;
        self.tokens.insert(request.clone(), (minted.token.clone(), renewal(now, minted.expires)));
        Ok(minted.token)
    }
}

/// Where a container finds its volumes: the path of each mount, and the folder or file that is there.
///
/// # Errors
///
/// Why a mount cannot be had.
pub fn mounts(
    container: &Container,
    env: &[(String, String)],
    volumes: &BTreeMap<String, PathBuf>,
) -> Result<Vec<(String, PathBuf)>, String> {
    if !container.volume_devices.is_empty() {
        return Err("block volumes are not supported".into());
    }
    volume::planned(container, env)?
        .into_iter()
        .map(|one| {
            let root = volumes.get(&one.volume).ok_or_else(|| format!("volume {:?} is not defined", one.volume))?;
            Ok((one.path, one.sub.map_or_else(|| Ok(root.clone()), |sub| below(root, &sub))?))
        })
        .collect()
}

/// A part of a volume; a folder where nothing is there.
fn below(root: &Path, sub: &str) -> Result<PathBuf, String> {
    let failed = |why: &dyn std::fmt::Display| format!("failed to prepare subPath {sub:?}: {why}");
    if sub.starts_with('/') || sub.split('/').any(|part| part == "..") {
        return Err(failed(&"it leads out of the volume"));
    }
    let path = root.join(sub);
    if !path.exists() {
        fs::create_dir_all(&path).map_err(|error| failed(&error))?;
    }
    Ok(path)
}

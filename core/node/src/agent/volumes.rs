//! A pod's volumes: made before its sandbox, and written again when an object that they show has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use windlass_api::core::v1::{Pod, Volume};
use windlass_kernel::{
    Error, ErrorKind, Result, SpawnExt, Task,
    controller::ObjectKey,
    node::{NodeContext, Token},
    runtime::SandboxState,
};

use super::{objects::Object, prepare::whole, storage::Stored, worker::Round};
use crate::{
    make::fields::Place,
    pod::{self, Observed},
    volume::{self, Source, TokenRequest},
};

/// A volume that could not be written again is tried anew after so long.
const RETRY: Duration = Duration::from_secs(60);

/// What is remembered of volumes from round to round.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Whether the volumes stand.
    stand: bool,
    /// When a token is to be renewed, or what failed is to be tried again.
    due: Option<Timestamp>,
    /// Volumes that could not be written again.
    failed: BTreeSet<String>,
    /// The pod as its downward volumes show it.
    pod: Option<Arc<Pod>>,
    /// Who waits for changes of the objects that are shown.
    followed: BTreeMap<Object, Task>,
    /// Tokens that are good, and when they are to be renewed.
    tokens: BTreeMap<TokenRequest, (String, Timestamp)>,
    /// Volumes of claims and drivers.
    pub(super) stored: Stored,
}

impl Shown {
    /// Whether what a downward volume can show of the pod has changed.
    fn differs(&self, pod: &Pod) -> bool {
        self.pod.as_ref().is_some_and(|shown| {
            let (old, new) = (&shown.metadata, &pod.metadata);
            old.labels != new.labels || old.annotations != new.annotations || shown.spec != pod.spec
        })
    }
}

impl Round<'_> {
    /// Makes the pod's volumes, if they do not stand yet.
    pub(super) async fn volumes(&mut self, pod: &Arc<Pod>, ips: &[std::net::IpAddr]) -> Result<()> {
        let stored = pod.spec.volumes.iter().filter(|volume| volume::stored::is_stored(volume));
        for volume in stored {
            if self.memo.shown.stored.places.contains_key(&volume.name) {
                continue;
            }
            if let Err(unmounted) = self.stored(pod, volume).await {
                if self.handle.ending().is_none() {
                    self.event(pod, None, "Warning", unmounted.reason, &unmounted.text);
                }
                return Err(Error::new(ErrorKind::Unavailable, unmounted.text));
            }
        }
        if self.memo.shown.stand {
            return Ok(());
        }
        self.handle.take_outdated();
        let place = self.inner.place(ips, pod);
        for volume in pod.spec.volumes.iter().filter(|volume| !volume::stored::is_stored(volume)) {
            if let Err(why) = self.volume(pod, volume, &place).await {
                let text = self.cannot_mount(pod, volume, &why);
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
        }
        self.memo.shown.stand = true;
        self.memo.shown.pod = Some(Arc::clone(pod));
        self.renewal();
        Ok(())
    }

    /// The volumes are gone.
    pub(super) fn forget_volumes(&mut self) {
        self.memo.shown = Shown::default();
    }

    /// Writes the volumes again whose objects have changed, and says when to look again even if nothing happens.
    pub(super) async fn refresh(&mut self, pod: &Arc<Pod>, observed: &Observed) -> Result<Option<Timestamp>> {
        let running = observed.sandboxes.first().is_some_and(|sandbox| sandbox.state == SandboxState::Ready);
        // Another agent made them: it is not known what they show.
        let found = !self.memo.shown.stand && running;
        self.memo.shown.stand |= found;
        if !self.memo.shown.stand {
            return Ok(None);
        }
        let outdated = self.handle.take_outdated();
        let due = self.memo.shown.due.is_some_and(|due| due <= self.now());
        let differs = self.memo.shown.differs(pod);
        if !found && outdated.is_empty() && !due && !differs {
            return Ok(self.memo.shown.due);
        }
        let place = self.inner.place(&observed.ips, pod);
        let failed = std::mem::take(&mut self.memo.shown.failed);
        for volume in pod.spec.volumes.iter().filter(|volume| volume::is_ours(volume)) {
            let touched = |source: &Source<'_>| match source {
                Source::Object { kind, name, .. } => outdated.contains(&(*kind, name.clone())),
                Source::Downward(_) => differs,
                Source::Token { .. } => due,
                Source::Unsupported(_) => false,
            };
            let again = found || failed.contains(&volume.name) || volume::sources(volume).0.iter().any(touched);
            if !again {
                continue;
            }
            if let Err(why) = self.volume(pod, volume, &place).await {
                self.cannot_mount(pod, volume, &why);
                self.memo.shown.failed.insert(volume.name.clone());
            }
        }
        self.memo.shown.pod = Some(Arc::clone(pod));
        self.renewal();
        Ok(self.memo.shown.due)
    }

    fn renewal(&mut self) {
        let (now, failing) = (self.now(), !self.memo.shown.failed.is_empty());
        let retry = now.checked_add(RETRY).ok().filter(|_| failing);
        let shown = &mut self.memo.shown;
        // A token that could not be renewed waits for the next try too.
        let renewals = shown.tokens.values().map(|(_, renewal)| *renewal).filter(|renewal| !failing || *renewal > now);
        shown.due = renewals.chain(retry).min();
    }

    fn cannot_mount(&self, pod: &Arc<Pod>, volume: &Volume, why: &str) -> String {
        let text = format!("MountVolume.SetUp failed for volume \"{}\" : {why}", volume.name);
        self.event(pod, None, "Warning", "FailedMount", &text);
        text
    }

    /// Makes one volume, or makes it show what its objects are now.
    async fn volume(&mut self, pod: &Arc<Pod>, volume: &Volume, place: &Place) -> Result<(), String> {
        let kind = volume::kind(volume)?;
        let folder = self.inner.layout.volume(&pod::uid(pod), &volume.name);
        let context = pod.spec.security_context.as_ref();
        let group = context.and_then(|context| context.fs_group).and_then(|group| u32::try_from(group).ok());
        let ours = volume::is_ours(volume);
        let files = if ours { self.files(pod, volume, place).await? } else { vec![] };
        let version = format!("v{}", self.now().as_nanosecond());
        let work = move || -> Result<(), String> {
            let at = volume::prepare(&kind, &folder, group.filter(|_| !ours))?;
            if ours {
                volume::write(&at, &files, &version, group).map_err(|error| error.to_string())?;
            }
            Ok(())
        };
        self.blocking(work).await.map_err(|error| error.to_string())?
    }

    async fn files(&mut self, pod: &Arc<Pod>, volume: &Volume, place: &Place) -> Result<Vec<volume::File>, String> {
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
        let found = self.read(pod, needed).await.map_err(|error| whole(&error))?;
        self.follow(pod, found.versions);
        volume::files(pod, volume, &found.data, &tokens, place)
    }

    /// A token for the pod's account: the one that is there, while it is good.
    async fn token(&mut self, pod: &Pod, request: &TokenRequest) -> Result<String, String> {
        let now = self.now();
        if let Some((token, _)) = self.memo.shown.tokens.get(request).filter(|(_, renewal)| *renewal > now) {
            return Ok(token.clone());
        }
        let minted = request.mint(self.inner.needs.context.as_ref(), pod).await;
        let minted = minted.map_err(|error| format!("failed to fetch token: {}", whole(&error)))?;
        let due = renewal(now, minted.expires);
        self.memo.shown.tokens.insert(request.clone(), (minted.token.clone(), due));
        Ok(minted.token)
    }

    /// Wakes this worker when an object comes to another version than the one that was read.
    fn follow(&mut self, pod: &Pod, read: BTreeMap<Object, Option<String>>) {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        for (object, mut last) in read {
            if self.memo.shown.followed.contains_key(&object) {
                continue;
            }
            let key = ObjectKey::new(namespace.clone(), object.1.clone());
            let mut versions = self.inner.needs.context.versions(object.0.resource(), &key);
            let (handle, about) = (Arc::clone(self.handle), object.clone());
            let wait = async move {
                while let Some(now) = versions.next().await {
                    if now != last {
                        last = now;
                        handle.outdate(about.clone());
                    }
                }
            };
            self.memo.shown.followed.insert(object, self.inner.needs.spawn.spawn("node.follow", wait));
        }
    }
}

/// When a token is to be renewed: when four fifths of its time are over, and at least once a day.
pub(super) fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
    let age = (life * 4 / 5).clamp(Duration::from_secs(1), Duration::from_secs(24 * 3600));
    now.checked_add(age).unwrap_or(Timestamp::MAX)
}

impl TokenRequest {
    /// Asks for the token, as the pod's account.
    pub(super) async fn mint(&self, context: &dyn NodeContext, pod: &Pod) -> Result<Token> {
        let audiences: Vec<String> =
            Some(self.audience.clone()).filter(|audience| !audience.is_empty()).into_iter().collect();
        context.token(pod, &audiences, Duration::from_secs(self.seconds)).await
    }
}

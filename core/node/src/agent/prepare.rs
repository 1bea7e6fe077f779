//! Makes what a pod's containers stand on: volumes, control group, sandbox.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use windlass_api::core::v1::{ConfigMap, Pod, Secret, Volume};
use windlass_kernel::{
    Error, ErrorKind, Result,
    controller::ObjectKey,
    runtime::{SandboxConfig, SandboxState},
};

use super::worker::Round;
use crate::{
    make::{dns, env, env::Kind, fields::Place, resources, sandbox},
    pod::{self, Observed},
    volume,
};

/// How often objects behind volumes are read again.
const REFRESH: Duration = Duration::from_secs(60);

impl Round<'_> {
    pub(super) fn sandbox_config(&self, pod: &Pod, attempt: u32) -> SandboxConfig {
        let dns = dns::dns(pod, &self.inner.config.dns, &self.inner.machine.resolver);
        sandbox::sandbox(
            pod,
            attempt,
            &self.inner.layout,
            (&self.inner.config.node, &self.inner.config.dns.domain),
            dns,
        )
    }

    pub(super) async fn make_sandbox(&mut self, pod: &Arc<Pod>, attempt: u32) -> Result<()> {
        self.volumes(pod, &[]).await?;
        let attempt = attempt.max(self.memo.floor);
        let config = self.sandbox_config(pod, attempt);
        let (logs, group, limits) =
            (PathBuf::from(&config.log_directory), config.cgroup_parent.clone(), resources::of_pod(pod));
        let made = self.blocking(move || {
            std::fs::create_dir_all(&logs)?;
            if group.is_empty() { Ok(()) } else { crate::cgroup::make(&group, &limits) }
        });
        if let Err(error) = made.await? {
            let text = format!("failed to make the control group or log directory of the pod: {error}");
            self.event(pod, None, "Warning", "FailedCreatePodContainer", &text);
            return Err(Error::new(ErrorKind::Internal, text));
        }
        match self.inner.needs.runtime.run_sandbox(&config).await {
            Ok(id) => {
                self.inner.enter(&pod::uid(pod), std::iter::once(id.to_string()));
                self.memo.sandbox = Some(config);
                Ok(())
            }
            Err(error) => {
                if error.is(ErrorKind::AlreadyExists) {
                    self.memo.floor = attempt + 1;
                }
                if !error.is(ErrorKind::Unavailable) {
                    let text = format!("Failed to create pod sandbox: {}", whole(&error));
                    self.event(pod, None, "Warning", "FailedCreatePodSandBox", &text);
                }
                Err(error)
            }
        }
    }

    /// Makes the pod's volumes, if they do not stand yet.
    pub(super) async fn volumes(&mut self, pod: &Arc<Pod>, ips: &[std::net::IpAddr]) -> Result<()> {
        if self.memo.volumes {
            return Ok(());
        }
        let place = self.inner.place(ips, pod);
        let mut refresh = None;
        for volume in &pod.spec.volumes {
            match self.volume(pod, volume, &place).await {
                Ok(again) => refresh = sooner(refresh, again),
                Err(why) => {
                    let text = format!("MountVolume.SetUp failed for volume \"{}\" : {why}", volume.name);
                    self.event(pod, None, "Warning", "FailedMount", &text);
                    return Err(Error::new(ErrorKind::Unavailable, text));
                }
            }
        }
        self.memo.refresh = refresh;
        self.memo.volumes = true;
        Ok(())
    }

    /// Writes volumes made of objects again when it is time, and says when it is next.
    pub(super) async fn refresh(&mut self, pod: &Arc<Pod>, observed: &Observed) -> Result<Option<Timestamp>> {
        let running = observed.sandboxes.first().is_some_and(|sandbox| sandbox.state == SandboxState::Ready);
        if !self.memo.volumes && running {
            // Another agent made them: it is time to look whether they are as they should be.
            self.memo.refresh = Some(self.now());
            self.memo.volumes = true;
        }
        let Some(due) = self.memo.refresh else { return Ok(None) };
        if due > self.now() {
            return Ok(Some(due));
        }
        let place = self.inner.place(&observed.ips, pod);
        let mut next = None;
        for volume in pod.spec.volumes.iter().filter(|volume| volume::is_ours(volume)) {
            match self.volume(pod, volume, &place).await {
                Ok(again) => next = sooner(next, again),
                Err(why) => {
                    tracing::warn!(pod = %pod::key(pod), volume = volume.name, why, "the volume stays as it is");
                    next = sooner(next, self.now().checked_add(REFRESH).ok());
                }
            }
        }
        self.memo.refresh = next;
        Ok(next)
    }

    /// Makes one volume, and says when it is to be looked at again.
    async fn volume(&self, pod: &Arc<Pod>, volume: &Volume, place: &Place) -> Result<Option<Timestamp>, String> {
        let kind = volume::kind(volume)?;
        let folder = self.inner.layout.volume(&pod::uid(pod), &volume.name);
        let context = pod.spec.security_context.as_ref();
        let group = context.and_then(|context| context.fs_group).and_then(|group| u32::try_from(group).ok());
        let ours = volume::is_ours(volume);
        let (files, refresh) = if ours { self.files(pod, volume, place).await? } else { (vec![], None) };
        let version = format!("v{}", self.now().as_nanosecond());
        let work = move || -> Result<(), String> {
            let at = volume::prepare(&kind, &folder, group.filter(|_| !ours))?;
            if ours {
                volume::write(&at, &files, &version, group).map_err(|error| error.to_string())?;
            }
            Ok(())
        };
        self.blocking(work).await.map_err(|error| error.to_string())??;
        Ok(refresh)
    }

    async fn files(
        &self,
        pod: &Arc<Pod>,
        volume: &Volume,
        place: &Place,
    ) -> Result<(Vec<volume::File>, Option<Timestamp>), String> {
        let (mut needed, mut tokens) = (vec![], BTreeMap::new());
        let later = self.now().checked_add(REFRESH).ok();
        let mut refresh = None;
        for source in volume::sources(volume).0 {
            match source {
                volume::Source::Object { kind, name, .. } => {
                    needed.push((kind, name));
                    refresh = sooner(refresh, later);
                }
                volume::Source::Downward(_) => refresh = sooner(refresh, later),
                volume::Source::Token { request, .. } => {
                    let audiences: Vec<String> =
                        Some(request.audience.clone()).filter(|audience| !audience.is_empty()).into_iter().collect();
                    let expiry = Duration::from_secs(request.seconds);
                    let minted = self.inner.needs.context.token(pod, &audiences, expiry).await;
                    let token = minted.map_err(|error| format!("failed to fetch token: {}", whole(&error)))?;
                    // Renewed when four fifths of its time are over, and at least once a day.
                    let life = Duration::try_from(token.expires.duration_since(self.now())).unwrap_or_default();
                    let age = (life * 4 / 5).min(Duration::from_secs(24 * 3600)).max(Duration::from_secs(1));
                    refresh = sooner(refresh, self.now().checked_add(age).ok());
                    tokens.insert(request, token.token);
                }
                volume::Source::Unsupported(_) => {}
            }
        }
        let read = self.read(pod, needed).await.map_err(|error| whole(&error))?;
        Ok((volume::files(pod, volume, &read, &tokens, place)?, refresh))
    }

    /// Reads ConfigMaps and Secrets of the pod's namespace.
    pub(super) async fn read(&self, pod: &Pod, needed: Vec<(Kind, String)>) -> Result<env::Read> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let mut read = env::Read::new();
        for (kind, name) in needed {
            let key = ObjectKey::new(namespace.clone(), name.clone());
            let found = self.inner.needs.context.read(kind.resource(), &key).await?;
            let unreadable = |error: serde_json::Error| {
                Error::new(ErrorKind::Internal, format!("cannot read {} {key}", kind.resource())).with_source(error)
            };
            let data = match (found, kind) {
                (None, _) => None,
                (Some(value), Kind::ConfigMap) => {
                    let map: ConfigMap = serde_json::from_value(value).map_err(unreadable)?;
                    Some(env::data(map.data, map.binary_data))
                }
                (Some(value), Kind::Secret) => {
                    let secret: Secret = serde_json::from_value(value).map_err(unreadable)?;
                    Some(env::data(BTreeMap::new(), secret.data))
                }
            };
            read.insert((kind, name), data);
        }
        Ok(read)
    }
}

fn sooner(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// An error with its causes, for people.
pub(super) fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

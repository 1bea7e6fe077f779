//! Starts an instance of a container.

use std::{path::Path, sync::Arc, time::Duration};

use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::{
    ErrorKind, Result,
    runtime::{ContainerConfig, ContainerId, Device, Mount, Namespace, SandboxId, User},
};

use super::{prepare::whole, worker::Round};
use crate::{
    make::{container, env, hosts, security, services},
    pod::{self, Observed, Waiting},
    probe, volume,
};

/// What cannot be started is tried again after so long.
const RETRY: Duration = Duration::from_secs(10);

impl Round<'_> {
    pub(super) async fn start(&mut self, pod: &Arc<Pod>, observed: &Observed, name: &str, attempt: u32) -> Result<()> {
        let (Some((container, role)), Some(sandbox)) = (pod::container(pod, name), observed.ready()) else {
            return Ok(());
        };
        let container = &*container;
        let (sandbox, sandbox_attempt) = (sandbox.id.clone(), sandbox.key.attempt);
        self.volumes(pod, &observed.ips).await?;
        let Some((image, found)) = self.image(pod, container).await? else { return Ok(()) };
        if let Some(why) = security::refused(pod, container, found.user.as_ref()) {
            return self.refuse(pod, name, "CreateContainerConfigError", why);
        }
        let env = match self.env(pod, container, observed).await {
            Ok(env) => env,
            Err(why) => return self.refuse(pod, name, "CreateContainerConfigError", why),
        };
        let mounts = match self.mounts(pod, container, observed, &env, attempt).await {
            Ok(mounts) => mounts,
            Err(why) => return self.refuse(pod, name, "CreateContainerConfigError", why),
        };
        let devices = match self.devices(container) {
            Ok(devices) => devices,
            Err(why) => return self.refuse(pod, name, "CreateContainerConfigError", why),
        };
        let outfit = match self.outfit(pod, container).await? {
            Ok(outfit) => outfit,
            Err(why) => return self.refuse(pod, name, "CreateContainerConfigError", why),
        };
        let memory = self.inner.machine.memory;
        let prepared = container::Prepared { image, env, mounts, devices, outfit, memory };
        let mut config = container::container(pod, container, role, attempt, &self.inner.layout, prepared);
        // Runtimes refuse a group without a user, which the image names then.
        if config.security.group.is_some() && config.security.user.is_none() {
            let named = found.user.clone().filter(|user| !matches!(user, User::Name(name) if name.is_empty()));
            config.security.user = Some(named.unwrap_or(User::Id(0)));
        }
        if let Err(why) = join(pod, name, observed, &mut config) {
            return self.refuse(pod, name, "CreateContainerConfigError", why);
        }
        let known = self.memo.sandbox.take().filter(|known| known.key.attempt == sandbox_attempt);
        let sandbox_config = known.unwrap_or_else(|| self.sandbox_config(pod, sandbox_attempt));
        // Not every runtime makes the folder of a log (CRI-O does not).
        let log = Path::new(&sandbox_config.log_directory).join(name);
        if let Err(error) = self.blocking(move || std::fs::create_dir_all(log)).await? {
            self.memo.sandbox = Some(sandbox_config);
            let why = format!("failed to make the log directory of the container: {error}");
            return self.refuse(pod, name, "CreateContainerError", why);
        }
        let runtime = &self.inner.needs.runtime;
        let created = runtime.create_container(&sandbox, &config, &sandbox_config).await;
        self.memo.sandbox = Some(sandbox_config);
        let id = match created {
            Ok(id) => id,
            Err(error) if error.is(ErrorKind::Unavailable) => return Err(error),
            Err(error) => return self.refuse(pod, name, "CreateContainerError", whole(&error)),
        };
        self.inner.enter(&pod::uid(pod), std::iter::once(id.to_string()));
        self.event(pod, Some(name), "Normal", "Created", "Container created");
        // The first restart comes at once; each later one waits longer.
        if observed.latest(name).is_some() {
            self.raise(name);
        }
        if let Err(error) = self.inner.needs.runtime.start_container(&id).await {
            if error.is(ErrorKind::Unavailable) {
                return Err(error);
            }
            // The instance is left as exited: it is held back and started anew like any other.
            let why = whole(&error);
            self.event(pod, Some(name), "Warning", "Failed", &format!("Error: {why}"));
            self.memo.records.waiting.insert(name.to_owned(), Waiting::new("RunContainerError", why));
            return Ok(());
        }
        self.event(pod, Some(name), "Normal", "Started", "Container started");
        self.has(container);
        self.memo.records.started(name);
        self.post_start(pod, container, &id, observed).await
    }

    /// A container cannot be made now.
    fn refuse(&mut self, pod: &Arc<Pod>, name: &str, reason: &str, why: String) -> Result<()> {
        self.event(pod, Some(name), "Warning", "Failed", &format!("Error: {why}"));
        let until = self.now().checked_add(RETRY).unwrap_or(jiff::Timestamp::MAX);
        self.memo.records.wait(name, Waiting::new(reason, why), until);
        Ok(())
    }

    async fn post_start(
        &mut self,
        pod: &Arc<Pod>,
        container: &Container,
        id: &ContainerId,
        observed: &Observed,
    ) -> Result<()> {
        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        let Some(hook) = hook.map(|hook| probe::Ask::of_hook(hook, container)) else { return Ok(()) };
        let target = self.target(pod, id, observed);
        let asked = probe::ask(&self.inner.needs, &target, &hook, None);
        let done = futures::future::select(Box::pin(asked), Box::pin(self.handle.sooner(None))).await;
        let futures::future::Either::Left((Err(why), _)) = done else { return Ok(()) };
        let name = &container.name;
        self.event(pod, Some(name), "Warning", "FailedPostStartHook", &format!("PostStartHook failed: {why}"));
        self.event(pod, Some(name), "Normal", "Killing", "FailedPostStartHook");
        self.memo.records.waiting.insert(name.clone(), Waiting::new("PostStartHookError", why));
        self.inner.needs.runtime.stop_container(id, pod::seconds(pod::grace(pod))).await
    }

    async fn env(
        &self,
        pod: &Pod,
        container: &Container,
        observed: &Observed,
    ) -> Result<Vec<(String, String)>, String> {
        let found = self.read(pod, env::needs(container)).await.map_err(|error| whole(&error))?;
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let around = self.inner.needs.context.services(namespace).await.map_err(|error| whole(&error))?;
        let services = services::variables(pod, &around, self.inner.config.api.as_ref());
        let place = self.inner.place(&observed.ips, pod);
        env::env(container, &env::Sources { pod, place: &place, read: &found.data, services: &services })
    }

    /// The volumes that a container has as devices.
    fn devices(&self, container: &Container) -> Result<Vec<Device>, String> {
        let one = |(path, name): (&str, &str)| {
            let place = self.memo.shown.stored.places.get(name);
            let place = place.ok_or_else(|| format!("volume {name:?} is not mapped"))?;
            Ok(Device {
                container_path: path.to_owned(),
                host_path: place.path.to_string_lossy().into_owned(),
                permissions: if place.read_only { "r" } else { "mrw" }.into(),
            })
        };
        volume::devices(container).map(one).collect()
    }

    /// Makes what is mounted: volumes and their parts, the hosts file, the file for last words.
    async fn mounts(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        observed: &Observed,
        env: &[(String, String)],
        attempt: u32,
    ) -> Result<Vec<Mount>, String> {
        let planned = volume::planned(container, env)?;
        let (layout, uid, name) = (self.inner.layout.clone(), pod::uid(pod), container.name.clone());
        let place = self.inner.place(&observed.ips, pod);
        let text = hosts::hosts(pod, &place.ips, &self.inner.config.dns.domain, &self.inner.machine.hosts);
        let words = container::message_path(container).to_owned();
        let own_hosts = planned.iter().any(|mount| mount.path == "/etc/hosts");
        let (volumes, places) = (pod.spec.volumes.clone(), self.memo.shown.stored.places.clone());
        let work = move || -> Result<Vec<Mount>, String> {
            let mut mounts = vec![];
            for (index, one) in planned.into_iter().enumerate() {
                let volume = volumes.iter().find(|volume| volume.name == one.volume);
                let volume = volume.ok_or_else(|| format!("volume {:?} is not defined", one.volume))?;
                let place = places.get(&one.volume);
                let root = match (volume::kind(volume)?, place) {
                    (volume::Kind::Host { path, .. }, _) => path,
                    (volume::Kind::Folder | volume::Kind::Memory(_), _) => layout.volume(&uid, &one.volume),
                    (volume::Kind::Stored, Some(place)) => place.path.clone(),
                    (volume::Kind::Stored, None) => return Err(format!("volume {:?} is not mounted", one.volume)),
                };
                let host = match &one.sub {
                    Some(sub) => volume::make_sub_path(&root, sub, &layout.sub_path(&uid, &name, index))?,
                    None => root,
                };
                mounts.push(Mount {
                    container_path: one.path,
                    host_path: host.to_string_lossy().into_owned(),
                    readonly: one.readonly || place.is_some_and(|place| place.read_only),
                    recursive_readonly: one.recursive,
                    propagation: one.propagation,
                    ..Mount::default()
                });
            }
            if !own_hosts {
                let path = layout.hosts(&uid);
                file(&path, Some(&text), 0o644)?;
                mounts.push(plain("/etc/hosts", &path));
            }
            let path = layout.message(&uid, &name, attempt);
            file(&path, None, 0o666)?;
            mounts.push(plain(&words, &path));
            Ok(mounts)
        };
        self.blocking(work).await.map_err(|error| error.to_string())?
    }
}

/// Lets an ephemeral container see the processes of the container that it is to look at.
fn join(pod: &Pod, name: &str, observed: &Observed, config: &mut ContainerConfig) -> Result<(), String> {
    let target = pod::ephemeral(pod, name).and_then(|container| container.target_container_name.as_deref());
    let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(()) };
    let found = observed.current(target).ok_or_else(|| format!("unable to find target container {target}"))?;
    let pid = &mut config.security.namespaces.pid;
    // Where the pod shares its processes or the node's, they are seen anyway.
    if *pid == Namespace::Container {
        *pid = Namespace::Target(found.container.id.clone());
    }
    Ok(())
}

fn plain(inside: &str, path: &Path) -> Mount {
    Mount { container_path: inside.into(), host_path: path.to_string_lossy().into_owned(), ..Mount::default() }
}

/// Makes a file with that content; one without is only made to be there.
fn file(path: &Path, text: Option<&str>, mode: u32) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    std::fs::write(path, text.unwrap_or_default()).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

/// The sandbox that a pod's containers run in now.
pub(super) async fn sandbox_of(inner: &super::Inner, uid: &str) -> Result<Option<SandboxId>> {
    use windlass_kernel::runtime::{SandboxFilter, SandboxState};
    let labels = [(crate::make::labels::UID.to_owned(), uid.to_owned())].into();
    let filter = SandboxFilter { labels, state: Some(SandboxState::Ready), ..SandboxFilter::default() };
    let found = inner.needs.runtime.sandboxes(&filter).await?;
    Ok(found.into_iter().max_by_key(|sandbox| sandbox.key.attempt).map(|sandbox| sandbox.id))
}

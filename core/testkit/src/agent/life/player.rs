//! Plays a pod's life: its volumes, then one container after another where they initialize, then the rest side by side,
//! each started again as the restart policy says, with the kubelet's back-off.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::future::{Either, join, join_all, select};
use jiff::Timestamp;
use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::{
    Clock, ClockExt, Spawn, Stop,
    node::{About, Notice},
};

use super::{
    super::{
        Inner,
        disk::Disk,
        pod::{Id, Running, Signs, is_sidecar},
        program::{Process, Program},
        surroundings::{Folders, Own, PodVolumes, Surroundings},
    },
    Folder, Life,
    instance::Ended,
};

/// So long a container runs well that its next restart does not wait (twice the longest pause, as in the kubelet).
const WELL: Duration = Duration::from_secs(600);
/// Volumes that could not be written again are tried anew after so long.
const RETRY: Duration = Duration::from_secs(60);

/// Plays a pod's life.
pub(super) struct Player {
    pub(super) agent: Weak<Inner>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) spawn: Arc<dyn Spawn>,
    pub(super) id: Id,
    pub(super) pod: Arc<Pod>,
    pub(super) ip: String,
    pub(super) host_ip: String,
    pub(super) node: String,
    pub(super) disk: Disk,
    /// How long the first restart waits.
    pub(super) pause: Duration,
    pub(super) around: Option<Arc<dyn Surroundings>>,
    pub(super) life: Arc<Life>,
    pub(super) programs: BTreeMap<String, Arc<dyn Program>>,
}

/// Where volumes are.
pub(super) type Paths = BTreeMap<String, PathBuf>;

/// What a container is in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Init,
    /// Begins among those that initialize, and goes on beside the main ones (KEP-753).
    Sidecar,
    Main,
}

/// A container that is played. Each of its signals is given once.
pub(super) struct Part<'a> {
    pub(super) container: &'a Container,
    pub(super) role: Role,
    /// Its turn has come.
    turn: Stop,
    /// It has started, by its own probe.
    pub(super) started: Stop,
    /// It is to end.
    pub(super) end: Stop,
    /// It has ended.
    over: Stop,
}

impl<'a> Part<'a> {
    fn new(container: &'a Container, role: Role, end: Stop) -> Self {
        Self { container, role, turn: Stop::new(), started: Stop::new(), end, over: Stop::new() }
    }
}

impl Player {
    pub(super) async fn run(self) {
        let around = self.around.as_deref().filter(|_| !self.pod.spec.volumes.is_empty());
        let Some(around) = around else { return self.play(&Paths::new()).await };
        let Some((volumes, paths)) = self.mount(around).await else { return };
        let play = self.play(&paths);
        select(Box::pin(play), Box::pin(self.keep(around, volumes))).await;
    }

    /// Plays the containers. Sidecars get their turn among the others, and end behind them, the last one first.
    async fn play(&self, paths: &Paths) {
        let init = self.pod.spec.init_containers.iter().map(|own| {
            let (role, end) =
                if is_sidecar(own) { (Role::Sidecar, Stop::new()) } else { (Role::Init, self.life.stop.clone()) };
            Part::new(own, role, end)
        });
        let init: Vec<_> = init.collect();
        let mains: Vec<_> =
            self.pod.spec.containers.iter().map(|own| Part::new(own, Role::Main, self.life.stop.clone())).collect();
        let sidecars = || init.iter().filter(|part| part.role == Role::Sidecar);
        let main = async {
            if self.initialize(&init, paths).await {
                join_all(mains.iter().map(|part| self.container(part, paths))).await;
            }
            for part in init.iter().rev().filter(|part| part.role == Role::Sidecar) {
                part.end.stop();
                part.turn.stop();
                part.over.wait().await;
            }
        };
        join(main, join_all(sidecars().map(|part| self.beside(part, paths)))).await;
    }

    /// Whether everything is initialized, or the pod has to end before.
    async fn initialize(&self, init: &[Part<'_>], paths: &Paths) -> bool {
        for part in init {
            let done = if part.role == Role::Sidecar {
                part.turn.stop();
                self.life.stop.race(part.started.wait()).await.is_some()
            } else {
                self.container(part, paths).await == Some(0)
            };
            if !done {
                return false;
            }
        }
        true
    }

    /// Plays a sidecar from its turn on.
    async fn beside(&self, part: &Part<'_>, paths: &Paths) {
        part.turn.wait().await;
        if !part.end.stopped() {
            self.container(part, paths).await;
        }
        part.over.stop();
    }

    /// Runs a container until it needs no other run; the exit code of the last, `None` where it is to end.
    async fn container(&self, part: &Part<'_>, paths: &Paths) -> Option<i32> {
        let name = &part.container.name;
        let mut pause = Duration::ZERO;
        loop {
            let began = self.clock.uptime();
            let code = self.once(part, paths).await;
            let again = match (part.role, self.pod.spec.restart_policy.as_deref()) {
                (Role::Sidecar, _) => true,
                (_, Some("Never")) => false,
                (_, Some("OnFailure")) | (Role::Init, _) => code != 0,
                (Role::Main, _) => true,
            };
            let last = !again || part.end.stopped();
            self.step(&mut |running, now| running.exit_container(name, code, last, now));
            if last {
                return (!part.end.stopped()).then_some(code);
            }
            if self.clock.uptime().saturating_sub(began) > WELL {
                pause = Duration::ZERO;
            }
            if !pause.is_zero() {
                self.step(&mut |running, _| running.back_off(name, pause));
                let Id { key, uid } = &self.id;
                let full = format!("{}_{}({uid})", key.name, key.namespace);
                let text = format!("Back-off restarting failed container {name} in pod {full}");
                self.notice(Some(part), "Warning", "BackOff", text);
                part.end.race(self.clock.sleep(pause)).await?;
            }
            pause = if pause.is_zero() { self.pause } else { (pause * 2).min(self.pause * 30) };
        }
    }

    /// Runs a container once.
    async fn once(&self, part: &Part<'_>, paths: &Paths) -> i32 {
        let container = part.container;
        let (env, mounts) = loop {
            match self.prepare(container, paths).await {
                Ok(made) => break made,
                Err(why) => {
                    let name = &container.name;
                    self.step(&mut |running, _| running.wait(name, "CreateContainerConfigError", &why));
                    if part.end.race(self.clock.sleep(self.pause)).await.is_none() {
                        return 137;
                    }
                }
            }
        };
        let program = self.programs.get(&container.name);
        let probed = self.around.is_some();
        let signs = Signs {
            serves: part.role != Role::Init,
            started: container.startup_probe.is_none() || !probed,
            said: program.is_none_or(|program| program.ready_at_once()),
            probed: container.readiness_probe.is_none() || !probed,
        };
        let instance = self.life.begin(&container.name);
        instance.sign(|own| *own = signs);
        instance.mount(&mounts);
        let mut restarts = 0;
        self.step(&mut |running, now| restarts = running.begin_container(container, signs, now));
        // Also where this future is dropped, which is how processes are killed.
        let _ended = Ended(Arc::clone(&instance));
        let stop = Stop::new();
        let watched = self.watch(part, &instance, &stop);
        let run = match program {
            Some(program) => program.run(Process {
                pod: self.life.pod(),
                container: container.clone(),
                env,
                restarts,
                volumes: paths.clone(),
                mounts,
                clock: Arc::clone(&self.clock),
                agent: self.agent.clone(),
                id: self.id.clone(),
                instance: Arc::clone(&instance),
                stop: stop.clone(),
            }),
            None if part.role == Role::Init => return 0,
            None => Box::pin(async {
                stop.wait().await;
                0
            }),
        };
        match select(run, Box::pin(watched)).await {
            Either::Left((code, _)) => code,
            Either::Right(_) => 137,
        }
    }

    /// The environment and the mounts of a container.
    async fn prepare(
        &self,
        container: &Container,
        paths: &Paths,
    ) -> Result<(Vec<(String, String)>, Vec<(String, PathBuf)>), String> {
        let Some(around) = &self.around else { return Ok((vec![], vec![])) };
        let env = around.environment(&self.own(), container).await?;
        let mounts = around.mounts(container, &env, paths)?;
        Ok((env, mounts))
    }

    fn own(&self) -> Own {
        Own { pod: self.life.pod(), ip: self.ip.clone(), host_ip: self.host_ip.clone() }
    }

    /// Makes the volumes; `None` where the pod is to end before they are there.
    async fn mount(&self, around: &dyn Surroundings) -> Option<(Box<dyn PodVolumes>, Paths)> {
        let folder = match self.disk.folder() {
            Ok(folder) => folder,
            Err(error) => {
                self.notice(None, "Warning", "FailedMount", format!("cannot make a folder for volumes: {error}"));
                self.life.stop.wait().await;
                return None;
            }
        };
        let own = folder.join("pods").join(&self.id.uid);
        *self.life.folder.lock() = Some(Folder { path: own.clone(), disk: self.disk.clone() });
        let (node, claims) = (folder.join("nodes").join(&self.node), folder.join("claims"));
        let mut volumes = around.volumes(&self.own(), Folders { pod: own, node, claims });
        loop {
            let pod = self.life.pod();
            match volumes.make(&pod).await {
                Ok(paths) => return Some((volumes, paths)),
                Err(why) => self.notice(None, "Warning", "FailedMount", why),
            }
            let again = select(Box::pin(volumes.outdated(&pod)), Box::pin(self.clock.sleep(self.pause)));
            self.life.stop.race(again).await?;
        }
    }

    /// Writes the volumes again whenever what they show has changed.
    async fn keep(&self, around: &dyn Surroundings, mut volumes: Box<dyn PodVolumes>) {
        let mut shown = Arc::clone(&self.pod);
        loop {
            let changed = async {
                loop {
                    let listener = self.life.changes.listen();
                    let now = self.life.pod();
                    if now.metadata.labels != shown.metadata.labels
                        || now.metadata.annotations != shown.metadata.annotations
                    {
                        return;
                    }
                    listener.await;
                }
            };
            select(Box::pin(volumes.outdated(&shown)), Box::pin(changed)).await;
            shown = self.life.pod();
            if let Err(why) = volumes.make(&shown).await {
                around.notice(notice(&self.pod, "", "Warning", "FailedMount", why));
                self.clock.sleep(RETRY).await;
            }
        }
    }

    pub(super) fn step(&self, change: &mut dyn FnMut(&mut Running, Timestamp)) {
        if let Some(agent) = self.agent.upgrade() {
            agent.step(&self.id, change);
        }
    }

    /// Tells an event of the pod, or of one of its containers.
    pub(super) fn notice(&self, part: Option<&Part<'_>>, kind: &'static str, reason: &str, text: String) {
        let Some(around) = &self.around else { return };
        let path = part.map_or_else(String::new, |part| {
            let list = if part.role == Role::Main { "containers" } else { "initContainers" };
            format!("spec.{list}{{{}}}", part.container.name)
        });
        around.notice(notice(&self.pod, &path, kind, reason, text));
    }
}

fn notice(pod: &Arc<Pod>, path: &str, kind: &'static str, reason: &str, message: String) -> Notice {
    Notice { about: About::Pod(Arc::clone(pod)), kind, reason: reason.into(), message, field_path: path.into() }
}

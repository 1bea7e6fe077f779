//! The life of a pod whose containers run programs: one container after another where they initialize, then side by side,
//! each started again as the restart policy says, with the kubelet's back-off.

use std::{
    collections::BTreeMap,
    fmt,
    fmt::Write as _,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use event_listener::Event;
use futures::{FutureExt, StreamExt, future::BoxFuture, future::join_all, stream};
use jiff::Timestamp;
use parking_lot::Mutex;
use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, Result, SpawnExt, Stop,
    api::Chunks,
    dial::ByteStream,
    node::{LogRequest, Ports},
};

use super::{
    Inner,
    pod::{Id, Running},
    program::{Asked, Process, Program, Serve},
};

/// So long a container runs well that its next restart does not wait (twice the longest pause, as in the kubelet).
const WELL: Duration = Duration::from_secs(600);

/// What outlives the containers of a pod: logs, ports, and the wish that it ends.
#[derive(Debug, Default)]
pub(super) struct Life {
    stop: Stop,
    instances: Mutex<BTreeMap<String, Instances>>,
}

#[derive(Debug, Default)]
struct Instances {
    now: Arc<Instance>,
    before: Option<Arc<Instance>>,
}

/// One run of a container.
#[derive(Default)]
pub(super) struct Instance {
    log: Mutex<Log>,
    news: Event,
    ports: Mutex<BTreeMap<u16, Serve>>,
}

#[derive(Default)]
struct Log {
    lines: Vec<(Timestamp, String)>,
    /// Whether the last line goes on.
    open: bool,
    ended: bool,
}

impl Instance {
    pub(super) fn write(&self, text: &str, now: Timestamp) {
        let mut held = self.log.lock();
        let log = &mut *held;
        if log.ended {
            return;
        }
        for piece in text.split_inclusive('\n') {
            let (line, whole) = piece.strip_suffix('\n').map_or((piece, false), |line| (line, true));
            match log.lines.last_mut() {
                Some((_, last)) if log.open => last.push_str(line),
                _ => log.lines.push((now, line.to_owned())),
            }
            log.open = !whole;
        }
        drop(held);
        self.news.notify(usize::MAX);
    }

    pub(super) fn serve(&self, port: u16, serve: Serve) {
        if self.ended() {
            return;
        }
        self.ports.lock().insert(port, serve);
    }

    pub(super) fn ended(&self) -> bool {
        self.log.lock().ended
    }

    fn end(&self) {
        self.log.lock().ended = true;
        self.ports.lock().clear();
        self.news.notify(usize::MAX);
    }

    /// The text of whole lines from a number on, the number behind them, and whether that is all there will be.
    fn text(&self, first: usize, request: &LogRequest) -> (String, usize, bool) {
        let log = self.log.lock();
        let whole = if log.open && !log.ended && request.follow { log.lines.len() - 1 } else { log.lines.len() };
        let mut text = String::new();
        for (at, line) in log.lines.iter().take(whole).skip(first) {
            if request.since.is_some_and(|since| *at < since) {
                continue;
            }
            if request.timestamps {
                // Writing to a string cannot fail.
                let _ = write!(text, "{at} ");
            }
            text.push_str(line);
            text.push('\n');
        }
        (text, whole, log.ended)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("lines", &self.log.lock().lines.len()).finish_non_exhaustive()
    }
}

impl Life {
    pub(super) fn stop(&self) {
        self.stop.stop();
    }

    fn begin(&self, container: &str) -> Arc<Instance> {
        let mut instances = self.instances.lock();
        let new = Arc::new(Instance::default());
        match instances.get_mut(container) {
            Some(own) => own.before = Some(std::mem::replace(&mut own.now, Arc::clone(&new))),
            None => drop(instances.insert(container.into(), Instances { now: Arc::clone(&new), before: None })),
        }
        new
    }

    pub(super) fn logs(&self, request: LogRequest) -> Result<Chunks> {
        let name = &request.container;
        let instances = self.instances.lock();
        let own = if name.is_empty() { instances.values().next() } else { instances.get(name) };
        let instance =
            own.and_then(|own| if request.previous { own.before.clone() } else { Some(Arc::clone(&own.now)) });
        let Some(instance) = instance else {
            let what = if request.previous { "previous terminated container" } else { "container" };
            let pod = &request.pod.name;
            return Err(Error::new(ErrorKind::BadRequest, format!("{what} {name:?} in pod {pod:?} not found")));
        };
        let lines = instance.log.lock().lines.len();
        let tail = request.tail_lines.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
        let first = lines.saturating_sub(tail);
        if !request.follow {
            let (mut text, ..) = instance.text(first, &request);
            if let Some(limit) = request.limit_bytes.and_then(|limit| usize::try_from(limit).ok()) {
                text.truncate((0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
            }
            return Ok(Chunks(stream::iter((!text.is_empty()).then(|| Ok(Bytes::from(text)))).boxed()));
        }
        let follow = stream::unfold((instance, first, request), |(instance, first, request)| async move {
            loop {
                let news = instance.news.listen();
                let (text, next, ended) = instance.text(first, &request);
                if !text.is_empty() {
                    return Some((Ok(Bytes::from(text)), (instance, next, request)));
                }
                if ended {
                    return None;
                }
                news.await;
            }
        });
        Ok(Chunks(follow.boxed()))
    }

    fn served(&self, port: u16) -> Option<Serve> {
        let instances = self.instances.lock();
        instances.values().find_map(|own| own.now.ports.lock().get(&port).cloned())
    }
}

/// The ports that a pod's programs serve.
pub(super) struct Served(pub(super) Arc<Life>);

impl Ports for Served {
    fn connect(&self, port: u16) -> BoxFuture<'static, Result<ByteStream>> {
        let connected = match self.0.served(port) {
            Some(serve) => {
                let (near, far) = crate::pipe::duplex();
                serve(Box::new(far));
                Ok(Box::new(near) as ByteStream)
            }
            None => Err(Error::new(ErrorKind::Unavailable, format!("connect to port {port}: connection refused"))),
        };
        async move { connected }.boxed()
    }
}

impl Inner {
    /// Begins the life of a pod, as a task of its own.
    pub(super) fn live(self: &Arc<Self>, id: &Id, running: &mut Running, programs: BTreeMap<String, Arc<dyn Program>>) {
        let life = Arc::new(Life::default());
        running.conceive();
        let player = Player {
            agent: Arc::downgrade(self),
            clock: Arc::clone(&self.clock),
            id: id.clone(),
            pod: Arc::clone(&running.pod),
            ip: running.status.pod_ip.clone().unwrap_or_default(),
            life: Arc::clone(&life),
            programs,
        };
        running.life = Some(life);
        running.script = Some(Arc::new(self.spawn.spawn("fake.pod", player.run())));
    }

    /// Waits for the end of a pod's life, but not longer than its grace period, and releases it.
    pub(super) fn outlive(self: &Arc<Self>, id: &Id, running: &mut Running, grace: Duration) -> BoxFuture<'static, ()> {
        let (agent, clock) = (Arc::downgrade(self), Arc::clone(&self.clock));
        let (script, id) = (running.script.take(), id.clone());
        let outlived = async move {
            if let Some(life) = &script {
                clock.within(grace, life.ended()).await;
            }
            // Whoever still runs is killed.
            drop(script);
            if let Some(agent) = agent.upgrade() {
                agent.step(&id, &mut Running::released);
            }
        };
        outlived.boxed()
    }
}

/// Plays a pod's life.
struct Player {
    agent: Weak<Inner>,
    clock: Arc<dyn Clock>,
    id: Id,
    pod: Arc<Pod>,
    ip: String,
    life: Arc<Life>,
    programs: BTreeMap<String, Arc<dyn Program>>,
}

impl Player {
    async fn run(self) {
        for container in &self.pod.spec.init_containers {
            if self.container(container, true).await != Some(0) {
                return;
            }
        }
        join_all(self.pod.spec.containers.iter().map(|container| self.container(container, false))).await;
    }

    /// Runs a container until it needs no other run; the exit code of the last, `None` where the pod is ending.
    async fn container(&self, container: &Container, init: bool) -> Option<i32> {
        let name = &container.name;
        let mut pause = Duration::ZERO;
        let base = self.agent.upgrade().map_or(Duration::ZERO, |agent| agent.node.behaviour_of(&self.pod).restart);
        loop {
            let began = self.clock.uptime();
            let code = self.once(container, init, base).await;
            let policy = self.pod.spec.restart_policy.as_deref();
            let again = match policy {
                Some("Never") => false,
                Some("OnFailure") => code != 0,
                _ => !init || code != 0,
            };
            let last = !again || self.life.stop.stopped();
            self.step(&mut |running, now| running.exit_container(name, code, last, now));
            if last {
                return (!self.life.stop.stopped()).then_some(code);
            }
            if self.clock.uptime().saturating_sub(began) > WELL {
                pause = Duration::ZERO;
            }
            if !pause.is_zero() {
                self.step(&mut |running, _| running.back_off(name, pause));
                self.life.stop.race(self.clock.sleep(pause)).await?;
            }
            pause = if pause.is_zero() { base } else { (pause * 2).min(base * 30) };
        }
    }

    /// Runs a container once.
    async fn once(&self, container: &Container, init: bool, pause: Duration) -> i32 {
        let env = loop {
            match self.environment(container).await {
                Ok(env) => break env,
                Err(why) => {
                    let name = &container.name;
                    self.step(&mut |running, _| running.wait(name, "CreateContainerConfigError", &why));
                    if self.life.stop.race(self.clock.sleep(pause)).await.is_none() {
                        return 137;
                    }
                }
            }
        };
        let program = self.programs.get(&container.name);
        let at_once = program.is_none_or(|program| program.ready_at_once()) && container.readiness_probe.is_none();
        let mut restarts = 0;
        self.step(&mut |running, now| restarts = running.begin_container(container, init, at_once, now));
        let instance = self.life.begin(&container.name);
        // Also where this future is dropped, which is how processes are killed.
        let _ended = Ended(Arc::clone(&instance));
        let Some(program) = program else {
            if !init {
                self.life.stop.wait().await;
            }
            return 0;
        };
        let process = Process {
            pod: Arc::clone(&self.pod),
            container: container.clone(),
            env,
            restarts,
            clock: Arc::clone(&self.clock),
            agent: self.agent.clone(),
            id: self.id.clone(),
            instance: Arc::clone(&instance),
            stop: self.life.stop.clone(),
        };
        program.run(process).await
    }

    async fn environment(&self, container: &Container) -> Result<Vec<(String, String)>, String> {
        let Some(agent) = self.agent.upgrade() else { return Ok(vec![]) };
        let Some(environment) = agent.environment.get().cloned() else { return Ok(vec![]) };
        let host_ip = agent.node.address.clone();
        drop(agent);
        let (pod, container, ip) = (Arc::clone(&self.pod), container.clone(), self.ip.clone());
        environment.of(Asked { pod, container, ip, host_ip }).await
    }

    fn step(&self, change: &mut dyn FnMut(&mut Running, Timestamp)) {
        if let Some(agent) = self.agent.upgrade() {
            agent.step(&self.id, change);
        }
    }
}

/// Ends the log of a run and closes its ports when it is dropped.
struct Ended(Arc<Instance>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

//! A node whose pods are functions of this process: a node agent from nothing, and the suite of node agents on it.
//!
//! The image of a container names the function. An agent only runs pods and says how they are; registration, leases and the
//! writing of statuses are the host's, for every agent alike (`Builder::node`).

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt,
    channel::mpsc,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use windlass::{
    api::{
        core::v1::{
            ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus, NodeStatus, Pod,
            PodStatus,
        },
        types::{Quantity, Time},
    },
    kernel::{
        Clock, ClockExt, Error, ErrorKind, NodeAgent, Result, Spawn, SpawnExt, Stop,
        api::Chunks,
        controller::ObjectKey,
        node::{Exit, LogRequest, Process, Report, Session, SessionRequest},
    },
    rim::{SystemClock, TokioSpawn},
    testkit::pipe::pipe,
};
use windlass_conformance::{
    node::{Fixture, cases},
    report::{self, Trace, Verdict},
};

/// A pod's work: it is told when to stop, and returns its exit code.
type Function = fn(Stop, Arc<dyn Clock>) -> BoxFuture<'static, i32>;

/// Runs until it is asked to end.
fn wait(stop: Stop, _: Arc<dyn Clock>) -> BoxFuture<'static, i32> {
    async move {
        stop.wait().await;
        0
    }
    .boxed()
}

/// Does its work, over and over: an agent starts it again each time.
fn job(_: Stop, clock: Arc<dyn Clock>) -> BoxFuture<'static, i32> {
    async move {
        clock.sleep(Duration::from_secs(1)).await;
        0
    }
    .boxed()
}

const FUNCTIONS: &[(&str, Function)] = &[("wait", wait), ("job", job)];

/// A pod that is known: it runs, or it has ended and is still in the set.
struct Known {
    pod: Arc<Pod>,
    status: PodStatus,
    released: bool,
    stop: Stop,
}

impl Known {
    fn report(&self) -> Report {
        Report { pod: key(&self.pod), uid: uid(&self.pod), status: self.status.clone(), released: self.released }
    }
}

#[derive(Default)]
struct State {
    pods: BTreeMap<String, Known>,
    listeners: Vec<mpsc::UnboundedSender<Report>>,
}

impl State {
    /// Changes a pod, and tells everybody.
    fn change(&mut self, uid: &str, change: impl FnOnce(&mut Known)) {
        let Some(known) = self.pods.get_mut(uid) else { return };
        change(known);
        let report = known.report();
        self.listeners.retain(|listener| listener.unbounded_send(report.clone()).is_ok());
    }
}

/// The agent. Clones share the pods.
#[derive(Clone)]
struct Functions {
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    state: Arc<Mutex<State>>,
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

fn key(pod: &Pod) -> ObjectKey {
    let [namespace, name] = [&pod.metadata.namespace, &pod.metadata.name].map(|text| text.clone().unwrap_or_default());
    ObjectKey::new(namespace, name)
}

impl Functions {
    fn new(clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        Self { clock, spawn, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a pod's function until the pod is to end, again each time that it returns.
    async fn run(self, pod: Arc<Pod>, stop: Stop) {
        let container = pod.spec.containers.first().cloned().unwrap_or_default();
        let image = container.image.clone().unwrap_or_default();
        let function = FUNCTIONS.iter().find(|(name, _)| *name == image).map(|(_, function)| *function);
        let (uid, mut restarts) = (uid(&pod), 0);
        loop {
            let started = Time(self.clock.now());
            let mut status = ContainerStatus {
                name: container.name.clone(),
                image: image.clone(),
                container_id: Some(format!("function://{uid}/{restarts}")),
                restart_count: restarts,
                ready: true,
                started: Some(true),
                ..ContainerStatus::default()
            };
            status.state.running = Some(ContainerStateRunning { started_at: Some(started) });
            self.lock().change(&uid, |known| {
                known.status.phase = Some("Running".into());
                known.status.start_time.get_or_insert(started);
                known.status.container_statuses = vec![status.clone()];
            });
            let code = match function {
                Some(function) => self.until_stopped(&pod, &stop, function).await,
                None => 127,
            };
            (status.ready, status.started) = (false, Some(false));
            status.state = ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: code,
                    reason: Some(if code == 0 { "Completed" } else { "Error" }.into()),
                    started_at: Some(started),
                    finished_at: Some(Time(self.clock.now())),
                    ..ContainerStateTerminated::default()
                }),
                ..ContainerState::default()
            };
            let ends = stop.stopped();
            self.lock().change(&uid, |known| {
                known.status.container_statuses = vec![status];
                if ends {
                    known.status.phase = Some(if code == 0 { "Succeeded" } else { "Failed" }.into());
                    known.released = true;
                }
            });
            if ends {
                return;
            }
            restarts += 1;
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }

    /// The function's exit code. After it was asked to end it has the pod's grace period; then it is dropped.
    async fn until_stopped(&self, pod: &Pod, stop: &Stop, function: Function) -> i32 {
        let grace = pod.spec.termination_grace_period_seconds.unwrap_or(30);
        let grace = Duration::from_secs(grace.try_into().unwrap_or_default());
        let over = async {
            stop.wait().await;
            self.clock.sleep(grace).await;
        };
        futures::select_biased! {
            code = function(stop.clone(), Arc::clone(&self.clock)).fuse() => code,
            () = over.boxed().fuse() => 137,
        }
    }
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Functions").finish_non_exhaustive()
    }
}

#[async_trait]
impl NodeAgent for Functions {
    async fn describe(&self) -> Result<NodeStatus> {
        let capacity: BTreeMap<_, _> = [("cpu", "4"), ("memory", "4Gi"), ("pods", "110")]
            .map(|(name, much)| (name.into(), Quantity(much.into())))
            .into();
        Ok(NodeStatus { allocatable: capacity.clone(), capacity, ..NodeStatus::default() })
    }

    async fn sync(&self, pods: Vec<Arc<Pod>>) -> Result<()> {
        let mut state = self.lock();
        let wanted: BTreeMap<String, Arc<Pod>> = pods.into_iter().map(|pod| (uid(&pod), pod)).collect();
        // What ended is remembered for as long as it is in the set: it must not begin anew.
        state.pods.retain(|uid, known| wanted.contains_key(uid) || !known.released);
        for (uid, known) in &state.pods {
            let stays = wanted.get(uid).is_some_and(|pod| pod.metadata.deletion_timestamp.is_none());
            if !stays {
                known.stop.stop();
            }
        }
        for (uid, pod) in wanted {
            if let Some(known) = state.pods.get_mut(&uid) {
                known.pod = pod;
                continue;
            }
            let stop = Stop::new();
            if pod.metadata.deletion_timestamp.is_some() {
                stop.stop();
            }
            let status = PodStatus { phase: Some("Pending".into()), ..PodStatus::default() };
            let known = Known { pod: Arc::clone(&pod), status, released: false, stop: stop.clone() };
            state.pods.insert(uid, known);
            self.spawn.spawn("function", self.clone().run(pod, stop)).detach();
        }
        Ok(())
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let (give, take) = mpsc::unbounded();
        let mut state = self.lock();
        for known in state.pods.values() {
            // The receiver is still here.
            let _ = give.unbounded_send(known.report());
        }
        state.listeners.push(give);
        take.boxed()
    }

    async fn logs(&self, _: LogRequest) -> Result<Chunks> {
        // Functions of this example write nothing.
        Ok(Chunks(stream::empty().boxed()))
    }

    async fn open(&self, request: SessionRequest) -> Result<Session> {
        let SessionRequest::Exec { uid, command, streams, .. } = request else {
            return Err(Error::new(ErrorKind::NotSupported, "functions have commands only"));
        };
        let runs = self.lock().pods.get(&uid).is_some_and(|known| known.status.phase.as_deref() == Some("Running"));
        if !runs {
            return Err(Error::new(ErrorKind::NotFound, format!("no pod {uid} runs here")));
        }
        let ((stdin, mut input), (mut output, stdout)) = (pipe(), pipe());
        let exit = async move {
            let code = match command.first().map(String::as_str) {
                Some("true") => 0,
                Some("cat") => {
                    let mut said = Vec::new();
                    // Who is gone hears nothing.
                    let _ = input.read_to_end(&mut said).await;
                    let _ = output.write_all(&said).await;
                    0
                }
                _ => 127,
            };
            drop(output);
            code
        };
        let (give, take) = futures::channel::oneshot::channel();
        // Dropping the session drops the task, and so ends the command.
        let task = self.spawn.spawn("command", async move {
            let _ = give.send(exit.await);
        });
        let exit = async move {
            let _task = task;
            take.await.map_or_else(|_| Exit::Failed("the command was ended".into()), Exit::Code)
        };
        Ok(Session::Process(Process {
            stdin: streams.stdin.then(|| Box::new(stdin) as _),
            stdout: streams.stdout.then(|| Box::new(stdout) as _),
            stderr: None,
            resize: None,
            exit: exit.boxed(),
        }))
    }
}

/// The suite on this agent; the number of checks that failed.
fn prove() -> usize {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let spawn: Arc<dyn Spawn> = Arc::new(TokioSpawn::on(tokio.handle().clone()));
    let own = Arc::clone(&clock);
    // Functions do not outlive their process: a restart is not for them.
    let cases = cases(false, move |prefix| {
        let agent = Functions::new(Arc::clone(&own), Arc::clone(&spawn));
        let (clock, image) = (Arc::clone(&own), "wait".into());
        async move { Fixture { agent: Arc::new(agent), clock, image, command: Vec::new(), prefix, restart: None } }
            .boxed()
    });
    let show = |outcome: &report::Outcome| println!("{}: {:?}", outcome.name.replace('_', " "), outcome.verdict);
    let report = tokio.block_on(report::run("functions", cases, &*clock, &Trace::default(), show));
    report.outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_))).count()
}

fn main() -> ExitCode {
    if prove() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[test]
fn functions_keep_the_contract_of_node_agents() {
    assert_eq!(prove(), 0);
}

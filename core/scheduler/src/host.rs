//! The host: follows the cluster, gives each waiting pod a turn, and carries out what schedulers decide.
//!
//! One task owns the queue and the nodes. Bindings and reports are tasks of their own, many at once.

mod apart;
mod carry;
mod crashes;
mod explain;
mod facts;
mod hint;
mod report;
mod storage;
mod views;

use std::{
    collections::BTreeMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures::{FutureExt, select_biased};
use windlass_client::{
    Informers,
    events::{Recorder, Severity},
};
use windlass_kernel::{
    Clock, Identity, Result, Spawn, SpawnExt, Stop, Task,
    controller::ObjectKey,
    scheduler::{Change, Cycle, Decision, Explanation, Fit, Nowhere, Placement, PodView, Turn},
};

pub use self::explain::{Explaining, Questions};
use self::{
    apart::{Guard, Heard, Job, decide},
    carry::{Carried, Carry, Ended},
    facts::Facts,
    hint::{Hint, Hints},
    report::{Report, Reporter, reference},
    storage::Changes,
    views::Views,
};
use crate::{
    framework::{Faults, fault},
    plugins::volumes,
    profile::Profile,
    queue::{Patience, Queue},
    snapshot::{NodeChange, PodChange, Snapshot},
};

/// What a host runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The schedulers, by the names that they answer to.
    pub profiles: Vec<Profile>,
    /// How long pods wait.
    pub patience: Patience,
    /// How long a turn of a profile that is not trusted may take.
    pub limit: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { profiles: vec![Profile::default()], patience: Patience::default(), limit: Duration::from_secs(10) }
    }
}

/// The identity that a scheduler acts as (`system:kube-scheduler`).
#[must_use]
pub fn identity() -> Identity {
    Identity::new("system:kube-scheduler", &["system:authenticated"])
}

/// Gives pods their nodes.
///
/// May be killed at any instruction: what it knows is in the API, and a binding that was begun is either done or not.
#[derive(Debug)]
pub struct Host {
    informers: Informers,
    config: Config,
    questions: Option<Questions>,
}

impl Host {
    /// A host over `informers`, which act as [`identity`].
    #[must_use]
    pub fn new(informers: &Informers, config: Config) -> Self {
        Self { informers: informers.clone(), config, questions: None }
    }

    /// Answers the questions of an [`Explaining`].
    #[must_use]
    pub fn answering(mut self, questions: Questions) -> Self {
        self.questions = Some(questions);
        self
    }

    /// Runs until `stop`. Pods that are on their way then may get there or not.
    pub async fn run(self, stop: Stop) {
        stop.race(self.work()).await;
    }

    async fn work(self) {
        let views = Views::new(&self.informers);
        let facts = Facts::new(&self.informers);
        views.synced().await;
        facts.synced().await;
        let mut own = Loop::new(&self.informers, self.config, views, facts);
        own.questions = self.questions;
        own.run().await;
    }
}

/// The state of a running host.
struct Loop {
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    entropy: Arc<dyn windlass_kernel::Entropy>,
    profiles: BTreeMap<Arc<str>, (Arc<Profile>, Recorder)>,
    reporter: Arc<Reporter>,
    views: Views,
    facts: Facts,
    stored: Changes,
    queue: Queue,
    /// Shared with those who explain; a change copies it where somebody still looks at it.
    snapshot: Arc<Snapshot>,
    hints: Hints,
    questions: Option<Questions>,
    limit: Duration,
    guards: BTreeMap<Arc<str>, Guard>,
    tasks: BTreeMap<u64, Task>,
    started: u64,
    ended: (async_channel::Sender<Ended>, async_channel::Receiver<Ended>),
}

impl Loop {
    fn new(informers: &Informers, config: Config, views: Views, facts: Facts) -> Self {
        let parts = informers.parts();
        let profiles = config.profiles.into_iter().map(|profile| {
            let recorder = Recorder::start(parts, &profile.name, "");
            (Arc::clone(&profile.name), (Arc::new(profile), recorder))
        });
        Self {
            clock: Arc::clone(&parts.clock),
            spawn: Arc::clone(&parts.spawn),
            entropy: Arc::clone(&parts.entropy),
            profiles: profiles.collect(),
            reporter: Arc::new(Reporter::new(parts.client.clone(), Arc::clone(&parts.clock))),
            views,
            stored: facts.stores().changes(),
            facts,
            queue: Queue::new(config.patience),
            snapshot: Arc::default(),
            hints: Hints::default(),
            questions: None,
            limit: config.limit,
            guards: BTreeMap::new(),
            tasks: BTreeMap::new(),
            started: 0,
            ended: async_channel::unbounded(),
        }
    }

    async fn run(mut self) {
        loop {
            self.catch_up();
            self.queue.tick(self.clock.uptime());
            match self.queue.pop() {
                Some(pod) => {
                    self.turn(pod).await;
                    yield_now().await;
                }
                None => self.rest().await,
            }
        }
    }

    /// Takes over whatever is known by now.
    fn catch_up(&mut self) {
        while let Some(name) = self.views.changed_node() {
            self.node_changed(&name);
        }
        while let Some(key) = self.views.changed_pod() {
            self.pod_changed(&key);
        }
        if self.stored.take() {
            self.storage_changed();
        }
        while let Ok(ended) = self.ended.1.try_recv() {
            self.task_ended(ended);
        }
        while let Some(Ok(question)) = self.questions.as_ref().map(|Questions(asked)| asked.try_recv()) {
            self.answer(question);
        }
    }

    /// Waits until there is something to do.
    async fn rest(&mut self) {
        let due = self.queue.due().unwrap_or(Duration::MAX);
        let mut timer = self.clock.sleep_until(due).fuse();
        let news = {
            let mut news = pin!(self.views.news().fuse());
            let mut ended = pin!(self.ended.1.recv().fuse());
            let mut stored = pin!(self.stored.next().fuse());
            let mut asked = pin!(asked(self.questions.as_ref()).fuse());
            select_biased! {
                () = news => News::Seen,
                ended = ended => ended.map_or(News::Seen, News::Ended),
                () = stored => News::Stored,
                question = asked => News::Asked(question),
                () = timer => News::Seen,
            }
        };
        match news {
            News::Seen => {}
            News::Ended(ended) => self.task_ended(ended),
            News::Stored => self.storage_changed(),
            News::Asked(question) => self.answer(question),
        }
    }

    fn storage_changed(&mut self) {
        let change = Change::Other(volumes::CHANGED);
        wake(&mut self.queue, &self.profiles, self.clock.uptime(), &change);
    }

    fn node_changed(&mut self, name: &str) {
        let view = self.views.node(name);
        let change = Arc::make_mut(&mut self.snapshot).set_node(name, view.as_deref());
        let Some(after) = self.snapshot.nodes().get(name) else { return };
        let change = match &change {
            NodeChange::Added => Change::NodeAdded(after),
            NodeChange::Changed(before) => Change::NodeChanged { before, after },
            NodeChange::Gone | NodeChange::Same => return,
        };
        wake(&mut self.queue, &self.profiles, self.clock.uptime(), &change);
    }

    fn pod_changed(&mut self, key: &ObjectKey) {
        let now = self.clock.uptime();
        let pod = self.views.pod(key);
        let change = Arc::make_mut(&mut self.snapshot).set_pod(key, pod.as_ref());
        match &pod {
            Some(pod) if pod.node.is_none() && !pod.terminating && self.profiles.contains_key(&*pod.scheduler) => {
                self.queue.put(pod, now);
            }
            _ => self.queue.remove(key),
        }
        self.facts.nominate(key, pod.as_deref().and_then(|pod| pod.nominated.as_deref()), pod.as_ref());
        let change = match (&change, &pod) {
            (PodChange::Placed, Some(pod)) => Change::PodPlaced(pod),
            (PodChange::Changed(before), Some(after)) => Change::PodChanged { before, after },
            (PodChange::Gone(before), _) => Change::PodGone(before),
            _ => return,
        };
        wake(&mut self.queue, &self.profiles, now, &change);
    }

    /// Gives a pod its turn.
    async fn turn(&mut self, pod: Arc<PodView>) {
        let Some((profile, recorder)) = self.profiles.get(&*pod.scheduler).cloned() else { return };
        let span = tracing::debug_span!("scheduler.turn", pod = %pod.key);
        let mut cycle = Cycle::new();
        self.facts.tell(&mut cycle, &pod);
        if !profile.trusted {
            return tracing::Instrument::instrument(self.watched(profile, recorder, pod, cycle), span).await;
        }
        let turn = Turn { pod: &pod, nodes: self.snapshot.nodes(), cycle: &mut cycle, entropy: self.entropy.as_ref() };
        let decided = tracing::Instrument::instrument(decide(profile.scheduler.as_ref(), turn), span).await;
        match decided {
            Ok(Decision::Place(placement)) => self.place(profile, recorder, pod, cycle, &placement),
            Ok(Decision::Nowhere(nowhere)) => {
                let hint = if nowhere.preemption.is_some() { Hint::Found(None) } else { self.hint(&profile, &pod) };
                self.nowhere(&recorder, &pod, *nowhere, hint);
            }
            Err(error) => self.no_turn(&recorder, &pod, error.to_string()),
        }
    }

    /// Gives a pod a turn that may do anything, apart from this task.
    async fn watched(&mut self, profile: Arc<Profile>, recorder: Recorder, pod: Arc<PodView>, cycle: Cycle) {
        let hint = self.hints.allows(self.snapshot.nodes().len(), self.clock.uptime());
        let (scheduler, snapshot) = (Arc::clone(&profile.scheduler), Arc::clone(&self.snapshot));
        let job = Job { scheduler, snapshot, pod: Arc::clone(&pod), cycle, entropy: Arc::clone(&self.entropy), hint };
        let guard = self.guards.entry(Arc::clone(&profile.name)).or_default();
        match guard.turn(job, &profile.name, self.limit, (self.clock.as_ref(), &self.spawn)).await {
            Heard::Stopped(said) => self.no_turn(&recorder, &pod, said),
            Heard::Done(done) => match done.decided {
                Ok(Decision::Place(placement)) => self.place(profile, recorder, pod, done.cycle, &placement),
                Ok(Decision::Nowhere(nowhere)) => {
                    let hint = if hint { Hint::Found(done.remedy) } else { Hint::AsBefore };
                    self.nowhere(&recorder, &pod, *nowhere, hint);
                }
                Err(error) => self.no_turn(&recorder, &pod, error.to_string()),
            },
        }
    }

    /// Something failed that has nothing to do with the pod.
    fn no_turn(&mut self, recorder: &Recorder, pod: &Arc<PodView>, said: String) {
        tracing::error!(pod = %pod.key, %said, "a pod could not have its turn, trying again");
        self.queue.failed(&pod.key, self.clock.uptime());
        self.report(Report::failure(pod, "SchedulerError", said, None), recorder);
    }

    /// Counts the pod in at its node and lets it go there.
    fn place(
        &mut self,
        profile: Arc<Profile>,
        recorder: Recorder,
        pod: Arc<PodView>,
        mut cycle: Cycle,
        placement: &Placement,
    ) {
        for fault in cycle.get::<Faults>().into_iter().flat_map(|Faults(faults)| faults) {
            tracing::warn!(pod = %pod.key, %fault, "a score is left out");
            let said = format!("{fault}; the node was chosen without it");
            recorder.event_on(reference(&pod), Severity::Warning, "PluginFailed", said);
        }
        for plugin in &profile.reserves {
            let reserve = AssertUnwindSafe(|| plugin.reserve(&mut cycle, &pod, &placement.node));
            let fit = match catch_unwind(reserve) {
                Ok(fit) => fit,
                Err(panic) => {
                    carry::unreserve(&profile, &cycle, &pod, &placement.node);
                    return self.no_turn(&recorder, &pod, fault(plugin.name(), panic.as_ref()).to_string());
                }
            };
            if let Fit::No(reasons) | Fit::Never(reasons) = fit {
                carry::unreserve(&profile, &cycle, &pod, &placement.node);
                let reason = reasons.as_slice().first().cloned();
                let overall = reason.map(|reason| (plugin.name(), reason));
                let explanation = Explanation { nodes: self.snapshot.nodes().len(), overall, ..Explanation::default() };
                let nowhere = Nowhere { explanation, preemption: None };
                return self.nowhere(&recorder, &pod, nowhere, Hint::Found(None));
            }
        }
        Arc::make_mut(&mut self.snapshot).assume(&pod, &placement.node);
        let node = self.snapshot.nodes().get(&placement.node).filter(|_| !pod.claims.is_empty()).cloned();
        let carry = Carry {
            volumes: profile.volumes_within.zip(node).map(|(within, node)| (within, self.facts.stores().clone(), node)),
            profile,
            recorder,
            client: self.reporter.client().clone(),
            clock: Arc::clone(&self.clock),
            pod,
            node: Arc::clone(&placement.node),
            cycle,
        };
        self.start("scheduler.bind", async move { Some(carry.run().await) });
    }

    fn nowhere(&mut self, recorder: &Recorder, pod: &Arc<PodView>, nowhere: Nowhere, hint: Hint) {
        let Nowhere { explanation, preemption } = nowhere;
        let (message, by) = (hint.extend(explanation.to_string(), pod), explanation.plugins());
        tracing::debug!(pod = %pod.key, %message, "a pod fits nowhere");
        let now = self.clock.uptime();
        self.queue.refused(&pod.key, by, now);
        let mut released = Vec::new();
        if let Some(preemption) = &preemption {
            self.facts.nominate(&pod.key, Some(&preemption.node), Some(pod));
            // They may find another place, and would wait for this one in vain.
            released = self.facts.outrank(pod, &preemption.node);
            released.iter().for_each(|other| self.queue.again(&other.key, now));
        } else if self.waits_in_vain(pod) {
            self.facts.nominate(&pod.key, None, None);
            released.push(Arc::clone(pod));
        }
        self.report(Report::failure(pod, "Unschedulable", message, preemption).releasing(released), recorder);
    }

    /// Whether room was made for a pod that fits nowhere, and nobody is leaving there any more.
    fn waits_in_vain(&self, pod: &PodView) -> bool {
        let Some(node) = pod.nominated.as_ref().filter(|_| pod.preempts) else { return false };
        let leaves = |other: &Arc<PodView>| other.terminating && other.priority < pod.priority;
        !self.snapshot.nodes().get(node).is_some_and(|node| node.pods().iter().any(leaves))
    }

    /// What would help a pod, if it may be looked for now.
    fn hint(&mut self, profile: &Profile, pod: &Arc<PodView>) -> Hint {
        let nodes = self.snapshot.nodes();
        if !self.hints.allows(nodes.len(), self.clock.uptime()) {
            return Hint::AsBefore;
        }
        let mut cycle = Cycle::new();
        self.facts.tell(&mut cycle, pod);
        Hint::of(profile.scheduler.as_ref(), Turn { pod, nodes, cycle: &mut cycle, entropy: self.entropy.as_ref() })
    }

    fn report(&mut self, report: Report, recorder: &Recorder) {
        let (reporter, recorder) = (Arc::clone(&self.reporter), recorder.clone());
        self.start("scheduler.report", async move {
            reporter.run(report, &recorder).await;
            None
        });
    }

    /// Starts a task; what it ends with comes back to this one.
    fn start(&mut self, name: &'static str, work: impl Future<Output = Option<Carried>> + Send + 'static) {
        self.started += 1;
        let (task, sender) = (self.started, self.ended.0.clone());
        let work = async move {
            let carried = work.await;
            // Nobody listens any more: the host has ended.
            let _ = sender.send(Ended { task, carried }).await;
        };
        self.tasks.insert(task, self.spawn.spawn(name, work));
    }

    fn task_ended(&mut self, ended: Ended) {
        self.tasks.remove(&ended.task);
        let Some(Carried { pod, profile, cycle, node, recorder, failure }) = ended.carried else { return };
        let now = self.clock.uptime();
        let Some(failure) = failure else {
            self.queue.remove(&pod.key);
            return;
        };
        carry::unreserve(&profile, &cycle, &pod, &node);
        if Arc::make_mut(&mut self.snapshot).forget(&pod) {
            wake(&mut self.queue, &self.profiles, now, &Change::PodGone(&pod));
        }
        if self.queue.get(&pod.key).is_none_or(|now| now.uid != pod.uid) {
            return;
        }
        match failure {
            carry::Failure::Refused(plugin, reason) => {
                self.queue.refused(&pod.key, vec![plugin], now);
                self.report(Report::failure(&pod, "Unschedulable", reason, None), &recorder);
            }
            carry::Failure::Broken(error) => {
                tracing::warn!(pod = %pod.key, %node, %error, "a pod was not bound, trying again");
                self.queue.failed(&pod.key, now);
                let message = format!("binding rejected: {error}");
                self.report(Report::failure(&pod, "SchedulerError", message, None), &recorder);
            }
        }
    }
}

type Profiles = BTreeMap<Arc<str>, (Arc<Profile>, Recorder)>;

fn wake(queue: &mut Queue, profiles: &Profiles, now: Duration, change: &Change<'_>) {
    queue.changed(now, |pod, by| {
        profiles.get(&*pod.scheduler).is_some_and(|(profile, _)| {
            // When in doubt, another turn: it names the plugin that panics.
            catch_unwind(AssertUnwindSafe(|| profile.scheduler.helped_by(pod, by, change))).unwrap_or(true)
        })
    });
}

/// What ends a rest.
enum News {
    /// Something that is looked at anyhow.
    Seen,
    Ended(Ended),
    Stored,
    Asked(explain::Question),
}

/// The next question; none ever comes where nobody can ask.
async fn asked(questions: Option<&Questions>) -> explain::Question {
    if let Some(Questions(asked)) = questions
        && let Ok(question) = asked.recv().await
    {
        return question;
    }
    futures::future::pending().await
}

/// Lets other tasks run.
async fn yield_now() {
    let mut yielded = false;
    futures::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Turns a panic of a plugin into an error with its name.
async fn guarded<T>(name: &str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|panic| Err(fault(name, panic.as_ref())))
}

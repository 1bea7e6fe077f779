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
mod tasks;
mod turn;
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
use windlass_client::{Informers, events::Recorder};
use windlass_kernel::{Clock, Identity, Result, Spawn, Stop, Task, controller::ObjectKey, scheduler::Change};

pub use self::explain::{Explaining, Questions};
use self::{apart::Guard, carry::Ended, facts::Facts, hint::Hints, report::Reporter, storage::Changes, views::Views};
use crate::{
    framework::fault,
    metrics::{Attempts, Metrics},
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
    metrics: Metrics,
}

impl Host {
    /// A host over `informers`, which act as [`identity`].
    #[must_use]
    pub fn new(informers: &Informers, config: Config) -> Self {
        Self { informers: informers.clone(), config, questions: None, metrics: Metrics::default() }
    }

    /// Answers the questions of an [`Explaining`].
    #[must_use]
    pub fn answering(mut self, questions: Questions) -> Self {
        self.questions = Some(questions);
        self
    }

    /// Counts what it does there.
    #[must_use]
    pub fn counting(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
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
        let mut own = Loop::new(&self.informers, self.config, views, facts, self.metrics);
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
    metrics: Metrics,
    attempts: BTreeMap<Arc<str>, Attempts>,
    /// When the turn began that is under way.
    began: Duration,
    limit: Duration,
    guards: BTreeMap<Arc<str>, Guard>,
    tasks: BTreeMap<u64, Task>,
    started: u64,
    ended: (async_channel::Sender<Ended>, async_channel::Receiver<Ended>),
}

impl Loop {
    fn new(informers: &Informers, config: Config, views: Views, facts: Facts, metrics: Metrics) -> Self {
        let parts = informers.parts();
        let attempts = config.profiles.iter().map(|own| (Arc::clone(&own.name), metrics.of(&own.name))).collect();
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
            metrics,
            attempts,
            began: Duration::ZERO,
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
            let now = self.clock.uptime();
            self.queue.tick(now);
            self.metrics.waiting(&mut self.queue);
            match self.queue.pop(now) {
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
}

type Profiles = BTreeMap<Arc<str>, (Arc<Profile>, Recorder)>;

fn wake(queue: &mut Queue, profiles: &Profiles, now: Duration, change: &Change<'_>) {
    queue.changed(now, event(change), |pod, by| {
        profiles.get(&*pod.scheduler).is_some_and(|(profile, _)| {
            // When in doubt, another turn: it names the plugin that panics.
            catch_unwind(AssertUnwindSafe(|| profile.scheduler.helped_by(pod, by, change))).unwrap_or(true)
        })
    });
}

/// What a change is called where pods are counted that it wakes.
fn event(change: &Change<'_>) -> &'static str {
    match change {
        Change::NodeAdded(_) => "NodeAdd",
        Change::NodeChanged { .. } => "NodeUpdate",
        Change::PodPlaced(_) => "AssignedPodAdd",
        Change::PodChanged { .. } => "AssignedPodUpdate",
        Change::PodGone(_) => "AssignedPodDelete",
        // Upstream has a name for each kind of claims, volumes and classes.
        Change::Other(_) => "StorageUpdate",
    }
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

//! Static pods: described on the node itself, run by its agent, and shown in the API as mirrors.
//!
//! Whoever deletes a mirror deletes nothing else: it is made again, and the pod goes on. The agent runs the pod under a uid of
//! its own, the hash of what describes it, so that a new description is a new pod and a restart of the agent finds the old one.

mod describe;
mod url;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_listener::Event;
use futures::{
    StreamExt,
    channel::mpsc,
    future::{Either, select},
    lock::Mutex as AsyncMutex,
    pin_mut,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use windlass_api::{
    core::v1::{Node, NodeStatus, Pod},
    meta::v1::{ObjectMeta, OwnerReference},
};
use windlass_client::{Cache, Informers, Select, informer::Parts};
use windlass_kernel::{
    ClockExt, ErrorKind, NodeAgent, Result, Stop,
    api::{Chunks, Options, Preconditions},
    controller::ObjectKey,
    node::{LogRequest, Metering, Report, Session, SessionRequest},
};

pub use self::{
    describe::{Described, Folder, Source, Sources},
    url::Url,
};
use crate::host::place;

/// The annotations of static pods and their mirrors, as upstream's kubelet sets them.
const MIRROR: &str = "kubernetes.io/config.mirror";
const HASH: &str = "kubernetes.io/config.hash";
const SOURCE: &str = "kubernetes.io/config.source";
const SEEN: &str = "kubernetes.io/config.seen";

/// How often the descriptions are looked at. What did not change costs a look at names and times of files.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a description that the API refused is left alone (upstream looks at files so often).
const REFUSED: Duration = Duration::from_secs(20);

/// An agent that runs static pods beside those of the API.
///
/// It stands between the host and the agent proper: the host knows mirrors, the agent static pods, each by its uid.
#[derive(Clone, Debug)]
pub struct StaticPods(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: String,
    agent: Arc<dyn NodeAgent>,
    source: Arc<dyn Source>,
    pods: Cache<Arc<Pod>>,
    parts: Parts,
    state: Mutex<State>,
    /// The pods that the host handed over last, held while the agent is handed a set, so that sets come in order.
    handed: AsyncMutex<Option<Vec<Arc<Pod>>>>,
    /// What was described when this began is known to the agent.
    ready: Event,
}

#[derive(Debug, Default)]
struct State {
    ready: bool,
    /// Whether the agent has not been handed what runs.
    stale: bool,
    /// What runs, by name.
    running: BTreeMap<ObjectKey, Arc<Pod>>,
    /// The last word of the agent on each of them.
    latest: BTreeMap<ObjectKey, Report>,
    /// The mirror that this word was last passed on about.
    told: BTreeMap<ObjectKey, String>,
    again: Option<mpsc::UnboundedSender<Report>>,
}

/// A described pod, and where it is.
#[derive(Clone, Debug)]
struct Wanted {
    pod: Pod,
    place: String,
}

/// The descriptions that the API refused, by their hashes, and until when they are left alone.
type Refused = BTreeMap<ObjectKey, (String, Duration)>;

/// What became of a description.
enum Outcome {
    /// The pod runs, or will at once.
    Runs(Arc<Pod>),
    /// A former mirror goes first.
    Waits,
}

impl StaticPods {
    /// `agent` with the static pods of `source`. `informers` act as the node's own identity.
    #[must_use]
    pub fn new(node: &str, informers: &Informers, agent: Arc<dyn NodeAgent>, source: Arc<dyn Source>) -> Self {
        let pods = informers.typed(Select::all().fields(format!("spec.nodeName={node}")));
        let (node, parts) = (node.to_owned(), informers.parts().clone());
        let (state, handed, ready) = (Mutex::default(), AsyncMutex::new(None), Event::new());
        Self(Arc::new(Inner { node, agent, source, pods, parts, state, handed, ready }))
    }

    /// Follows the descriptions until `stop`. What runs goes on running then.
    pub async fn run(self, stop: Stop) {
        stop.race(self.0.follow()).await;
    }
}

impl Inner {
    async fn follow(&self) {
        self.pods.synced().await;
        let owner = self.owner().await;
        let changed = self.pods.subscribe();
        let mut wanted = BTreeMap::new();
        let mut refused = Refused::new();
        let mut due = true;
        loop {
            while let Some(key) = changed.take() {
                due |= self.concerns(&key, &wanted);
            }
            if let Some(described) = self.source.read(&self.parts).await {
                wanted = self.wanted(described, &wanted);
                due = true;
            }
            let now = self.parts.clock.uptime();
            due |= refused.values().any(|(_, until)| now >= *until);
            if due {
                due = !self.settle(&wanted, &mut refused, &owner).await;
            }
            let (next, tick) = (changed.next(), self.parts.clock.sleep(PERIOD));
            pin_mut!(next, tick);
            if let Either::Left((key, _)) = select(next, tick).await {
                due |= self.concerns(&key, &wanted);
            }
        }
    }

    /// Whether a change of the pod may be one of a mirror.
    fn concerns(&self, key: &ObjectKey, wanted: &BTreeMap<ObjectKey, Wanted>) -> bool {
        wanted.contains_key(key)
            || self.state.lock().running.contains_key(key)
            || self.pods.get(key).is_some_and(|pod| pod.metadata.annotations.contains_key(MIRROR))
    }

    /// Makes mirrors and what runs those that are wanted. Whether nothing is left to do.
    async fn settle(
        &self,
        wanted: &BTreeMap<ObjectKey, Wanted>,
        refused: &mut Refused,
        owner: &OwnerReference,
    ) -> bool {
        let mut whole = true;
        for (key, Wanted { pod, .. }) in wanted {
            let now = self.parts.clock.uptime();
            let hash = hash_of(&pod.metadata).unwrap_or_default();
            if refused.get(key).is_some_and(|(of, until)| of == hash && now < *until) {
                continue;
            }
            refused.remove(key);
            match self.mirror(key, pod, owner).await {
                Ok(Outcome::Runs(pod)) => self.adopt(key, &pod),
                Ok(Outcome::Waits) => whole = false,
                Err(error) if error.is(ErrorKind::Unavailable) || error.is(ErrorKind::Timeout) => whole = false,
                Err(error) => {
                    tracing::warn!(pod = %key, %error, "a static pod cannot run: its mirror is refused");
                    refused.insert(key.clone(), (hash.to_owned(), now + REFUSED));
                }
            }
        }
        refused.retain(|key, _| wanted.contains_key(key));
        let kept = self.of_unknown_places();
        for (key, mirror) in kept.iter().filter(|(key, _)| !wanted.contains_key(key)) {
            self.adopt(key, mirror);
        }
        let gone = self.forget_others(&|key| wanted.contains_key(key) || kept.contains_key(key)).await;
        let ready = whole || self.state.lock().ready;
        let handed = ready && self.hand_over().await;
        whole && gone && handed
    }

    /// The node, as the owner of mirrors; waits until it is registered.
    async fn owner(&self) -> OwnerReference {
        loop {
            match self.parts.client.get::<Node>("", &self.node).await {
                Ok(node) => {
                    return OwnerReference {
                        api_version: "v1".into(),
                        kind: "Node".into(),
                        name: self.node.clone(),
                        uid: node.metadata.uid.clone().unwrap_or_default(),
                        controller: Some(true),
                        block_owner_deletion: None,
                    };
                }
                Err(_) => self.parts.clock.sleep(PERIOD).await,
            }
        }
    }

    /// What is described, by name. A file that cannot be read leaves the pod as it is that it described before.
    fn wanted(&self, described: Vec<Described>, before: &BTreeMap<ObjectKey, Wanted>) -> BTreeMap<ObjectKey, Wanted> {
        let mut wanted: BTreeMap<ObjectKey, Wanted> = BTreeMap::new();
        for one in described {
            match describe::pod(&one, &self.node, self.parts.clock.now()) {
                Ok(pod) => {
                    let key = place(&pod);
                    if let Some(first) = wanted.get(&key) {
                        let (first, second) = (&first.place, one.place);
                        tracing::warn!(pod = %key, first, second, "two descriptions of one static pod: the first counts");
                    } else {
                        wanted.insert(key, Wanted { pod, place: one.place });
                    }
                }
                Err(why) => {
                    tracing::warn!(
                        place = one.place,
                        why,
                        "this describes no pod; one that it described before goes on"
                    );
                    for former in before.values().filter(|former| former.place == one.place) {
                        wanted.entry(place(&former.pod)).or_insert_with(|| former.clone());
                    }
                }
            }
        }
        wanted
    }

    /// Has the API show the pod.
    async fn mirror(&self, key: &ObjectKey, pod: &Pod, owner: &OwnerReference) -> Result<Outcome> {
        let hash = hash_of(&pod.metadata);
        match self.pods.get(key) {
            Some(shown)
                if shown.metadata.annotations.get(MIRROR).map(String::as_str) == hash
                    && shown.metadata.deletion_timestamp.is_none() =>
            {
                Ok(Outcome::Runs(shown))
            }
            // One that somebody deletes, and one of an older description. What runs goes on until there is another.
            Some(shown) if shown.metadata.annotations.contains_key(MIRROR) => {
                self.remove(key, &shown.metadata).await.map(|()| Outcome::Waits)
            }
            _ => {
                let mut pod = pod.clone();
                pod.metadata.annotations.insert(MIRROR.into(), hash.unwrap_or_default().into());
                pod.metadata.owner_references = vec![owner.clone()];
                match self.parts.client.create(&pod).await {
                    // The cache may not show yet what was made a moment ago.
                    Err(error) if error.is(ErrorKind::AlreadyExists) => {
                        let shown = self.parts.client.get::<Pod>(&key.namespace, &key.name).await?;
                        let own = shown.metadata.annotations.get(MIRROR).map(String::as_str) == hash;
                        if own { Ok(Outcome::Runs(shown)) } else { Err(error) }
                    }
                    made => made.map(Outcome::Runs),
                }
            }
        }
    }

    /// Has the agent run what a mirror shows, unless it does. What was not said has been filled in by the API.
    fn adopt(&self, key: &ObjectKey, mirror: &Pod) {
        let hash = hash_of(&mirror.metadata).unwrap_or_default();
        let mut state = self.state.lock();
        if state.running.get(key).is_none_or(|pod| pod.metadata.uid.as_deref() != Some(hash)) {
            let mut pod = mirror.clone();
            pod.metadata.uid = Some(hash.to_owned());
            pod.metadata.annotations.remove(MIRROR);
            pod.metadata.owner_references.clear();
            pod.metadata.resource_version = None;
            pod.status = Default::default();
            state.running.insert(key.clone(), Arc::new(pod));
            state.stale = true;
            state.latest.remove(key);
        }
        let uid = mirror.metadata.uid.clone().unwrap_or_default();
        if state.told.get(key) != Some(&uid)
            && let Some(report) = state.latest.get(key).cloned()
            && let Some(again) = &state.again
        {
            // Nobody listens any more where this fails, and whoever listens next is told everything.
            let _ = again.unbounded_send(Report { uid: uid.clone(), ..report });
            state.told.insert(key.clone(), uid);
        }
    }

    /// The mirrors, by name, of which nobody can tell yet whether they are still described.
    fn of_unknown_places(&self) -> BTreeMap<ObjectKey, Arc<Pod>> {
        let unknown = self.source.unknown();
        let of = |pod: &Pod| {
            let annotations = &pod.metadata.annotations;
            annotations.contains_key(MIRROR)
                && annotations.get(SOURCE).is_some_and(|own| unknown.contains(&own.as_str()))
        };
        self.pods.list().into_iter().filter(|(_, pod)| of(pod)).collect()
    }

    /// Ends what is described no more, and removes its mirrors. Whether all could be removed.
    async fn forget_others(&self, kept: &(dyn Fn(&ObjectKey) -> bool + Sync)) -> bool {
        {
            let State { running, latest, told, stale, .. } = &mut *self.state.lock();
            *stale |= running.keys().any(|key| !kept(key));
            running.retain(|key, _| kept(key));
            latest.retain(|key, _| kept(key));
            told.retain(|key, _| kept(key));
        }
        let mirrors = self.pods.list().into_iter().filter(|(_, pod)| pod.metadata.annotations.contains_key(MIRROR));
        let mut all = true;
        for (key, pod) in mirrors.filter(|(key, _)| !kept(key)) {
            if let Err(error) = self.remove(&key, &pod.metadata).await {
                tracing::warn!(pod = %key, %error, "cannot remove the mirror of a static pod yet");
                all = false;
            }
        }
        all
    }

    async fn remove(&self, key: &ObjectKey, meta: &ObjectMeta) -> Result<()> {
        let options = Options {
            grace_period: Some(0),
            preconditions: Preconditions { uid: meta.uid.clone(), resource_version: None },
            ..Options::default()
        };
        crate::host::gone(self.parts.client.delete_with::<Pod>(&key.namespace, &key.name, options).await)
    }

    /// Hands the agent what runs now, where that is not what it has. Whether it has it, or will with the host's next set.
    async fn hand_over(&self) -> bool {
        self.state.lock().ready = true;
        self.ready.notify(usize::MAX);
        let handed = self.handed.lock().await;
        let Some(pods) = &*handed else { return true };
        if !self.state.lock().stale {
            return true;
        }
        let done = self.hand(pods).await;
        if let Err(error) = &done {
            tracing::warn!(node = self.node, %error, "the agent did not take its static pods yet");
        }
        done.is_ok()
    }

    /// Hands the agent the pods of the API with the static ones.
    async fn hand(&self, pods: &[Arc<Pod>]) -> Result<()> {
        self.state.lock().stale = false;
        let done = self.agent.sync(self.with_own(pods)).await;
        self.state.lock().stale |= done.is_err();
        done
    }

    /// The pods of the API that are no mirrors, and the static ones.
    fn with_own(&self, pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let own = pods.iter().filter(|pod| !pod.metadata.annotations.contains_key(MIRROR));
        own.cloned().chain(self.state.lock().running.values().cloned()).collect()
    }

    /// The uid by which the agent knows a pod.
    fn own_uid(&self, key: &ObjectKey, uid: String) -> String {
        let state = self.state.lock();
        let own = state.running.get(key).and_then(|pod| pod.metadata.uid.clone());
        let Some(own) = own else { return uid };
        let mirror = self.pods.get(key).and_then(|pod| pod.metadata.uid.clone());
        if mirror.as_deref() == Some(&*uid) { own } else { uid }
    }

    /// The report as the host knows the pod; `None` where the API does not show it now.
    fn pass_on(&self, report: Report) -> Option<Report> {
        let mut state = self.state.lock();
        let own = state.running.get(&report.pod).is_some_and(|pod| pod.metadata.uid.as_deref() == Some(&*report.uid));
        if !own {
            return Some(report);
        }
        // Its mirror goes when its description does.
        let report = Report { released: false, ..report };
        state.latest.insert(report.pod.clone(), report.clone());
        let shown = self.pods.get(&report.pod)?;
        if shown.metadata.annotations.get(MIRROR) != Some(&report.uid) {
            return None;
        }
        let uid = shown.metadata.uid.clone()?;
        state.told.insert(report.pod.clone(), uid.clone());
        Some(Report { uid, ..report })
    }

    async fn ready(&self) {
        loop {
            let listener = self.ready.listen();
            if self.state.lock().ready {
                return;
            }
            listener.await;
        }
    }
}

fn hash_of(meta: &ObjectMeta) -> Option<&str> {
    meta.annotations.get(HASH).map(String::as_str)
}

#[async_trait]
impl NodeAgent for StaticPods {
    async fn describe(&self) -> Result<NodeStatus> {
        self.0.agent.describe().await
    }

    /// Waits until the static pods are known, so that those of an agent before this one are not taken for pods that have gone.
    async fn sync(&self, pods: Vec<Arc<Pod>>) -> Result<()> {
        self.0.ready().await;
        let mut handed = self.0.handed.lock().await;
        self.0.hand(handed.insert(pods)).await
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        let (sender, again) = mpsc::unbounded();
        {
            let mut state = self.0.state.lock();
            state.again = Some(sender);
            state.told.clear();
        }
        let inner = Arc::clone(&self.0);
        let reports = self.0.agent.reports().filter_map(move |report| {
            let passed = inner.pass_on(report);
            async move { passed }
        });
        stream::select(reports, again).boxed()
    }

    async fn logs(&self, request: LogRequest) -> Result<Chunks> {
        let uid = self.0.own_uid(&request.pod, request.uid.clone());
        self.0.agent.logs(LogRequest { uid, ..request }).await
    }

    async fn open(&self, mut request: SessionRequest) -> Result<Session> {
        let (SessionRequest::Exec { pod, uid, .. }
        | SessionRequest::Attach { pod, uid, .. }
        | SessionRequest::PortForward { pod, uid }) = &mut request;
        *uid = self.0.own_uid(pod, uid.clone());
        self.0.agent.open(request).await
    }

    fn metering(&self) -> Option<&dyn Metering> {
        self.0.agent.metering()
    }
}

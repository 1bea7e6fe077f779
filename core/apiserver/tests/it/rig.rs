//! A server over a store in memory, with a clock moved by hand and everyone allowed: what the tests drive.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use event_listener::Event;
use futures::{executor::ThreadPool, future::BoxFuture};
use parking_lot::Mutex;
use serde_json::Value;
use windlass_apiserver::{ApiServer, Builder};
use windlass_kernel::{
    Api, Authorizer, Clock, Entropy, Error, Identity, Spawn,
    access::{Attributes, Decision},
    api::{Answer, GroupVersionResource, List, Request, Response, Verb},
};
use windlass_store::MemoryStore;

/// A clock that stands still until it is moved.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandClock(Arc<Hand>);

#[derive(Debug, Default)]
struct Hand {
    now: Mutex<Duration>,
    moved: Event,
}

impl HandClock {
    pub(crate) fn advance(&self, span: Duration) {
        *self.0.now.lock() += span;
        self.0.moved.notify(usize::MAX);
    }
}

impl Clock for HandClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(self.uptime()).unwrap()
    }

    fn uptime(&self) -> Duration {
        *self.0.now.lock()
    }

    fn sleep_until(&self, end: Duration) -> BoxFuture<'static, ()> {
        let hand = Arc::clone(&self.0);
        Box::pin(async move {
            loop {
                let listener = hand.moved.listen();
                if *hand.now.lock() >= end {
                    return;
                }
                listener.await;
            }
        })
    }
}

#[derive(Clone)]
struct Pool(ThreadPool);

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

impl Spawn for Pool {
    fn start(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.0.spawn_ok(task);
    }

    fn blocking(&self, _: &'static str, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_ok(async { work() });
    }
}

/// Numbers that repeat from run to run.
#[derive(Debug)]
struct Seeded(Mutex<u64>);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock();
        for byte in buffer {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (*state >> 33).to_le_bytes()[0];
        }
    }
}

/// Allows everything to everyone but the user `nobody`.
#[derive(Debug)]
struct Gate;

#[async_trait]
impl Authorizer for Gate {
    async fn authorize(&self, identity: &Identity, _: &Attributes) -> windlass_kernel::Result<Decision> {
        let nobody = identity.name == "nobody";
        Ok(if nobody { Decision::NoOpinion(String::new()) } else { Decision::Allow(String::new()) })
    }
}

/// A server under test.
pub(crate) struct Rig {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) clock: HandClock,
    identity: Arc<Identity>,
}

pub(crate) fn builder(clock: &HandClock) -> Builder {
    let spawn: Arc<dyn Spawn> = Arc::new(Pool(ThreadPool::builder().pool_size(1).create().unwrap()));
    let store = Arc::new(MemoryStore::new(Arc::new(clock.clone()), Arc::clone(&spawn)));
    ApiServer::builder()
        .store(store)
        .clock(Arc::new(clock.clone()))
        .entropy(Arc::new(Seeded(Mutex::new(1))))
        .spawn(spawn)
        .authorizer(Arc::new(Gate))
}

impl Rig {
    /// A server with the objects that every cluster has.
    pub(crate) fn new() -> Self {
        let clock = HandClock::default();
        Self::over(&clock, wait(builder(&clock).start()).unwrap())
    }

    /// A server that was assembled elsewhere.
    pub(crate) fn over(clock: &HandClock, server: Arc<ApiServer>) -> Self {
        Self { server, clock: clock.clone(), identity: Arc::new(Identity::new("tester", &["system:masters"])) }
    }

    /// A request for a resource such as `pods` or `apps/v1/deployments`, in `default` unless it has no namespace.
    pub(crate) fn request(&self, verb: Verb, resource: &str) -> Request {
        let (path, subresource) = resource.split_once(':').unwrap_or((resource, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let (group, version, plural) = match parts[..] {
            [group, version, plural] => (group, version, plural),
            _ => ("", "v1", path),
        };
        let namespaced = windlass_api::resources::find(group, version, plural).is_none_or(|info| info.namespaced);
        let own = |text: &str| std::borrow::Cow::Owned(text.to_owned());
        let name = GroupVersionResource { group: own(group), version: own(version), resource: own(plural) };
        let mut request = Request::new(Arc::clone(&self.identity), verb, name).subresource(subresource);
        if namespaced {
            request = request.in_namespace("default");
        }
        request.user_agent = "rig/1.0".into();
        request
    }

    pub(crate) fn call(&self, request: Request) -> Result<Response, Error> {
        wait(self.server.call(request))
    }

    pub(crate) fn create(&self, resource: &str, object: Value) -> Result<Value, Error> {
        self.call(self.request(Verb::Create, resource).body(object)).map(value)
    }

    pub(crate) fn get(&self, resource: &str, name: &str) -> Result<Value, Error> {
        self.call(self.request(Verb::Get, resource).named(name)).map(value)
    }

    pub(crate) fn update(&self, resource: &str, object: Value) -> Result<Value, Error> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.call(self.request(Verb::Update, resource).named(name).body(object)).map(value)
    }

    pub(crate) fn delete(&self, resource: &str, name: &str) -> Result<Value, Error> {
        self.call(self.request(Verb::Delete, resource).named(name)).map(value)
    }

    pub(crate) fn list(&self, resource: &str, change: impl FnOnce(&mut Request)) -> Result<List, Error> {
        let mut request = self.request(Verb::List, resource);
        change(&mut request);
        self.call(request).map(|response| match response.answer {
            Answer::List(list) => list,
            other => panic!("not a list: {other:?}"),
        })
    }
}

impl Rig {
    /// Waits until an object is as it has to be, or gone, by the changes that a watch tells of.
    pub(crate) fn until(&self, resource: &str, name: &str, so: impl Fn(Option<&Value>) -> bool) {
        let mut request = self.request(Verb::Watch, resource);
        request.options.field_selector = format!("metadata.name={name}");
        let mut events = wait(self.server.watch(request)).unwrap();
        while !so(self.get(resource, name).ok().as_ref()) {
            wait(futures::StreamExt::next(&mut events)).unwrap().unwrap();
        }
    }

    /// Runs a task of the server's until the handle ends it.
    pub(crate) fn run<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        task: impl FnOnce(Arc<ApiServer>) -> F,
    ) -> futures::future::AbortHandle {
        let (task, end) = futures::future::abortable(task(Arc::clone(&self.server)));
        self.server.spawn().unwrap().start(name, Box::pin(async { _ = task.await }));
        end
    }
}

/// The object that a request was answered with.
pub(crate) fn value(response: Response) -> Value {
    match response.answer {
        Answer::Object(document) => document.value().unwrap(),
        Answer::Value(value) => value,
        other => panic!("not an object: {other:?}"),
    }
}

/// The names of a list's items.
pub(crate) fn names(list: &List) -> Vec<String> {
    let name = |value: Value| value["metadata"]["name"].as_str().unwrap().to_owned();
    list.items.iter().map(|item| name(item.value().unwrap())).collect()
}

pub(crate) fn wait<F: Future>(work: F) -> F::Output {
    futures::executor::block_on(work)
}

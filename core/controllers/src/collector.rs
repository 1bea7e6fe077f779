//! The garbage collector: deletes what has lost its owners, and carries out foreground and orphaning deletions.
//!
//! It follows every deletable resource and keeps who owns whom (`graph`), from metadata alone; `decide` says what that
//! means for one object. Absent owners are looked up at the API before anything is deleted.

mod decide;
mod graph;
mod node;
mod work;

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use parking_lot::Mutex;
use windlass_client::{Cache, Client, Informers, Queue, Select, Selection, events::Recorder};
use windlass_kernel::{SpawnExt, Stop, Task, api::GroupVersionResource, controller::ObjectKey};

use self::{
    graph::Graph,
    node::{Node, Uid},
};
use crate::resources::{self, Deletable};

/// How many objects are worked on at once.
const WORKERS: usize = 4;

/// Collects garbage. It has no keys of its own kind, so it runs its own queue.
#[derive(Debug)]
pub struct Collector {
    informers: Informers,
    shared: Arc<Shared>,
    definitions: Cache<Arc<Deletable>>,
}

/// What the handlers of changes and the workers share.
#[derive(Debug)]
struct Shared {
    client: Client,
    recorder: Recorder,
    graph: Mutex<Graph>,
    queue: Queue<Uid>,
    /// The resources that are followed.
    resources: Mutex<BTreeMap<GroupVersionResource, Arc<Deletable>>>,
}

type Monitor = Cache<Arc<Node>>;

impl Collector {
    pub(crate) fn new(informers: &Informers, client: Client, recorder: Recorder) -> Self {
        let shared = Shared {
            client,
            recorder,
            graph: Mutex::default(),
            queue: Queue::new(Arc::clone(&informers.parts().clock)),
            resources: Mutex::default(),
        };
        let definitions = resources::custom(informers);
        Self { informers: informers.clone(), shared: Arc::new(shared), definitions }
    }

    /// Runs until `stop`. Dropping the call is like being killed.
    pub async fn run(self, stop: Stop) {
        let followed = resources::built_in().into_iter().filter(|own| !ignored(own));
        let built_in: Vec<Monitor> = followed.map(|resource| self.follow(&resource)).collect();
        if stop.race(join_all(built_in.iter().map(Cache::synced))).await.is_none() {
            return;
        }
        tracing::info!(controller = "generic-garbage-collector", "a controller works");
        let spawn = &self.informers.parts().spawn;
        let workers: Vec<Task> = (0..WORKERS)
            .map(|_| spawn.spawn("generic-garbage-collector", work::run(Arc::clone(&self.shared))))
            .collect();
        stop.race(self.follow_definitions()).await;
        self.shared.queue.shut_down();
        join_all(workers.iter().map(Task::ended)).await;
    }

    /// Follows custom resources as long as they are defined.
    async fn follow_definitions(&self) {
        let changed = self.definitions.subscribe();
        let mut custom: BTreeMap<ObjectKey, (Arc<Deletable>, Monitor)> = BTreeMap::new();
        loop {
            let key = changed.next().await;
            let wanted = self.definitions.get(&key);
            if custom.get(&key).map(|(resource, _)| resource) == wanted.as_ref() {
                continue;
            }
            if let Some((resource, _)) = custom.remove(&key) {
                self.shared.resources.lock().remove(&resource.resource);
                let woken = self.shared.graph.lock().forget(&resource);
                woken.into_iter().for_each(|uid| self.shared.queue.add(uid));
            }
            if let Some(resource) = wanted {
                let monitor = self.follow(&resource);
                custom.insert(key, (resource, monitor));
            }
        }
    }

    fn follow(&self, resource: &Arc<Deletable>) -> Monitor {
        let selection = Selection { resource: resource.resource.clone(), select: Select::all() };
        self.shared.resources.lock().insert(resource.resource.clone(), Arc::clone(resource));
        let of = Arc::clone(resource);
        let monitor = self.informers.cache(&selection, Vec::new(), move |document| Node::read(&of, document));
        // The handler lives in the cache, which must therefore not be reachable from what the handler holds.
        let shared = Arc::clone(&self.shared);
        monitor.on_change(move |update| {
            let woken = shared.graph.lock().change(update.before, update.after);
            woken.into_iter().for_each(|uid| shared.queue.add(uid));
        });
        monitor
    }
}

/// Events come and go by themselves, and there are many.
fn ignored(resource: &Deletable) -> bool {
    resource.is_core("events")
}

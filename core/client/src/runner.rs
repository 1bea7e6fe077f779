//! Runs controllers: their watches feed a queue of keys, and workers reconcile one key each.
//!
//! A controller that fails or panics is retried with back-off and disturbs no other. Decides nothing itself.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{join_all, ready},
};
use tracing::Instrument;
use windlass_kernel::{
    Controller, Document, Error, ErrorKind, SpawnExt, Stop, Task,
    controller::{ObjectKey, Requeue, Wakes, Watched},
};

use crate::{
    informer::{Cache, Informers},
    queue::Queue,
    select::Select,
};

/// How many keys of one controller are worked on at once, unless told otherwise.
const WORKERS: usize = 4;

/// The keys that an object concerns.
#[derive(Clone, Debug)]
enum Concerned {
    /// Its own, as for most: the cache holds that already.
    Itself,
    These(Arc<[ObjectKey]>),
}

impl Concerned {
    fn by(document: &Document, keys: Vec<ObjectKey>) -> Option<Self> {
        match keys.as_slice() {
            [] => None,
            [one] if document.object_key().is_ok_and(|own| own == *one) => Some(Self::Itself),
            _ => Some(Self::These(keys.into())),
        }
    }

    fn keys<'a>(&'a self, own: &'a ObjectKey) -> &'a [ObjectKey] {
        match self {
            Self::Itself => std::slice::from_ref(own),
            Self::These(keys) => keys,
        }
    }
}

type Keys = Cache<Concerned>;

/// Runs one controller.
#[derive(Clone, Debug)]
pub struct Runner {
    informers: Informers,
    workers: usize,
}

impl Runner {
    /// A runner whose controllers share `informers`.
    #[must_use]
    pub fn new(informers: Informers) -> Self {
        Self { informers, workers: WORKERS }
    }

    /// Works on so many keys at once; at least one.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Runs `controller` until `stop`: waits for what it watches, then reconciles what changes.
    ///
    /// Dropping the call is like being killed.
    pub async fn run(&self, controller: Arc<dyn Controller>, stop: Stop) {
        let queue = Queue::new(Arc::clone(&self.informers.parts().clock));
        let _wakes = controller.wakes().map(|wakes| self.listen(wakes, &queue));
        let watches: Vec<Keys> = controller.watches().into_iter().map(|watched| self.feed(watched, &queue)).collect();
        if stop.race(join_all(watches.iter().map(Cache::synced))).await.is_some() {
            tracing::info!(controller = controller.name(), "a controller works");
            let workers: Vec<Task> = (0..self.workers).map(|_| self.worker(&controller, &queue)).collect();
            stop.wait().await;
            queue.shut_down();
            join_all(workers.iter().map(Task::ended)).await;
        }
    }

    /// Puts the keys that each change concerns, before and after it, into the queue.
    fn feed(&self, watched: Watched, queue: &Queue<ObjectKey>) -> Keys {
        let selection = Select::all().of(watched.resource);
        let concerned = move |document: &Document| Concerned::by(document, (watched.keys)(document));
        let keys: Keys = self.informers.cache(&selection, Vec::new(), concerned);
        let queue = queue.clone();
        keys.on_change(move |update| {
            let both = [update.before, update.after].into_iter().flatten().flat_map(|keys| keys.keys(update.key));
            both.collect::<BTreeSet<_>>().into_iter().for_each(|key| queue.add(key.clone()));
        });
        keys
    }

    /// Puts the keys that the controller is woken for into the queue.
    fn listen(&self, wakes: Wakes, queue: &Queue<ObjectKey>) -> Task {
        let queue = queue.clone();
        let listen = wakes.for_each(move |key| {
            queue.add(key);
            ready(())
        });
        self.informers.parts().spawn.spawn("client.wakes", listen)
    }

    fn worker(&self, controller: &Arc<dyn Controller>, queue: &Queue<ObjectKey>) -> Task {
        let (controller, queue) = (Arc::clone(controller), queue.clone());
        self.informers.parts().spawn.spawn(controller.name(), async move {
            while let Some(job) = queue.next().await {
                work(controller.as_ref(), &queue, job.key()).await;
            }
        })
    }
}

/// Reconciles one key, or wakes those that it stands for, and decides when it is looked at again.
async fn work(controller: &dyn Controller, queue: &Queue<ObjectKey>, key: &ObjectKey) {
    let name = controller.name();
    let span = tracing::debug_span!("controller.reconcile", controller = name, %key);
    let reconcile = async {
        match controller.stands_for(key) {
            None => controller.reconcile(key).await,
            Some(keys) => {
                keys.into_iter().for_each(|key| queue.add(key));
                Ok(Requeue::OnChange)
            }
        }
    };
    let reconciled = AssertUnwindSafe(reconcile).catch_unwind().instrument(span).await;
    match reconciled {
        Ok(Ok(requeue)) => {
            queue.forget(key);
            let (rest, then) = match requeue {
                Requeue::OnChange => (Duration::ZERO, None),
                Requeue::After(delay) => (Duration::ZERO, Some(delay)),
                Requeue::Gather { rest, then } => (rest, then),
            };
            queue.rest(key, rest);
            if let Some(delay) = then {
                queue.add_after(key.clone(), delay);
            }
        }
        Ok(Err(error)) => {
            let attempt = queue.failures(key) + 1;
            // A conflict is how a cache that lags behind shows itself: the next look settles it.
            if error.is(ErrorKind::Conflict) && attempt < 5 {
                tracing::debug!(controller = name, %key, attempt, error = %chain(&error), "a reconcile came too early");
            } else {
                tracing::warn!(controller = name, %key, attempt, error = %chain(&error), "a reconcile failed, trying again");
            }
            let asked = error.details().and_then(|details| details.retry_after).unwrap_or_default();
            queue.retry_not_before(key.clone(), asked);
        }
        Err(_) => {
            tracing::error!(controller = name, %key, "a reconcile panicked, trying again");
            queue.retry(key.clone());
        }
    }
}

fn chain(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Runs controllers side by side until `stop`.
pub async fn run_controllers(controllers: Vec<Arc<dyn Controller>>, informers: &Informers, stop: Stop) {
    let runner = Runner::new(informers.clone());
    let spawn = Arc::clone(&informers.parts().spawn);
    let tasks: Vec<Task> = controllers
        .into_iter()
        .map(|controller| {
            let (runner, stop) = (runner.clone(), stop.clone());
            spawn.spawn("client.controller", async move { runner.run(controller, stop).await })
        })
        .collect();
    join_all(tasks.iter().map(Task::ended)).await;
}

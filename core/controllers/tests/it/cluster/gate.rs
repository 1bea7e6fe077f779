//! What stands between controllers and the API: it counts their writes, makes some of them go wrong, and delays what
//! they are told.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{
    StreamExt,
    channel::oneshot,
    future,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use windlass_kernel::{
    Api, ClockExt, EntropyExt, Error, ErrorKind, Result,
    api::{Events, Request, Response, Verb, WatchEvent},
};
use windlass_testkit::sim::Handle;

/// What goes wrong with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The write is not carried out.
    Refused,
    /// The write is carried out and its answer is lost.
    Lost,
    /// Who writes is killed before the write is carried out, and started anew.
    KilledBefore,
    /// Who writes is killed once the write is carried out, and started anew.
    KilledAfter,
}

/// How watches behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Watches {
    #[default]
    Prompt,
    /// Events come late, each watch on its own; now and then a watch breaks, and goes on or begins anew.
    Late,
}

/// An API for one instance of the controllers. What was written, and what goes wrong, its clones share.
#[derive(Debug)]
pub(crate) struct Gate {
    inner: Arc<dyn Api>,
    chance: Arc<Handle>,
    watches: Watches,
    state: Arc<Mutex<State>>,
    life: Mutex<Life>,
}

/// Whether an instance lives, and who hears of its death.
#[derive(Debug)]
enum Life {
    Lives(Option<oneshot::Sender<()>>),
    Dead,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Who wrote what.
    log: Vec<(String, String)>,
    plan: Option<Plan>,
}

#[derive(Clone, Debug)]
struct Plan {
    /// Whose writes count; empty for everyone's.
    of: &'static str,
    first: usize,
    last: usize,
    fault: Fault,
}

impl Gate {
    pub(crate) fn new(inner: Arc<dyn Api>, chance: Arc<Handle>) -> Self {
        Self { inner, chance, watches: Watches::Prompt, state: Arc::default(), life: Mutex::new(Life::Lives(None)) }
    }

    /// The gate of another instance, and what tells when it is killed.
    pub(crate) fn instance(&self, watches: Watches) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (killed, rings) = oneshot::channel();
        let (inner, chance, state) = (Arc::clone(&self.inner), Arc::clone(&self.chance), Arc::clone(&self.state));
        (Arc::new(Self { inner, chance, watches, state, life: Mutex::new(Life::Lives(Some(killed))) }), rings)
    }

    /// Fails `count` writes after `first` others.
    pub(crate) fn fail(&self, first: usize, count: usize, fault: Fault) {
        self.fail_of("", first, count, fault);
    }

    /// Fails `count` writes of the controller of that name after `first` others of its own.
    pub(crate) fn fail_of(&self, of: &'static str, first: usize, count: usize, fault: Fault) {
        let first = self.count(of) + first;
        self.state.lock().plan = Some(Plan { of, first, last: first + count, fault });
    }

    /// What was written so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.state.lock().log.iter().map(|(_, line)| line.clone()).collect()
    }

    /// How often the controller of that name wrote so far.
    pub(crate) fn count(&self, of: &str) -> usize {
        self.state.lock().log.iter().filter(|(user, _)| is(user, of)).count()
    }

    /// Notes a write; answers what goes wrong with it.
    fn note(&self, request: &Request) -> Option<Fault> {
        let mut state = self.state.lock();
        let user = request.identity.name.clone();
        let at = |of: &str| state.log.iter().filter(|(user, _)| is(user, of)).count();
        let hit = |plan: &&Plan| is(&user, plan.of) && (plan.first..plan.last).contains(&at(plan.of));
        let fault = state.plan.as_ref().filter(hit).map(|plan| plan.fault);
        let part = if request.subresource.is_empty() { "" } else { "/" };
        let (verb, resource) = (request.verb.as_str(), &request.resource.resource);
        state.log.push((user, format!("{verb} {resource}{part}{} {}", request.subresource, request.name)));
        fault
    }

    /// Tells whoever runs the instance that it is dead, and never comes back.
    async fn die<T>(&self) -> T {
        let life = std::mem::replace(&mut *self.life.lock(), Life::Dead);
        if let Life::Lives(Some(killed)) = life {
            // The listener is dropped only with the whole cluster.
            let _ = killed.send(());
        }
        future::pending().await
    }
}

fn is(user: &str, of: &str) -> bool {
    of.is_empty() || user.strip_prefix("system:serviceaccount:kube-system:") == Some(of)
}

#[async_trait]
impl Api for Gate {
    async fn call(&self, request: Request) -> Result<Response> {
        let dead = matches!(*self.life.lock(), Life::Dead);
        if dead {
            return self.die().await;
        }
        let read = matches!(request.verb, Verb::Get | Verb::List);
        if read || request.resource.resource == "events" {
            return self.inner.call(request).await;
        }
        match self.note(&request) {
            None => self.inner.call(request).await,
            Some(Fault::Refused) => Err(Error::new(ErrorKind::Unavailable, "the server is away")),
            Some(Fault::Lost) => {
                self.inner.call(request).await?;
                Err(Error::new(ErrorKind::Timeout, "no answer").maybe_applied())
            }
            Some(Fault::KilledBefore) => self.die().await,
            Some(Fault::KilledAfter) => {
                // Whatever the answer is, nobody hears it.
                let _ = self.inner.call(request).await;
                self.die().await
            }
        }
    }

    async fn watch(&self, request: Request) -> Result<Events> {
        let begins = request.options.send_initial_events == Some(true);
        let events = self.inner.watch(request).await?;
        Ok(match self.watches {
            Watches::Prompt => events,
            Watches::Late => late(events, begins, Arc::clone(&self.chance)),
        })
    }
}

/// The events with pauses between them, and an early end; not before what is there at the beginning was told.
fn late(events: Events, begins: bool, chance: Arc<Handle>) -> BoxStream<'static, Result<WatchEvent>> {
    let (mut begins, mut left) = (begins, 20 + chance.below(60));
    let lives = move |event: &Result<WatchEvent>| {
        left = if begins { left } else { left.saturating_sub(1) };
        begins &= !matches!(event, Ok(WatchEvent::Bookmark { initial_events_end: true, .. }));
        future::ready(left > 0)
    };
    let kind = if chance.below(2) == 0 { ErrorKind::Unavailable } else { ErrorKind::Compacted };
    let paused = events.take_while(lives).then(move |event| {
        let chance = Arc::clone(&chance);
        async move {
            if chance.below(3) == 0 {
                chance.sleep(Duration::from_millis(chance.below(1500))).await;
            }
            event
        }
    });
    let end = stream::once(future::ready(Err(Error::new(kind, "the watch broke"))));
    paused.chain(end).boxed()
}

//! What agents without containers of their own borrow from this one: environments, volumes, probes and hooks, as a
//! kubelet makes and asks them. Whatever runs in place of a container is theirs.

mod volumes;

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use windlass_api::core::v1::{Container, LifecycleHandler, Probe};
use windlass_kernel::{Clock, ClockExt, Dial, Spawn, runtime::ExecOutput};

pub use self::volumes::{Folders, Volumes, mounts};
pub use super::objects::environment;
use crate::probe::{self, Ask, Means};

/// Runs a command where the container would be.
pub type Exec = Arc<dyn Fn(Vec<String>) -> BoxFuture<'static, ExecOutput> + Send + Sync>;

/// How a container is asked.
#[derive(Clone)]
pub struct Asked {
    /// The container.
    pub container: Container,
    /// The pod's address.
    pub ip: Option<IpAddr>,
    /// Runs commands in it.
    pub exec: Exec,
    /// Reaches the pod and other hosts.
    pub dial: Arc<dyn Dial>,
    /// Where connections run.
    pub spawn: Arc<dyn Spawn>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("container", &self.container.name).finish_non_exhaustive()
    }
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whether the container has started. The first verdict is final.
    Startup,
    /// Whether it is still alive. That it is not is final.
    Liveness,
    /// Whether it can serve. Nothing is final.
    Readiness,
}

/// One answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What was wrong with it.
    pub wrong: Option<String>,
    /// What the answers so far mean, by the probe's thresholds; `None` leaves things as they were.
    pub verdict: Option<bool>,
}

/// Probes a container that has just begun, as often as the probe says. The stream ends with a verdict that is final.
#[must_use]
pub fn probe(asked: &Asked, kind: Kind, probe: &Probe) -> BoxStream<'static, Answer> {
    let kind = match kind {
        Kind::Startup => probe::Kind::Startup,
        Kind::Liveness => probe::Kind::Liveness,
        Kind::Readiness => probe::Kind::Readiness,
    };
    let (question, patience) = (Ask::of_probe(probe, &asked.container), probe::patience(probe));
    let (clock, asked) = (Arc::clone(&asked.clock), asked.clone());
    let once = move || {
        let (asked, question) = (asked.clone(), question.clone());
        async move { ask(&asked, &question, Some(patience)).await }.boxed()
    };
    let answers = probe::answers(clock, kind, probe, Duration::ZERO, once);
    answers.map(|answer| Answer { wrong: answer.wrong, verdict: answer.verdict }).boxed()
}

/// Runs a hook of a container's life to its end.
///
/// # Errors
///
/// What was wrong with its answer.
pub async fn hook(asked: &Asked, hook: &LifecycleHandler) -> Result<(), String> {
    ask(asked, &Ask::of_hook(hook, &asked.container), None).await
}

async fn ask(asked: &Asked, question: &Ask, patience: Option<Duration>) -> Result<(), String> {
    let Asked { ip, exec, dial, spawn, clock, .. } = asked;
    let once = async {
        if let Ask::Exec(command) = question {
            return probe::ended(&exec(command.clone()).await);
        }
        let means = Means { dial: Arc::clone(dial), spawn: Arc::clone(spawn), clock: Arc::clone(clock) };
        probe::answer(&means, *ip, question).await
    };
    let Some(limit) = patience else { return once.await };
    let late = || Err(format!("context deadline exceeded (no answer within {limit:?})"));
    clock.within(limit, once).await.unwrap_or_else(late)
}

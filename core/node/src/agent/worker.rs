//! One pod's worker: looks, plans, says what it sees, acts, and waits. A panic in it is a failed round.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{Either, select},
};
use jiff::Timestamp;
use windlass_api::core::v1::Pod;
use windlass_kernel::{
    Clock, ClockExt, Error, ErrorKind, Result, Task,
    node::{About, Notice, Report},
    runtime::{ContainerId, ContainerStatus, SandboxConfig, SandboxId},
};

use super::{Inner, handle::Handle, resize::Resized, volumes::Shown};
use crate::pod::{self, Action, Backoff, Observed, Records, Scene, Waiting, plan};

/// Delays after a failed round.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// What a worker remembers from round to round.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    pub(super) records: Records,
    /// Ended instances, which do not change any more.
    pub(super) ended: BTreeMap<ContainerId, ContainerStatus>,
    pub(super) ips: Option<(SandboxId, Vec<std::net::IpAddr>)>,
    pub(super) shown: Shown,
    /// How many instances there were when nothing of the pod was left on the node but what ended in the runtime. It does not run
    /// again after that, whatever becomes of them.
    pub(super) swept: Option<usize>,
    pub(super) sandbox: Option<SandboxConfig>,
    pub(crate) probes: BTreeMap<(String, crate::probe::Kind), (ContainerId, Task)>,
    /// Instances whose end was announced.
    pub(super) killing: BTreeSet<ContainerId>,
    /// The try of a sandbox must be above this one.
    pub(super) floor: u32,
    /// Whether it was looked at whether the node lets the pod in.
    pub(super) admitted: bool,
    /// Whether the pod has its devices, or was refused for them.
    pub(super) given: bool,
}

/// What comes after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Again,
    /// When something happens, or then.
    Wait(Option<Timestamp>),
    /// The pod was let go.
    Done,
}

pub(super) async fn run(inner: Weak<Inner>, handle: Arc<Handle>, clock: Arc<dyn Clock>) {
    let mut memo = Memo::default();
    let mut delay = FIRST;
    loop {
        let news = handle.attend();
        let done = {
            let Some(inner) = inner.upgrade() else { return };
            let round = Round { inner: &inner, handle: &handle, memo: &mut memo };
            AssertUnwindSafe(round.run()).catch_unwind().await
        };
        let wake = match done {
            Ok(Ok(Next::Done)) => {
                let Some(inner) = inner.upgrade() else { return };
                inner.let_go(&pod::uid(&handle.desired().pod));
                return;
            }
            Ok(Ok(Next::Again)) => {
                delay = FIRST;
                continue;
            }
            Ok(Ok(Next::Wait(wake))) => {
                delay = FIRST;
                wake.map(|wake| Duration::try_from(wake.duration_since(clock.now())).unwrap_or_default())
            }
            failed => {
                let pod = pod::key(&handle.desired().pod);
                match failed {
                    Ok(Err(error)) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                        tracing::warn!(%pod, %error, cause, "the pod cannot be brought on yet");
                    }
                    _ => tracing::error!(%pod, "a pod's worker panicked; it goes on"),
                }
                // No wake-up shortens this wait but the end of the pod, or a change of an object that it may have failed for:
                // what failed is not to be hammered.
                let ends = Box::pin(handle.sooner(handle.ending()));
                let wait = select(clock.sleep(delay), select(ends, Box::pin(handle.news_after(news)))).await;
                drop(wait);
                delay = (delay * 2).min(LONGEST);
                continue;
            }
        };
        let poked = Box::pin(handle.poked());
        match wake {
            Some(wake) => match select(poked, clock.sleep(wake)).await {
                Either::Left(_) | Either::Right(_) => {}
            },
            None => poked.await,
        }
    }
}

/// One round of a worker.
pub(crate) struct Round<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) handle: &'a Arc<Handle>,
    pub(crate) memo: &'a mut Memo,
}

impl Round<'_> {
    async fn run(mut self) -> Result<Next> {
        let desired = self.handle.desired();
        let pod = &self.given(&desired.pod);
        self.memo.records.seen.get_or_insert(self.now());
        let observed = self.observe(pod).await?;
        // Before planning: what a probe found is a reason to act, and nothing else wakes the worker for it.
        self.memo.records.health.clone_from(&self.handle.health.lock());
        self.make_room(pod);
        if let Some(grace) = desired.ending() {
            // An eviction that came first may leave less time. Whoever waits for the end compares with the shortest, too.
            let grace = self.handle.ending().unwrap_or(grace);
            return self.release(pod, &observed, grace).await;
        }
        self.turn_away(pod, &observed);
        self.give_devices(pod, &observed).await?;
        let over = pod::ended(pod) || self.memo.records.failed.is_some() || self.memo.swept.is_some();
        let planned = if over { None } else { Some(plan(pod, &observed, &self.memo.records, self.now())) };
        let Some(planned) = planned.filter(|planned| !planned.over) else {
            return self.finish(pod, &observed).await;
        };
        if let Some(wake) = self.past_deadline(pod) {
            return Ok(wake);
        }
        self.hold(pod, &planned.held);
        self.probe(pod, &observed);
        self.report(pod, &observed, false, false);
        let mut wake = planned.wake;
        for action in planned.actions.iter().cloned() {
            let again = matches!(action, Action::Sandbox(_));
            self.act(pod, &observed, action).await?;
            if again {
                return Ok(Next::Again);
            }
        }
        if !planned.actions.is_empty() {
            return Ok(Next::Again);
        }
        match self.resize(pod, &observed).await? {
            Resized::Yes => return Ok(Next::Again),
            Resized::Later(again) => wake = Some(wake.map_or(again, |wake| wake.min(again))),
            Resized::Not => {}
        }
        if let Some(refresh) = self.refresh(pod, &observed).await? {
            wake = Some(wake.map_or(refresh, |wake| wake.min(refresh)));
        }
        if observed.ready().is_some() {
            // Those that an earlier agent brought are seen to at once; failures were told, and are tried again.
            let stored = self.look_after_stored(pod).await;
            wake = wake.into_iter().chain(stored).min();
        }
        Ok(Next::Wait(wake))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.needs.clock.now()
    }

    /// Fails a pod that ran for longer than it may.
    fn past_deadline(&mut self, pod: &Arc<Pod>) -> Option<Next> {
        let deadline = pod::deadline(pod, &self.memo.records)?;
        if deadline > self.now() {
            return None;
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.event(pod, None, "Normal", "DeadlineExceeded", message);
        self.memo.records.failed = Some(("DeadlineExceeded".into(), message.into()));
        Some(Next::Again)
    }

    /// Notes the containers that wait for their next start.
    fn hold(&mut self, pod: &Arc<Pod>, held: &[(String, Timestamp)]) {
        for (name, _) in held {
            if self.memo.records.waiting.get(name).is_some_and(|waiting| waiting.reason == "CrashLoopBackOff") {
                continue;
            }
            let delay = self.memo.records.restarts.get(name).map_or(Duration::ZERO, |backoff| backoff.delay);
            let full = full_name(pod);
            let message = format!("back-off {} restarting failed container={name} pod={full}", human(delay));
            let text = format!("Back-off restarting failed container {name} in pod {full}");
            self.event(pod, Some(name), "Warning", "BackOff", &text);
            self.memo.records.waiting.insert(name.clone(), Waiting::new("CrashLoopBackOff", message));
        }
    }

    /// Raises the delay of a container that starts again.
    pub(super) fn raise(&mut self, name: &str) {
        let before = self.memo.records.restarts.get(name).copied();
        let next = Backoff::next(before, self.now());
        self.memo.records.restarts.insert(name.to_owned(), next);
    }

    async fn act(&mut self, pod: &Arc<Pod>, observed: &Observed, action: Action) -> Result<()> {
        let runtime = &self.inner.needs.runtime;
        match action {
            Action::Sandbox(attempt) => self.make_sandbox(pod, attempt).await,
            Action::StopSandbox(id) => {
                let inside = observed.running().filter(|status| status.container.sandbox == id);
                let inside: Vec<_> = inside.cloned().collect();
                if !inside.is_empty() || observed.sandboxes.first().is_some_and(|newest| newest.id == id) {
                    self.event(
                        pod,
                        None,
                        "Normal",
                        "SandboxChanged",
                        "Pod sandbox changed, it will be killed and re-created.",
                    );
                }
                self.kill_all(pod, &inside, pod::seconds(pod::grace(pod))).await?;
                self.inner.needs.runtime.stop_sandbox(&id).await
            }
            Action::RemoveSandbox(id) => runtime.remove_sandbox(&id).await,
            Action::Remove(id) => runtime.remove_container(&id).await,
            Action::Stop { id, name, why } => self.stop(pod, observed, &id, &name, why).await,
            Action::Start { name, attempt } => self.start(pod, observed, &name, attempt).await,
        }
    }

    /// Says what the pod is like.
    pub(super) fn report(&mut self, pod: &Arc<Pod>, observed: &Observed, ending: bool, over: bool) {
        self.memo.records.health.clone_from(&self.handle.health.lock());
        let status = self.status(pod, observed, ending, over);
        self.tell(pod, status, false);
    }

    pub(super) fn status(
        &self,
        pod: &Pod,
        observed: &Observed,
        ending: bool,
        over: bool,
    ) -> windlass_api::core::v1::PodStatus {
        let scene = Scene { hosts: &self.inner.config.addresses, runtime: &self.inner.machine.runtime, ending, over };
        pod::status(pod, observed, &self.memo.records, &scene)
    }

    pub(super) fn tell(&self, pod: &Pod, status: windlass_api::core::v1::PodStatus, released: bool) {
        let report = Report { pod: pod::key(pod), uid: pod::uid(pod), status, released };
        self.inner.tell(self.handle, &report);
    }

    pub(super) fn event(&self, pod: &Arc<Pod>, container: Option<&str>, kind: &'static str, reason: &str, text: &str) {
        let role = |name: &str| pod::container(pod, name).map_or(pod::Role::Main, |(_, role)| role);
        let field_path = container.map(|name| pod::field_path(name, role(name))).unwrap_or_default();
        self.inner.needs.context.notice(Notice {
            about: About::Pod(Arc::clone(pod)),
            kind,
            reason: reason.into(),
            message: text.into(),
            field_path,
        });
    }

    /// Runs work that blocks.
    pub(super) async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        use windlass_kernel::SpawnExt;
        let done = self.inner.needs.spawn.run_blocking("node.files", work).await;
        done.ok_or_else(|| Error::new(ErrorKind::Internal, "work on files was interrupted"))
    }
}

/// `name_namespace(uid)`, as messages have it.
pub(super) fn full_name(pod: &Pod) -> String {
    let key = pod::key(pod);
    format!("{}_{}({})", key.name, key.namespace, pod::uid(pod))
}

/// A delay in the way that messages have it: `10s`, `2m40s`.
fn human(delay: Duration) -> String {
    let (minutes, seconds) = (delay.as_secs() / 60, delay.as_secs() % 60);
    if minutes == 0 { format!("{seconds}s") } else { format!("{minutes}m{seconds}s") }
}

//! Looks at the node from time to time, makes room, and ends pods: one at a time, and not before the last one is gone.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use windlass_api::core::v1::Pod;
use windlass_kernel::{
    ClockExt, Error, ErrorKind, Result, SpawnExt,
    node::{About, Notice},
    runtime::{ContainerFilter, ContainerState, SandboxFilter},
};

use super::{
    EVICTED, Eviction, critical,
    limits::{Signal, Threshold},
    local,
    measure::{Figures, Places},
    message::message,
    rank::{Measured, victims},
    watch::Watch,
};
use crate::{
    agent::{Handle, Inner},
    make::labels,
    pod,
};

/// What has to be gone fast gets so long.
const AT_ONCE: Duration = Duration::from_secs(1);
/// So long the next pod waits for the last one to be gone, once its grace is over.
const CLEANUP: Duration = Duration::from_secs(30);

/// Looks after the node until the agent goes.
pub(crate) async fn act(inner: Weak<Inner>) {
    let Some(agent) = inner.upgrade() else { return };
    let (clock, period) = (agent.needs.clock.clone(), agent.config.eviction.period);
    let mut keeper = Keeper { watch: Watch::new(&agent.config.eviction), places: None, stored: None };
    drop(agent);
    loop {
        let Some(agent) = inner.upgrade() else { return };
        if let Err(error) = keeper.look(&agent).await {
            tracing::warn!(node = agent.config.node, %error, "cannot see what the node is short of");
        }
        drop(agent);
        clock.sleep(period).await;
    }
}

/// What is remembered from look to look.
struct Keeper {
    watch: Watch,
    places: Option<Places>,
    /// When pods with limits were last looked at.
    stored: Option<Duration>,
}

impl Keeper {
    async fn look(&mut self, agent: &Arc<Inner>) -> Result<()> {
        if self.watch.idle() {
            return self.local(agent).await.map(drop);
        }
        let places = self.places(agent).await;
        let figures = agent.figures(places.clone()).await?;
        let verdict = self.watch.look(&figures.levels, agent.needs.clock.uptime());
        for reason in agent.pressures.set(verdict.pressures) {
            let node = &agent.config.node;
            agent.tell_of_node("Normal", reason, format!("Node {node} status is now: {reason}"));
        }
        // A pod that exceeds its own limits may be all that there is to end.
        let ended = self.local(agent).await.unwrap_or_else(|error| {
            tracing::warn!(node = agent.config.node, %error, "cannot look at what pods have on disk");
            false
        });
        if ended {
            return Ok(());
        }
        match verdict.reclaim {
            Some(due) if !agent.ends_pods() => self.reclaim(agent, &due, &figures, places).await,
            _ => Ok(()),
        }
    }

    /// Where to look. A runtime that does not answer is asked again the next time.
    async fn places(&mut self, agent: &Inner) -> Places {
        if let Some(known) = &self.places {
            return known.clone();
        }
        let group = agent.layout.all_cgroups().to_owned();
        // All that the node has: the threshold is what keeps pods from the last of it, and counts once.
        let memory = u64::try_from(agent.machine.memory_of_node()).unwrap_or(0);
        let group = Some((group, memory)).filter(|(group, memory)| !group.is_empty() && *memory > 0);
        match agent.image_folder().await {
            Ok(images) => self.places.insert(Places { images: Some(images), group }).clone(),
            Err(_) => Places { images: None, group },
        }
    }

    /// Ends pods that have more on disk than they may. Whether there were any.
    async fn local(&mut self, agent: &Arc<Inner>) -> Result<bool> {
        let now = agent.needs.clock.uptime();
        let period = agent.config.eviction.storage_period;
        if self.stored.is_some_and(|last| now.saturating_sub(last) < period) {
            return Ok(false);
        }
        self.stored = Some(now);
        let active: Vec<_> = agent.active().into_iter().filter(|(_, pod)| local::limited(pod)).collect();
        if active.is_empty() {
            return Ok(false);
        }
        let pods = active.iter().map(|(_, pod)| Arc::clone(pod)).collect();
        let places = self.places(agent).await;
        let apart = agent.figures(places).await?.apart;
        let mut any = false;
        for ((handle, _), one) in active.iter().zip(agent.measure(pods).await?) {
            let Some(message) = local::exceeded(&one.pod, &one.usage, apart) else { continue };
            any |= agent.evict(handle, &one.pod, &message, AT_ONCE, false);
        }
        Ok(any)
    }

    async fn reclaim(&self, agent: &Arc<Inner>, due: &Threshold, figures: &Figures, places: Places) -> Result<()> {
        let resource = due.signal.resource();
        tracing::warn!(node = agent.config.node, signal = due.signal.name(), "the node is short of {resource}");
        agent.tell_of_node("Warning", "EvictionThresholdMet", format!("Attempting to reclaim {resource}"));
        if frees(due.signal, figures.apart) {
            agent.free_disk().await;
            if self.watch.relieved(&agent.figures(places).await?.levels) {
                return Ok(());
            }
        }
        let active = agent.active();
        let pods = active.iter().map(|(_, pod)| Arc::clone(pod)).collect();
        let level = figures.levels.get(&due.signal).copied();
        for victim in victims(due.signal, figures.apart, agent.measure(pods).await?) {
            let Some((handle, _)) = active.iter().find(|(_, pod)| Arc::ptr_eq(pod, &victim.pod)) else { continue };
            let (text, grace) = (message(due, level, &victim), grace(agent, due, &victim));
            if agent.evict(handle, &victim.pod, &text, grace, true) {
                return Ok(());
            }
        }
        tracing::warn!(node = agent.config.node, "there is no pod that could make room");
        Ok(())
    }
}

/// Whether room on the disk of a signal can be made without ending pods.
fn frees(signal: Signal, apart: bool) -> bool {
    match signal {
        Signal::Memory | Signal::PodMemory | Signal::Processes => false,
        Signal::NodeBytes | Signal::NodeInodes => !apart,
        Signal::ImageBytes | Signal::ImageInodes => true,
    }
}

fn grace(agent: &Inner, due: &Threshold, victim: &Measured) -> Duration {
    let own = pod::seconds(pod::grace(&victim.pod));
    match agent.config.eviction.max_grace {
        _ if due.is_hard() => AT_ONCE,
        Some(most) => own.min(most),
        None => own,
    }
}

impl Inner {
    /// The pods that may end: such that run or are about to.
    fn active(&self) -> Vec<(Arc<Handle>, Arc<Pod>)> {
        let all = self.handles().into_iter().map(|handle| (handle.desired(), handle));
        let active = all.filter(|(desired, handle)| {
            desired.ending().is_none()
                && !pod::ended(&desired.pod)
                && handle.evicted().is_none()
                && !handle.is_cleaned()
        });
        active.map(|(desired, handle)| (handle, desired.pod)).collect()
    }

    /// Whether a pod that had to make room is not gone yet, and may still go.
    fn ends_pods(&self) -> bool {
        let now = self.needs.clock.uptime();
        let fresh = |one: Eviction| now < one.at.saturating_add(one.grace).saturating_add(CLEANUP);
        self.handles().iter().any(|handle| !handle.is_cleaned() && handle.evicted().is_some_and(fresh))
    }

    /// Lets a pod make room; `false` if the node cannot do without it, or it ends already.
    fn evict(&self, handle: &Handle, pod: &Arc<Pod>, message: &str, grace: Duration, disruption: bool) -> bool {
        if critical(pod) {
            tracing::warn!(pod = %pod::key(pod), message, "a pod cannot be ended that the node cannot do without");
            return false;
        }
        let at = self.needs.clock.uptime();
        if !handle.evict(Eviction { message: message.to_owned(), grace, disruption, at }) {
            return false;
        }
        tracing::warn!(pod = %pod::key(pod), message, "a pod has to make room");
        self.needs.context.notice(Notice {
            about: About::Pod(Arc::clone(pod)),
            kind: "Warning",
            reason: EVICTED.into(),
            message: message.to_owned(),
            field_path: String::new(),
        });
        true
    }

    /// Removes what is left of pods that have ended and their logs, former instances of containers, and images that nothing uses.
    async fn free_disk(&self) {
        if let Err(error) = self.remove_dead().await {
            tracing::warn!(node = self.config.node, %error, "cannot remove containers that have ended");
        }
        if let Err(error) = self.remove_unused_images().await {
            tracing::warn!(node = self.config.node, %error, "cannot remove images that nothing uses");
        }
    }

    /// Goes on past what cannot be removed, and says what last went wrong.
    async fn remove_dead(&self) -> Result<()> {
        let containers = self.remove_dead_containers().await;
        let sandboxes = self.remove_dead_sandboxes().await;
        self.remove_dead_logs().await.and(sandboxes).and(containers)
    }

    /// Whether a pod has ended and nobody will ask the runtime how.
    fn is_over(&self, uid: &str) -> bool {
        self.handle(uid).is_some_and(|handle| handle.is_over())
    }

    async fn remove_dead_containers(&self) -> Result<()> {
        let runtime = &self.needs.runtime;
        let exited = ContainerFilter { state: Some(ContainerState::Exited), ..ContainerFilter::default() };
        let mut listed = runtime.containers(&exited).await?;
        listed.sort_by_key(|one| std::cmp::Reverse((one.created, one.key.attempt)));
        let (mut newest, mut done) = (BTreeSet::new(), Ok(()));
        for one in listed {
            let uid = one.labels.get(labels::UID).cloned().unwrap_or_default();
            // The newest that has ended tells a running pod what to do next, and how often it did.
            let known = newest.insert((uid.clone(), one.key.name.clone()));
            if self.is_over(&uid) || !known && self.handle(&uid).is_some() {
                done = gone(runtime.remove_container(&one.id).await).and(done);
            }
        }
        done
    }

    async fn remove_dead_sandboxes(&self) -> Result<()> {
        let runtime = &self.needs.runtime;
        let mut done = Ok(());
        for sandbox in runtime.sandboxes(&SandboxFilter::default()).await? {
            if sandbox.labels.get(labels::UID).is_some_and(|uid| self.is_over(uid)) {
                done = gone(runtime.remove_sandbox(&sandbox.id).await).and(done);
            }
        }
        done
    }

    async fn remove_dead_logs(&self) -> Result<()> {
        let over = self.handles().into_iter().filter(|handle| handle.is_over());
        let logs: Vec<_> = over.map(|handle| self.layout.logs(&handle.desired().pod)).collect();
        let clean = move || {
            let mut done = Ok(());
            for folder in &logs {
                done = crate::volume::clean(folder).and(done);
            }
            done
        };
        let cleaned = self.needs.spawn.run_blocking("node.logs", clean).await;
        cleaned.unwrap_or(Ok(())).map_err(|error| {
            Error::new(ErrorKind::Internal, "cannot remove the logs of pods that have ended").with_source(error)
        })
    }
}

/// What somebody else removed meanwhile is gone as well.
fn gone(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.is(ErrorKind::NotFound) => Ok(()),
        done => done,
    }
}

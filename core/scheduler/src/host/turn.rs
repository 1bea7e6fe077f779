//! A pod's turn: asking its scheduler, and what follows from the answer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use windlass_client::events::{Recorder, Severity};
use windlass_kernel::scheduler::{Cycle, Decision, Explanation, Fit, Nominated, Nowhere, Placement, PodView, Turn};

use super::{
    Loop,
    apart::{Heard, Job, decide},
    carry::{self, Carry},
    hint::Hint,
    report::{Report, reference},
};
use crate::{
    framework::{Faults, fault},
    metrics::Ended,
    profile::Profile,
};

impl Loop {
    /// Gives a pod its turn.
    pub(super) async fn turn(&mut self, pod: Arc<PodView>) {
        let Some((profile, recorder)) = self.profiles.get(&*pod.scheduler).cloned() else { return };
        self.began = self.clock.uptime();
        let span = tracing::debug_span!("scheduler.turn", pod = %pod.key);
        let mut cycle = Cycle::new();
        self.facts.tell(&mut cycle, &pod);
        if !profile.trusted {
            return tracing::Instrument::instrument(self.watched(profile, recorder, pod, cycle), span).await;
        }
        let turn = Turn { pod: &pod, nodes: self.snapshot.nodes(), cycle: &mut cycle, entropy: self.entropy.as_ref() };
        let decided = tracing::Instrument::instrument(decide(profile.scheduler.as_ref(), turn), span).await;
        self.metrics.decided(self.since());
        match decided {
            Ok(Decision::Place(placement)) => self.place(profile, recorder, pod, cycle, &placement),
            Ok(Decision::Nowhere(nowhere)) => {
                let hint = if nowhere.preemption.is_some() { Hint::Found(None) } else { self.hint(&profile, &pod) };
                // Facts that somebody holds are copied when they change.
                drop(cycle);
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
        let heard = guard.turn(job, &profile.name, self.limit, (self.clock.as_ref(), &self.spawn)).await;
        self.metrics.decided(self.since());
        match heard {
            Heard::Stopped(said) => self.no_turn(&recorder, &pod, said),
            Heard::Done(done) => match done.decided {
                Ok(Decision::Place(placement)) => self.place(profile, recorder, pod, done.cycle, &placement),
                Ok(Decision::Nowhere(nowhere)) => {
                    drop(done.cycle);
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
        self.count(&pod.scheduler, Ended::Error, self.since());
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
        // Of this moment only: a binding takes its time, and facts that somebody holds are copied when they change.
        cycle.take::<Nominated>();
        Arc::make_mut(&mut self.snapshot).assume(&pod, &placement.node);
        let key = pod.key.clone();
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
            began: self.began,
            tries: self.queue.tries(&key),
        };
        self.start("scheduler.bind", async move { Some(carry.run().await) });
    }

    fn nowhere(&mut self, recorder: &Recorder, pod: &Arc<PodView>, nowhere: Nowhere, hint: Hint) {
        let Nowhere { explanation, preemption } = nowhere;
        let (message, by) = (hint.extend(explanation.to_string(), pod), explanation.plugins());
        tracing::debug!(pod = %pod.key, %message, "a pod fits nowhere");
        let now = self.clock.uptime();
        self.queue.refused(&pod.key, by, now);
        self.count(&pod.scheduler, Ended::Unschedulable, self.since());
        if preemption.is_some() || explanation.room.is_some() {
            self.metrics.preempted(preemption.as_ref().map(|preemption| preemption.victims.len()));
        }
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

    /// How long the turn has taken so far.
    fn since(&self) -> Duration {
        self.clock.uptime().saturating_sub(self.began)
    }

    /// Counts an attempt of a profile.
    pub(super) fn count(&self, profile: &str, ended: Ended, took: Duration) {
        if let Some(attempts) = self.attempts.get(profile) {
            attempts.count(ended, took);
        }
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
}

//! From a StatefulSet, its pods and their claims to what is done next. Pure.
//!
//! Pods are created from the lowest ordinal up and deleted from the highest down. With the policy `OrderedReady` each
//! waits until those before it are available, and nothing goes on while one is not; with `Parallel` none waits.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use jiff::Timestamp;
use windlass_api::apps::v1::StatefulSet;

use super::{
    claims::{self, ClaimView},
    identity,
};
use crate::{
    amount::{Round, seconds, share},
    history::REVISION,
    pods::{Phase, PodView},
};

/// What a plan is made from.
pub(super) struct Seen<'a> {
    pub(super) set: &'a StatefulSet,
    /// The pods that the set controls.
    pub(super) pods: &'a [Arc<PodView>],
    /// The name of the revision that the set goes to.
    pub(super) update: &'a str,
    /// Finds a claim by its name.
    pub(super) claims: &'a dyn Fn(&str) -> Option<ClaimView>,
    pub(super) now: Timestamp,
}

/// One thing to do. Steps are taken in their order.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The claims of an ordinal, and then its pod.
    Create(i32, Of),
    Delete(Arc<PodView>),
    /// A pod lacks the labels that say which it is.
    Identify(i32, Arc<PodView>),
    /// The claims of a pod are not as they should be.
    Claims(i32, Arc<PodView>),
}

/// Which revision a new pod is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Current,
    Update,
}

/// Whether the stages that follow have their turn.
type Flow = ControlFlow<()>;
const STOP: Flow = ControlFlow::Break(());
const GO_ON: Flow = ControlFlow::Continue(());

/// What is to be done about a set now.
pub(super) fn plan(seen: &Seen<'_>) -> Vec<Step> {
    if seen.set.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let mut plan = Plan::of(seen);
    if plan.keep().is_continue() && plan.shrink().is_continue() {
        plan.roll();
    }
    plan.steps
}

/// Whether a pod serves, and has for long enough.
pub(super) fn available(set: &StatefulSet, pod: &PodView, now: Timestamp) -> bool {
    let wait = pod.available_in(seconds(set.spec.min_ready_seconds), now);
    ready(pod) && wait.is_some_and(|wait| wait.is_zero())
}

/// Whether a pod serves.
pub(super) fn ready(pod: &PodView) -> bool {
    pod.phase == Phase::Running && pod.ready
}

/// The name of the revision that a pod is of.
pub(super) fn revision(pod: &PodView) -> &str {
    pod.labels.get(REVISION).map_or("", String::as_str)
}

struct Plan<'a> {
    seen: &'a Seen<'a>,
    ordered: bool,
    pods: BTreeMap<i32, Arc<PodView>>,
    steps: Vec<Step>,
}

impl<'a> Plan<'a> {
    fn of(seen: &'a Seen<'a>) -> Self {
        let name = |pod: &Arc<PodView>| identity::ordinal(seen.set, &pod.key.name);
        let pods = seen.pods.iter().filter_map(|pod| Some((name(pod)?, Arc::clone(pod)))).collect();
        let ordered = seen.set.spec.pod_management_policy.as_deref() != Some("Parallel");
        Self { seen, ordered, pods, steps: Vec::new() }
    }

    /// Whether a pod is there to stay and available.
    fn healthy(&self, pod: &PodView) -> bool {
        !pod.deleting && available(self.seen.set, pod, self.seen.now)
    }

    /// Where the order matters, the rest waits.
    fn wait(&self) -> Flow {
        if self.ordered { STOP } else { GO_ON }
    }

    /// Sees to it that the wanted ordinals have their pods.
    fn keep(&mut self) -> Flow {
        for ordinal in identity::ordinals(self.seen.set) {
            match self.pods.get(&ordinal).cloned() {
                None => self.create(ordinal)?,
                Some(pod) => self.mend(ordinal, &pod)?,
            }
        }
        GO_ON
    }

    fn create(&mut self, ordinal: i32) -> Flow {
        if !claims::amiss(self.seen.set, ordinal, None, self.seen.claims).stale {
            self.steps.push(Step::Create(ordinal, self.revision_of_new(ordinal)));
        }
        self.wait()
    }

    fn mend(&mut self, ordinal: i32, pod: &Arc<PodView>) -> Flow {
        // Whatever ended it, its successor gets its name once it is gone.
        if pod.ended() {
            if !pod.deleting {
                self.steps.push(Step::Delete(Arc::clone(pod)));
            }
            return self.wait();
        }
        let claims = claims::amiss(self.seen.set, ordinal, Some(pod), self.seen.claims);
        if claims.misowned || (claims.missing && pod.phase == Phase::Pending) {
            self.steps.push(Step::Claims(ordinal, Arc::clone(pod)));
        }
        if !pod.deleting && !identity::identified(self.seen.set, ordinal, pod) {
            self.steps.push(Step::Identify(ordinal, Arc::clone(pod)));
        }
        if self.healthy(pod) { GO_ON } else { self.wait() }
    }

    /// Up to the partition new pods are of the current revision, as those were that they replace.
    fn revision_of_new(&self, ordinal: i32) -> Of {
        let set = self.seen.set;
        let strategy = &set.spec.update_strategy;
        if strategy.type_.as_deref() == Some("OnDelete") {
            return Of::Update;
        }
        let rolling = strategy.rolling_update.as_ref();
        let kept = rolling.map_or(set.status.current_replicas, |rolling| rolling.partition).unwrap_or(0);
        let first = identity::ordinals(set).start;
        if ordinal < first.saturating_add(kept) { Of::Current } else { Of::Update }
    }

    /// Deletes what is beyond the wanted ordinals, from the highest down.
    fn shrink(&mut self) -> Flow {
        let wanted = identity::ordinals(self.seen.set);
        let condemned: Vec<_> = self.pods.iter().filter(|(ordinal, _)| !wanted.contains(ordinal)).rev().collect();
        let condemned: Vec<_> = condemned.into_iter().map(|(ordinal, pod)| (*ordinal, Arc::clone(pod))).collect();
        for (ordinal, pod) in &condemned {
            if claims::amiss(self.seen.set, *ordinal, Some(pod), self.seen.claims).misowned {
                self.steps.push(Step::Claims(*ordinal, Arc::clone(pod)));
            }
        }
        // Of several that are ill only the lowest goes: nothing may be shut down beside more trouble than its own.
        let lowest = condemned.iter().rev().find(|(_, pod)| !self.healthy(pod)).map(|(ordinal, _)| *ordinal);
        for (ordinal, pod) in condemned {
            if pod.deleting {
                self.wait()?;
                continue;
            }
            if self.ordered && !available(self.seen.set, &pod, self.seen.now) && Some(ordinal) != lowest {
                return STOP;
            }
            self.steps.push(Step::Delete(pod));
            self.wait()?;
        }
        GO_ON
    }

    /// Deletes pods of other revisions, from the highest ordinal down to the partition, so that new ones take their place.
    ///
    /// Those that are no good go first: that costs nobody anything.
    fn roll(&mut self) {
        let set = self.seen.set;
        if set.spec.update_strategy.type_.as_deref() == Some("OnDelete") {
            return;
        }
        let ordinals = identity::ordinals(set);
        let rolling = set.spec.update_strategy.rolling_update.as_ref();
        let from = ordinals.start.saturating_add(rolling.and_then(|rolling| rolling.partition).unwrap_or(0));
        let all: Vec<_> = ordinals.rev().map(|ordinal| (ordinal, self.pods.get(&ordinal))).collect();
        let healthy = |pod: &Arc<PodView>| self.healthy(pod);
        let under_way = |pod: &Arc<PodView>| {
            pod.deleting || pod.ended() || (revision(pod) == self.seen.update && !self.healthy(pod))
        };
        let count = |of: &dyn Fn(&Arc<PodView>) -> bool| {
            i32::try_from(all.iter().filter(|(_, pod)| pod.is_none_or(of)).count()).unwrap_or(i32::MAX)
        };
        let most = most_unavailable(set);
        let mut slots = most - count(&under_way);
        let mut spare = most - count(&|pod| !healthy(pod));
        let old = |(ordinal, pod): &(i32, Option<&Arc<PodView>>)| {
            let pod = pod.filter(|pod| revision(pod) != self.seen.update && !pod.deleting && !pod.ended())?;
            (*ordinal >= from).then(|| Arc::clone(pod))
        };
        let (well, ill): (Vec<_>, Vec<_>) = all.iter().filter_map(old).partition(healthy);
        let mut victims = Vec::new();
        for pod in ill.into_iter().chain(well) {
            let costs = i32::from(healthy(&pod));
            if slots <= 0 || (costs > 0 && spare <= 0) {
                break;
            }
            slots -= 1;
            spare -= costs;
            victims.push(Step::Delete(pod));
        }
        self.steps.extend(victims);
    }
}

/// How many pods may be unavailable while a set rolls; at least one.
fn most_unavailable(set: &StatefulSet) -> i32 {
    let rolling = set.spec.update_strategy.rolling_update.as_ref();
    let most = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    most.map_or(1, |most| share(most, set.spec.replicas.unwrap_or(1), Round::Down)).max(1)
}

#[cfg(test)]
mod tests;

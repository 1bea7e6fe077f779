//! From a Deployment and its ReplicaSets to what is written: one step of a rollout, and the status that goes with it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use windlass_api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};

use super::{
    REVISION,
    conditions::{self, Conditions},
    scale::Limits,
    status,
    working::Working,
};
use crate::template;

/// What is to be written.
#[derive(Debug)]
pub(super) struct Plan {
    /// Changes of ReplicaSets, in their order.
    pub(super) writes: Vec<Write>,
    /// The Deployment's revision annotation, where it changes.
    pub(super) revision: Option<String>,
    /// The status; the present one where nothing changed.
    pub(super) status: DeploymentStatus,
    /// When time alone asks for another look.
    pub(super) next: Option<Duration>,
}

/// One change of a ReplicaSet.
#[derive(Debug)]
pub(super) enum Write {
    Create(Box<ReplicaSet>),
    /// `scaled` is from which size to which, where that changes; `renumbered` is whether it gets another revision.
    Update {
        set: Box<ReplicaSet>,
        scaled: Option<(i32, i32)>,
        renumbered: bool,
    },
    Delete(Box<ReplicaSet>),
}

/// A plan in the making.
#[derive(Debug)]
pub(super) struct Rollout<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) limits: Limits,
    pub(super) sets: Vec<Working>,
    /// Which of `sets` has the Deployment's template.
    pub(super) new: Option<usize>,
    /// The status before what was seen is counted.
    pub(super) status: DeploymentStatus,
    pub(super) now: Timestamp,
}

/// Whether a step can say how far the rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Judge,
    Keep,
}

/// Plans the next step for a Deployment that controls `sets`.
pub(super) fn plan(deployment: &Deployment, sets: &[Arc<ReplicaSet>], now: Timestamp) -> Plan {
    let mut rollout = Rollout::new(deployment, sets, now);
    if deployment.metadata.deletion_timestamp.is_some() {
        return rollout.finish(Progress::Keep);
    }
    let paused = deployment.spec.paused.unwrap_or(false);
    Conditions::of(&mut rollout.status, now).pause(deployment);
    rollout.adopt_revision();
    if paused || rollout.was_scaled() {
        rollout.scale();
        if paused {
            rollout.forget_history();
        }
        return rollout.finish(Progress::Keep);
    }
    if rollout.limits.rolling {
        rollout.roll()
    } else {
        rollout.recreate()
    }
    rollout.finish(Progress::Judge)
}

impl<'a> Rollout<'a> {
    fn new(deployment: &'a Deployment, sets: &[Arc<ReplicaSet>], now: Timestamp) -> Self {
        let mut sets: Vec<Working> = sets.iter().map(Working::of).collect();
        sets.sort_by_key(Working::age);
        let new = sets.iter().position(|own| template::same(&own.set.spec.template, &deployment.spec.template));
        Self { deployment, limits: Limits::of(deployment), sets, new, status: deployment.status.clone(), now }
    }

    /// The sets of other templates that have pods, oldest first.
    pub(super) fn old_active(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|at| Some(*at) != self.new && self.sets[*at].size() > 0).collect()
    }

    /// How many pods the sets are to have together.
    pub(super) fn total(&self) -> i32 {
        self.sets.iter().map(Working::size).sum()
    }

    pub(super) fn resize(&mut self, at: usize, size: i32) {
        let Limits { replicas, surge, .. } = self.limits;
        self.sets[at].scale(size, replicas, surge);
    }

    /// Makes the set of the template the current one, if there is one.
    fn adopt_revision(&mut self) {
        let Some(at) = self.new else { return };
        let revision = self.next_revision();
        self.sets[at].make_current(self.deployment, revision);
        let name = self.sets[at].name().to_owned();
        Conditions::of(&mut self.status, self.now).found(self.deployment, &name);
    }

    /// Creates the set of the template, as large as may be now.
    pub(super) fn create_new(&mut self) -> usize {
        let revision = self.next_revision();
        let mut set = Working::create(self.deployment);
        set.make_current(self.deployment, revision);
        self.sets.push(set);
        let at = self.sets.len() - 1;
        self.new = Some(at);
        let size = self.new_size(at);
        self.resize(at, size);
        let name = self.sets[at].name().to_owned();
        Conditions::of(&mut self.status, self.now).created(self.deployment, &name);
        at
    }

    fn next_revision(&self) -> i64 {
        let old = self.sets.iter().enumerate().filter(|(at, _)| Some(*at) != self.new);
        old.map(|(_, set)| set.revision()).max().unwrap_or(0) + 1
    }

    /// Whether the Deployment's size changed since its sets were scaled.
    fn was_scaled(&self) -> bool {
        let active = self.sets.iter().filter(|set| set.size() > 0);
        active.filter_map(Working::desired).any(|desired| desired != self.limits.replicas)
    }

    /// Deletes the oldest sets without pods beyond the history that is wanted.
    pub(super) fn forget_history(&mut self) {
        let limit = self.deployment.spec.revision_history_limit.unwrap_or(10);
        let live = |at: &usize| Some(*at) != self.new && self.sets[*at].set.metadata.deletion_timestamp.is_none();
        let mut old: Vec<usize> = (0..self.sets.len()).filter(live).collect();
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        if limit == i32::MAX || surplus == 0 {
            return;
        }
        old.sort_by_key(|at| (self.sets[*at].revision(), self.sets[*at].age()));
        for at in old.into_iter().take(surplus) {
            let set = &mut self.sets[at];
            set.gone = set.size() == 0 && set.set.status.replicas == 0 && set.observed();
        }
    }

    fn finish(self, progress: Progress) -> Plan {
        let deployment = self.deployment;
        let mut status = status::count(&self);
        let name = self.new.map(|at| self.sets[at].name());
        if progress == Progress::Judge {
            conditions::judge(deployment, &mut status, &self.status, (name, self.now));
            Conditions::of(&mut status, self.now).failures(&self.sets, self.new);
        }
        let next = conditions::deadline_in(deployment, &status, self.now).filter(|_| progress == Progress::Judge);
        let revision = self.new.and_then(|at| self.sets[at].set.metadata.annotations.get(REVISION));
        let revision = revision.filter(|own| deployment.metadata.annotations.get(REVISION) != Some(own)).cloned();
        let revision = revision.filter(|_| deployment.metadata.deletion_timestamp.is_none());
        Plan { writes: self.sets.into_iter().filter_map(write).collect(), revision, status, next }
    }
}

fn write(working: Working) -> Option<Write> {
    let Working { was, set, gone } = working;
    let set = Box::new(set);
    match was {
        None => Some(Write::Create(set)),
        Some(_) if gone => Some(Write::Delete(set)),
        Some(was) if *was == *set => None,
        Some(was) => {
            let (from, to) = (was.spec.replicas.unwrap_or(1), set.spec.replicas.unwrap_or(1));
            let renumbered = was.metadata.annotations.get(REVISION) != set.metadata.annotations.get(REVISION);
            Some(Write::Update { set, scaled: (from != to).then_some((from, to)), renumbered })
        }
    }
}

#[cfg(test)]
mod tests;

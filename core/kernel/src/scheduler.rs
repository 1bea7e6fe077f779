//! Scheduling: what a scheduler sees of pods and nodes, the points where plugins have a say, and its decisions as data.
//!
//! Nothing here queues, binds or reads a cluster: that is the business of a host, which hands views in and carries
//! decisions out.

mod affinity;
mod changes;
mod cycle;
mod explain;
mod node;
mod outcome;
mod pod;
mod points;
mod project;
mod resources;
mod spread;
mod taint;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

pub use self::{
    affinity::{Namespaces, NodeTerm, NodeTerms, PodAffinity, PodTerm, Weighted},
    changes::{Changes, Step},
    cycle::{Budget, Budgets, Cycle, NamespaceLabels, Nominated, Siblings},
    explain::{
        Cost, Cure, Detail, Diagnose, Diagnosis, Edit, Explainer, NodeDiagnosis, Refused, Remedy, Room, Scored,
        Verdict, Victims, amount,
    },
    node::{Change, Image, NodeIndex, NodeView, Nodes},
    outcome::{
        Decision, Explanation, Fit, Nowhere, OutOfRange, Placement, Preemption, Reason, Reasons, Refusal, Score,
    },
    pod::{ClaimRef, HostPort, Owner, PodView},
    points::{
        Bind, Bound, Extender, Filter, Permit, PostFilter, PreBind, PreFilter, Prepared, Recheck, Relevance, Reserve,
        Scope, ScorePlugin,
    },
    resources::Resources,
    spread::{Policy, Spread, Unsatisfiable},
    taint::{Effect, Taint, Tolerated, Toleration},
};
use crate::{entropy::Entropy, error::Result};

/// What a scheduler is handed to decide about one pod.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The pod.
    pub pod: &'a Arc<PodView>,
    /// All nodes as they are now, with the pods that were placed a moment ago.
    pub nodes: Nodes<'a>,
    /// What the parts of the scheduler remember during this turn. The host may have put facts in.
    pub cycle: &'a mut Cycle,
    /// The chance that chooses between equals.
    pub entropy: &'a dyn Entropy,
}

/// Chooses a node for one pod at a time.
///
/// Most want the framework of `windlass-scheduler`, which composes the points of this module; this trait is for those
/// who bring a whole algorithm of their own.
///
/// # Contract
///
/// 1. **Only what it is handed.** The decision depends on the turn alone, so that one seed is one history.
/// 2. **No effects.** Nothing is written; a decision that is not carried out leaves no trace.
/// 3. **Feasible.** A placement names one of the turn's nodes.
/// 4. **Cancel-safe.** Dropping the call is like never having asked.
#[async_trait]
pub trait Scheduler: Debug + Send + Sync + 'static {
    /// Decides about a pod. An error is retried with back-off; a pod that fits nowhere is an outcome.
    async fn schedule(&self, turn: Turn<'_>) -> Result<Decision>;

    /// Whether a change may help a pod that the named plugins refused. When in doubt, yes: it costs another turn.
    fn helped_by(&self, pod: &PodView, refused_by: &[&'static str], change: &Change<'_>) -> bool {
        let _ = (pod, refused_by, change);
        true
    }

    /// What explains its decisions, where it can.
    fn diagnoses(&self) -> Option<&dyn Diagnose> {
        None
    }
}

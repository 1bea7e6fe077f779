//! The framework: composes plugins into a scheduler. Plugins that panic are caught and named.

mod choice;
mod explain;
mod pick;
mod search;
mod share;
mod spared;
mod watch;
mod ways;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_kernel::{
    Result, Scheduler,
    scheduler::{
        Change, Decision, Diagnose, Explanation, Extender, Filter, Nowhere, Placement, PodView, PostFilter, PreFilter,
        ScorePlugin, Turn,
    },
};

pub(crate) use self::pick::below;
pub(crate) use self::watch::{At, fault, text};
pub use self::watch::{Faults, Watch};
use self::{share::Shared, watch::guarded};
use crate::{
    classes::{Classes, Gauge},
    plugins,
};

/// A scheduler made of plugins. The default has upstream's default plugins and weights.
#[derive(Clone, Debug)]
pub struct Framework {
    pre_filters: Vec<Arc<dyn PreFilter>>,
    filters: Vec<Arc<dyn Filter>>,
    post_filters: Vec<Arc<dyn PostFilter>>,
    scores: Vec<(i64, Arc<dyn ScorePlugin>)>,
    extenders: Vec<(i64, Arc<dyn Extender>)>,
    sample: Option<usize>,
    gauges: Vec<Arc<dyn Gauge>>,
    classes: Option<Classes>,
    usual: Option<plugins::Usual>,
}

impl Default for Framework {
    fn default() -> Self {
        plugins::default_framework()
    }
}

impl Framework {
    /// A framework without plugins: every pod fits everywhere.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            pre_filters: Vec::new(),
            filters: Vec::new(),
            post_filters: Vec::new(),
            scores: Vec::new(),
            extenders: Vec::new(),
            sample: None,
            gauges: Vec::new(),
            classes: Some(Classes::default()),
            usual: None,
        }
    }

    /// Adds a plugin that looks at a pod before its filters do.
    #[must_use]
    pub fn pre_filter(mut self, plugin: impl PreFilter) -> Self {
        self.pre_filters.push(Arc::new(plugin));
        self
    }

    /// Adds a filter, to be asked after those before it.
    #[must_use]
    pub fn filter(mut self, plugin: impl Filter) -> Self {
        self.filters.push(Arc::new(plugin));
        self
    }

    /// Adds a plugin that is asked where a pod fits nowhere.
    #[must_use]
    pub fn post_filter(mut self, plugin: impl PostFilter) -> Self {
        self.post_filters.push(Arc::new(plugin));
        self
    }

    /// Adds a score that counts `weight` times.
    #[must_use]
    pub fn score(mut self, weight: u32, plugin: impl ScorePlugin) -> Self {
        self.scores.push((weight.into(), Arc::new(plugin)));
        self
    }

    /// Adds an extender whose scores count `weight` times.
    #[must_use]
    pub fn extender(mut self, weight: u32, extender: impl Extender) -> Self {
        self.extenders.push((weight.into(), Arc::new(extender)));
        self
    }

    /// Removes whatever has a name, at all points.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.pre_filters.retain(|plugin| plugin.name() != name);
        self.filters.retain(|plugin| plugin.name() != name);
        self.post_filters.retain(|plugin| plugin.name() != name);
        self.scores.retain(|(_, plugin)| plugin.name() != name);
        self.extenders.retain(|(_, extender)| extender.name() != name);
        self.gauges.retain(|gauge| gauge.name() != name);
        self
    }

    /// Adds the form for classes of a plugin that looks at more than one node.
    pub(crate) fn gauge(mut self, gauge: impl Gauge + 'static) -> Self {
        self.gauges.push(Arc::new(gauge));
        self
    }
}

#[async_trait]
impl Scheduler for Framework {
    async fn schedule(&self, mut turn: Turn<'_>) -> Result<Decision> {
        let nowhere = |explanation| Decision::Nowhere(Box::new(Nowhere { explanation, preemption: None }));
        let watch = turn.cycle.get::<Watch>().cloned();
        let watch = watch.as_ref();
        if turn.nodes.is_empty() {
            return Ok(nowhere(Explanation::default()));
        }
        self.tell_usual(turn.cycle);
        // Where a plugin panics, the search says which.
        let known = match guarded(watch, |at| self.share(at, &mut turn)) {
            Ok(Shared::Placed(placement)) => return Ok(Decision::Place(placement)),
            Ok(Shared::Refused(known)) => Some(known),
            Ok(Shared::Unknown) | Err(_) => None,
        };
        let asked = match guarded(watch, |at| self.prepare(at, &mut turn))? {
            Ok(asked) => asked,
            Err(explanation) => return Ok(nowhere(*explanation)),
        };
        let found = match guarded(watch, |at| self.find(at, &asked, &turn, known.as_ref()))? {
            Ok((found, evaluated)) => self.extended(&turn, found).await?.map(|found| (found, evaluated)),
            Err(explanation) => Err(explanation),
        };
        let (found, evaluated) = match found {
            Ok(found) => found,
            Err(explanation) => {
                let nowhere = guarded(watch, |at| self.make_room(at, &asked, &turn, *explanation))?;
                return Ok(Decision::Nowhere(Box::new(nowhere)));
            }
        };
        let all = turn.nodes.all();
        let place = self.choose(turn, &found).await?;
        let node = Arc::clone(&all[place].name);
        Ok(Decision::Place(Placement { place, node, evaluated, feasible: found.len() }))
    }

    fn helped_by(&self, pod: &PodView, refused_by: &[&'static str], change: &Change<'_>) -> bool {
        // Where nobody refused the pod, there was no node to be asked about.
        refused_by.is_empty()
            || refused_by.iter().any(|name| {
                let filter = self.filters.iter().find(|filter| filter.name() == *name);
                filter.is_none_or(|filter| filter.helped_by(pod, change))
            })
    }

    fn diagnoses(&self) -> Option<&dyn Diagnose> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;

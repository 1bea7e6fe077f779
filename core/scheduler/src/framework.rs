//! The framework: composes plugins into a scheduler. Plugins that panic are caught and named.

mod explain;
mod pick;
mod share;
mod spared;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use windlass_kernel::{
    Error, ErrorKind, Result, Scheduler,
    scheduler::{
        Change, Cycle, Decision, Diagnose, Explanation, Extender, Filter, Fit, NodeView, Nominated, Nowhere, Placement,
        PodView, PostFilter, PreFilter, Prepared, Reason, Reasons, Recheck, Refusal, Relevance, ScorePlugin, Spread,
        Turn,
    },
};

pub(crate) use self::pick::below;
pub(crate) use self::watch::{At, fault, text};
pub use self::watch::{Faults, Watch};
use self::{
    pick::{best, enough},
    watch::guarded,
};
use crate::{
    classes::{Classes, Gauge, Savings},
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

    /// Scores the filling of nodes in another way, with the same weight.
    #[must_use]
    pub fn fit_scoring(mut self, scoring: plugins::FitScoring) -> Self {
        let scoring: Arc<dyn ScorePlugin> = Arc::new(scoring);
        for (_, plugin) in self.scores.iter_mut().filter(|(_, plugin)| plugin.name() == scoring.name()) {
            *plugin = Arc::clone(&scoring);
        }
        self
    }

    /// Adds an extender whose scores count `weight` times.
    #[must_use]
    pub fn extender(mut self, weight: u32, extender: impl Extender) -> Self {
        self.extenders.push((weight.into(), Arc::new(extender)));
        self
    }

    /// Prefers nodes by how full they are, in place of the usual preference for empty and balanced ones.
    #[must_use]
    pub fn packing(mut self, packing: plugins::Packing) -> Self {
        let usual = ["NodeResourcesFit", "NodeResourcesBalancedAllocation", "Packing"];
        self.scores.retain(|(_, plugin)| !usual.contains(&plugin.name()));
        self.score(2, packing)
    }

    /// Pods avoid nodes where others of their controller crashed at least so often lately; where no other node fits they
    /// go there all the same. A crash counts half after half an hour.
    #[must_use]
    pub fn avoiding_crashes(self, times: u32) -> Self {
        // More than all other scores together.
        let rest: i64 = self.scores.iter().map(|(weight, _)| weight).sum();
        let weight = u32::try_from(rest + 1).unwrap_or(u32::MAX);
        let plugin = plugins::CrashedBefore { times };
        self.score(weight, plugin).gauge(plugin)
    }

    /// Spreads pods of one service or controller over domains that fail as one, such as zones, racks and power feeds,
    /// by the node labels that name them. Domains of one label differ by at most `max_skew` such pods.
    ///
    /// For pods that state no topology spread constraints, in place of the usual ones for hosts and zones.
    #[must_use]
    pub fn failure_domains(mut self, labels: &[&str], max_skew: i64, spreading: plugins::Spreading) -> Self {
        self.usual = Some(plugins::Usual::domains(labels, max_skew, spreading));
        self
    }

    /// Spreads pods that state no topology spread constraints by these, in place of the usual ones for hosts and zones
    /// (`defaultConstraints` of upstream's `PodTopologySpreadArgs`). Whom they select is the pods of the same services
    /// and controller, whatever their own selector says.
    #[must_use]
    pub fn default_constraints(mut self, constraints: &[Spread]) -> Self {
        self.usual = Some(plugins::Usual { spreads: constraints.into(), all_labels: true });
        self
    }

    /// Pods of at least this priority never evict each other, whatever their priorities: they are one band.
    ///
    /// Without [`DefaultPreemption`](plugins::DefaultPreemption) nobody is evicted anyway.
    #[must_use]
    pub fn band(mut self, from: i32) -> Self {
        let plugin = plugins::BandedPreemption { from, enough: plugins::Enough::default() };
        let all = self.post_filters.len();
        self.post_filters.retain(|own| own.name() != plugin.name());
        if self.post_filters.len() < all { self.post_filter(plugin) } else { self }
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

    /// Searches the nodes for every pod. Without this, alike pods share what was found out: a turn looks only at nodes
    /// that changed since the last pod of its class, and chooses as a search of all nodes would.
    #[must_use]
    pub fn without_classes(mut self) -> Self {
        self.classes = None;
        self
    }

    /// What classes have saved so far. Clones count together.
    #[must_use]
    pub fn savings(&self) -> Savings {
        self.classes.as_ref().map(|classes| classes.counters.read()).unwrap_or_default()
    }

    /// A search looks for possible nodes until so many in a hundred are found. The default depends on the number of
    /// nodes. Pods of a known class need no search.
    #[must_use]
    pub const fn sample(mut self, percentage: usize) -> Self {
        self.sample = Some(percentage);
        self
    }

    /// Adds what the profile says about spreading to the host's facts.
    fn tell_usual(&self, cycle: &mut Cycle) {
        if let Some(usual) = &self.usual {
            cycle.set(usual.clone());
        }
    }

    /// Asks what looks at all nodes together. `Err` where that already settles it.
    fn prepare(&self, at: &At, turn: &mut Turn<'_>) -> Settled<Asked<'_>> {
        let nodes = turn.nodes;
        let mut skipped = Vec::new();
        let mut only: Option<(Vec<usize>, &'static str)> = None;
        for plugin in &self.pre_filters {
            at.set(plugin.name());
            match plugin.pre_filter(turn.cycle, turn.pod, &nodes) {
                Prepared::Ask => {}
                Prepared::Skip => skipped.push(plugin.name()),
                Prepared::Only(names) => {
                    let mut places: Vec<_> = names.iter().filter_map(|name| nodes.index().place(name)).collect();
                    places.sort_unstable();
                    if let Some((before, _)) = only {
                        places.retain(|place| before.binary_search(place).is_ok());
                    }
                    only = Some((places, plugin.name()));
                }
                Prepared::Never(reason) => {
                    let overall = Some((plugin.name(), reason));
                    return Err(Box::new(Explanation { nodes: nodes.len(), overall, ..Explanation::default() }));
                }
            }
        }
        let filters = self.filters.iter().filter(|filter| !skipped.contains(&filter.name()));
        Ok(Asked { filters: filters.map(|filter| &**filter).collect(), only })
    }

    /// The places of possible nodes, and how many were looked at.
    fn find(&self, at: &At, asked: &Asked<'_>, turn: &Turn<'_>) -> Settled<(Vec<usize>, usize)> {
        let total = turn.nodes.len();
        let only = asked.only.as_ref().map(|(places, _)| places.as_slice());
        // The node where room was made for the pod is looked at first: nothing is better than what was paid for.
        let nominated = turn.pod.nominated.as_ref().and_then(|name| turn.nodes.index().place(name));
        let nominated = nominated.filter(|place| only.is_none_or(|only| only.contains(place)));
        if let Some(place) = nominated.filter(|place| self.refusal(at, asked, turn, *place).is_none()) {
            return Ok((vec![place], 1));
        }
        let sampled = if self.extenders.is_empty() { enough(total, self.sample) } else { total };
        let wanted = only.map_or(sampled, <[usize]>::len);
        let start = if wanted < total && only.is_none() { below(turn.entropy, total) } else { 0 };
        let all = (start..total).chain(0..start).filter(|_| only.is_none());
        let (mut found, mut refusals) = (Vec::with_capacity(wanted), Vec::new());
        for place in only.into_iter().flatten().copied().chain(all) {
            match self.refusal(at, asked, turn, place) {
                None => found.push(place),
                Some(refusal) => refusals.push(refusal),
            }
            if found.len() >= wanted {
                break;
            }
        }
        if !found.is_empty() {
            let evaluated = found.len() + refusals.len();
            return Ok((found, evaluated));
        }
        let absent = asked.only.as_ref().map(|(_, plugin)| {
            let text = format!("node(s) didn't satisfy plugin(s) [{plugin}]");
            (*plugin, Reason::Told(text.into()))
        });
        Err(Box::new(Explanation { nodes: total, refusals, absent, ..Explanation::default() }))
    }

    /// Why a node is refused, if it is: as it is, or with those pods on it that room was made for.
    fn refusal(&self, at: &At, asked: &Asked<'_>, turn: &Turn<'_>, place: usize) -> Option<Refusal> {
        let node = &turn.nodes.all()[place];
        let refused = self.obstacle(at, &asked.filters, turn.cycle, turn.pod, node);
        refused.map(|(plugin, fit)| {
            let (reasons, curable) = match fit {
                Fit::No(reasons) => (reasons, true),
                Fit::Never(reasons) => (reasons, false),
                Fit::Yes => (Reasons::Many(Vec::new()), true),
            };
            Refusal { place, node: Arc::clone(&node.name), plugin, reasons, curable }
        })
    }

    /// Who refuses a node, as it is or with those pods on it that room was made for.
    fn obstacle(
        &self,
        at: &At,
        filters: &[&dyn Filter],
        cycle: &Cycle,
        pod: &PodView,
        node: &NodeView,
    ) -> Option<(&'static str, Fit)> {
        let refused = first_refusal(at, filters, cycle, pod, node);
        if refused.is_some() {
            return refused;
        }
        let nominated = cycle.get::<Nominated>().and_then(|nominated| nominated.0.get(&*node.name))?;
        let prior = |other: &&Arc<PodView>| other.uid != pod.uid && other.priority >= pod.priority;
        let mut others = nominated.iter().filter(prior).peekable();
        others.peek()?;
        let (mut cycle, mut node) = (cycle.clone(), node.clone());
        let what_if = WhatIf { framework: self, at, filters };
        others.for_each(|other| what_if.put(&mut cycle, pod, other, &mut node));
        first_refusal(at, filters, &cycle, pod, &node)
    }

    fn totals(&self, at: &At, turn: &mut Turn<'_>, places: &[usize]) -> Vec<i64> {
        let nodes = turn.nodes.at(places);
        let mut totals = vec![0; places.len()];
        for (weight, plugin) in &self.scores {
            at.set(plugin.name());
            if plugin.prepare(turn.cycle, turn.pod, &nodes) == Relevance::Relevant {
                for (total, node) in totals.iter_mut().zip(nodes.iter()) {
                    *total += weight * plugin.score(turn.cycle, turn.pod, node).get();
                }
            }
        }
        totals
    }

    /// Keeps the places that extenders accept.
    async fn extended(&self, turn: &Turn<'_>, mut found: Vec<usize>) -> Result<Settled<Vec<usize>>> {
        let mut refusals = Vec::new();
        for (_, extender) in self.extenders.iter().filter(|(_, extender)| extender.interested(turn.pod)) {
            enter(turn, extender.as_ref());
            let asked = extender.filter(turn.pod, &turn.nodes.at(&found)).await;
            let fits = match asked.and_then(|fits| aligned(extender.as_ref(), fits, found.len())) {
                Err(_) if extender.ignorable() => continue,
                fits => fits?,
            };
            let mut kept = Vec::with_capacity(found.len());
            for (place, fit) in found.iter().copied().zip(fits) {
                let (reasons, curable) = match fit {
                    Fit::Yes => {
                        kept.push(place);
                        continue;
                    }
                    Fit::No(reasons) => (reasons, true),
                    Fit::Never(reasons) => (reasons, false),
                };
                let node = Arc::clone(&turn.nodes.all()[place].name);
                refusals.push(Refusal { place, node, plugin: extender.name(), reasons, curable });
            }
            found = kept;
        }
        let nodes = turn.nodes.len();
        if found.is_empty() {
            return Ok(Err(Box::new(Explanation { nodes, refusals, ..Explanation::default() })));
        }
        Ok(Ok(found))
    }

    async fn choose(&self, mut turn: Turn<'_>, places: &[usize]) -> Result<usize> {
        if let [only] = places {
            return Ok(*only);
        }
        let watch = turn.cycle.get::<Watch>().cloned();
        let mut totals = match guarded(watch.as_ref(), |at| self.totals(at, &mut turn, places)) {
            Ok(totals) => totals,
            Err(_) => self.totals_of_sound(watch.as_ref(), &mut turn, places),
        };
        for (weight, extender) in self.extenders.iter().filter(|(_, extender)| extender.interested(turn.pod)) {
            enter(&turn, extender.as_ref());
            let asked = extender.score(turn.pod, &turn.nodes.at(places)).await;
            let scores = match asked.and_then(|scores| aligned(extender.as_ref(), scores, places.len())) {
                Err(_) if extender.ignorable() => continue,
                scores => scores?,
            };
            totals.iter_mut().zip(scores).for_each(|(total, score)| *total += weight * score.get());
        }
        Ok(places[best(&totals, turn.entropy)])
    }

    fn make_room(&self, at: &At, asked: &Asked<'_>, turn: &Turn<'_>, explanation: Explanation) -> Nowhere {
        let what_if = WhatIf { framework: self, at, filters: &asked.filters };
        let mut nowhere = Nowhere { explanation, preemption: None };
        for plugin in &self.post_filters {
            at.set(plugin.name());
            let explanation = &mut nowhere.explanation;
            nowhere.preemption = plugin.post_filter(turn.cycle, turn.pod, &turn.nodes, &what_if, explanation);
            if nowhere.preemption.is_some() {
                break;
            }
        }
        nowhere
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
        if let Ok(Some(placement)) = guarded(watch, |at| self.share(at, &mut turn)) {
            return Ok(Decision::Place(placement));
        }
        let asked = match guarded(watch, |at| self.prepare(at, &mut turn))? {
            Ok(asked) => asked,
            Err(explanation) => return Ok(nowhere(*explanation)),
        };
        let found = match guarded(watch, |at| self.find(at, &asked, &turn))? {
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

/// A result, or the explanation why there is none.
type Settled<T> = std::result::Result<T, Box<Explanation>>;

/// What is asked of nodes, after all that looks at them together.
struct Asked<'a> {
    filters: Vec<&'a dyn Filter>,
    only: Option<(Vec<usize>, &'static str)>,
}

/// Tells who watches that an extender is at work.
fn enter(turn: &Turn<'_>, extender: &dyn Extender) {
    if let Some(watch) = turn.cycle.get::<Watch>() {
        watch.enter(extender.name());
    }
}

/// The answers of an extender, of which there has to be one for each node.
fn aligned<T>(extender: &dyn Extender, answers: Vec<T>, nodes: usize) -> Result<Vec<T>> {
    if answers.len() == nodes {
        return Ok(answers);
    }
    let (name, count) = (extender.name(), answers.len());
    Err(Error::new(ErrorKind::Internal, format!("extender {name} gave {count} answers for {nodes} nodes")))
}

fn first_refusal(
    at: &At,
    filters: &[&dyn Filter],
    cycle: &Cycle,
    pod: &PodView,
    node: &NodeView,
) -> Option<(&'static str, Fit)> {
    filters.iter().find_map(|filter| {
        at.set(filter.name());
        let fit = filter.filter(cycle, pod, node);
        (!fit.fits()).then(|| (filter.name(), fit))
    })
}

struct WhatIf<'a> {
    framework: &'a Framework,
    at: &'a At,
    filters: &'a [&'a dyn Filter],
}

impl Recheck for WhatIf<'_> {
    fn recheck(&self, cycle: &Cycle, pod: &PodView, node: &NodeView) -> bool {
        self.framework.obstacle(self.at, self.filters, cycle, pod, node).is_none()
    }

    fn take(&self, cycle: &mut Cycle, pod: &PodView, other: &PodView, node: &mut NodeView) {
        node.remove(&other.uid);
        self.framework.pre_filters.iter().for_each(|plugin| plugin.removed(cycle, pod, other, node));
    }

    fn put(&self, cycle: &mut Cycle, pod: &PodView, other: &Arc<PodView>, node: &mut NodeView) {
        node.add(Arc::clone(other));
        self.framework.pre_filters.iter().for_each(|plugin| plugin.added(cycle, pod, other, node));
    }
}

#[cfg(test)]
mod tests;

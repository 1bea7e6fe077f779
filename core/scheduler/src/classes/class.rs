//! What is remembered for one class: the possible nodes in groups, kept up to date by what changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use windlass_kernel::{
    Entropy,
    scheduler::{Cycle, Filter, Fit, NodeView, Nodes, PodView, Relevance, ScorePlugin, Step, Turn},
};

use super::{
    Counters,
    gauge::{Gauge, Group, Reading},
    ground::Ground,
    groups::{Groups, nth},
};
use crate::{
    framework::{At, below},
    plugins::Rooms,
};

/// What a framework asks about pods of one class.
pub(crate) struct Rules<'a> {
    /// Filters whose answers depend on the node alone.
    pub(crate) filters: Vec<&'a dyn Filter>,
    /// Scores that do.
    pub(crate) scores: Vec<(i64, &'a dyn ScorePlugin)>,
    /// The others.
    pub(crate) gauges: Vec<Gauged<'a>>,
    /// The plugin that is at work.
    pub(crate) at: &'a At,
    pub(crate) counters: &'a Counters,
}

/// A gauge, and which of its opinions count.
pub(crate) struct Gauged<'a> {
    pub(crate) gauge: &'a dyn Gauge,
    pub(crate) filters: bool,
    /// 0 where it has no score.
    pub(crate) weight: i64,
}

/// A node that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) place: usize,
    pub(crate) possible: usize,
}

/// A reading, and which of its opinions count.
#[derive(Debug)]
struct Read {
    name: &'static str,
    reading: Box<dyn Reading>,
    filters: bool,
    weight: i64,
}

/// Which filter refuses a node first, and how; `None` where none does.
pub(crate) type Refused = Option<(&'static str, Fit)>;

/// What is said of a node with certain pods on it that room was made for.
#[derive(Debug)]
struct Promised {
    to: Vec<Arc<PodView>>,
    refused: Refused,
}

/// What is remembered for one class.
#[derive(Debug)]
pub(crate) struct Class {
    ground: Ground,
    readings: Vec<Read>,
    /// Which of the scores have something to say.
    relevant: Vec<bool>,
    groups: Groups,
    /// Which of the filters refuses each node, and how.
    refused: Arc<Vec<Refused>>,
    promised: BTreeMap<usize, Promised>,
    rooms: Rooms,
    /// How many numbers a node has.
    width: usize,
    /// The number of the next change to be looked at.
    next: u64,
}

impl Class {
    /// Looks at all nodes.
    pub(crate) fn new(rules: &Rules<'_>, turn: &mut Turn<'_>) -> Self {
        let (pod, nodes) = (&**turn.pod, turn.nodes);
        let mut ground = Ground::default();
        let mut readings = Vec::new();
        for Gauged { gauge, filters, weight } in &rules.gauges {
            rules.at.set(gauge.name());
            let Some(mut reading) = gauge.begin(pod, turn.cycle, &nodes, &mut ground) else { continue };
            for (place, node) in nodes.all().iter().enumerate() {
                for other in node.pods() {
                    reading.moved(other, place, 1, nodes.all(), &mut ground);
                }
            }
            readings.push(Read { name: gauge.name(), reading, filters: *filters, weight: *weight });
        }
        let relevant = rules.scores.iter().map(|(_, plugin)| {
            rules.at.set(plugin.name());
            plugin.prepare(&mut Cycle::new(), pod, &nodes) == Relevance::Relevant
        });
        let relevant = relevant.collect();
        let next = nodes.changes().map_or(0, |changes| changes.end());
        let groups = Groups::none(nodes.all().len());
        let mut class = Self {
            ground,
            readings,
            relevant,
            groups,
            refused: Arc::default(),
            promised: BTreeMap::new(),
            rooms: Rooms::default(),
            width: 0,
            next,
        };
        class.look_everywhere(rules, pod, &nodes);
        rules.counters.built.fetch_add(1, Relaxed);
        class
    }

    /// Looks at the nodes that changed; `None` where it is not known which. How many were looked at.
    pub(crate) fn follow(&mut self, rules: &Rules<'_>, pod: &PodView, nodes: &Nodes<'_>) -> Option<usize> {
        let changes = nodes.changes()?;
        let mut touched = Vec::new();
        for step in changes.since(self.next)? {
            let (other, place, by) = match step {
                Step::Came(place, other) => (other, *place, 1),
                Step::Left(place, other) => (other, *place, -1),
                Step::Offers(place) => {
                    touched.push(*place);
                    continue;
                }
            };
            touched.push(place);
            for Read { name, reading, .. } in &mut self.readings {
                rules.at.set(name);
                reading.moved(other, place, by, nodes.all(), &mut self.ground);
            }
        }
        self.next = changes.end();
        if self.width != self.width_now() {
            self.look_everywhere(rules, pod, nodes);
            return Some(nodes.all().len());
        }
        touched.sort_unstable();
        touched.dedup();
        let mut numbers = Vec::with_capacity(self.width);
        for place in &touched {
            self.look(rules, pod, *place, &nodes.all()[*place], &mut numbers);
        }
        Some(touched.len())
    }

    /// Whether anything but what the nodes themselves say refuses nodes.
    pub(crate) fn picky(&self) -> bool {
        self.readings.iter().any(|read| read.filters && read.reading.picky())
    }

    /// The best node, as a search of all would choose it; `None` where no node is possible. `taken` says which of the
    /// possible nodes are not, for reasons of the moment.
    pub(crate) fn choose(
        &mut self,
        rules: &Rules<'_>,
        entropy: &dyn Entropy,
        taken: impl Iterator<Item = usize>,
    ) -> Option<Chosen> {
        let mut aside = Vec::new();
        for place in taken {
            if let Some((numbers, total)) = self.groups.standing(place) {
                aside.push((place, numbers, total));
                self.groups.clear(place);
            }
        }
        let chosen = self.best(rules, entropy);
        for (place, numbers, total) in aside {
            self.groups.set(place, &numbers, total);
        }
        chosen
    }

    /// Whether no node is possible, as far as nodes themselves say.
    pub(crate) fn holds_none(&self) -> bool {
        self.groups.iter().next().is_none()
    }

    /// Who refuses each node, as far as nodes themselves say.
    pub(crate) fn refused(&self) -> Arc<Vec<Refused>> {
        Arc::clone(&self.refused)
    }

    /// Who refuses a node with those pods on it that room was made for, as far as nodes themselves say: what is remembered,
    /// or what `ask` says.
    pub(crate) fn promised(&mut self, place: usize, to: &[&Arc<PodView>], ask: impl FnOnce() -> Refused) -> Refused {
        let same = |(own, other): (&Arc<PodView>, &&Arc<PodView>)| Arc::ptr_eq(own, other);
        let known = self.promised.get(&place);
        let known = known.filter(|known| known.to.len() == to.len() && known.to.iter().zip(to).all(same));
        if let Some(known) = known {
            return known.refused.clone();
        }
        let refused = ask();
        let to = to.iter().map(|pod| Arc::clone(pod)).collect();
        self.promised.insert(place, Promised { to, refused: refused.clone() });
        refused
    }

    /// What was found out about making room for pods of the class.
    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Whether a node is possible, as far as nodes themselves say.
    pub(crate) fn holds(&self, place: usize) -> bool {
        self.groups.holds(place)
    }

    fn best(&self, rules: &Rules<'_>, entropy: &dyn Entropy) -> Option<Chosen> {
        let groups = self.groups.iter().map(|(slot, bucket)| {
            let all = &*bucket.numbers;
            Group { all, numbers: all, size: bucket.size, score: 0, slot }
        });
        let mut groups: Vec<_> = groups.collect();
        self.each(rules, |read, from, to| {
            if read.filters && read.reading.picky() {
                groups.retain(|group| read.reading.fits(&group.all[from..to]));
            }
        });
        let possible = groups.iter().map(|group| group.size).sum();
        if possible <= 1 {
            let group = groups.first()?;
            let (_, places) = self.groups.bucket(group.slot).best();
            return places.first().map(|place| Chosen { place: *place, possible });
        }
        self.each(rules, |read, from, to| {
            if read.weight != 0 {
                groups.iter_mut().for_each(|group| group.numbers = &group.all[from..to]);
                read.reading.score(read.weight, &mut groups);
            }
        });
        let total = |group: &Group<'_>| group.score + self.groups.bucket(group.slot).best().0;
        let highest = groups.iter().map(total).max()?;
        let equals = groups.iter().filter(|group| total(group) == highest);
        let lists: Vec<&[usize]> = equals.map(|group| self.groups.bucket(group.slot).best().1).collect();
        let count = lists.iter().map(|list| list.len()).sum();
        let drawn = if count > 1 { below(entropy, count) } else { 0 };
        nth(&lists, drawn).map(|place| Chosen { place, possible })
    }

    /// Each reading with where its numbers stand.
    fn each(&self, rules: &Rules<'_>, mut visit: impl FnMut(&Read, usize, usize)) {
        let mut from = 0;
        for read in &self.readings {
            rules.at.set(read.name);
            let to = from + read.reading.width();
            visit(read, from, to);
            from = to;
        }
    }

    fn width_now(&self) -> usize {
        self.readings.iter().map(|read| read.reading.width()).sum()
    }

    fn look_everywhere(&mut self, rules: &Rules<'_>, pod: &PodView, nodes: &Nodes<'_>) {
        self.width = self.width_now();
        self.groups = Groups::none(nodes.all().len());
        self.refused = Arc::new(vec![None; nodes.all().len()]);
        let mut numbers = Vec::with_capacity(self.width);
        for (place, node) in nodes.all().iter().enumerate() {
            self.look(rules, pod, place, node, &mut numbers);
        }
    }

    /// Asks about one node.
    fn look(&mut self, rules: &Rules<'_>, pod: &PodView, place: usize, node: &NodeView, numbers: &mut Vec<i64>) {
        let cycle = Cycle::new();
        let mut asked = 0;
        let refused = rules.filters.iter().find_map(|filter| {
            asked += 1;
            rules.at.set(filter.name());
            let fit = filter.filter(&cycle, pod, node);
            (!fit.fits()).then(|| (filter.name(), fit))
        });
        rules.counters.filtered.fetch_add(asked, Relaxed);
        rules.counters.refreshed.fetch_add(1, Relaxed);
        self.rooms.forget(place);
        self.promised.remove(&place);
        let fits = refused.is_none();
        Arc::make_mut(&mut self.refused)[place] = refused;
        if !fits {
            return self.groups.clear(place);
        }
        let mut total = 0;
        for ((weight, plugin), _) in rules.scores.iter().zip(&self.relevant).filter(|(_, relevant)| **relevant) {
            rules.at.set(plugin.name());
            total += weight * plugin.score(&cycle, pod, node).get();
        }
        numbers.clear();
        for Read { name, reading, .. } in &self.readings {
            rules.at.set(name);
            reading.sign(place, node, &self.ground, numbers);
        }
        self.groups.set(place, numbers, total);
    }
}

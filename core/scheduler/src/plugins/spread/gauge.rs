//! Spreading, counted along: how many of a pod's kin are in each domain.

use std::collections::BTreeMap;

use windlass_kernel::scheduler::{Cycle, NodeView, Nodes, PodView, Score, Spread, Unsatisfiable};

use super::{HOSTNAME, NAME, PodTopologySpread, constraints, counts, float, has_labels, wants_all_labels};
use crate::classes::{Gauge, Ground, Group, Reading};

/// A constraint that must hold.
#[derive(Debug)]
struct Hard {
    spread: Spread,
    topology: usize,
    /// Whether a node tells its domain, and not what is known there.
    wide: bool,
    /// By domain: how many nodes are counted there, and their kin.
    domains: Vec<(usize, i64)>,
    /// How many of the domains with nodes have each count.
    spectrum: BTreeMap<i64, usize>,
    places: i64,
    itself: i64,
}

/// A constraint that is a wish.
#[derive(Debug)]
struct Soft {
    spread: Spread,
    topology: usize,
    host: bool,
    /// Kin by domain; for hosts by place.
    kin: Vec<i64>,
}

/// What is known for one class.
#[derive(Debug)]
struct Known {
    namespace: String,
    hard: Vec<Hard>,
    soft: Vec<Soft>,
    /// Whether nodes without one of the labels are left out of the score.
    all_labels: bool,
    /// By place: for each constraint that must hold, and then for each wish, whether the node is counted.
    counted: Vec<Vec<bool>>,
}

impl Gauge for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn begin(&self, pod: &PodView, cycle: &Cycle, nodes: &Nodes<'_>, ground: &mut Ground) -> Option<Box<dyn Reading>> {
        let all_labels = wants_all_labels(pod, cycle);
        let hard = constraints(pod, cycle, Unsatisfiable::DoNotSchedule).into_iter();
        let hard = hard.map(|spread| Hard::new(spread, pod, nodes.all(), ground)).collect::<Vec<_>>();
        let soft = constraints(pod, cycle, Unsatisfiable::ScheduleAnyway).into_iter();
        let soft = soft.map(|spread| Soft::new(spread, nodes.all(), ground)).collect::<Vec<_>>();
        if hard.is_empty() && soft.is_empty() {
            return None;
        }
        let mut known = Known { namespace: pod.key.namespace.clone(), hard, soft, all_labels, counted: Vec::new() };
        for (place, node) in nodes.all().iter().enumerate() {
            let counted = known.count_in(pod, place, node, ground);
            known.counted.push(counted);
        }
        Some(Box::new(known))
    }
}

impl Hard {
    fn new(spread: Spread, pod: &PodView, nodes: &[NodeView], ground: &mut Ground) -> Self {
        let topology = ground.topology(&spread.topology, nodes);
        Self {
            topology,
            wide: !ground.own(topology),
            domains: vec![(0, 0); ground.size(topology)],
            spectrum: BTreeMap::new(),
            places: 0,
            itself: i64::from(spread.selector.matches(&pod.labels)),
            spread,
        }
    }

    /// Takes in a domain of a node that is counted.
    fn open(&mut self, domain: usize) {
        let (nodes, kin) = &mut self.domains[domain];
        *nodes += 1;
        if *nodes == 1 {
            self.places += 1;
            *self.spectrum.entry(*kin).or_default() += 1;
        }
    }

    fn add(&mut self, domain: usize, by: i64) {
        let (_, kin) = &mut self.domains[domain];
        let before = *kin;
        *kin += by;
        *self.spectrum.entry(before + by).or_default() += 1;
        if let Some(domains) = self.spectrum.get_mut(&before) {
            *domains -= 1;
            if *domains == 0 {
                self.spectrum.remove(&before);
            }
        }
    }

    /// The least count; none where there are fewer places than wanted.
    fn least(&self) -> i64 {
        if self.spread.min_domains.is_some_and(|wanted| self.places < wanted) {
            return 0;
        }
        self.spectrum.first_key_value().map_or(0, |(least, _)| *least)
    }
}

impl Soft {
    fn new(spread: Spread, nodes: &[NodeView], ground: &mut Ground) -> Self {
        let topology = ground.topology(&spread.topology, nodes);
        let host = spread.topology == HOSTNAME;
        let kin = vec![0; if host { nodes.len() } else { ground.size(topology) }];
        Self { spread, topology, host, kin }
    }
}

impl Known {
    /// Which constraints count a node, and its domains taken in.
    fn count_in(&mut self, pod: &PodView, place: usize, node: &NodeView, ground: &Ground) -> Vec<bool> {
        let all_hard = has_labels(node, self.hard.iter().map(|hard| &hard.spread));
        let all_soft = !self.all_labels || has_labels(node, self.soft.iter().map(|soft| &soft.spread));
        let mut counted = Vec::with_capacity(self.hard.len() + self.soft.len());
        for hard in &mut self.hard {
            let counts = all_hard && counts(&hard.spread, pod, node);
            if counts {
                hard.open(ground.domain(hard.topology, place));
            }
            counted.push(counts);
        }
        // A host's own kin counts wherever it is.
        counted.extend(self.soft.iter().map(|soft| soft.host || all_soft && counts(&soft.spread, pod, node)));
        counted
    }

    fn kin(&self, spread: &Spread, other: &PodView) -> bool {
        !other.terminating && other.key.namespace == self.namespace && spread.selector.matches(&other.labels)
    }

    /// The wishes' numbers: a host's kin, or the domain, each one more, so that 0 is no label.
    fn wishes<'a>(&self, numbers: &'a [i64]) -> &'a [i64] {
        &numbers[self.hard.len()..]
    }

    fn left_out(&self, numbers: &[i64]) -> bool {
        self.all_labels && self.wishes(numbers).contains(&0)
    }

    /// How crowded a node's places are; summed as the plugin sums, since it is not exact.
    fn crowd(&self, numbers: &[i64], weights: &[f64]) -> i64 {
        let mut crowd = 0.0;
        for ((soft, weight), number) in self.soft.iter().zip(weights).zip(self.wishes(numbers)) {
            if *number == 0 {
                continue;
            }
            let count = match soft.host {
                true => number - 1,
                false => soft.kin[usize::try_from(*number).unwrap_or_default()],
            };
            crowd += float(count) * weight + float(soft.spread.max_skew - 1);
        }
        #[allow(clippy::cast_possible_truncation, reason = "counts of pods are far below the limits")]
        let crowd = crowd.round() as i64;
        crowd
    }

    /// What each wish weighs: the more places there are among the possible nodes, the more.
    fn weights(&self, open: &[&Group<'_>]) -> Vec<f64> {
        let weight = |(at, soft): (usize, &Soft)| {
            let size = if soft.host {
                open.iter().map(|group| group.size).sum()
            } else {
                let mut seen: Vec<i64> = open.iter().map(|group| self.wishes(group.numbers)[at]).collect();
                seen.sort_unstable();
                seen.dedup();
                seen.len()
            };
            float(i64::try_from(size + 2).unwrap_or(i64::MAX)).ln()
        };
        self.soft.iter().enumerate().map(weight).collect()
    }
}

impl Reading for Known {
    fn moved(&mut self, other: &PodView, place: usize, by: i64, _: &[NodeView], ground: &mut Ground) {
        let hard = self.hard.iter().map(|hard| &hard.spread);
        let kin: Vec<bool> =
            hard.chain(self.soft.iter().map(|soft| &soft.spread)).map(|spread| self.kin(spread, other)).collect();
        let counted = &self.counted[place];
        let mut mine = kin.iter().zip(counted).map(|(kin, counted)| *kin && *counted);
        for hard in &mut self.hard {
            if mine.next() == Some(true) {
                hard.add(ground.domain(hard.topology, place), by);
            }
        }
        for soft in &mut self.soft {
            if mine.next() == Some(true) {
                let at = if soft.host { place } else { ground.domain(soft.topology, place) };
                soft.kin[at] += by;
            }
        }
    }

    fn width(&self) -> usize {
        self.hard.len() + self.soft.len()
    }

    fn sign(&self, place: usize, _: &NodeView, ground: &Ground, numbers: &mut Vec<i64>) {
        for hard in &self.hard {
            let domain = ground.domain(hard.topology, place);
            numbers.push(match domain {
                0 => 0,
                _ if hard.wide => i64::try_from(domain).unwrap_or_default(),
                _ => hard.domains[domain].1 + 1,
            });
        }
        for soft in &self.soft {
            let domain = ground.domain(soft.topology, place);
            numbers.push(match domain {
                0 => 0,
                _ if soft.host => soft.kin[place] + 1,
                _ => i64::try_from(domain).unwrap_or_default(),
            });
        }
    }

    fn picky(&self) -> bool {
        !self.hard.is_empty()
    }

    fn fits(&self, numbers: &[i64]) -> bool {
        self.hard.iter().zip(numbers).all(|(hard, number)| {
            let count = match hard.wide {
                true => hard.domains[usize::try_from(*number).unwrap_or_default()].1,
                false => number - 1,
            };
            *number != 0 && count + hard.itself - hard.least() <= hard.spread.max_skew
        })
    }

    fn score(&self, weight: i64, groups: &mut [Group<'_>]) {
        if self.soft.is_empty() {
            return;
        }
        let open: Vec<&Group<'_>> = groups.iter().filter(|group| !self.left_out(group.numbers)).collect();
        let weights = self.weights(&open);
        let crowds: Vec<i64> = open.iter().map(|group| self.crowd(group.numbers, &weights)).collect();
        let least = crowds.iter().copied().min().unwrap_or(i64::MAX);
        let most = crowds.iter().copied().max().unwrap_or_default().max(0);
        let mut crowds = crowds.into_iter();
        for group in groups.iter_mut().filter(|group| !self.left_out(group.numbers)) {
            let crowd = crowds.next().unwrap_or_default();
            let score = if most == 0 { Score::MAX } else { Score::share(most + least - crowd, most) };
            group.score += weight * score.get();
        }
    }
}

//! Affinity between pods, counted along: how many pods speak for and against each domain of each topology.

use std::sync::Arc;

use windlass_kernel::scheduler::{Cycle, NamespaceLabels, NodeView, Nodes, PodTerm, PodView, Score};

use super::{InterPodAffinity, NAME, aversions, means, needs};
use crate::classes::{Gauge, Ground, Group, Reading};

/// Counts for each domain of each topology.
#[derive(Debug, Default)]
struct Counts {
    by: Vec<(usize, Vec<i64>)>,
    /// How many of them are not zero.
    some: usize,
}

impl Counts {
    fn add(&mut self, topology: usize, place: usize, by: i64, ground: &Ground) {
        let domain = ground.domain(topology, place);
        if domain == 0 {
            return;
        }
        let at = match self.by.iter().position(|(own, _)| *own == topology) {
            Some(at) => at,
            None => {
                self.by.push((topology, vec![0; ground.size(topology)]));
                self.by.len() - 1
            }
        };
        let count = &mut self.by[at].1[domain];
        let before = *count != 0;
        *count += by;
        match (before, *count != 0) {
            (false, true) => self.some += 1,
            (true, false) => self.some -= 1,
            _ => {}
        }
    }

    fn at(&self, topology: usize, domain: usize) -> i64 {
        let found = self.by.iter().find(|(own, _)| *own == topology);
        found.and_then(|(_, counts)| counts.get(domain)).copied().unwrap_or_default()
    }

    /// The sum over topologies, each with the domain that a node has there.
    fn sum(&self, only: impl Fn(usize) -> bool, domain: impl Fn(usize) -> usize) -> i64 {
        let own = self.by.iter().filter(|(topology, _)| only(*topology));
        own.map(|(topology, counts)| counts.get(domain(*topology)).copied().unwrap_or_default()).sum()
    }

    fn any(&self, only: impl Fn(usize) -> bool, domain: impl Fn(usize) -> usize) -> bool {
        let mut own = self.by.iter().filter(|(topology, _)| only(*topology));
        own.any(|(topology, counts)| counts.get(domain(*topology)).is_some_and(|count| *count != 0))
    }
}

/// What is known for one class.
#[derive(Debug)]
struct Known {
    plugin: InterPodAffinity,
    pod: Arc<PodView>,
    namespaces: NamespaceLabels,
    /// The topologies of the pod's own terms.
    needs: Vec<usize>,
    averse: Vec<usize>,
    itself: bool,
    wanted: Counts,
    unwanted: Counts,
    unwelcome: Counts,
    wishes: Counts,
    /// Topologies whose domains hold many nodes: of these a node tells its domain, of the others what is known there.
    wide: Vec<usize>,
    picky: bool,
    wishing: bool,
}

impl Gauge for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn begin(&self, pod: &PodView, cycle: &Cycle, nodes: &Nodes<'_>, ground: &mut Ground) -> Option<Box<dyn Reading>> {
        let namespaces = cycle.get::<NamespaceLabels>().cloned().unwrap_or_default();
        let mut known = Known {
            plugin: *self,
            itself: needs(pod).iter().all(|term| means(term, pod, &namespaces)),
            pod: Arc::new(pod.clone()),
            namespaces,
            needs: Vec::new(),
            averse: Vec::new(),
            wanted: Counts::default(),
            unwanted: Counts::default(),
            unwelcome: Counts::default(),
            wishes: Counts::default(),
            wide: Vec::new(),
            picky: !needs(pod).is_empty() || !aversions(pod).is_empty(),
            wishing: pod.affinity.as_ref().is_some_and(|a| !a.preferred.is_empty() || !a.anti_preferred.is_empty()),
        };
        let mut topology = |term: &PodTerm| known.topology(term, nodes.all(), ground);
        let own: Vec<_> = needs(pod).iter().map(&mut topology).collect();
        let averse = aversions(pod).iter().map(topology).collect();
        (known.needs, known.averse) = (own, averse);
        Some(Box::new(known))
    }
}

impl Known {
    fn topology(&mut self, term: &PodTerm, nodes: &[NodeView], ground: &mut Ground) -> usize {
        let topology = ground.topology(&term.topology, nodes);
        if !ground.own(topology) && !self.wide.contains(&topology) {
            self.wide.push(topology);
        }
        topology
    }

    /// A node's domain in a wide topology.
    fn domain(&self, topology: usize, numbers: &[i64]) -> usize {
        let at = self.wide.iter().position(|own| *own == topology);
        let number = at.and_then(|at| numbers.get(NEEDS + self.needs.len() + at));
        number.and_then(|number| usize::try_from(*number).ok()).unwrap_or_default()
    }

    fn is_wide(&self, topology: usize) -> bool {
        self.wide.contains(&topology)
    }

    fn wish(&self, numbers: &[i64]) -> i64 {
        let wide = self.wishes.sum(|topology| self.is_wide(topology), |topology| self.domain(topology, numbers));
        numbers[WISH] + wide
    }

    /// What is said of a need at a domain: there is none, it is not met, or it is.
    fn need(&self, topology: usize, domain: usize) -> i64 {
        match domain {
            0 => 0,
            _ if self.wanted.at(topology, domain) > 0 => 2,
            _ => 1,
        }
    }
}

/// What a node's numbers are: whether its own domains rule it out, the wishes there, what is said of each need there;
/// then its domain in each wide topology.
const BLOCKED: usize = 0;
const WISH: usize = 1;
const NEEDS: usize = 2;

impl Reading for Known {
    fn moved(&mut self, other: &PodView, place: usize, by: i64, nodes: &[NodeView], ground: &mut Ground) {
        let theirs = other.affinity.as_deref();
        if !self.picky && !self.wishing && theirs.is_none() {
            return;
        }
        let (pod, namespaces) = (Arc::clone(&self.pod), self.namespaces.clone());
        for term in aversions(other).iter().filter(|term| means(term, &pod, &namespaces)) {
            let topology = self.topology(term, nodes, ground);
            self.unwelcome.add(topology, place, by, ground);
        }
        let own = needs(&pod);
        if !own.is_empty() && own.iter().all(|term| means(term, other, &namespaces)) {
            self.needs.iter().for_each(|topology| self.wanted.add(*topology, place, by, ground));
        }
        for (term, topology) in aversions(&pod).iter().zip(&self.averse) {
            if means(term, other, &namespaces) {
                self.unwanted.add(*topology, place, by, ground);
            }
        }
        for (affinity, about) in [(pod.affinity.as_deref(), other), (theirs, &*pod)] {
            let Some(affinity) = affinity else { continue };
            let plus = affinity.preferred.iter().map(|wish| (&wish.term, wish.weight));
            let minus = affinity.anti_preferred.iter().map(|wish| (&wish.term, -wish.weight));
            for (term, weight) in plus.chain(minus).filter(|(term, _)| means(term, about, &namespaces)) {
                let topology = self.topology(term, nodes, ground);
                self.wishes.add(topology, place, weight * by, ground);
            }
        }
        let needed = self.plugin.needed;
        for term in needs(other).iter().filter(|term| needed != 0 && means(term, &pod, &namespaces)) {
            let topology = self.topology(term, nodes, ground);
            self.wishes.add(topology, place, needed * by, ground);
        }
    }

    fn width(&self) -> usize {
        NEEDS + self.needs.len() + self.wide.len()
    }

    fn sign(&self, place: usize, _: &NodeView, ground: &Ground, numbers: &mut Vec<i64>) {
        let own = |topology: usize| ground.own(topology);
        let domain = |topology: usize| ground.domain(topology, place);
        let unwanted = self.averse.iter().any(|t| own(*t) && self.unwanted.at(*t, domain(*t)) > 0);
        numbers.push(i64::from(unwanted || self.unwelcome.any(own, domain)));
        numbers.push(self.wishes.sum(own, domain));
        let needs = self.needs.iter().map(|topology| match own(*topology) {
            true => self.need(*topology, domain(*topology)),
            false => 0,
        });
        numbers.extend(needs);
        let wide = self.wide.iter().map(|topology| i64::try_from(domain(*topology)).unwrap_or_default());
        numbers.extend(wide);
    }

    fn picky(&self) -> bool {
        self.picky || self.unwelcome.some > 0
    }

    fn fits(&self, numbers: &[i64]) -> bool {
        let domain = |topology: usize| self.domain(topology, numbers);
        let need = |(at, topology): (usize, &usize)| match self.is_wide(*topology) {
            true => self.need(*topology, domain(*topology)),
            false => numbers[NEEDS + at],
        };
        let least = self.needs.iter().enumerate().map(need).min();
        // The first of a group whose members need each other has to begin somewhere.
        let first = || self.wanted.some == 0 && self.itself;
        if !least.is_none_or(|least| least == 2 || least == 1 && first()) {
            return false;
        }
        let wide = |topology: usize| self.is_wide(topology);
        let unwanted = self.averse.iter().any(|t| wide(*t) && self.unwanted.at(*t, domain(*t)) > 0);
        numbers[BLOCKED] == 0 && !unwanted && !self.unwelcome.any(wide, domain)
    }

    fn score(&self, weight: i64, groups: &mut [Group<'_>]) {
        if self.wishes.some == 0 || self.plugin.own_wishes_only && !self.wishing {
            return;
        }
        let sums: Vec<i64> = groups.iter().map(|group| self.wish(group.numbers)).collect();
        let least = sums.iter().copied().min().unwrap_or_default();
        let most = sums.iter().copied().max().unwrap_or_default();
        for (group, sum) in groups.iter_mut().zip(sums) {
            group.score += weight * Score::share(sum - least, most - least).get();
        }
    }
}

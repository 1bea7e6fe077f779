//! From what is left of things to what the node is short of, and what has to be done about it now. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    EvictionLimits, Pressure,
    limits::{Signal, Threshold},
};
use crate::gauge::Level;

/// What was measured. A signal that is not here could not be.
pub(super) type Levels = BTreeMap<Signal, Level>;

/// What came of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What the node is short of, or was lately.
    pub(super) pressures: BTreeSet<Pressure>,
    /// The threshold that has to be seen to.
    pub(super) reclaim: Option<Threshold>,
}

/// Remembers since when thresholds are met.
#[derive(Debug)]
pub(super) struct Watch {
    thresholds: Vec<Threshold>,
    transition: Duration,
    /// Since when each threshold is met, by its place. All times are uptimes: a wall clock that is set changes no span.
    since: BTreeMap<usize, Duration>,
    /// Those that were met for long enough, and after that want more than their value.
    due: BTreeSet<usize>,
    /// When the node was last short of something.
    last: BTreeMap<Pressure, Duration>,
}

impl Watch {
    pub(super) fn new(limits: &EvictionLimits) -> Self {
        let (thresholds, transition) = (limits.thresholds.clone(), limits.transition);
        Self { thresholds, transition, since: BTreeMap::new(), due: BTreeSet::new(), last: BTreeMap::new() }
    }

    /// Whether anything is watched.
    pub(super) fn idle(&self) -> bool {
        self.thresholds.is_empty()
    }

    /// Looks at what is left, at an uptime.
    pub(super) fn look(&mut self, levels: &Levels, now: Duration) -> Verdict {
        let met = |at: &usize| {
            let threshold = &self.thresholds[*at];
            let level = levels.get(&threshold.signal);
            level.is_some_and(|level| threshold.met(*level, self.due.contains(at)))
        };
        let since =
            (0..self.thresholds.len()).filter(met).map(|at| (at, *self.since.get(&at).unwrap_or(&now))).collect();
        self.since = since;
        for at in self.since.keys() {
            self.last.insert(self.thresholds[*at].signal.pressure(), now);
        }
        let old = |then: Duration, span: Duration| now.saturating_sub(then) >= span;
        self.last.retain(|_, last| !old(*last, self.transition));
        let due = self.since.iter().filter(|(at, since)| old(**since, self.thresholds[**at].grace)).map(|(at, _)| *at);
        self.due = due.collect();
        Verdict {
            pressures: self.last.keys().copied().collect(),
            reclaim: self.due.first().map(|at| self.thresholds[*at].clone()),
        }
    }

    /// Whether there is enough of everything, with what is to be reclaimed.
    pub(super) fn relieved(&self, levels: &Levels) -> bool {
        let met = |own: &Threshold| levels.get(&own.signal).is_some_and(|level| own.met(*level, true));
        !self.thresholds.iter().any(met)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> EvictionLimits {
        let map = |text: &str, between| EvictionLimits::statements(text, between).unwrap();
        EvictionLimits::read(
            &map("memory.available<100,nodefs.available<10%,pid.available<5", '<'),
            &map("nodefs.available<20%", '<'),
            &map("nodefs.available=60s", '='),
            &map("memory.available=50", '='),
        )
        .unwrap()
    }

    /// Looks at `memory disk pids` of 1000 each, by second, and says what is short and what is to be done.
    fn check(story: &[(u64, [u64; 3])], expect: &[&str]) {
        let mut watch = Watch::new(&limits());
        let said: Vec<String> = story
            .iter()
            .map(|(second, amounts)| {
                let level = |available| Level { available, capacity: 1000 };
                let signals = [Signal::Memory, Signal::NodeBytes, Signal::Processes];
                let levels = signals.into_iter().zip(amounts.map(level)).collect();
                let verdict = watch.look(&levels, Duration::from_secs(*second));
                let short: Vec<_> = verdict.pressures.iter().map(|pressure| pressure.condition()).collect();
                let act = verdict.reclaim.map_or("-".into(), |due| format!("{} {:?}", due.signal.name(), due.grace));
                format!("{} | {act}", short.join(" "))
            })
            .collect();
        assert_eq!(said, expect, "{story:?}");
    }

    #[test]
    fn a_hard_threshold_acts_at_once_and_until_more_is_reclaimed() {
        check(
            &[(0, [100, 900, 900]), (10, [99, 900, 900]), (20, [149, 900, 900]), (30, [150, 900, 900])],
            &[
                " | -",
                "MemoryPressure | memory.available 0ns",
                "MemoryPressure | memory.available 0ns",
                "MemoryPressure | -",
            ],
        );
    }

    #[test]
    fn a_soft_threshold_waits_for_its_grace_and_begins_anew() {
        check(
            &[
                (0, [900, 199, 900]),
                (50, [900, 200, 900]),
                (60, [900, 199, 900]),
                (119, [900, 150, 900]),
                (120, [900, 150, 900]),
            ],
            &[
                "DiskPressure | -",
                "DiskPressure | -",
                "DiskPressure | -",
                "DiskPressure | -",
                "DiskPressure | nodefs.available 60s",
            ],
        );
    }

    #[test]
    fn a_condition_goes_after_five_quiet_minutes() {
        check(
            &[(0, [900, 900, 4]), (299, [900, 900, 5]), (300, [900, 900, 5])],
            &["PIDPressure | pid.available 0ns", "PIDPressure | -", " | -"],
        );
    }

    #[test]
    fn memory_is_seen_to_first() {
        check(&[(0, [9, 9, 4])], &["MemoryPressure DiskPressure PIDPressure | memory.available 0ns"]);
    }

    #[test]
    fn what_cannot_be_measured_is_not_short() {
        let mut watch = Watch::new(&limits());
        let verdict = watch.look(&Levels::new(), Duration::ZERO);
        assert_eq!(verdict, Verdict { pressures: BTreeSet::new(), reclaim: None });
        assert!(watch.relieved(&Levels::new()));
    }
}

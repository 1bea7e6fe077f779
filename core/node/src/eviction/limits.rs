//! When a node makes room: thresholds in the words of KubeletConfiguration (`evictionHard`, `evictionSoft` and so on).

use std::{collections::BTreeMap, time::Duration};

use windlass_api::{
    duration,
    quantity::{Amount, Format},
};
use windlass_kernel::{Error, ErrorKind, Result};

use super::Pressure;
use crate::gauge::Level;

/// Values by signal, as flags and configuration files have them: `memory.available` and `100Mi`.
pub type Statements = BTreeMap<String, String>;

/// When a node says that it is short of something, makes room, and ends pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvictionLimits {
    pub(crate) thresholds: Vec<Threshold>,
    /// A condition of the node holds for at least so long after it was last so (`evictionPressureTransitionPeriod`).
    pub transition: Duration,
    /// The longest that a pod gets to end by itself at a soft threshold (`evictionMaxPodGracePeriod`). `None`: as long as it
    /// asks for.
    pub max_grace: Option<Duration>,
    /// How often the node is looked at.
    pub period: Duration,
    /// How often it is looked at what pods with limits have on disk (`volumeStatsAggPeriod`).
    pub storage_period: Duration,
}

impl Default for EvictionLimits {
    /// Hard thresholds for memory, space and inodes, as is [usual](EvictionLimits::usual).
    fn default() -> Self {
        let none = Statements::new();
        Self::read(&Self::usual(), &none, &none, &none).expect("what is usual can be read")
    }
}

impl EvictionLimits {
    /// No thresholds: only pods end that exceed their own limits of local storage.
    #[must_use]
    pub fn none() -> Self {
        Self {
            thresholds: vec![],
            transition: Duration::from_secs(300),
            max_grace: None,
            period: Duration::from_secs(10),
            storage_period: Duration::from_secs(60),
        }
    }

    /// Upstream's default of `evictionHard` on Linux.
    #[must_use]
    pub fn usual() -> Statements {
        let hard = [
            ("memory.available", "100Mi"),
            ("nodefs.available", "10%"),
            ("nodefs.inodesFree", "5%"),
            ("imagefs.available", "15%"),
            ("imagefs.inodesFree", "5%"),
        ];
        hard.map(|(signal, amount)| (signal.to_owned(), amount.to_owned())).into()
    }

    /// Thresholds as configuration files have them, in place of the usual ones: `evictionHard`, `evictionSoft`,
    /// `evictionSoftGracePeriod` and `evictionMinimumReclaim`. Amounts are quantities or percentages; `0%` and `100%` are none.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for unknown signals, for what is no amount, and for soft thresholds without a grace
    /// period.
    pub fn read(hard: &Statements, soft: &Statements, grace: &Statements, reclaim: &Statements) -> Result<Self> {
        let mut thresholds = Vec::new();
        for (name, text) in hard {
            let signal = Signal::of(name)?;
            thresholds.extend(value(name, text)?.map(|value| Threshold::hard(signal, value)));
        }
        for (name, text) in soft {
            let (signal, value) = (Signal::of(name)?, value(name, text)?);
            let grace = grace.get(name).ok_or_else(|| {
                invalid(format!("grace period must be specified for the soft eviction threshold {name}"))
            })?;
            let grace = duration::parse(grace).ok_or_else(|| {
                invalid(format!("{grace:?} is no grace period for the soft eviction threshold {name}"))
            })?;
            thresholds.extend(value.map(|value| Threshold { grace, ..Threshold::hard(signal, value) }));
        }
        for name in grace.keys() {
            Signal::of(name)?;
        }
        for (name, text) in reclaim {
            let (signal, least) = (Signal::of(name)?, amount(name, text)?);
            for threshold in thresholds.iter_mut().filter(|threshold| threshold.signal == signal) {
                threshold.reclaim = Some(least);
            }
        }
        Ok(Self { thresholds: complete(thresholds), ..Self::none() })
    }

    /// Reads pairs with commas between them, as flags have them: `memory.available<100Mi,nodefs.available<10%`, or with `=`
    /// for grace periods and what is to be reclaimed.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) for what is no pair.
    pub fn statements(text: &str, between: char) -> Result<Statements> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair
                .split_once(between)
                .ok_or_else(|| invalid(format!("malformed pair {pair:?}, expected SIGNAL{between}VALUE")))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        pairs.collect()
    }

    /// What pods may have of what a node has: hard thresholds keep the rest.
    pub(crate) fn allocatable(&self, capacity: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut allocatable = capacity.clone();
        for signal in [Signal::Memory, Signal::NodeBytes] {
            let name = signal.resource();
            let Some(all) = capacity.get(name).and_then(|text| text.parse::<Amount>().ok()) else { continue };
            let bytes = u64::try_from(all.as_i64()).unwrap_or(0);
            let hard = self.thresholds.iter().filter(|own| own.signal == signal && own.is_hard());
            if let Some(kept) = hard.map(|own| own.value.of(bytes)).max() {
                allocatable.insert(name.into(), (all - kept).max(Amount::ZERO).to_string());
            }
        }
        allocatable
    }
}

/// Memory is looked at once more for the pods alone, and before all else.
fn complete(mut thresholds: Vec<Threshold>) -> Vec<Threshold> {
    let memory = thresholds.iter().filter(|own| own.signal == Signal::Memory && own.is_hard());
    let pods: Vec<_> = memory.map(|own| Threshold { signal: Signal::PodMemory, ..own.clone() }).collect();
    thresholds.extend(pods);
    thresholds.sort_by_key(|threshold| (threshold.signal, threshold.grace));
    thresholds
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// The value of a threshold; `None` where it says that there is none.
fn value(name: &str, text: &str) -> Result<Option<Value>> {
    if matches!(text, "0%" | "100%") {
        return Ok(None);
    }
    match amount(name, text)? {
        Value::Amount(none) if none.is_zero() => {
            Err(invalid(format!("eviction threshold {name} must be positive: {text}")))
        }
        value => Ok(Some(value)),
    }
}

fn amount(name: &str, text: &str) -> Result<Value> {
    let parse = |text: &str| {
        let amount = text.parse::<Amount>().ok().filter(|amount| !amount.is_negative());
        amount.ok_or_else(|| invalid(format!("{text:?} is no amount for the eviction signal {name}")))
    };
    let Some(share) = text.strip_suffix('%') else { return parse(text).map(Value::Amount) };
    let share = u64::try_from(parse(share)?.milli_value()).unwrap_or(u64::MAX);
    if share > 100_000 {
        return Err(invalid(format!("eviction percentage threshold {name} must be <= 100%: {text}")));
    }
    Ok(Value::Share(share))
}

/// What is watched, in the order in which it is seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    Memory,
    /// The memory of all pods, where they have a control group of their own.
    PodMemory,
    NodeBytes,
    NodeInodes,
    ImageBytes,
    ImageInodes,
    Processes,
}

impl Signal {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::Memory, "memory.available"),
        (Self::PodMemory, "allocatableMemory.available"),
        (Self::NodeBytes, "nodefs.available"),
        (Self::NodeInodes, "nodefs.inodesFree"),
        (Self::ImageBytes, "imagefs.available"),
        (Self::ImageInodes, "imagefs.inodesFree"),
        (Self::Processes, "pid.available"),
    ];

    fn of(name: &str) -> Result<Self> {
        let known = Self::NAMES.iter().find(|(_, known)| *known == name).map(|(signal, _)| *signal);
        known.ok_or_else(|| {
            let names: Vec<_> = Self::NAMES.iter().map(|(_, known)| *known).collect();
            invalid(format!("unsupported eviction signal {name}; there are {}", names.join(", ")))
        })
    }

    /// Its name, for those who run the node.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(signal, _)| *signal == self).map_or("", |(_, name)| name)
    }

    /// The condition that tells that it is low.
    pub(crate) fn pressure(self) -> Pressure {
        match self {
            Self::Memory | Self::PodMemory => Pressure::Memory,
            Self::Processes => Pressure::Processes,
            Self::NodeBytes | Self::NodeInodes | Self::ImageBytes | Self::ImageInodes => Pressure::Disk,
        }
    }

    /// What pods use of it.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Memory | Self::PodMemory => "memory",
            Self::NodeBytes | Self::ImageBytes => "ephemeral-storage",
            Self::NodeInodes | Self::ImageInodes => "inodes",
            Self::Processes => "pids",
        }
    }

    /// The family of suffixes that its amounts are written with.
    pub(crate) fn format(self) -> Format {
        match self.resource() {
            "inodes" | "pids" => Format::Decimal,
            _ => Format::Binary,
        }
    }
}

/// An amount, or so many thousandths of a percent of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Amount(Amount),
    Share(u64),
}

impl Value {
    pub(crate) fn of(self, capacity: u64) -> Amount {
        match self {
            Self::Amount(amount) => amount,
            Self::Share(share) => {
                let part = u128::from(capacity) * u128::from(share) / 100_000;
                Amount::units(i64::try_from(part).unwrap_or(i64::MAX), Format::Binary)
            }
        }
    }
}

/// Below so much of a signal, something is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    pub(crate) signal: Signal,
    pub(crate) value: Value,
    /// It has to be so for so long; not at all for a hard threshold.
    pub(crate) grace: Duration,
    /// So much more than the value is wanted once something is done.
    pub(crate) reclaim: Option<Value>,
}

impl Threshold {
    fn hard(signal: Signal, value: Value) -> Self {
        Self { signal, value, grace: Duration::ZERO, reclaim: None }
    }

    /// Whether what there is too little of is wanted at once.
    pub(crate) fn is_hard(&self) -> bool {
        self.grace.is_zero()
    }

    /// Whether there is less than it wants, or, `whole`, less than it wants once something is done.
    pub(crate) fn met(&self, level: Level, whole: bool) -> bool {
        let extra = self.reclaim.filter(|_| whole).map_or(Amount::ZERO, |extra| extra.of(level.capacity));
        let available = Amount::units(i64::try_from(level.available).unwrap_or(i64::MAX), Format::Binary);
        self.value.of(level.capacity) + extra > available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str, between: char) -> Statements {
        EvictionLimits::statements(text, between).unwrap()
    }

    fn read(hard: &str, soft: &str, grace: &str, reclaim: &str) -> Result<EvictionLimits> {
        let [grace, reclaim] = [grace, reclaim].map(|text| statements(text, '='));
        EvictionLimits::read(&statements(hard, '<'), &statements(soft, '<'), &grace, &reclaim)
    }

    #[test]
    fn the_usual_thresholds_are_those_of_a_configuration() {
        let amounts = EvictionLimits::default().thresholds;
        let shown: Vec<_> =
            amounts.iter().map(|own| format!("{} {:?}", own.signal.name(), own.value.of(1 << 30).as_i64())).collect();
        assert_eq!(
            shown.join(", "),
            "memory.available 104857600, allocatableMemory.available 104857600, nodefs.available 107374182, \
             nodefs.inodesFree 53687091, imagefs.available 161061273, imagefs.inodesFree 53687091"
        );
        assert_eq!(read("", "", "", "").unwrap(), EvictionLimits::none());
        assert_eq!(read("nodefs.available<0%,pid.available<100%", "", "", "").unwrap(), EvictionLimits::none());
    }

    #[test]
    fn soft_thresholds_come_with_a_grace_and_may_reclaim_more() {
        let limits = read("", "nodefs.available<7.5%", "nodefs.available=1m30s", "nodefs.available=1Gi").unwrap();
        let [only] = &limits.thresholds[..] else { panic!("{limits:?}") };
        assert_eq!((only.grace, only.is_hard()), (Duration::from_secs(90), false));
        let level = |available| Level { available, capacity: 100 << 30 };
        let seven_and_a_half = (75 << 30) / 10;
        assert!(only.met(level(seven_and_a_half - 1), false) && !only.met(level(seven_and_a_half), false));
        assert!(only.met(level(seven_and_a_half), true) && !only.met(level(seven_and_a_half + (1 << 30)), true));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let check = |hard: &str, soft: &str, grace: &str, expect: &str| {
            let error = read(hard, soft, grace, "").unwrap_err();
            assert!(error.is(ErrorKind::Invalid) && error.to_string().contains(expect), "{error}");
        };
        check("cpu.available<1", "", "", "unsupported eviction signal cpu.available; there are memory.available, ");
        check("containerfs.available<1Gi", "", "", "unsupported eviction signal containerfs.available");
        check("memory.available<lots", "", "", "\"lots\" is no amount for the eviction signal memory.available");
        check("memory.available<0", "", "", "eviction threshold memory.available must be positive: 0");
        check("nodefs.available<101%", "", "", "must be <= 100%: 101%");
        check(
            "",
            "memory.available<1Gi",
            "",
            "grace period must be specified for the soft eviction threshold memory.available",
        );
        check("", "memory.available<1Gi", "memory.available=long", "\"long\" is no grace period");
        let error = EvictionLimits::statements("memory.available", '<').unwrap_err();
        assert!(error.to_string().contains("expected SIGNAL<VALUE"), "{error}");
    }

    #[test]
    fn what_hard_thresholds_keep_is_not_for_pods() {
        let check = |limits: EvictionLimits, expect: [&str; 3]| {
            let all = [("cpu", "2"), ("memory", "1000Mi"), ("ephemeral-storage", "1000Ki")];
            let capacity = all.map(|(name, amount)| (name.to_owned(), amount.to_owned())).into();
            let allocatable = limits.allocatable(&capacity);
            assert_eq!(all.map(|(name, _)| allocatable[name].as_str()), expect);
        };
        check(EvictionLimits::default(), ["2", "900Mi", "900Ki"]);
        check(EvictionLimits::none(), ["2", "1000Mi", "1000Ki"]);
        let soft = read("memory.available<2Gi", "nodefs.available<50%", "nodefs.available=1m", "").unwrap();
        check(soft, ["2", "0", "1000Ki"]);
    }
}

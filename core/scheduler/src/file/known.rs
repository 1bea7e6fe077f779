//! The plugins that there are, by upstream's names, and the points where each has a say.

use std::fmt;

/// A point where plugins have a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    PreEnqueue,
    QueueSort,
    PreFilter,
    Filter,
    PostFilter,
    PreScore,
    Score,
    Reserve,
    Permit,
    PreBind,
    Bind,
    PostBind,
}

impl Point {
    pub(super) const ALL: [Self; 12] = [
        Self::PreEnqueue,
        Self::QueueSort,
        Self::PreFilter,
        Self::Filter,
        Self::PostFilter,
        Self::PreScore,
        Self::Score,
        Self::Reserve,
        Self::Permit,
        Self::PreBind,
        Self::Bind,
        Self::PostBind,
    ];
}

impl fmt::Display for Point {
    /// As in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreEnqueue => "preEnqueue",
            Self::QueueSort => "queueSort",
            Self::PreFilter => "preFilter",
            Self::Filter => "filter",
            Self::PostFilter => "postFilter",
            Self::PreScore => "preScore",
            Self::Score => "score",
            Self::Reserve => "reserve",
            Self::Permit => "permit",
            Self::PreBind => "preBind",
            Self::Bind => "bind",
            Self::PostBind => "postBind",
        })
    }
}

/// A plugin that there is.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// How much its score counts unless told otherwise.
    pub(super) weight: u32,
    pub(super) points: &'static [Point],
}

const fn known(name: &'static str, weight: u32, points: &'static [Point]) -> Known {
    Known { name, weight, points }
}

const FILTERS: &[Point] = &[Point::PreFilter, Point::Filter];
const BOTH: &[Point] = &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score];

/// All of them, in the order in which they are asked.
pub(super) const KNOWN: [Known; 18] = [
    known("SchedulingGates", 0, &[Point::PreEnqueue]),
    known("PrioritySort", 0, &[Point::QueueSort]),
    known("NodeUnschedulable", 0, &[Point::Filter]),
    known("NodeName", 0, &[Point::Filter]),
    known("TaintToleration", 3, &[Point::Filter, Point::PreScore, Point::Score]),
    known("NodeAffinity", 2, BOTH),
    known("NodePorts", 0, FILTERS),
    known("NodeResourcesFit", 1, BOTH),
    known("VolumeRestrictions", 0, FILTERS),
    known("NodeVolumeLimits", 0, FILTERS),
    known("VolumeBinding", 0, &[Point::PreFilter, Point::Filter, Point::Reserve, Point::PreBind]),
    known("VolumeZone", 0, FILTERS),
    known("PodTopologySpread", 2, BOTH),
    known("InterPodAffinity", 2, BOTH),
    known("DefaultPreemption", 0, &[Point::PostFilter]),
    known("NodeResourcesBalancedAllocation", 1, &[Point::PreScore, Point::Score]),
    known("ImageLocality", 1, &[Point::Score]),
    known("DefaultBinder", 0, &[Point::Bind]),
];

/// Plugins of upstream's that there are not. To do without them is possible.
pub(super) const MISSING: [&str; 3] = ["DynamicResources", "GangScheduling", "NodeDeclaredFeatures"];

/// The plugin of a name.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

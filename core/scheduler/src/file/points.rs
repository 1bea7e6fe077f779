//! Which plugins a profile has at each point: upstream's, and what the file enables and disables.

use serde::Deserialize;
use windlass_kernel::Result;

use super::{
    in_range,
    known::{self, KNOWN, Known, MISSING, Point},
    unsupported, wrong,
};

/// A plugin as the file names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default)]
    weight: Option<i64>,
}

/// What is said of one point.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Set {
    enabled: Vec<Named>,
    disabled: Vec<Named>,
}

/// What is said of all points.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Plugins {
    multi_point: Set,
    pre_enqueue: Set,
    queue_sort: Set,
    pre_filter: Set,
    filter: Set,
    post_filter: Set,
    pre_score: Set,
    score: Set,
    reserve: Set,
    permit: Set,
    pre_bind: Set,
    bind: Set,
    post_bind: Set,
}

/// A plugin at a point.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    known: &'static Known,
    /// As the file says, if it does.
    weight: Option<u32>,
}

/// Every name stands for all plugins.
const ALL: &str = "*";

impl Plugins {
    fn at(&self, point: Point) -> &Set {
        match point {
            Point::PreEnqueue => &self.pre_enqueue,
            Point::QueueSort => &self.queue_sort,
            Point::PreFilter => &self.pre_filter,
            Point::Filter => &self.filter,
            Point::PostFilter => &self.post_filter,
            Point::PreScore => &self.pre_score,
            Point::Score => &self.score,
            Point::Reserve => &self.reserve,
            Point::Permit => &self.permit,
            Point::PreBind => &self.pre_bind,
            Point::Bind => &self.bind,
            Point::PostBind => &self.post_bind,
        }
    }
}

impl Set {
    fn disables(&self, name: &str) -> bool {
        self.disabled.iter().any(|own| own.name == ALL || own.name == name)
    }

    /// What is enabled, each a plugin that there is and that has a say at the point.
    fn chosen(&self, place: &str, point: Option<Point>) -> Result<Vec<Chosen>> {
        for (at, Named { name, .. }) in self.disabled.iter().enumerate() {
            if name != ALL && known::find(name).is_none() && !MISSING.contains(&name.as_str()) {
                return Err(unknown(&format!("{place}.disabled[{at}].name"), name));
            }
        }
        let mut all: Vec<Chosen> = Vec::new();
        for (at, Named { name, weight }) in self.enabled.iter().enumerate() {
            let place = format!("{place}.enabled[{at}]");
            let Some(known) = known::find(name) else {
                let place = format!("{place}.name");
                return Err(match MISSING.contains(&name.as_str()) {
                    true => unsupported(&place, format!("there is no plugin {name} yet: leave it out")),
                    false => unknown(&place, name),
                });
            };
            if let Some(point) = point.filter(|point| !known.points.contains(point)) {
                let points = listed(known.points.iter().map(ToString::to_string));
                let message = format!("{name} has no say at {point}, but at {points}");
                return Err(wrong(&format!("{place}.name"), message));
            }
            if all.iter().any(|other| other.known.name == known.name) {
                return Err(wrong(&format!("{place}.name"), format!("{name} is enabled twice: say it once")));
            }
            let weight = match weight {
                Some(weight) => {
                    in_range(&format!("{place}.weight"), *weight, 0, i32::MAX.into())?;
                    // Zero is as if nothing were said.
                    u32::try_from(*weight).ok().filter(|weight| *weight > 0)
                }
                None => None,
            };
            all.push(Chosen { known, weight });
        }
        Ok(all)
    }
}

fn unknown(place: &str, name: &str) -> windlass_kernel::Error {
    let known = listed(KNOWN.iter().map(|known| known.name.to_owned()));
    wrong(place, format!("there is no plugin {name:?}; there are {known}"))
}

fn listed(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The plugins at each point, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Resolved {
    at: Vec<(Point, Vec<Chosen>)>,
}

impl Resolved {
    pub(super) fn of(plugins: &Plugins, place: &str) -> Result<Self> {
        let everywhere = everywhere(&plugins.multi_point, &format!("{place}.multiPoint"))?;
        let mut at = Vec::new();
        for point in Point::ALL {
            let set = plugins.at(point);
            let own = set.chosen(&format!("{place}.{point}"), Some(point))?;
            let named = |list: &[Chosen], name: &str| list.iter().any(|other| other.known.name == name);
            let common = everywhere.iter().filter(|c| c.known.points.contains(&point) && !set.disables(c.known.name));
            let common: Vec<Chosen> = common.copied().collect();
            // Those named for both come first, as the point has them, then the common ones, then the point's others.
            let (both, others): (Vec<_>, Vec<_>) = own.into_iter().partition(|own| named(&common, own.known.name));
            let mut all = both;
            all.extend(common.iter().filter(|common| !named(&all, common.known.name)).copied().collect::<Vec<_>>());
            all.extend(others);
            if point == Point::Score {
                all.iter_mut().for_each(|own| own.weight = own.weight.or_else(|| weight(&everywhere, own.known)));
            }
            at.push((point, all));
        }
        let resolved = Self { at };
        resolved.check(place)?;
        Ok(resolved)
    }

    /// The names at a point.
    pub(super) fn names(&self, point: Point) -> impl Iterator<Item = &'static str> {
        self.chosen(point).map(|chosen| chosen.known.name)
    }

    /// The scores, each with its weight.
    pub(super) fn scores(&self) -> impl Iterator<Item = (u32, &'static str)> {
        self.chosen(Point::Score).map(|chosen| (chosen.weight.unwrap_or(1), chosen.known.name))
    }

    fn chosen(&self, point: Point) -> impl Iterator<Item = &Chosen> {
        self.at.iter().filter(move |(own, _)| *own == point).flat_map(|(_, all)| all)
    }

    fn has(&self, point: Point, name: &str) -> bool {
        self.names(point).any(|own| own == name)
    }

    /// Refuses what no host can run.
    fn check(&self, place: &str) -> Result<()> {
        for (point, name) in [(Point::QueueSort, "PrioritySort"), (Point::Bind, "DefaultBinder")] {
            if !self.has(point, name) {
                let message = format!("a profile cannot do without {name}: enable it");
                return Err(wrong(&format!("{place}.{point}"), message));
            }
        }
        if !self.has(Point::PreEnqueue, "SchedulingGates") {
            let message = "scheduling gates always hold pods back: do not disable SchedulingGates";
            return Err(unsupported(&format!("{place}.{}", Point::PreEnqueue), message));
        }
        // What the one finds out, the other needs.
        let pairs =
            [(Point::PreFilter, Point::Filter), (Point::PreScore, Point::Score), (Point::Reserve, Point::PreBind)];
        for (before, point) in pairs {
            let lone =
                self.chosen(point).find(|own| own.known.points.contains(&before) && !self.has(before, own.known.name));
            if let Some(Chosen { known: Known { name, .. }, .. }) = lone {
                let message = format!("{name} is disabled here and enabled at {point}: do the same at both");
                return Err(wrong(&format!("{place}.{before}"), message));
            }
        }
        Ok(())
    }
}

/// The plugins for all points: upstream's, with what is said of them.
fn everywhere(set: &Set, place: &str) -> Result<Vec<Chosen>> {
    let own = set.chosen(place, None)?;
    let mut all = Vec::new();
    for known in KNOWN.iter().filter(|known| !set.disables(known.name)) {
        let said = own.iter().find(|own| own.known.name == known.name).copied();
        let usual = Chosen { known, weight: Some(known.weight).filter(|weight| *weight > 0) };
        all.push(said.unwrap_or(usual));
    }
    // Those that are disabled and enabled again come last: so the file can put them in another order.
    all.extend(own.into_iter().filter(|own| set.disables(own.known.name)));
    Ok(all)
}

/// What a score counts that its point says nothing about.
fn weight(everywhere: &[Chosen], known: &Known) -> Option<u32> {
    everywhere.iter().find(|common| common.known.name == known.name)?.weight
}

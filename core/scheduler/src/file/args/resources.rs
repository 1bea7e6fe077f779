//! Which resources count, how much, and how full nodes are to be.

use serde::Deserialize;
use serde_json::Value;
use windlass_kernel::Result;

use super::super::{in_range, read, wrong};
use crate::plugins::{FitIgnoring, FitScoring, NodeResourcesBalancedAllocation};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct BalanceArgs {
    resources: Vec<Resource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct FitArgs {
    ignored_resources: Vec<String>,
    ignored_resource_groups: Vec<String>,
    scoring_strategy: Option<Strategy>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resource {
    name: String,
    #[serde(default)]
    weight: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Kind {
    #[default]
    LeastAllocated,
    MostAllocated,
    RequestedToCapacityRatio,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Strategy {
    #[serde(rename = "type")]
    kind: Kind,
    resources: Vec<Resource>,
    requested_to_capacity_ratio: Option<Ratio>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Ratio {
    shape: Vec<Point>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Point {
    utilization: i64,
    score: i64,
}

/// The resources with their weights, if there are any.
fn weighted<'a>(resources: &'a [Resource], place: &str, most: i64) -> Result<Vec<(&'a str, i64)>> {
    let mut all: Vec<(&str, i64)> = Vec::new();
    for (at, Resource { name, weight }) in resources.iter().enumerate() {
        let place = format!("{place}.resources[{at}]");
        if name.is_empty() || all.iter().any(|(other, _)| other == name) {
            return Err(wrong(&format!("{place}.name"), "each resource has a name, and is stated once"));
        }
        // Zero is as if nothing were said.
        let weight = if *weight == 0 { 1 } else { *weight };
        in_range(&format!("{place}.weight"), weight, 1, most)?;
        all.push((name, weight));
    }
    Ok(all)
}

pub(super) fn balance(tree: Value, place: &str) -> Result<NodeResourcesBalancedAllocation> {
    let args: BalanceArgs = read(tree, place)?;
    let resources = weighted(&args.resources, place, 1)?;
    if resources.is_empty() {
        return Ok(NodeResourcesBalancedAllocation::default());
    }
    let names: Vec<&str> = resources.into_iter().map(|(name, _)| name).collect();
    Ok(NodeResourcesBalancedAllocation::of(&names))
}

impl FitArgs {
    /// The score and the filter, where they are other than the usual ones.
    pub(super) fn plugins(self, place: &str) -> Result<(Option<FitScoring>, Option<FitIgnoring>)> {
        if let Some(at) = self.ignored_resources.iter().position(|name| !name.contains('/')) {
            let message = "only extended resources, such as example.com/device, can be ignored";
            return Err(wrong(&format!("{place}.ignoredResources[{at}]"), message));
        }
        if let Some(at) = self.ignored_resource_groups.iter().position(|name| name.is_empty() || name.contains('/')) {
            let message = "a group is what stands before the slash, such as example.com";
            return Err(wrong(&format!("{place}.ignoredResourceGroups[{at}]"), message));
        }
        let scoring = self.scoring_strategy.map(|own| own.scoring(&format!("{place}.scoringStrategy"))).transpose()?;
        let any = !self.ignored_resources.is_empty() || !self.ignored_resource_groups.is_empty();
        Ok((scoring, any.then(|| FitIgnoring::new(self.ignored_resources, self.ignored_resource_groups))))
    }
}

impl Strategy {
    fn scoring(&self, place: &str) -> Result<FitScoring> {
        let scoring = match (self.kind, &self.requested_to_capacity_ratio) {
            (Kind::LeastAllocated, None) => FitScoring::least_allocated(),
            (Kind::MostAllocated, None) => FitScoring::most_allocated(),
            (Kind::RequestedToCapacityRatio, ratio) => {
                let shape = ratio.as_ref().map(|ratio| ratio.shape.as_slice()).unwrap_or_default();
                FitScoring::ratio(&shaped(shape, &format!("{place}.requestedToCapacityRatio.shape"))?)
            }
            (_, Some(_)) => {
                let message = "it is for type: RequestedToCapacityRatio only";
                return Err(wrong(&format!("{place}.requestedToCapacityRatio"), message));
            }
        };
        let resources = weighted(&self.resources, place, 100)?;
        Ok(if resources.is_empty() { scoring } else { scoring.of(&resources) })
    }
}

fn shaped(shape: &[Point], place: &str) -> Result<Vec<(i64, i64)>> {
    if shape.is_empty() {
        return Err(wrong(place, "it needs at least one point, such as {utilization: 0, score: 0}"));
    }
    let mut before = -1;
    for (at, point) in shape.iter().enumerate() {
        in_range(&format!("{place}[{at}].utilization"), point.utilization, 0, 100)?;
        in_range(&format!("{place}[{at}].score"), point.score, 0, 10)?;
        if point.utilization <= before {
            let message = format!("{} is not more than that of the point before", point.utilization);
            return Err(wrong(&format!("{place}[{at}].utilization"), message));
        }
        before = point.utilization;
    }
    Ok(shape.iter().map(|point| (point.utilization, point.score)).collect())
}

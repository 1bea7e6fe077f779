//! The arguments of plugins (`pluginConfig`), read into the plugins themselves.

mod affinity;
mod resources;
mod spread;

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use windlass_kernel::{Result, scheduler::Spread};

use self::{affinity::AddedAffinity, resources::FitArgs, spread::SpreadArgs};
use super::{PluginConfig, in_range, known, known::MISSING, read, unsupported, wrong};
use crate::{
    plugins::{
        DefaultPreemption, Enough, FitIgnoring, FitScoring, InterPodAffinity, NodeAffinity,
        NodeResourcesBalancedAllocation,
    },
    profile::BIND_TIMEOUT,
};

/// The plugins that take arguments.
const TAKERS: [&str; 7] = [
    "DefaultPreemption",
    "InterPodAffinity",
    "NodeAffinity",
    "NodeResourcesBalancedAllocation",
    "NodeResourcesFit",
    "PodTopologySpread",
    "VolumeBinding",
];

/// The plugins as their arguments have them.
#[derive(Debug)]
pub(super) struct Args {
    pub(super) node_affinity: NodeAffinity,
    pub(super) near: InterPodAffinity,
    /// `None` for those of the system.
    pub(super) constraints: Option<Vec<Spread>>,
    /// `None` for the usual score.
    pub(super) scoring: Option<FitScoring>,
    pub(super) ignoring: Option<FitIgnoring>,
    pub(super) balance: NodeResourcesBalancedAllocation,
    pub(super) preemption: DefaultPreemption,
    /// How long claims may take to get their volumes.
    pub(super) bind_timeout: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PreemptionArgs {
    min_candidate_nodes_percentage: Option<i32>,
    min_candidate_nodes_absolute: Option<i32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct NearArgs {
    hard_pod_affinity_weight: Option<i32>,
    ignore_preferred_terms_of_existing_pods: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct NodeAffinityArgs {
    added_affinity: Option<AddedAffinity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct VolumeArgs {
    bind_timeout_seconds: Option<i64>,
    shape: Vec<Value>,
}

impl Args {
    pub(super) fn of(configs: Vec<PluginConfig>, place: &str) -> Result<Self> {
        let mut args = Self {
            node_affinity: NodeAffinity::default(),
            near: InterPodAffinity::default(),
            constraints: None,
            scoring: None,
            ignoring: None,
            balance: NodeResourcesBalancedAllocation::default(),
            preemption: DefaultPreemption::default(),
            bind_timeout: BIND_TIMEOUT,
        };
        let mut seen: Vec<String> = Vec::new();
        for (at, PluginConfig { name, args: tree }) in configs.into_iter().enumerate() {
            let place = format!("{place}[{at}]");
            if seen.contains(&name) {
                return Err(wrong(&format!("{place}.name"), format!("{name} is configured twice: say it once")));
            }
            if !TAKERS.contains(&name.as_str()) {
                return Err(takes_none(&format!("{place}.name"), &name));
            }
            let place = format!("{place}.args");
            let tree = typed(tree, &name, &place)?;
            args.take(&name, tree, &place)?;
            seen.push(name);
        }
        Ok(args)
    }

    fn take(&mut self, name: &str, tree: Value, place: &str) -> Result<()> {
        match name {
            "DefaultPreemption" => self.preemption = read::<PreemptionArgs>(tree, place)?.plugin(place)?,
            "InterPodAffinity" => self.near = read::<NearArgs>(tree, place)?.plugin(place)?,
            "NodeAffinity" => {
                if let Some(added) = read::<NodeAffinityArgs>(tree, place)?.added_affinity {
                    self.node_affinity = added.plugin(&format!("{place}.addedAffinity"))?;
                }
            }
            "NodeResourcesBalancedAllocation" => self.balance = resources::balance(tree, place)?,
            "NodeResourcesFit" => (self.scoring, self.ignoring) = read::<FitArgs>(tree, place)?.plugins(place)?,
            "PodTopologySpread" => self.constraints = read::<SpreadArgs>(tree, place)?.constraints(place)?,
            _ => {
                let args = read::<VolumeArgs>(tree, place)?;
                if !args.shape.is_empty() {
                    let message = "nodes are not scored by the capacity of storage: leave it out";
                    return Err(unsupported(&format!("{place}.shape"), message));
                }
                if let Some(seconds) = args.bind_timeout_seconds {
                    in_range(&format!("{place}.bindTimeoutSeconds"), seconds, 0, i64::MAX)?;
                    self.bind_timeout = Duration::from_secs(seconds.unsigned_abs());
                }
            }
        }
        Ok(())
    }
}

fn takes_none(place: &str, name: &str) -> windlass_kernel::Error {
    let takers = TAKERS.join(", ");
    if MISSING.contains(&name) {
        return unsupported(place, format!("there is no plugin {name} yet: leave it out"));
    }
    match known::find(name) {
        Some(_) => wrong(place, format!("{name} takes no arguments; those that do are {takers}")),
        None => wrong(place, format!("there is no plugin {name:?}; those with arguments are {takers}")),
    }
}

/// Arguments without what says of which type they are, if they are of that.
fn typed(tree: Value, name: &str, place: &str) -> Result<Value> {
    let Value::Object(mut fields) = tree else {
        return match tree {
            Value::Null => Ok(Value::Object(serde_json::Map::new())),
            _ => Err(wrong(place, "arguments are fields and their values")),
        };
    };
    for (field, expect) in [("apiVersion", super::VERSION.to_owned()), ("kind", format!("{name}Args"))] {
        if let Some(found) = fields.remove(field).filter(|found| *found != expect.as_str()) {
            return Err(wrong(&format!("{place}.{field}"), format!("it is {found}, and has to be {expect:?}")));
        }
    }
    Ok(Value::Object(fields))
}

impl PreemptionArgs {
    fn plugin(self, place: &str) -> Result<DefaultPreemption> {
        let usual = Enough::default();
        let number = |field: &str, said: Option<i32>, usual: usize, most: i64| {
            let Some(said) = said else { return Ok(usual) };
            in_range(&format!("{place}.{field}"), said.into(), 0, most)?;
            Ok(usize::try_from(said).unwrap_or_default())
        };
        let percentage =
            number("minCandidateNodesPercentage", self.min_candidate_nodes_percentage, usual.percentage, 100)?;
        let absolute =
            number("minCandidateNodesAbsolute", self.min_candidate_nodes_absolute, usual.absolute, i64::MAX)?;
        if (percentage, absolute) == (0, 0) {
            let message = "no node could be chosen: let this or minCandidateNodesPercentage be more than 0";
            return Err(wrong(&format!("{place}.minCandidateNodesAbsolute"), message));
        }
        Ok(DefaultPreemption { enough: Enough { percentage, absolute } })
    }
}

impl NearArgs {
    fn plugin(self, place: &str) -> Result<InterPodAffinity> {
        let usual = InterPodAffinity::default();
        let needed = self.hard_pod_affinity_weight.map_or(usual.needed, i64::from);
        in_range(&format!("{place}.hardPodAffinityWeight"), needed, 0, 100)?;
        Ok(InterPodAffinity { needed, own_wishes_only: self.ignore_preferred_terms_of_existing_pods })
    }
}

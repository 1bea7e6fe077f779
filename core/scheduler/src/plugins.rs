//! The default plugins, one file for each concern. Their names and reasons are those that users of Kubernetes know.

mod balance;
mod fit;
mod images;
mod near;
mod node_affinity;
mod nodes;
mod ports;
mod preemption;
mod spread;
mod taints;

pub use self::{
    balance::NodeResourcesBalancedAllocation,
    fit::NodeResourcesFit,
    images::ImageLocality,
    near::InterPodAffinity,
    node_affinity::NodeAffinity,
    nodes::{NodeName, NodeUnschedulable},
    ports::NodePorts,
    preemption::DefaultPreemption,
    spread::PodTopologySpread,
    taints::TaintToleration,
};
use crate::framework::Framework;

/// Upstream's default plugins in their order, with their weights.
pub(crate) fn default_framework() -> Framework {
    Framework::empty()
        .pre_filter(NodeAffinity)
        .pre_filter(NodePorts)
        .pre_filter(PodTopologySpread)
        .pre_filter(InterPodAffinity)
        .filter(NodeUnschedulable)
        .filter(NodeName)
        .filter(TaintToleration)
        .filter(NodeAffinity)
        .filter(NodePorts)
        .filter(NodeResourcesFit)
        .filter(PodTopologySpread)
        .filter(InterPodAffinity)
        .post_filter(DefaultPreemption)
        .score(3, TaintToleration)
        .score(2, NodeAffinity)
        .score(2, PodTopologySpread)
        .score(2, InterPodAffinity)
        .score(1, NodeResourcesFit)
        .score(1, NodeResourcesBalancedAllocation)
        .score(1, ImageLocality)
}

#[cfg(test)]
pub(crate) mod fixture;

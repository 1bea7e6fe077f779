//! The default plugins, one file for each concern. Their names and reasons are those that users of Kubernetes know.

mod balance;
mod crashed;
mod fit;
mod images;
mod near;
mod node_affinity;
mod nodes;
mod packing;
mod ports;
mod preemption;
mod spread;
mod taints;
pub(crate) mod volumes;

pub use self::{
    balance::NodeResourcesBalancedAllocation,
    crashed::CrashedBefore,
    fit::{FitScoring, NodeResourcesFit},
    images::ImageLocality,
    near::InterPodAffinity,
    node_affinity::NodeAffinity,
    nodes::{NodeName, NodeUnschedulable},
    packing::Packing,
    ports::NodePorts,
    preemption::{BandedPreemption, DefaultPreemption},
    spread::{PodTopologySpread, Spreading},
    taints::TaintToleration,
    volumes::{VolumeBinding, VolumeRestrictions, VolumeZone},
};
pub(crate) use self::{crashed::Crashes, spread::Domains};
use crate::framework::Framework;

/// Upstream's default plugins in their order, with their weights.
pub(crate) fn default_framework() -> Framework {
    Framework::empty()
        .pre_filter(NodeAffinity)
        .pre_filter(NodePorts)
        .pre_filter(VolumeRestrictions)
        .pre_filter(VolumeBinding)
        .pre_filter(VolumeZone)
        .pre_filter(PodTopologySpread)
        .pre_filter(InterPodAffinity)
        .filter(NodeUnschedulable)
        .filter(NodeName)
        .filter(TaintToleration)
        .filter(NodeAffinity)
        .filter(NodePorts)
        .filter(NodeResourcesFit)
        .filter(VolumeRestrictions)
        .filter(VolumeBinding)
        .filter(VolumeZone)
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
        .gauge(TaintToleration)
        .gauge(NodeAffinity)
        .gauge(PodTopologySpread)
        .gauge(InterPodAffinity)
        .gauge(ImageLocality)
}

#[cfg(test)]
pub(crate) mod fixture;

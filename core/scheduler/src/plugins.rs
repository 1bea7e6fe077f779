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
    fit::{FitIgnoring, FitScoring, NodeResourcesFit},
    images::ImageLocality,
    near::InterPodAffinity,
    node_affinity::NodeAffinity,
    nodes::{NodeName, NodeUnschedulable},
    packing::Packing,
    ports::NodePorts,
    preemption::{BandedPreemption, DefaultPreemption, Enough},
    spread::{PodTopologySpread, Spreading},
    taints::TaintToleration,
    volumes::{NodeVolumeLimits, VolumeBinding, VolumeRestrictions, VolumeZone},
};
pub(crate) use self::{crashed::Crashes, preemption::Rooms, spread::Usual};
use crate::framework::Framework;

/// Upstream's default plugins in their order, with their weights.
pub(crate) fn default_framework() -> Framework {
    Framework::empty()
        .pre_filter(NodeAffinity::default())
        .pre_filter(NodePorts)
        .pre_filter(VolumeRestrictions)
        .pre_filter(NodeVolumeLimits)
        .pre_filter(VolumeBinding)
        .pre_filter(VolumeZone)
        .pre_filter(PodTopologySpread)
        .pre_filter(InterPodAffinity::default())
        .filter(NodeUnschedulable)
        .filter(NodeName)
        .filter(TaintToleration)
        .filter(NodeAffinity::default())
        .filter(NodePorts)
        .filter(NodeResourcesFit)
        .filter(VolumeRestrictions)
        .filter(NodeVolumeLimits)
        .filter(VolumeBinding)
        .filter(VolumeZone)
        .filter(PodTopologySpread)
        .filter(InterPodAffinity::default())
        .post_filter(DefaultPreemption::default())
        .score(3, TaintToleration)
        .score(2, NodeAffinity::default())
        .score(1, NodeResourcesFit)
        .score(2, PodTopologySpread)
        .score(2, InterPodAffinity::default())
        .score(1, NodeResourcesBalancedAllocation::default())
        .score(1, ImageLocality)
        .gauge(TaintToleration)
        .gauge(NodeAffinity::default())
        .gauge(PodTopologySpread)
        .gauge(InterPodAffinity::default())
        .gauge(ImageLocality)
}

#[cfg(test)]
pub(crate) mod fixture;

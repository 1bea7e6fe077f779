//! A profile from what was read.

use super::{args::Args, known::Point, points::Resolved};
use crate::{
    Framework,
    plugins::{
        ImageLocality, NodeName, NodePorts, NodeResourcesFit, NodeUnschedulable, NodeVolumeLimits, PodTopologySpread,
        TaintToleration, VolumeBinding, VolumeRestrictions, VolumeZone,
    },
    profile::Profile,
};

pub(super) fn profile(name: &str, plugins: &Resolved, args: &Args, sample: Option<usize>) -> Profile {
    let mut framework = Framework::empty();
    for name in plugins.names(Point::PreFilter) {
        framework = pre_filter(framework, name, args);
    }
    for name in plugins.names(Point::Filter) {
        framework = filter(framework, name, args);
    }
    for _ in plugins.names(Point::PostFilter) {
        framework = framework.post_filter(args.preemption);
    }
    for (weight, name) in plugins.scores() {
        framework = score(framework, weight, name, args);
    }
    framework = framework
        .gauge(TaintToleration)
        .gauge(args.node_affinity.clone())
        .gauge(PodTopologySpread)
        .gauge(args.near)
        .gauge(ImageLocality);
    if let Some(constraints) = &args.constraints {
        framework = framework.default_constraints(constraints);
    }
    if let Some(percentage) = sample {
        framework = framework.sample(percentage);
    }
    let binds_volumes = plugins.names(Point::PreBind).any(|name| name == "VolumeBinding");
    let profile = Profile::new(name, framework).volumes_within(binds_volumes.then_some(args.bind_timeout));
    // All its plugins are known.
    profile.trusted()
}

fn pre_filter(framework: Framework, name: &str, args: &Args) -> Framework {
    match name {
        "NodeAffinity" => framework.pre_filter(args.node_affinity.clone()),
        "NodePorts" => framework.pre_filter(NodePorts),
        "VolumeRestrictions" => framework.pre_filter(VolumeRestrictions),
        "NodeVolumeLimits" => framework.pre_filter(NodeVolumeLimits),
        "VolumeBinding" => framework.pre_filter(VolumeBinding),
        "VolumeZone" => framework.pre_filter(VolumeZone),
        "PodTopologySpread" => framework.pre_filter(PodTopologySpread),
        "InterPodAffinity" => framework.pre_filter(args.near),
        // The filter of this name finds out everything itself.
        _ => framework,
    }
}

fn filter(framework: Framework, name: &str, args: &Args) -> Framework {
    match name {
        "NodeUnschedulable" => framework.filter(NodeUnschedulable),
        "NodeName" => framework.filter(NodeName),
        "TaintToleration" => framework.filter(TaintToleration),
        "NodeAffinity" => framework.filter(args.node_affinity.clone()),
        "NodePorts" => framework.filter(NodePorts),
        "NodeResourcesFit" => match &args.ignoring {
            Some(ignoring) => framework.filter(ignoring.clone()),
            None => framework.filter(NodeResourcesFit),
        },
        "VolumeRestrictions" => framework.filter(VolumeRestrictions),
        "NodeVolumeLimits" => framework.filter(NodeVolumeLimits),
        "VolumeBinding" => framework.filter(VolumeBinding),
        "VolumeZone" => framework.filter(VolumeZone),
        "PodTopologySpread" => framework.filter(PodTopologySpread),
        "InterPodAffinity" => framework.filter(args.near),
        other => unreachable!("{other} has no say about single nodes"),
    }
}

fn score(framework: Framework, weight: u32, name: &str, args: &Args) -> Framework {
    match name {
        "TaintToleration" => framework.score(weight, TaintToleration),
        "NodeAffinity" => framework.score(weight, args.node_affinity.clone()),
        "PodTopologySpread" => framework.score(weight, PodTopologySpread),
        "InterPodAffinity" => framework.score(weight, args.near),
        "NodeResourcesFit" => match &args.scoring {
            Some(scoring) => framework.score(weight, scoring.clone()),
            None => framework.score(weight, NodeResourcesFit),
        },
        "NodeResourcesBalancedAllocation" => framework.score(weight, args.balance.clone()),
        "ImageLocality" => framework.score(weight, ImageLocality),
        other => unreachable!("{other} has no score"),
    }
}

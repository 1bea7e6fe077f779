//! What all nodes of a cluster are told alike of the addresses of pods, under the names that Kubernetes' users know.

use std::str::FromStr;

use clap::Args as Arguments;
use windlass::real::{CLUSTER_RANGE, ContainerNode, Routing};

use super::Range;

#[derive(Debug, Arguments)]
pub(crate) struct PodNetwork {
    /// The range of which all nodes have theirs for their pods: the same on all nodes [default: 10.88.0.0/16].
    #[arg(long, value_name = "RANGE")]
    pub(crate) cluster_cidr: Option<Range>,
    /// How pods of other nodes are reached: through the nodes where all are in one subnet, in VXLAN packets, or not at all, where
    /// somebody else sees to it: the same on all nodes.
    #[arg(long, value_name = "routed|vxlan|off", default_value = "routed")]
    pub(crate) pod_routes: PodRoutes,
}

impl PodNetwork {
    /// Tells a node.
    pub(crate) fn tell(&self, node: &mut ContainerNode) {
        node.cluster_range = self.cluster_cidr.map_or(CLUSTER_RANGE, |Range(range)| range);
        node.routing = self.pod_routes.0;
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PodRoutes(Option<Routing>);

impl FromStr for PodRoutes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "routed" => Ok(Self(Some(Routing::Routed))),
            "vxlan" => Ok(Self(Some(Routing::Vxlan))),
            "off" => Ok(Self(None)),
            _ => Err("expected routed, vxlan or off".into()),
        }
    }
}

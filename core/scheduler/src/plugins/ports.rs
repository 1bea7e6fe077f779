//! Ports of the node: two pods cannot take the same.

use windlass_kernel::scheduler::{
    Change, Cure, Cycle, Detail, Edit, Filter, Fit, HostPort, NodeView, Nodes, PodView, PreFilter, Prepared, Scope,
};

/// Keeps pods from nodes where a port they take is taken.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts;

const NAME: &str = "NodePorts";

impl PreFilter for NodePorts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn pre_filter(&self, _: &mut Cycle, pod: &PodView, _: &Nodes<'_>) -> Prepared {
        if pod.ports.is_empty() { Prepared::Skip } else { Prepared::Ask }
    }
}

impl Filter for NodePorts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn filter(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Fit {
        let taken = node.has_ports()
            && node
                .pods()
                .iter()
                .flat_map(|other| &other.ports)
                .any(|other| pod.ports.iter().any(|own| own.collides(other)));
        Fit::or_no(!taken, "node(s) didn't have free ports for the requested pod ports")
    }

    fn scope(&self) -> Scope {
        Scope::Node
    }

    fn helped_by(&self, pod: &PodView, change: &Change<'_>) -> bool {
        match change {
            Change::NodeAdded(_) => true,
            Change::PodGone(other) => other.ports.iter().any(|other| pod.ports.iter().any(|own| own.collides(other))),
            _ => false,
        }
    }

    fn details(&self, _: &Cycle, pod: &PodView, node: &NodeView) -> Vec<Detail> {
        taken(pod, node).cloned().map(Detail::Port).collect()
    }

    /// To do without the ports that are taken.
    fn cures(&self, _: &Cycle, pod: &PodView, node: &NodeView, _: &Nodes<'_>) -> Vec<Cure> {
        vec![taken(pod, node).cloned().map(Edit::DropPort).collect()]
    }
}

/// The pod's ports that others of a node have.
fn taken<'a>(pod: &'a PodView, node: &'a NodeView) -> impl Iterator<Item = &'a HostPort> {
    let others = || node.pods().iter().flat_map(|other| &other.ports);
    pod.ports.iter().filter(move |own| others().any(|other| own.collides(other)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugins::fixture::{node, pod, prepared, with};

    fn taking(ports: &Value) -> PodView {
        pod(json!({"containers": [{"name": "c", "ports": ports}]}))
    }

    #[track_caller]
    fn check(taken: &Value, wanted: &Value, expect: &str) {
        let node = with(node("a", &[], json!({})), [taking(taken)]);
        assert_eq!(prepared(&NodePorts, &taking(wanted), &[node]), [expect], "{taken} {wanted}");
    }

    #[test]
    fn a_port_is_taken_for_its_protocol_and_address() {
        let no = "no: node(s) didn't have free ports for the requested pod ports";
        let port = |port: i32, protocol: &str, ip: &str| json!([{"containerPort": 1, "hostPort": port, "protocol": protocol, "hostIP": ip}]);
        check(&port(80, "TCP", ""), &port(80, "TCP", ""), no);
        check(&port(80, "TCP", ""), &port(80, "UDP", ""), "yes");
        check(&port(80, "TCP", "10.0.0.1"), &port(80, "TCP", "10.0.0.2"), "yes");
        check(&port(80, "TCP", "10.0.0.1"), &port(80, "TCP", "0.0.0.0"), no);
        check(&port(80, "TCP", ""), &port(81, "TCP", ""), "yes");
        check(&port(80, "TCP", ""), &json!([{"containerPort": 80}]), "skip");
    }
}

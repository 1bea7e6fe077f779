//! Which addresses and ports a service holds and which it still needs. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use serde_json::{Value, json};
use windlass_kernel::error::Result;

use crate::{errors, object};

const NONE: &str = "None";

/// What a service holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    pub(super) ips: BTreeSet<IpAddr>,
    pub(super) ports: BTreeSet<u16>,
}

impl Holdings {
    pub(super) fn of(service: &Value) -> Self {
        let spec = &service["spec"];
        if kind(spec) == "ExternalName" {
            return Self::default();
        }
        let ips = spec["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let ports = ports(spec).filter_map(|port| port["nodePort"].as_u64());
        let ports = ports.chain(spec["healthCheckNodePort"].as_u64()).filter(|port| *port > 0);
        Self {
            ips: ips.filter_map(|ip| ip.parse().ok()).collect(),
            ports: ports.filter_map(|port| u16::try_from(port).ok()).collect(),
        }
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        Self {
            ips: self.ips.difference(&other.ips).copied().collect(),
            ports: self.ports.difference(&other.ports).copied().collect(),
        }
    }
}

/// What a service still needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) ip: bool,
    /// The positions of the ports without a node port.
    pub(super) ports: Vec<usize>,
    pub(super) health: bool,
}

impl Wanted {
    pub(super) fn of(service: &Value) -> Self {
        let spec = &service["spec"];
        let kind = kind(spec);
        let balanced = kind == "LoadBalancer";
        let exposed = kind == "NodePort" || (balanced && spec["allocateLoadBalancerNodePorts"] != false);
        let lacks = |port: &Value| port["nodePort"].as_u64().unwrap_or_default() == 0;
        let lacking = ports(spec).enumerate().filter(|(_, port)| exposed && lacks(port)).map(|(at, _)| at);
        Self {
            ip: kind != "ExternalName" && object::is_empty(&spec["clusterIPs"]),
            ports: lacking.collect(),
            health: balanced
                && spec["externalTrafficPolicy"] == "Local"
                && spec["healthCheckNodePort"].as_u64().unwrap_or_default() == 0,
        }
    }
}

/// Settles the address families: this cluster gives IPv4 addresses.
pub(super) fn families(service: &mut Value) -> Result<()> {
    let name = object::name(service).to_owned();
    let spec = object::child_mut(service, "spec");
    let text = |field: &str| spec.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, address, policy) = (text("type"), text("clusterIP"), text("ipFamilyPolicy"));
    if kind == "ExternalName" {
        return Ok(());
    }
    if object::is_empty(spec.get("clusterIPs").unwrap_or(&Value::Null)) && !address.is_empty() {
        spec.insert("clusterIPs".into(), json!([address]));
    }
    let headless = spec.get("clusterIPs").is_some_and(|ips| ips[0] == NONE);
    let adrift = headless && object::is_empty(spec.get("selector").unwrap_or(&Value::Null));
    let asked: Vec<String> = spec
        .get("ipFamilies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let mut causes = Vec::new();
    if !adrift {
        if policy == "RequireDualStack" {
            let why = "this cluster is not configured for dual-stack services";
            causes.push(errors::bad_value("spec.ipFamilyPolicy", json!(policy), why));
        }
        for (at, family) in asked.iter().enumerate().filter(|(_, family)| *family == "IPv6") {
            causes.push(errors::bad_value(
                &format!("spec.ipFamilies[{at}]"),
                json!(family),
                "not configured on this cluster",
            ));
        }
    }
    if !causes.is_empty() {
        return Err(errors::invalid("", "Service", &name, causes));
    }
    if policy.is_empty() {
        let default = if adrift && asked.len() != 1 { "RequireDualStack" } else { "SingleStack" };
        spec.insert("ipFamilyPolicy".into(), default.into());
    }
    if asked.is_empty() {
        let both = adrift && spec.get("ipFamilyPolicy").is_some_and(|policy| policy != "SingleStack");
        spec.insert("ipFamilies".into(), if both { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) });
    }
    Ok(())
}

/// Gives the service its address.
pub(super) fn set_ip(service: &mut Value, ip: Ipv4Addr) {
    let spec = object::child_mut(service, "spec");
    spec.insert("clusterIP".into(), ip.to_string().into());
    spec.insert("clusterIPs".into(), json!([ip.to_string()]));
}

/// Gives a port its node port.
pub(super) fn set_port(service: &mut Value, at: usize, port: u16) {
    if let Some(entry) = service.pointer_mut(&format!("/spec/ports/{at}")) {
        object::as_map(entry).insert("nodePort".into(), port.into());
    }
}

/// The node port that another protocol of the same port has already, which this one shares.
pub(super) fn shared_port(service: &Value, at: usize) -> Option<u16> {
    let spec = &service["spec"];
    let own = ports(spec).nth(at)?;
    let alike = |other: &&Value| other["port"] == own["port"] && other["protocol"] != own["protocol"];
    let shared = ports(spec).filter(alike).find_map(|other| other["nodePort"].as_u64().filter(|port| *port > 0))?;
    let clash = ports(spec).any(|port| port["nodePort"] == shared && port["protocol"] == own["protocol"]);
    u16::try_from(shared).ok().filter(|_| !clash)
}

/// The field that holds a node port, for messages.
pub(super) fn field_of(service: &Value, port: u16) -> String {
    let at = ports(&service["spec"]).position(|entry| entry["nodePort"] == port);
    at.map_or("spec.healthCheckNodePort".into(), |at| format!("spec.ports[{at}].nodePort"))
}

fn kind(spec: &Value) -> &str {
    spec["type"].as_str().unwrap_or("ClusterIP")
}

fn ports(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["ports"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &Value, expect: &str) {
        let mut service = json!({"metadata": {"name": "s"}, "spec": spec});
        let said = match families(&mut service) {
            Ok(()) => {
                let Wanted { ip, ports, health } = Wanted::of(&service);
                format!(
                    "{} {} {ip} {ports:?} {health}",
                    service["spec"]["ipFamilyPolicy"], service["spec"]["ipFamilies"]
                )
            }
            Err(error) => error.message().to_owned(),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn a_service_needs_what_its_type_says() {
        check(&json!({"ports": [{"port": 1}]}), r#""SingleStack" ["IPv4"] true [] false"#);
        check(&json!({"clusterIP": "None", "selector": {"a": "b"}}), r#""SingleStack" ["IPv4"] false [] false"#);
        check(&json!({"clusterIP": "None"}), r#""RequireDualStack" ["IPv4","IPv6"] false [] false"#);
        check(
            &json!({"type": "NodePort", "ports": [{"nodePort": 30001}, {}]}),
            r#""SingleStack" ["IPv4"] true [1] false"#,
        );
        let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
        check(&local, r#""SingleStack" ["IPv4"] true [] true"#);
        check(&json!({"type": "ExternalName"}), "null null false [] false");
        check(
            &json!({"ipFamilyPolicy": "RequireDualStack"}),
            r#"Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services"#,
        );
    }
}

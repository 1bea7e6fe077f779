//! The ranges that cluster IPs are given from: what the ServiceCIDRs of the cluster say (KEP-1880).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde_json::{Value, json};
use windlass_kernel::{
    Document,
    error::Result,
    store::{Condition, Key, KeyRange, ListSpec, ReadAt, Revision},
};

use crate::{object, server::ApiServer};

/// The ServiceCIDR that every cluster has.
const DEFAULT: &str = "kubernetes";

/// The addresses and ports that services are given.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// The cluster IPs that a new cluster gives; what it gives later, its ServiceCIDRs say.
    pub services: Ipv4Net,
    /// The first and the last node port.
    pub node_ports: (u16, u16),
}

impl Default for Ranges {
    fn default() -> Self {
        Self { services: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12), node_ports: (30_000, 32_767) }
    }
}

impl Ranges {
    /// The address of the service that stands for the API server: the first of the range.
    pub(crate) fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.services.network().to_bits().saturating_add(1))
    }

    /// The ServiceCIDR that a new cluster has. It says of itself that it is ready, so that the first services need not
    /// wait for a controller.
    pub(crate) fn object(&self, now: &str) -> Value {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": DEFAULT},
            "spec": {"cidrs": [self.services.to_string()]},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "", "lastTransitionTime": now,
                "message": "Kubernetes default Service CIDR is ready"}]}})
    }
}

/// A range that cluster IPs are given from.
#[derive(Debug)]
pub(super) struct Range {
    net: Ipv4Net,
    /// The ServiceCIDR that says so, and its revision.
    source: (Key, Revision),
}

/// The ranges of all ServiceCIDRs that are ready, the default one's first.
pub(super) async fn read(server: &ApiServer) -> Result<Vec<Range>> {
    let served = server.parts.registry.known("networking.k8s.io", "v1", "servicecidrs")?;
    let range = KeyRange::prefix(&served.collection(""));
    let listing = server.parts.store.list(&ListSpec { range, at: ReadAt::Latest, limit: None }).await?;
    let mut ranges = Vec::new();
    for entry in listing.entries {
        let source = (entry.key.clone(), entry.modified);
        let cidr = Document::stored(entry)?.value()?;
        ranges.extend(given(&cidr).into_iter().map(|net| (object::name(&cidr) != DEFAULT, net, source.clone())));
    }
    ranges.sort_by_key(|(other, ..)| *other);
    Ok(ranges.into_iter().map(|(_, net, source)| Range { net, source }).collect())
}

/// The IPv4 ranges that a ServiceCIDR gives addresses from: none while it is not ready. One that nobody has judged yet is.
fn given(cidr: &Value) -> Vec<Ipv4Net> {
    let mut conditions = cidr["status"]["conditions"].as_array().into_iter().flatten();
    let unready = conditions.any(|own| own["type"] == "Ready" && own["status"] != "True");
    if unready || !object::is_empty(object::meta(cidr, "deletionTimestamp")) {
        return Vec::new();
    }
    let texts = cidr["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| text.parse().ok()).collect()
}

impl Range {
    pub(super) fn net(&self) -> Ipv4Net {
        self.net
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if self.net.contains(&ip))
    }

    /// Whether the address can be given: neither the network nor the broadcast address.
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        self.contains(ip) && ip != IpAddr::V4(self.net.network()) && ip != IpAddr::V4(self.net.broadcast())
    }

    /// The first address that is drawn, and how many are: the lower ones are left to those who choose theirs (KEP-3070).
    pub(super) fn drawn(&self) -> (u32, u32) {
        let (first, last) = (self.net.network().to_bits(), self.net.broadcast().to_bits());
        let size = last - first;
        let offset = if size <= 16 { 0 } else { (size / 16).clamp(16, 256) };
        (first.saturating_add(1 + offset), size.saturating_sub(1 + offset))
    }

    /// Holds while the ServiceCIDR is as it was read: nobody is given an address of one that is being deleted.
    pub(super) fn stands(&self) -> Condition {
        let (key, revision) = &self.source;
        Condition::Unchanged(key.clone(), *revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(meta: &Value, status: &Value, expect: &[&str]) {
        let spec = json!({"cidrs": ["10.0.0.0/24", "fd00::/64"]});
        let given = given(&json!({"metadata": meta, "spec": spec, "status": {"conditions": status}}));
        assert_eq!(given.iter().map(ToString::to_string).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_range_gives_addresses_while_it_is_ready() {
        let ready = |status: &str| json!([{"type": "Ready", "status": status}]);
        check(&json!({}), &ready("True"), &["10.0.0.0/24"]);
        check(&json!({}), &json!([]), &["10.0.0.0/24"]);
        check(&json!({}), &ready("False"), &[]);
        check(&json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), &ready("True"), &[]);
    }

    #[test]
    fn the_lower_part_of_a_range_is_left_to_those_who_choose() {
        let drawn = |net: &str| Range { net: net.parse().unwrap(), source: ("k".into(), Revision(1)) }.drawn();
        let at = |a, b, c, d| Ipv4Addr::new(a, b, c, d).to_bits();
        assert_eq!([drawn("10.0.0.0/31").1, drawn("255.255.255.255/32").1], [0, 0]);
        assert_eq!(drawn("10.0.0.0/28"), (at(10, 0, 0, 1), 14));
        assert_eq!(drawn("10.0.0.0/24"), (at(10, 0, 0, 17), 238));
        assert_eq!(drawn("10.96.0.0/12"), (at(10, 96, 1, 1), (1 << 20) - 1 - 257));
    }
}

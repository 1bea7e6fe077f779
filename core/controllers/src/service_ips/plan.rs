//! What is amiss between services and IPAddresses.

use std::net::IpAddr;

use ipnet::IpNet;
use windlass_api::{
    core::v1::Service,
    networking::v1::{IPAddress, ServiceCIDR},
};
use windlass_kernel::controller::ObjectKey;

const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGER: &str = "ipaddress.kubernetes.io/managed-by";
const OURS: &str = "ipallocator.k8s.io";

/// What an address of a service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repair {
    Rest,
    /// There is no IPAddress.
    Create,
    /// The IPAddress names another.
    Take,
    /// The IPAddress has not the labels that it is found by.
    Label,
}

/// Why an IPAddress is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leak {
    /// It names no service.
    Foreign,
    /// Its service is gone.
    Orphan,
    /// Its service has another address.
    Wrong,
}

/// The cluster IPs of a service.
pub(super) fn ips(service: &Service) -> impl Iterator<Item = IpAddr> {
    let external = service.spec.type_.as_deref() == Some("ExternalName");
    service.spec.cluster_ips.iter().filter(move |_| !external).filter_map(|text| text.parse().ok())
}

pub(super) fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The labels of the IPAddresses that the API server writes.
pub(super) fn labels(ip: IpAddr) -> [(&'static str, &'static str); 2] {
    [(FAMILY, family(ip)), (MANAGER, OURS)]
}

/// The service that an IPAddress names.
pub(super) fn parent(address: &IPAddress) -> Option<ObjectKey> {
    let parent = &address.spec.parent_ref;
    let service = parent.resource == "services" && parent.group.as_deref().unwrap_or_default().is_empty();
    service.then(|| ObjectKey::new(parent.namespace.clone().unwrap_or_default(), parent.name.clone()))
}

pub(super) fn is_in<'a>(ip: IpAddr, mut ranges: impl Iterator<Item = &'a ServiceCIDR>) -> bool {
    let holds = |text: &String| text.parse::<IpNet>().is_ok_and(|net| net.contains(&ip));
    ranges.any(|range| range.spec.cidrs.iter().any(holds))
}

pub(super) fn of_service(service: &Service, ip: IpAddr, found: Option<&IPAddress>) -> Repair {
    let Some(found) = found else { return Repair::Create };
    let own = ObjectKey::new(
        service.metadata.namespace.clone().unwrap_or_default(),
        service.metadata.name.clone().unwrap_or_default(),
    );
    let labelled =
        labels(ip).iter().all(|(key, value)| found.metadata.labels.get(*key).is_some_and(|own| own == value));
    match parent(found) {
        Some(parent) if parent == own && labelled => Repair::Rest,
        Some(parent) if parent == own => Repair::Label,
        _ => Repair::Take,
    }
}

/// `service` is the one that the IPAddress names, where it exists. IPAddresses of others are none of our business.
pub(super) fn of_address(address: &IPAddress, service: Option<&Service>) -> Option<Leak> {
    if address.metadata.labels.get(MANAGER).is_none_or(|manager| manager != OURS) {
        return None;
    }
    parent(address).map_or(Some(Leak::Foreign), |_| {
        let Some(service) = service else { return Some(Leak::Orphan) };
        let name = address.metadata.name.as_deref().and_then(|name| name.parse::<IpAddr>().ok());
        let right = ips(service).any(|ip| Some(ip) == name);
        (!right).then_some(Leak::Wrong)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, ip: &str) -> Service {
        let metadata = json!({"namespace": "ns", "name": name});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"clusterIPs": [ip]}})).unwrap()
    }

    fn address(resource: &str, of: &str, manager: &str) -> IPAddress {
        let labels = json!({FAMILY: "IPv4", MANAGER: manager});
        let parent = json!({"resource": resource, "namespace": "ns", "name": of});
        let metadata = json!({"name": "10.0.0.1", "labels": labels});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"parentRef": parent}})).unwrap()
    }

    #[test]
    fn a_service_has_its_address_in_its_name() {
        let check = |found: Option<&IPAddress>, expect| {
            let own = service("a", "10.0.0.1");
            assert_eq!(ips(&own).map(|ip| of_service(&own, ip, found)).collect::<Vec<_>>(), [expect]);
        };
        check(None, Repair::Create);
        check(Some(&address("services", "a", OURS)), Repair::Rest);
        check(Some(&address("services", "a", "me")), Repair::Label);
        check(Some(&address("services", "b", OURS)), Repair::Take);
        check(Some(&address("pods", "a", OURS)), Repair::Take);
    }

    #[test]
    fn an_address_that_no_service_has_is_a_leak() {
        let check = |address: &IPAddress, service: Option<&Service>, expect| {
            assert_eq!(of_address(address, service), expect);
        };
        let own = address("services", "a", OURS);
        check(&own, Some(&service("a", "10.0.0.1")), None);
        check(&own, Some(&service("a", "10.0.0.2")), Some(Leak::Wrong));
        check(&own, None, Some(Leak::Orphan));
        check(&address("pods", "a", OURS), None, Some(Leak::Foreign));
        check(&address("pods", "a", "me"), None, None);
    }

    #[test]
    fn a_headless_service_has_no_address() {
        assert_eq!(ips(&service("a", "None")).count(), 0);
    }
}

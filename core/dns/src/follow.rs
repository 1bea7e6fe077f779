//! Follows services and their endpoints and keeps the zone as they are.

use std::sync::Arc;

use parking_lot::RwLock;
use windlass_api::{
    core::v1::{Service as Source, ServicePort},
    discovery::v1::EndpointSlice,
};
use windlass_client::{Informers, Services};
use windlass_kernel::Stop;

use crate::zone::{Member, Port, Service, Zone};

/// Keeps a zone as the cluster's services are.
#[derive(Debug)]
pub struct Follower {
    services: Services,
    zone: Arc<RwLock<Zone>>,
}

impl Follower {
    /// Follows by `informers`.
    #[must_use]
    pub fn new(informers: &Informers, zone: Arc<RwLock<Zone>>) -> Self {
        Self { services: Services::new(informers), zone }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: Stop) {
        while let Some(key) = stop.race(self.services.next()).await {
            let service = self.services.service(&key);
            let named = service.and_then(|service| named(&service, &self.services.slices(&key)));
            self.zone.write().set(&key, named);
        }
    }

    /// Waits until everything that existed at the start is known.
    pub async fn synced(&self) {
        self.services.synced().await;
    }
}

/// What a service and its slices mean as names.
#[must_use]
pub fn named(service: &Source, slices: &[Arc<EndpointSlice>]) -> Option<Service> {
    let spec = &service.spec;
    if spec.type_.as_deref() == Some("ExternalName") {
        return spec.external_name.clone().map(Service::External);
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        let unready = spec.publish_not_ready_addresses == Some(true);
        let mut members: Vec<_> = slices.iter().flat_map(|slice| members(slice, unready)).collect();
        members.sort();
        members.dedup();
        return Some(Service::Headless(members));
    }
    let ips: Vec<_> = spec.cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    (!ips.is_empty()).then(|| Service::Cluster { ips, ports: spec.ports.iter().filter_map(port).collect() })
}

fn members(slice: &EndpointSlice, unready: bool) -> impl Iterator<Item = Member> {
    let ports = slice.ports.iter().filter_map(|port| {
        let number = port.port.and_then(|number| u16::try_from(number).ok())?;
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        Some(Port { name: port.name.clone().unwrap_or_default(), protocol, number })
    });
    let ports: Vec<Port> = ports.collect();
    let ready = slice.endpoints.iter().filter(move |endpoint| unready || endpoint.conditions.ready != Some(false));
    ready.flat_map(move |endpoint| {
        let ports = ports.clone();
        let hostname = endpoint.hostname.clone().unwrap_or_default();
        let ips = endpoint.addresses.iter().filter_map(|ip| ip.parse().ok());
        ips.map(move |ip| Member { ip, hostname: hostname.clone(), ports: ports.clone() })
    })
}

fn port(port: &ServicePort) -> Option<Port> {
    let number = u16::try_from(port.port).ok()?;
    let protocol = if port.protocol.is_empty() { "tcp".into() } else { port.protocol.to_lowercase() };
    Some(Port { name: port.name.clone().unwrap_or_default(), protocol, number })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: &Value, expect: Option<Service>) {
        let service: Source = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {}, "addressType": "IPv4", "ports": [{"name": "db", "port": 5432}],
            "endpoints": [
                {"addresses": ["10.1.0.2"], "hostname": "db-0"},
                {"addresses": ["10.1.0.3"], "conditions": {"ready": false}},
            ],
        }))
        .unwrap();
        assert_eq!(named(&service, &[Arc::new(slice)]), expect);
    }

    fn member(ip: &str, hostname: &str) -> Member {
        let ports = vec![Port { name: "db".into(), protocol: "tcp".into(), number: 5432 }];
        Member { ip: ip.parse().unwrap(), hostname: hostname.into(), ports }
    }

    #[test]
    fn a_headless_service_names_its_ready_endpoints() {
        check(&json!({"clusterIP": "None"}), Some(Service::Headless(vec![member("10.1.0.2", "db-0")])));
        let all = vec![member("10.1.0.2", "db-0"), member("10.1.0.3", "")];
        check(&json!({"clusterIP": "None", "publishNotReadyAddresses": true}), Some(Service::Headless(all)));
    }

    #[test]
    fn a_service_without_an_address_has_no_name_yet() {
        check(&json!({"ports": [{"port": 80}]}), None);
        let external = json!({"type": "ExternalName", "externalName": "x.org"});
        check(&external, Some(Service::External("x.org".into())));
    }
}

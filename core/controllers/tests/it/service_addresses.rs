//! The addresses of services: ranges come and go, and whatever happens each service has its own.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{
    core::v1::{Event, Service},
    networking::v1::{IPAddress, ServiceCIDR},
};
use windlass_client::{Cache, Select};
use windlass_kernel::controller::ObjectKey;

use crate::{cluster::Cluster, laws};

fn range(name: &str, cidr: &str) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": name},
        "spec": {"cidrs": [cidr]}})
}

fn service(name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": ip, "ports": [{"port": 80}]}})
}

fn address(ip: &str, of: &str) -> Value {
    let labels = json!({
        "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": ip, "labels": labels},
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": of}}})
}

/// The condition of a range, and whether it is protected.
fn state(ranges: &Cache<Arc<ServiceCIDR>>, name: &str) -> String {
    let Some(range) = ranges.get(&ObjectKey::new("", name)) else { return "gone".into() };
    let held = range.metadata.finalizers.iter().any(|own| own == "networking.k8s.io/service-cidr-finalizer");
    let ready = range.status.conditions.iter().find(|own| own.type_ == "Ready");
    let said = ready.map(|own| format!("{} {}", own.status, own.reason)).unwrap_or_default();
    format!("{}{}", said.trim_end(), if held { ", held" } else { "" })
}

/// Whose the address is.
fn owner(addresses: &Cache<Arc<IPAddress>>, ip: &str) -> String {
    let found = addresses.get(&ObjectKey::new("", ip));
    found.map_or("nobody".into(), |address| address.spec.parent_ref.name.clone())
}

fn delete<T: windlass_api::types::Resource>(cluster: &Cluster, namespace: &str, name: &str) {
    cluster.executor.run_until(cluster.admin.delete::<T>(namespace, name)).unwrap();
}

#[test]
fn a_range_is_kept_while_an_address_of_it_is_in_use() {
    laws::hold("service-cidrs-controller", |cluster| {
        let ranges: Cache<Arc<ServiceCIDR>> = cluster.informers.typed(Select::all());
        cluster.until(&ranges, |ranges| state(ranges, "kubernetes") == "True, held");
        cluster.create("servicecidrs", range("more", "10.200.0.0/24"));
        cluster.until(&ranges, |ranges| state(ranges, "more") == "True, held");
        cluster.create("services", service("a", "10.200.0.9"));
        delete::<ServiceCIDR>(cluster, "", "more");
        cluster.until(&ranges, |ranges| state(ranges, "more") == "False Terminating, held");
        let refused: Service = serde_json::from_value(service("b", "10.200.0.10")).unwrap();
        let refused = cluster.executor.run_until(cluster.admin.create(&refused)).unwrap_err();
        assert!(refused.message().ends_with("the provided network does not match the current range"), "{refused}");
        delete::<Service>(cluster, "default", "a");
        cluster.until(&ranges, |ranges| state(ranges, "more") == "gone");
        cluster.settle();
        state(&ranges, "kubernetes")
    });
}

#[test]
fn a_range_goes_when_another_holds_its_addresses() {
    let cluster = Cluster::new(1);
    let ranges: Cache<Arc<ServiceCIDR>> = cluster.informers.typed(Select::all());
    cluster.create("servicecidrs", range("more", "10.200.0.0/24"));
    cluster.until(&ranges, |ranges| state(ranges, "more") == "True, held");
    cluster.create("services", service("a", "10.200.0.9"));
    delete::<ServiceCIDR>(&cluster, "", "more");
    cluster.until(&ranges, |ranges| state(ranges, "more") == "False Terminating, held");
    cluster.create("servicecidrs", range("wider", "10.200.0.0/16"));
    cluster.until(&ranges, |ranges| state(ranges, "more") == "gone" && state(ranges, "wider") == "True, held");
    let addresses: Cache<Arc<IPAddress>> = cluster.informers.typed(Select::all());
    cluster.until(&addresses, |addresses| owner(addresses, "10.200.0.9") == "a");
}

#[test]
fn what_is_amiss_with_addresses_is_put_right() {
    laws::hold("ipallocator-repair-controller", |cluster| {
        let addresses: Cache<Arc<IPAddress>> = cluster.informers.typed(Select::all());
        cluster.create("services", service("a", "10.96.0.70"));
        cluster.until(&addresses, |addresses| owner(addresses, "10.96.0.70") == "a");
        let uid = |addresses: &Cache<Arc<IPAddress>>| {
            addresses.get(&ObjectKey::new("", "10.96.0.70")).and_then(|own| own.metadata.uid.clone())
        };
        let first = uid(&addresses);
        delete::<IPAddress>(cluster, "", "10.96.0.70");
        cluster.until(&addresses, |all| owner(all, "10.96.0.70") == "a" && uid(all) != first);
        cluster.create("ipaddresses", address("10.96.0.71", "a"));
        cluster.create("ipaddresses", address("10.96.0.72", "nobody-there"));
        let mut foreign = address("10.96.0.73", "a");
        foreign["metadata"]["labels"] = json!({"ipaddress.kubernetes.io/managed-by": "me"});
        cluster.create("ipaddresses", foreign);
        cluster.until(&addresses, |all| {
            ["10.96.0.71", "10.96.0.72"].iter().all(|ip| owner(all, ip) == "nobody") && owner(all, "10.96.0.73") == "a"
        });
        cluster.settle();
        let mut all: Vec<_> = addresses.list().into_iter().map(|(key, own)| (key.name, own.spec.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    });
}

#[test]
fn a_repair_is_told_of() {
    let cluster = Cluster::new(2);
    let events: Cache<Arc<Event>> = cluster.informers.typed(Select::all());
    cluster.create("ipaddresses", address("10.96.0.72", "gone"));
    let told = |events: &Cache<Arc<Event>>| {
        events.values().iter().any(|event| {
            event.reason.as_deref() == Some("IPAddressNotAllocated")
                && event.message.as_deref()
                    == Some("IPAddress: 10.96.0.72 for Service default/gone appears to have leaked: cleaning up")
        })
    };
    cluster.until(&events, told);
}

//! The IPAddress object that says whose a cluster IP is. It is written with its service and goes with it.

use std::net::IpAddr;

use serde_json::{Value, json};
use windlass_kernel::{
    EntropyExt,
    error::Result,
    store::{Condition, Key, Op, Txn},
};

use crate::{index, object, registry::Served, server::ApiServer};

/// The resource of IPAddresses.
fn served(server: &ApiServer) -> Result<&Served> {
    server.parts.registry.known("networking.k8s.io", "v1", "ipaddresses").map(|served| &**served)
}

/// The key of the object that claims an address.
pub(super) fn key(server: &ApiServer, ip: IpAddr) -> Result<Key> {
    Ok(served(server)?.key("", &ip.to_string()))
}

/// Claims an address for a service, as part of a transaction.
pub(super) fn claim(server: &ApiServer, ip: IpAddr, service: (&str, &str), txn: &mut Txn) -> Result<()> {
    let served = served(server)?;
    let mut claimed = of(ip, service);
    (served.rules.prepare_create)(&mut claimed);
    let meta = object::meta_mut(&mut claimed);
    meta.insert("uid".into(), server.parts.entropy.uuid().into());
    meta.insert("creationTimestamp".into(), object::time(server.parts.clock.now()).into());
    let (key, value) = (served.key("", &ip.to_string()), index::encode(served, &claimed)?);
    txn.conditions.push(Condition::Absent(key.clone()));
    txn.ops.push(Op::Put { key, value, lease: None });
    Ok(())
}

/// The key of the object that claims an address for that service, where there is one.
pub(super) async fn held(server: &ApiServer, ip: IpAddr, service: (&str, &str)) -> Result<Option<Key>> {
    let key = key(server, ip)?;
    let Some(document) = server.read(&key).await? else { return Ok(None) };
    let parent = document.value()?["spec"]["parentRef"].clone();
    let own = parent["resource"] == "services"
        && (&parent["namespace"], &parent["name"]) == (&service.0.into(), &service.1.into());
    Ok(own.then_some(key))
}

fn of(ip: IpAddr, (namespace, name): (&str, &str)) -> Value {
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let labels = json!({
        "ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    });
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": ip.to_string(), "labels": labels},
        "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": name}}})
}

//! Who stands behind a service, as Endpoints and as slices.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use windlass_client::{Cache, Select};
use windlass_kernel::{api::PatchType, controller::ObjectKey};

use crate::{cluster::Cluster, laws};

fn pod(name: &str) -> Value {
    let metadata = json!({"name": name, "namespace": "default", "labels": {"app": "db"}});
    let spec = json!({"containers": [{"name": "c", "image": "db:1"}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// The ready pods behind the service and the port that they are reached at.
type Behind = Vec<(String, i32)>;

fn in_endpoints(all: &Cache<Arc<Endpoints>>) -> Behind {
    let Some(endpoints) = all.get(&ObjectKey::new("default", "db")) else { return vec![] };
    let of = |subset: &windlass_api::core::v1::EndpointSubset| {
        let port = subset.ports.first().map_or(0, |port| port.port);
        let targets = subset.addresses.iter().filter_map(|address| address.target_ref.as_ref()?.name.clone());
        targets.map(|name| (name, port)).collect::<Vec<_>>()
    };
    sorted(endpoints.subsets.iter().flat_map(of).collect())
}

fn in_slices(all: &Cache<Arc<EndpointSlice>>) -> Behind {
    let of = |(_, slice): (ObjectKey, Arc<EndpointSlice>)| {
        let port = slice.ports.first().and_then(|port| port.port).unwrap_or_default();
        let own = slice.metadata.labels.get("kubernetes.io/service-name").is_some_and(|of| of == "db");
        let ready = slice.endpoints.iter().filter(|endpoint| own && endpoint.conditions.ready == Some(true));
        let targets = ready.filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone());
        targets.map(|name| (name, port)).collect::<Vec<_>>()
    };
    sorted(all.in_namespace("default").into_iter().flat_map(of).collect())
}

fn sorted(mut behind: Behind) -> Behind {
    behind.sort();
    behind
}

/// Two pods behind a service, then another port, one pod less, and in the end no service.
fn scenario(cluster: &Cluster) -> [usize; 2] {
    let endpoints: Cache<Arc<Endpoints>> = cluster.informers.typed(Select::all());
    let slices: Cache<Arc<EndpointSlice>> = cluster.informers.typed(Select::all());
    let until = |wanted: &[(&str, i32)]| {
        let wanted: Behind = wanted.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
        cluster.until(&endpoints, |all| in_endpoints(all) == wanted);
        cluster.until(&slices, |all| in_slices(all) == wanted);
    };
    let metadata = json!({"name": "db", "namespace": "default"});
    let spec = json!({"selector": {"app": "db"}, "ports": [{"port": 80, "targetPort": 8080}]});
    cluster.create("services", json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
    cluster.create("pods", pod("db-0"));
    cluster.create("pods", pod("db-1"));
    until(&[("db-0", 8080), ("db-1", 8080)]);
    let other = json!({"spec": {"ports": [{"port": 80, "targetPort": 9090}]}});
    cluster.executor.run_until(cluster.admin.patch::<Service>("default", "db", PatchType::Merge, other)).unwrap();
    until(&[("db-0", 9090), ("db-1", 9090)]);
    cluster.executor.run_until(cluster.admin.delete::<Pod>("default", "db-0")).unwrap();
    until(&[("db-1", 9090)]);
    cluster.settle();
    assert_eq!(
        (in_endpoints(&endpoints), in_slices(&slices)),
        (vec![("db-1".into(), 9090)], vec![("db-1".into(), 9090)])
    );
    cluster.executor.run_until(cluster.admin.delete::<Service>("default", "db")).unwrap();
    until(&[]);
    cluster.settle();
    [endpoints.in_namespace("default").len(), slices.in_namespace("default").len()]
}

#[test]
fn endpoints_come_out_the_same_whatever_happens() {
    laws::hold("endpoint-controller", scenario);
}

#[test]
fn slices_come_out_the_same_whatever_happens() {
    laws::hold("endpointslice-controller", scenario);
}

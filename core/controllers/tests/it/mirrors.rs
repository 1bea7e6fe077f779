//! Endpoints that somebody wrote by hand have slices, too.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{core::v1::Endpoints, discovery::v1::EndpointSlice};
use windlass_client::{Cache, Select};
use windlass_kernel::api::PatchType;

use crate::laws;

fn subsets(addresses: &[&str]) -> Value {
    let addresses: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!([{"addresses": addresses, "ports": [{"name": "main", "port": 80, "protocol": "TCP"}]}])
}

/// Whether the only slice of the service has these addresses.
fn holds(addresses: &'static [&'static str]) -> impl Fn(&Cache<Arc<EndpointSlice>>) -> bool {
    move |slices| {
        let all: Vec<_> = slices.in_namespace("default").into_iter().map(|(_, slice)| slice).collect();
        let own: Vec<_> = all
            .iter()
            .filter(|own| own.metadata.labels.get("kubernetes.io/service-name").is_some_and(|of| of == "db"))
            .collect();
        own.len() == 1 && own[0].endpoints.iter().flat_map(|own| own.addresses.clone()).eq(addresses.iter().copied())
    }
}

#[test]
fn slices_follow_endpoints_that_were_written_by_hand() {
    laws::hold("endpointslicemirroring-controller", |cluster| {
        let slices: Cache<Arc<EndpointSlice>> = cluster.informers.typed(Select::all());
        let metadata = json!({"name": "db", "namespace": "default"});
        let spec = json!({"ports": [{"name": "main", "port": 80}]});
        cluster.create("services", json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
        let endpoints =
            json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets(&["10.0.0.1"])});
        cluster.create("endpoints", endpoints);
        cluster.until(&slices, holds(&["10.0.0.1"]));
        let patch = json!({"subsets": subsets(&["10.0.0.1", "10.0.0.2"])});
        let patched = cluster.admin.patch::<Endpoints>("default", "db", PatchType::Merge, patch);
        cluster.executor.run_until(patched).unwrap();
        cluster.until(&slices, holds(&["10.0.0.1", "10.0.0.2"]));
        cluster.executor.run_until(cluster.admin.delete::<Endpoints>("default", "db")).unwrap();
        cluster.until(&slices, |slices| !holds(&["10.0.0.1", "10.0.0.2"])(slices));
        cluster.settle();
        slices.in_namespace("default").len()
    });
}

//! The EndpointSlice mirroring controller: slices of Endpoints that somebody wrote by hand. The decisions are in `wanted`.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use windlass_api::{
    core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
    discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
};
use windlass_client::{Cache, Client, Select, gvr};
use windlass_kernel::{
    Controller, Document, Result,
    controller::{ObjectKey, Requeue, Watched},
};

use super::{
    MANAGED_BY, SERVICE, Slices,
    slices::{self, Owner, Step, Wanted, family_of},
};
use crate::{claim, registry::Tools};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// The label of Endpoints that are not to be mirrored (`discovery/v1 LabelSkipMirror`).
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// The annotation of Endpoints that elections are held with; they are nobody's endpoints.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// The annotations of Endpoints that are about themselves.
const OWN: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"];
/// So many addresses of a subset are mirrored (upstream's `--mirroring-max-endpoints-per-subset`).
const MOST: usize = 1000;

/// Mirrors the Endpoints of services without a selector.
#[derive(Debug)]
pub(crate) struct MirroredSlices {
    client: Client,
    services: Cache<Arc<Service>>,
    endpoints: Cache<Arc<Endpoints>>,
    slices: Slices,
}

impl MirroredSlices {
    pub(crate) fn new(tools: &Tools) -> Self {
        Self {
            client: tools.client.clone(),
            services: tools.informers.typed(Select::all()),
            endpoints: tools.informers.typed(Select::all()),
            slices: Slices::new(&tools.informers, MANAGER),
        }
    }
}

#[async_trait]
impl Controller for MirroredSlices {
    fn name(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn watches(&self) -> Vec<Watched> {
        let of_slice = |document: &Document| super::of_slice(document, MANAGER);
        vec![
            Watched { resource: gvr::<Service>(), keys: claim::own_key },
            Watched { resource: gvr::<Endpoints>(), keys: claim::own_key },
            Watched { resource: gvr::<EndpointSlice>(), keys: of_slice },
        ]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue> {
        self.slices.cache.synced().await;
        let existing = self.slices.of(key);
        let service = self.services.get(key);
        let endpoints = self.endpoints.get(key).filter(|own| mirrored(own, service.as_deref()));
        let steps = match endpoints {
            Some(endpoints) => plan(&endpoints, &existing),
            None => existing.iter().map(|slice| Step::Delete(claim::key(&slice.metadata))).collect(),
        };
        super::carry_out(&self.client, steps).await?;
        Ok(Requeue::OnChange)
    }
}

/// Whether Endpoints have slices: those of a service whose endpoints nobody else finds.
fn mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let meta = &endpoints.metadata;
    let by_hand = service.is_some_and(|service| service.spec.selector.is_empty());
    let skipped = meta.labels.get(SKIP).is_some_and(|skip| skip == "true") || meta.annotations.contains_key(LEADER);
    by_hand && !skipped && meta.deletion_timestamp.is_none()
}

fn plan(endpoints: &Endpoints, existing: &[Arc<EndpointSlice>]) -> Vec<Step> {
    let mut labels = endpoints.metadata.labels.clone();
    labels.insert(SERVICE.into(), endpoints.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = endpoints.metadata.annotations.clone();
    annotations.retain(|key, _| !OWN.contains(&key.as_str()));
    let owner = Owner {
        meta: &endpoints.metadata,
        reference: claim::reference(endpoints),
        labels,
        annotations: Some(annotations),
    };
    slices::distribute(&owner, wanted(endpoints), existing, address_of)
}

fn address_of(endpoint: &Endpoint) -> &str {
    endpoint.addresses.first().map_or("", String::as_str)
}

/// The endpoints of each kind of slice, by address.
fn wanted(endpoints: &Endpoints) -> Wanted {
    let mut wanted = Wanted::new();
    for subset in &endpoints.subsets {
        let ready = subset.addresses.iter().map(|address| (address, true));
        let all = ready.chain(subset.not_ready_addresses.iter().map(|address| (address, false)));
        for (address, ready) in all.take(MOST) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
            let slice: &mut BTreeMap<_, _> = wanted.entry((family_of(&ip), ports(subset))).or_default();
            // One that is in two subsets of the same ports is ready where one says so.
            slice.entry(address.ip.clone()).or_insert_with(|| endpoint(address, ready));
        }
    }
    wanted
}

fn ports(subset: &EndpointSubset) -> Vec<(String, i32, String)> {
    let ports = subset.ports.iter().map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        (port.name.clone().unwrap_or_default(), port.port, protocol)
    });
    let mut ports: Vec<_> = ports.collect();
    ports.sort();
    ports
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: EndpointConditions { ready: Some(ready), ..EndpointConditions::default() },
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn endpoints(subsets: Value) -> Endpoints {
        let metadata = json!({"name": "db", "namespace": "a", "uid": "e1", "labels": {"app": "db"},
            "annotations": {"mine": "1", OWN[0]: "{}"}});
        serde_json::from_value(json!({"metadata": metadata, "subsets": subsets})).unwrap()
    }

    /// The slices as `family port addresses`, of which those that are not ready are marked.
    #[track_caller]
    fn check(subsets: Value, expect: &[&str]) {
        let said = plan(&endpoints(subsets), &[]).into_iter().map(|step| {
            let Step::Create(slice) = step else { panic!("nothing is there to change") };
            let address = |own: &Endpoint| {
                format!(" {}{}", own.addresses[0], if own.conditions.ready == Some(true) { "" } else { "!" })
            };
            let ports: Vec<_> = slice.ports.iter().map(|port| port.port.unwrap().to_string()).collect();
            let addresses: String = slice.endpoints.iter().map(address).collect();
            format!("{} {}{addresses}", slice.address_type, ports.join(","))
        });
        assert_eq!(said.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn each_family_and_set_of_ports_has_its_slice() {
        let ports = json!([{"port": 80}]);
        check(json!([]), &[]);
        check(
            json!([{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.0.0.2"}],
                "ports": ports}, {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 81}]}]),
            &["IPv4 80 10.0.0.1 10.0.0.2!", "IPv4 81 10.0.0.1", "IPv6 80 fd00::1"],
        );
    }

    #[test]
    fn a_slice_says_whose_it_is() {
        let subsets = json!([{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]);
        let steps = plan(&endpoints(subsets), &[]);
        let [Step::Create(slice)] = &steps[..] else { panic!("{steps:?}") };
        let meta = &slice.metadata;
        assert_eq!((meta.labels[SERVICE].as_str(), meta.labels[MANAGED_BY].as_str()), ("db", MANAGER));
        assert_eq!((meta.labels["app"].as_str(), meta.annotations.len()), ("db", 1));
        assert_eq!(meta.owner_references[0].kind, "Endpoints");
    }

    #[test]
    fn only_what_was_written_by_hand_is_mirrored() {
        let service =
            |selector: Value| serde_json::from_value::<Service>(json!({"spec": {"selector": selector}})).unwrap();
        let mut own = endpoints(json!([]));
        assert!(mirrored(&own, Some(&service(json!({})))));
        assert!(!mirrored(&own, Some(&service(json!({"app": "db"})))) && !mirrored(&own, None));
        own.metadata.labels.insert(SKIP.into(), "true".into());
        assert!(!mirrored(&own, Some(&service(json!({})))));
    }
}

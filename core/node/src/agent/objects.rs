//! Reads the ConfigMaps and Secrets that a pod refers to.

use std::{collections::BTreeMap, net::IpAddr};

use windlass_api::core::v1::{ConfigMap, Container, Pod, Secret};
use windlass_kernel::{Error, ErrorKind, Result, controller::ObjectKey, node::NodeContext};

use super::worker::Round;
use crate::make::{
    env::{self, Kind},
    fields::Place,
};

/// An object of the pod's namespace, by kind and name.
pub(crate) type Object = (Kind, String);

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) data: env::Read,
    /// The version that each object was read at; `None` where there is none.
    pub(super) versions: BTreeMap<Object, Option<String>>,
}

impl Round<'_> {
    pub(super) async fn read(&self, pod: &Pod, needed: Vec<Object>) -> Result<Found> {
        read(self.inner.needs.context.as_ref(), pod, needed).await
    }
}

pub(super) async fn read(context: &dyn NodeContext, pod: &Pod, needed: Vec<Object>) -> Result<Found> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mut all = Found::default();
    for (kind, name) in needed {
        let key = ObjectKey::new(namespace.clone(), name.clone());
        let found = context.read(kind.resource(), &key).await?;
        let unreadable = |error: serde_json::Error| {
            Error::new(ErrorKind::Internal, format!("cannot read {} {key}", kind.resource())).with_source(error)
        };
        let version = found.as_ref().and_then(|value| value["metadata"]["resourceVersion"].as_str());
        all.versions.insert((kind, name.clone()), version.map(str::to_owned));
        let data = match (found, kind) {
            (None, _) => None,
            (Some(value), Kind::ConfigMap) => {
                let map: ConfigMap = serde_json::from_value(value).map_err(unreadable)?;
                Some(env::data(map.data, map.binary_data))
            }
            (Some(value), Kind::Secret) => {
                let secret: Secret = serde_json::from_value(value).map_err(unreadable)?;
                Some(env::data(BTreeMap::new(), secret.data))
            }
        };
        all.data.insert((kind, name), data);
    }
    Ok(all)
}

/// The environment that a container has on a node, for agents without containers of their own.
///
/// The services of the namespace are not told in it.
///
/// # Errors
///
/// Why it cannot be made, in the words of the container's status.
pub async fn environment(
    context: &dyn NodeContext,
    pod: &Pod,
    container: &Container,
    (ip, host_ip): (&str, &str),
) -> Result<Vec<(String, String)>, String> {
    let found = read(context, pod, env::needs(container)).await.map_err(|error| error.to_string())?;
    let address = |text: &str| text.parse::<IpAddr>().into_iter().collect();
    let (hosts, ips) = (address(host_ip), address(ip));
    let node = pod.spec.node_name.clone().unwrap_or_default();
    let place = Place { node, hosts, ips, allocatable: BTreeMap::new() };
    env::env(container, &env::Sources { pod, place: &place, read: &found.data, services: &BTreeMap::new() })
}

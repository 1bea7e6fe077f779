//! What an agent may ask of the cluster, asked as the node.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use windlass_api::{
    Value,
    core::v1::{ObjectReference, Pod, Service, ServiceSpec},
    meta::v1::ObjectMeta,
    types::Time,
};
use windlass_client::{
    Cache, Informers, Select,
    events::{Recorder, Severity, reference},
    informer::Parts,
};
use windlass_kernel::{
    Error, ErrorKind, Result,
    api::{GroupVersionResource, PatchType, Verb},
    controller::ObjectKey,
    node::{About, NodeContext, Notice, Token, Versions},
};

use super::{follow::Followed, place};

/// The service that leads to the API: namespace and name.
const API: (&str, &str) = ("default", "kubernetes");

/// The cluster, as a node's agent sees it.
#[derive(Debug)]
pub struct ClusterContext {
    node: String,
    informers: Informers,
    recorder: Recorder,
    /// Followed from the first question on: an agent that never asks costs nothing.
    services: OnceLock<Cache<Arc<Service>>>,
    followed: Followed,
}

impl ClusterContext {
    /// Asks as the identity of `informers`; events come from the kubelet on `node`.
    #[must_use]
    pub fn new(informers: &Informers, node: &str) -> Self {
        let recorder = Recorder::start(informers.parts(), "kubelet", node);
        Self {
            node: node.to_owned(),
            informers: informers.clone(),
            recorder,
            services: OnceLock::new(),
            followed: Followed::default(),
        }
    }

    fn parts(&self) -> &Parts {
        self.informers.parts()
    }
}

/// A resource by its name and group, at its first version.
pub(super) fn named(resource: &'static str) -> GroupVersionResource {
    let (name, group) = resource.split_once('.').unwrap_or((resource, ""));
    GroupVersionResource::of(group, "v1", name)
}

/// What pods are told of a service.
#[allow(clippy::unnecessary_wraps, reason = "a projection may leave an object out")]
fn slim(service: &Service) -> Option<Arc<Service>> {
    let meta = &service.metadata;
    let metadata = ObjectMeta { namespace: meta.namespace.clone(), name: meta.name.clone(), ..ObjectMeta::default() };
    let (cluster_ip, ports) = (service.spec.cluster_ip.clone(), service.spec.ports.clone());
    let spec = ServiceSpec { cluster_ip, ports, ..ServiceSpec::default() };
    Some(Arc::new(Service { metadata, spec, ..Service::default() }))
}

#[async_trait]
impl NodeContext for ClusterContext {
    async fn read(&self, resource: &'static str, key: &ObjectKey) -> Result<Option<Value>> {
        let request = self.parts().client.request(Verb::Get, named(resource));
        let request = request.in_namespace(key.namespace.clone()).named(key.name.clone());
        match self.parts().client.value(request).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is(ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn versions(&self, resource: &'static str, key: &ObjectKey) -> Versions {
        self.followed.versions(&self.informers, resource, key)
    }

    async fn patch_status(&self, resource: &'static str, key: &ObjectKey, patch: Value) -> Result<()> {
        let request = self.parts().client.request(Verb::Patch(PatchType::Merge), named(resource));
        let request = request.in_namespace(key.namespace.clone()).named(key.name.clone()).subresource("status");
        self.parts().client.value(request.body(patch)).await.map(drop)
    }

    async fn services(&self, namespace: &str) -> Result<Vec<Arc<Service>>> {
        let services = self.services.get_or_init(|| self.informers.projected(Select::all(), vec![], slim));
        services.synced().await;
        let mut found: Vec<_> = services.in_namespace(namespace).into_iter().map(|(_, service)| service).collect();
        if namespace != API.0 {
            found.extend(services.get(&ObjectKey::new(API.0, API.1)));
        }
        Ok(found)
    }

    async fn token(&self, pod: &Pod, audiences: &[String], expiry: Duration) -> Result<Token> {
        let key = place(pod);
        let account = pod.spec.service_account_name.clone().unwrap_or_else(|| "default".into());
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
            "spec": {
                "audiences": audiences, "expirationSeconds": expiry.as_secs(),
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": key.name, "uid": pod.metadata.uid},
            },
        });
        let request = self.parts().client.request(Verb::Create, GroupVersionResource::of("", "v1", "serviceaccounts"));
        let request = request.in_namespace(key.namespace.clone()).named(account.clone()).subresource("token");
        let answer = self.parts().client.value(request.body(body)).await?;
        let broken =
            || Error::new(ErrorKind::Internal, format!("the token of service account {account:?} is unreadable"));
        let status = &answer["status"];
        let token = status["token"].as_str().ok_or_else(broken)?.to_owned();
        let expires: Time = serde_json::from_value(status["expirationTimestamp"].clone()).map_err(|_| broken())?;
        Ok(Token { token, expires: expires.0 })
    }

    fn notice(&self, notice: Notice) {
        let mut about = match &notice.about {
            About::Pod(pod) => reference(&**pod),
            // Upstream's kubelets name their node in place of its uid too.
            About::Node => ObjectReference {
                kind: Some("Node".into()),
                name: Some(self.node.clone()),
                uid: Some(self.node.clone()),
                ..ObjectReference::default()
            },
        };
        about.field_path = Some(notice.field_path).filter(|path| !path.is_empty());
        let severity = if notice.kind == "Warning" { Severity::Warning } else { Severity::Normal };
        self.recorder.event_on(about, severity, &notice.reason, notice.message);
    }
}

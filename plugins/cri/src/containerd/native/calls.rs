//! Calls of containerd's services, each stamped with the namespace that everything lives in.

use std::{fmt, sync::Arc};

use containerd_client::services::v1::{
    containers_client::ContainersClient, content_client::ContentClient, diff_client::DiffClient,
    events_client::EventsClient, images_client::ImagesClient, introspection_client::IntrospectionClient,
    leases_client::LeasesClient, namespaces_client::NamespacesClient, snapshots::snapshots_client::SnapshotsClient,
    tasks_client::TasksClient, version_client::VersionClient,
};
use jiff::Timestamp;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use windlass_kernel::{Error, ErrorKind, Result};

use crate::wire::error_from_wire;

/// A service's connection: what goes over it is stamped.
pub(super) type Lane = InterceptedService<Channel, Stamp>;

/// The largest answer: a list of every container with its configuration.
const ANSWER_LIMIT: usize = 64 << 20;

/// The namespace of a call, and the lease that what it makes belongs to.
#[derive(Clone)]
pub(super) struct Stamp {
    namespace: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("containerd-namespace", self.namespace.clone());
        if let Some(lease) = &self.lease {
            request.metadata_mut().insert("containerd-lease", lease.clone());
        }
        Ok(request)
    }
}

/// containerd's services. Clones share one connection, which comes back by itself after a loss.
#[derive(Clone)]
pub(super) struct Calls {
    channel: Channel,
    stamp: Stamp,
    pub(super) namespace: Arc<str>,
    pub(super) snapshotter: Arc<str>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn new(channel: Channel, namespace: &str, snapshotter: &str) -> Result<Self> {
        let stamp = Stamp { namespace: header(namespace)?, lease: None };
        Ok(Self { channel, stamp, namespace: namespace.into(), snapshotter: snapshotter.into() })
    }

    /// The same services, for calls whose results belong to a lease.
    pub(super) fn leased(&self, lease: &str) -> Result<Self> {
        let stamp = Stamp { lease: Some(header(lease)?), ..self.stamp.clone() };
        Ok(Self { stamp, ..self.clone() })
    }

    /// The lease that results belong to.
    pub(super) fn lease(&self) -> Option<String> {
        self.stamp.lease.as_ref().and_then(|lease| lease.to_str().ok()).map(str::to_owned)
    }

    /// The connection, for calls that need no namespace.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) fn containers(&self) -> ContainersClient<Lane> {
        ContainersClient::with_interceptor(self.channel.clone(), self.stamp.clone())
            .max_decoding_message_size(ANSWER_LIMIT)
    }

    pub(super) fn content(&self) -> ContentClient<Lane> {
        ContentClient::with_interceptor(self.channel.clone(), self.stamp.clone())
            .max_decoding_message_size(ANSWER_LIMIT)
    }

    pub(super) fn diff(&self) -> DiffClient<Lane> {
        DiffClient::with_interceptor(self.channel.clone(), self.stamp.clone())
    }

    pub(super) fn events(&self) -> EventsClient<Lane> {
        EventsClient::with_interceptor(self.channel.clone(), self.stamp.clone())
    }

    pub(super) fn images(&self) -> ImagesClient<Lane> {
        ImagesClient::with_interceptor(self.channel.clone(), self.stamp.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }

    pub(super) fn introspection(&self) -> IntrospectionClient<Lane> {
        IntrospectionClient::with_interceptor(self.channel.clone(), self.stamp.clone())
    }

    pub(super) fn leases(&self) -> LeasesClient<Lane> {
        LeasesClient::with_interceptor(self.channel.clone(), self.stamp.clone())
    }

    pub(super) fn namespaces(&self) -> NamespacesClient<Lane> {
        NamespacesClient::with_interceptor(self.channel.clone(), self.stamp.clone())
    }

    pub(super) fn snapshots(&self) -> SnapshotsClient<Lane> {
        SnapshotsClient::with_interceptor(self.channel.clone(), self.stamp.clone())
            .max_decoding_message_size(ANSWER_LIMIT)
    }

    pub(super) fn tasks(&self) -> TasksClient<Lane> {
        TasksClient::with_interceptor(self.channel.clone(), self.stamp.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }

    pub(super) fn version(&self) -> VersionClient<Lane> {
        VersionClient::with_interceptor(self.channel.clone(), self.stamp.clone())
    }
}

fn header(text: &str) -> Result<MetadataValue<Ascii>> {
    let wrong = |error| Error::new(ErrorKind::Invalid, format!("{text:?} cannot be sent as a name")).with_source(error);
    text.parse().map_err(wrong)
}

/// What a call answered; `None` for what is not there.
pub(super) fn unless_gone<T>(what: &str, answer: Result<tonic::Response<T>, Status>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(error_from_wire(what, status)),
    }
}

/// What a call answered.
pub(super) fn answered<T>(what: &str, answer: Result<tonic::Response<T>, Status>) -> Result<T> {
    answer.map(tonic::Response::into_inner).map_err(|status| error_from_wire(what, status))
}

/// The time of the wire.
pub(super) fn time(wire: Option<prost_types::Timestamp>) -> Timestamp {
    wire.and_then(|wire| Timestamp::new(wire.seconds, wire.nanos).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

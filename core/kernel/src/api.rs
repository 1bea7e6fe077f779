//! The one way to cluster state: a request or a watch, whoever answers it.

mod request;

use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde_json::Value;

pub use self::request::{
    Body, FieldValidation, GroupVersionResource, Options, PatchType, Preconditions, Propagation, Request, Verb,
    VersionMatch,
};
use crate::{dial::Target, document::Document, error::Result, node::Session, store::Revision};

/// An answer to a request.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status: 200, 201 or 202.
    pub code: u16,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
    /// What was answered.
    pub answer: Answer,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// An object.
    Object(Document),
    /// An object that is not stored: a review, a Scale, a Status, a TokenRequest.
    Value(Value),
    /// A list.
    List(List),
    /// A stream of bytes: logs.
    Stream(Chunks),
    /// An interactive session: exec, attach, port-forward.
    Session(Session),
    /// Where a request for a `proxy` sub-resource goes on to.
    Destination(Destination),
}

/// A server inside the cluster that a request goes on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// What to dial.
    pub target: Target,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Its host and port, as a `Host` header names them.
    pub host: String,
}

/// Bytes as they become available.
pub struct Chunks(pub BoxStream<'static, Result<bytes::Bytes>>);

impl Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chunks")
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct List {
    /// The `apiVersion` of the list and its items.
    pub api_version: String,
    /// The kind of the list, such as `PodList`.
    pub kind: String,
    /// The revision of the state listed: the list's resource version.
    pub revision: Revision,
    /// The token for the next page; empty on the last.
    pub continue_token: String,
    /// How many items follow, where that is known.
    pub remaining: Option<u64>,
    /// The items.
    pub items: Vec<Document>,
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// The object came to be, or came to match the selector.
    Added(Document),
    /// The object changed.
    Modified(Document),
    /// The object was deleted or matches the selector no more. Its last state, at the revision of the change.
    Deleted(Document),
    /// Everything up to the revision has been sent.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// Whether this marks the end of the initial events (`k8s.io/initial-events-end`).
        initial_events_end: bool,
    },
}

/// The events of a watch; an error is the last item.
pub type Events = BoxStream<'static, Result<WatchEvent>>;

/// The only way to cluster state, for everyone.
///
/// The API server implements it, the HTTPS client implements it, and components that hold an `Arc<dyn Api>` cannot tell
/// which.
///
/// # Contract
///
/// 1. **Same semantics everywhere.** A request means what the Kubernetes API says of the same HTTP request.
/// 2. **Checked.** Every request is authorized and admitted as its identity's, in process too.
/// 3. **Read your writes.** A read that begins after a write was acknowledged sees it.
/// 4. **Gapless.** A watch yields every matching change after its start once, in order, or ends with an error.
/// 5. **Cancel-safe.** Dropping a call leaves a write applied in full or not at all; dropping a watch ends it.
#[async_trait]
pub trait Api: Debug + Send + Sync + 'static {
    /// Carries out one request.
    async fn call(&self, request: Request) -> Result<Response>;

    /// Follows a resource's changes. `request.verb` is [`Verb::Watch`].
    async fn watch(&self, request: Request) -> Result<Events>;
}

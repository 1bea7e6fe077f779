//! The agent of a node: what it is handed, what it reports, and what it may ask of the cluster.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use windlass_api::{
    Value,
    core::v1::{NodeStatus, Pod, PodStatus, Service},
};

use super::{Metering, Session, SessionRequest};
use crate::{api::Chunks, controller::ObjectKey, error::Result};

/// Which container's log, and how much of it (`PodLogOptions`).
#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    /// The pod.
    pub pod: ObjectKey,
    /// The pod's uid.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// Whether to go on with what is written later.
    pub follow: bool,
    /// The log of the instance before this one.
    pub previous: bool,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only so many bytes.
    pub limit_bytes: Option<u64>,
}

/// What an agent has to say about one pod.
#[derive(Clone, Debug)]
pub struct Report {
    /// The pod.
    pub pod: ObjectKey,
    /// The pod's uid.
    pub uid: String,
    /// Its status as the agent sees it.
    pub status: PodStatus,
    /// Whether everything of the pod has ended and been released: a pod that is being deleted may go.
    pub released: bool,
}

/// Whom a notice is about.
#[derive(Clone, Debug)]
pub enum About {
    /// A pod.
    Pod(Arc<Pod>),
    /// The agent's own node.
    Node,
}

/// Something worth an Event object.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Whom it is about.
    pub about: About,
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    /// A word for machines, such as `Pulled`.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The container, as a field path: `spec.containers{web}`; empty for the whole.
    pub field_path: String,
}

/// The versions that an object comes to, from the present one on.
pub type Versions = BoxStream<'static, Option<String>>;

/// What an agent may ask of the cluster, on behalf of the pods it was given.
///
/// # Contract
///
/// 1. **As the node.** Reads are made as the node's own identity: only what its pods refer to is answered.
/// 2. **Events are best effort.** A notice may be dropped or merged; it never delays the agent.
/// 3. **Services are whole.** [`services`](NodeContext::services) waits until every service that existed when it was first
///    asked is known; a later one may be missing for a moment.
/// 4. **Followed, not polled.** [`versions`](NodeContext::versions) begins with the present version and does not end. A read
///    that begins after an item sees that version or a later one. Versions may be passed over, but not the last.
#[async_trait]
pub trait NodeContext: Debug + Send + Sync + 'static {
    /// Reads an object by resource, such as `configmaps`, or `csidrivers.storage.k8s.io` outside of the core group; `None` where
    /// there is none. Objects that are in no namespace have an empty one.
    async fn read(&self, resource: &'static str, key: &ObjectKey) -> Result<Option<Value>>;

    /// Follows the version (`metadata.resourceVersion`) of an object that [`read`](Self::read) reads; `None` while there is
    /// none. Dropping the stream ends it.
    fn versions(&self, resource: &'static str, key: &ObjectKey) -> Versions;

    /// Changes the status of an object by a merge patch, where a node may: that of its pods' claims.
    async fn patch_status(&self, resource: &'static str, key: &ObjectKey, patch: Value) -> Result<()>;

    /// The services that pods of a namespace may be told of: its own, and `kubernetes` of `default`. By name, the own first.
    ///
    /// Only their names, addresses and ports are sure to be there.
    async fn services(&self, namespace: &str) -> Result<Vec<Arc<Service>>>;

    /// Mints a token for a pod's service account.
    async fn token(&self, pod: &Pod, audiences: &[String], expiry: Duration) -> Result<Token>;

    /// Makes an Event of a notice.
    fn notice(&self, notice: Notice);
}

/// A minted service-account token.
#[derive(Clone)]
pub struct Token {
    /// The token itself. A secret.
    pub token: String,
    /// When it expires.
    pub expires: Timestamp,
}

impl Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Runs the pods of a node.
///
/// Registration, the node's lease and the writing of statuses are not its business: one shared host does them for every
/// agent.
///
/// # Contract
///
/// 1. **Level-triggered.** [`sync`](NodeAgent::sync) hands over the full set of the node's pods. A lost or repeated call
///    costs time only.
/// 2. **Reports what is.** Every change of a pod's status is reported; the latest report of a pod supersedes earlier ones.
///    After [`reports`](NodeAgent::reports) is called again, every known pod is reported again.
/// 3. **Graceful.** A pod with a deletion timestamp is ended within its grace period; its last report is `released`.
/// 4. **Restart stops nothing.** A new agent over the same runtime finds the containers of the one before it.
/// 5. **Gone is success.** A pod that is no longer in the set is ended and released too.
/// 6. **Sessions end alone.** Dropping a session ends it and nothing else.
/// 7. **A pod is its uid.** One of the same name and another uid is another pod: the former has left the set, and the new
///    one is run, whether or not the former has ended yet, and without another call.
#[async_trait]
pub trait NodeAgent: Debug + Send + Sync + 'static {
    /// What the node is and has: capacity, allocatable, addresses, images, system info, and its own conditions.
    async fn describe(&self) -> Result<NodeStatus>;

    /// Takes the full set of the node's pods.
    async fn sync(&self, pods: Vec<Arc<Pod>>) -> Result<()>;

    /// What happens to the pods, beginning with every one that is known.
    fn reports(&self) -> BoxStream<'static, Report>;

    /// Reads a container's log.
    async fn logs(&self, request: LogRequest) -> Result<Chunks>;

    /// Opens an exec, attach or port-forward session.
    async fn open(&self, request: SessionRequest) -> Result<Session>;

    /// What the node and its pods use, if the agent measures it.
    fn metering(&self) -> Option<&dyn Metering> {
        None
    }
}

/// Finds the agent of a node, for logs and sessions.
///
/// # Contract
///
/// 1. **By name.** The agent that registered as the node answers;
///    [`NotFound`](crate::ErrorKind::NotFound) where there is none.
pub trait NodeAgents: Debug + Send + Sync + 'static {
    /// The agent of the node `name`.
    fn agent(&self, name: &str) -> Result<Arc<dyn NodeAgent>>;
}

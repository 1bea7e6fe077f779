//! What every [`PodNetwork`] must keep, and what a plugin must answer on the wire.
//!
//! Checks share nothing but the network: each uses names that begin with its own prefix. What a check leaves behind is
//! compared with what was there before it, item by item, so that a leak is named.

mod collect;
mod crash;
mod lifecycle;
mod nonsense;
mod parallel;
mod wire;
mod wishes;

use std::{
    collections::BTreeSet,
    fmt::{self, Debug},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use ipnet::IpNet;
use serde_json::Value;
use windlass_kernel::{
    Clock, PodNetwork,
    network::{Attached, Attachment, AttachmentKey, PodIdentity, Wishes},
};

use crate::report::{Case, Trace};

/// The name of the interface that the checks ask for.
const INTERFACE: &str = "eth0";

/// The port at which pods are reached.
const PORT: u16 = 8080;

/// An interface as it is, whatever the network says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is up.
    pub up: bool,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
}

/// The node and the pods around a network, seen by another pair of eyes than the network's own.
pub trait Surroundings: Debug + Send + Sync + 'static {
    /// Makes a pod's network namespace.
    fn pod(&self, name: &str) -> PathBuf;

    /// Removes a pod's network namespace, as a reboot does.
    fn remove_pod(&self, pod: &Path);

    /// An interface of a pod; `None` if it has none of that name.
    fn interface(&self, pod: &Path, name: &str) -> Option<Seen>;

    /// Takes an interface of a pod away.
    fn cut(&self, pod: &Path, name: &str);

    /// Whether a TCP connection to `to`, from a pod or from the node, arrives at a port of the pod `server`.
    fn connects(&self, from: Option<&Path>, to: SocketAddr, server: &Path, port: u16) -> bool;

    /// Everything on the node that a network may have made, each item with a word for its kind in front: `link`, `address`,
    /// `limit`, `rule`, `file`.
    fn inventory(&self) -> BTreeSet<String>;
}

/// What a network offers beside addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// An address of the node at which mapped ports are reached, where ports can be mapped.
    pub ports: Option<IpAddr>,
    /// Whether bandwidths can be limited.
    pub bandwidth: bool,
    /// Whether attachments can be looked at. CNI before 0.4.0 could not.
    pub check: bool,
}

/// Makes the same network, whose calls are killed so long after their start.
pub type Hurry = Arc<dyn Fn(Duration) -> Arc<dyn PodNetwork> + Send + Sync>;

/// One run of a plugin, word by word.
#[derive(Clone, Debug, Default)]
pub struct RawCall {
    /// The environment, without `CNI_PATH`.
    pub environment: Vec<(&'static str, String)>,
    /// The standard input.
    pub input: Vec<u8>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct RawAnswer {
    /// The exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// The standard output.
    pub output: Vec<u8>,
}

/// Runs a plugin.
pub type RunRaw = Arc<dyn Fn(RawCall) -> BoxFuture<'static, RawAnswer> + Send + Sync>;

/// A plugin behind the network that can be talked to directly.
#[derive(Clone)]
pub struct Raw {
    /// Runs it.
    pub run: RunRaw,
    /// A configuration of it that works, with `name`, without `cniVersion`.
    pub config: Value,
}

/// A network, and what a check has to know of its surroundings.
#[derive(Clone)]
pub struct Fixture {
    /// The network.
    pub network: Arc<dyn PodNetwork>,
    /// What is around it.
    pub surroundings: Arc<dyn Surroundings>,
    /// The time that it lives in.
    pub clock: Arc<dyn Clock>,
    /// What this check's names begin with: no other has it.
    pub prefix: String,
    /// What it offers.
    pub offers: Offers,
    /// Kills in the middle of calls, where that can be done.
    pub hurry: Option<Hurry>,
    /// The plugin behind it, where there is one.
    pub raw: Option<Raw>,
}

impl Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("network", &self.network).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw").field("config", &self.config).finish_non_exhaustive()
    }
}

/// One check of the suite, by clauses of the CNI specification (1.1.0).
pub type Check = crate::check::Check<Fixture>;

/// Every check, for harnesses that report them one by one.
#[must_use]
pub fn checks() -> Vec<Check> {
    [
        lifecycle::CHECKS,
        nonsense::CHECKS,
        wishes::CHECKS,
        collect::CHECKS,
        parallel::CHECKS,
        crash::CHECKS,
        wire::CHECKS,
    ]
    .concat()
}

/// Every check as a case for [`report::run`](crate::report::run). `fresh` is given a prefix that differs for each.
pub fn cases(fresh: impl Fn(String) -> Fixture) -> Vec<Case> {
    crate::check::cases("network", checks(), fresh)
}

/// Runs every check that the fixture can be checked for. `fresh` is given a prefix that differs for each.
///
/// # Panics
///
/// Where the contract is broken.
pub async fn run<F: Future<Output = Fixture>>(fresh: impl Fn(String) -> F) {
    for (number, check) in checks().into_iter().enumerate() {
        let fixture = fresh(format!("c{number}")).await;
        match check.lacks(&fixture) {
            Some(reason) => tracing::info!(check = check.name, reason, "not checked"),
            None => check.run(fixture).await,
        }
    }
}

/// Notes each call of a network in a trace, and passes it on.
#[derive(Debug)]
pub struct Traced {
    inner: Arc<dyn PodNetwork>,
    trace: Trace,
}

impl Traced {
    /// The network, noted.
    pub fn new(inner: Arc<dyn PodNetwork>, trace: Trace) -> Self {
        Self { inner, trace }
    }

    async fn noted<T: Send>(
        &self,
        call: String,
        work: impl Future<Output = windlass_kernel::Result<T>> + Send,
    ) -> windlass_kernel::Result<T> {
        self.trace.note(format!("-> {call}"));
        let done = work.await;
        self.trace.note(match &done {
            Ok(_) => format!("<- {call}: done"),
            Err(error) => format!("<- {call}: {:?}, {:?}: {error}", error.kind(), error.certainty()),
        });
        done
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait::async_trait]
impl PodNetwork for Traced {
    async fn attach(&self, attachment: &Attachment) -> windlass_kernel::Result<Attached> {
        self.noted(format!("attach {}", attachment.key), self.inner.attach(attachment)).await
    }

    async fn detach(&self, attachment: &Attachment) -> windlass_kernel::Result<()> {
        self.noted(format!("detach {}", attachment.key), self.inner.detach(attachment)).await
    }

    async fn check(&self, attachment: &Attachment) -> windlass_kernel::Result<()> {
        self.noted(format!("check {}", attachment.key), self.inner.check(attachment)).await
    }

    async fn collect(&self, valid: &[AttachmentKey]) -> windlass_kernel::Result<()> {
        self.noted(format!("collect all but {valid:?}"), self.inner.collect(valid)).await
    }

    async fn ready(&self) -> windlass_kernel::Result<()> {
        self.noted("ready".into(), self.inner.ready()).await
    }
}

/// Nothing beyond the network itself is needed.
fn always(_: &Fixture) -> Option<&'static str> {
    None
}

/// A pod of a check.
struct Pod<'a> {
    fixture: &'a Fixture,
    wanted: Attachment,
    namespace: PathBuf,
}

impl Fixture {
    /// A pod with a namespace and nothing in it.
    fn pod(&self, name: &str) -> Pod<'_> {
        let name = format!("{}{name}", self.prefix);
        let namespace = self.surroundings.pod(&name);
        let wanted = Attachment {
            key: AttachmentKey::new(name.as_str(), INTERFACE),
            namespace: Some(namespace.clone()),
            pod: Some(PodIdentity { namespace: "default".into(), name: name.clone(), uid: format!("uid-{name}") }),
            ..Attachment::default()
        };
        Pod { fixture: self, wanted, namespace }
    }

    /// What is there beyond what was there before.
    fn beyond(&self, before: &BTreeSet<String>) -> Vec<String> {
        self.surroundings.inventory().difference(before).cloned().collect()
    }

    /// Everything on the node once the network has made what its pods share.
    async fn before(&self) -> BTreeSet<String> {
        self.before_wishing(Wishes::default()).await
    }

    /// The same, with what is shared by pods that have such wishes.
    async fn before_wishing(&self, wishes: Wishes) -> BTreeSet<String> {
        let mut pod = self.pod("warm");
        pod.wanted.wishes = wishes;
        pod.attach().await;
        pod.detach().await;
        self.surroundings.remove_pod(&pod.namespace);
        self.surroundings.inventory()
    }

    /// Ends a check: its pods go, and nothing of them is left.
    #[track_caller]
    fn end(&self, before: &BTreeSet<String>, pods: &[&Pod<'_>]) {
        for pod in pods {
            let inside = self.surroundings.interface(&pod.namespace, INTERFACE);
            assert_eq!(inside, None, "{}: the interface is left in the namespace", pod.wanted.key);
            self.surroundings.remove_pod(&pod.namespace);
        }
        let left = self.beyond(before);
        assert!(left.is_empty(), "what is left on the node: {}", left.join("; "));
    }
}

impl Pod<'_> {
    async fn attach(&self) -> Attached {
        self.fixture.network.attach(&self.wanted).await.expect("a pod is attached")
    }

    async fn detach(&self) {
        self.fixture.network.detach(&self.wanted).await.expect("a pod is detached");
    }

    fn interface(&self) -> Option<Seen> {
        self.fixture.surroundings.interface(&self.namespace, INTERFACE)
    }

    /// Whether the pod is reached, from another pod or from the node.
    fn reached(&self, from: Option<&Pod<'_>>, attached: &Attached) -> bool {
        let from = from.map(|pod| pod.namespace.as_path());
        attached.ips().all(|ip| self.fixture.surroundings.connects(from, (ip, PORT).into(), &self.namespace, PORT))
    }
}

/// The addresses of an answer that stand for the pod.
fn ips(attached: &Attached) -> Vec<IpAddr> {
    let ips: Vec<_> = attached.ips().collect();
    assert!(!ips.is_empty(), "an attachment has an address: {attached:?}");
    ips
}

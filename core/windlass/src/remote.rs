//! Nodes that run elsewhere: their agents, over the API that each serves.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use form_urlencoded::Serializer;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use jiff::{Timestamp, ToSpan};
use parking_lot::Mutex;
use serde_json::Value;
use windlass_api::core::v1::{NodeStatus, Pod};
use windlass_apiserver::agent_of;
use windlass_client::{
    https::{HttpsApi, Means, RawReply, RawRequest},
    kubeconfig::{Access, Credential},
};
use windlass_kernel::{
    Clock, ClockExt, Dial, Error, ErrorKind, NodeAgent, Result, Spawn,
    api::Chunks,
    carry::{PORTS_PROTOCOL, PROCESS_PROTOCOL, PROTOCOL_HEADER, ports_from_spdy, process_from_spdy},
    controller::ObjectKey,
    dial::{ByteStream, Target},
    node::{Amounts, LogRequest, Measured, Metering, PodUsage, Report, Session, SessionRequest, Streams, Usage},
    spdy,
};

use crate::{
    Cluster,
    agents::Elsewhere,
    reach::{Asking, may_be_dialled},
    serve::Pki,
};

/// As whom the agents of nodes elsewhere are asked. The role `system:kubelet-api-admin` is bound to it, and nothing else: nodes say
/// themselves where their agents are, so that it must be worth nothing elsewhere.
const USER: &str = "kube-apiserver-kubelet-client";
/// How old that certificate gets; it is valid for a year.
const RENEWED: i64 = 30;
/// So long a connection to a node may take to come about, and a node to say what it uses.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of what a node says about its use is read.
const SUMMARY: usize = 32 << 20;
/// What upstream's kubelets measure CPU over; a summary does not say it.
const WINDOW: Duration = Duration::from_secs(10);

/// The agents of a cluster's nodes elsewhere.
#[derive(Debug)]
pub(crate) struct Kubelets {
    asking: Asking,
    dial: Arc<dyn Dial>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    pki: Arc<Pki>,
    /// The certificate that it asks with, and when that was made.
    credential: Mutex<Option<(Timestamp, Credential)>>,
}

impl Kubelets {
    pub(crate) fn new(cluster: &Cluster, pki: &Arc<Pki>) -> Self {
        let asking = Asking::default();
        asking.of(cluster.server());
        let (clock, spawn) = (Arc::clone(cluster.clock()), Arc::clone(cluster.spawn()));
        let dial = Arc::new(Patient { dial: Arc::clone(cluster.dial()), clock: Arc::clone(&clock) });
        Self { asking, dial, clock, spawn, pki: Arc::clone(pki), credential: Mutex::default() }
    }

    fn credential(&self) -> Result<Credential> {
        let now = self.clock.now();
        let mut held = self.credential.lock();
        if let Some((made, credential)) = &*held
            && made.saturating_add((RENEWED * 24).hours()).is_ok_and(|due| now < due)
        {
            return Ok(credential.clone());
        }
        let own = self.pki.authority.client(USER, &[], now)?;
        let credential = Credential::Certificate { chain: own.certificate.into(), key: own.key.into() };
        *held = Some((now, credential.clone()));
        Ok(credential)
    }

    /// The API of a node's agent, and the port that it is at.
    async fn api(&self, node: &str) -> Result<(HttpsApi, u16)> {
        let object = self.asking.read("nodes", &ObjectKey::new("", node)).await?;
        let (host, port) = agent_of(&object)?;
        let target = Target::Host { host: may_be_dialled(&host)?.to_owned(), port };
        let access = Access {
            server: format!("https://{target}"),
            server_name: None,
            authority: Vec::new(),
            insecure: true,
            credential: self.credential()?,
            namespace: String::new(),
        };
        let (dial, spawn, clock) = (Arc::clone(&self.dial), Arc::clone(&self.spawn), Arc::clone(&self.clock));
        Ok((HttpsApi::new(&access, Means { dial, spawn, clock })?, port))
    }
}

/// Where the agent listens is known before it is asked, so that another port is not taken for it.
#[derive(Debug)]
pub(crate) struct Nodes(pub(crate) Arc<Kubelets>);

#[async_trait]
impl Elsewhere for Nodes {
    fn agent(&self, name: &str) -> Arc<dyn NodeAgent> {
        Arc::new(RemoteNode { name: name.into(), kubelets: Arc::clone(&self.0) })
    }

    async fn connect(&self, name: &str, port: u16) -> Result<Option<ByteStream>> {
        let (api, own) = self.0.api(name).await?;
        if own != port {
            return Ok(None);
        }
        let opened = self.0.clock.timeout(PATIENCE, api.connection(false)).await;
        opened.and_then(|opened| opened).map(Some).map_err(|error| away(name, error))
    }
}

/// Gives connections up that do not come about.
#[derive(Debug)]
struct Patient {
    dial: Arc<dyn Dial>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Dial for Patient {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        self.clock.timeout(PATIENCE, self.dial.dial(target)).await?
    }
}

fn away(node: &str, error: Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the agent of node {node} cannot be reached")).with_source(error)
}

/// The agent of a node elsewhere.
#[derive(Debug)]
struct RemoteNode {
    name: String,
    kubelets: Arc<Kubelets>,
}

impl RemoteNode {
    fn not_here(&self, what: &str) -> Error {
        Error::new(ErrorKind::NotSupported, format!("{what} of node {} is the business of its own process", self.name))
    }

    async fn api(&self) -> Result<HttpsApi> {
        self.kubelets.api(&self.name).await.map(|(api, _)| api)
    }

    async fn get(&self, target: String) -> Result<RawReply> {
        let request = RawRequest { method: "GET".into(), target, ..RawRequest::default() };
        let reply = self.api().await?.raw(request).await.map_err(|error| away(&self.name, error))?;
        if reply.code != 200 {
            let refused = self.kubelets.clock.timeout(PATIENCE, reply.refusal()).await;
            return Err(self.refusal(refused.unwrap_or_else(|late| late)));
        }
        Ok(reply)
    }

    async fn upgrade(&self, target: String, protocol: &str) -> Result<ByteStream> {
        let headers = [("connection", "Upgrade"), ("upgrade", spdy::UPGRADE), (PROTOCOL_HEADER, protocol)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let request = RawRequest { method: "POST".into(), target, headers, ..RawRequest::default() };
        self.api().await?.upgrade(request).await.map_err(|error| self.refusal(error))
    }

    /// What a client of the cluster is to see of an agent's refusal.
    fn refusal(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Timeout => away(&self.name, error),
            // It is the cluster that it does not know, and not whoever asked.
            ErrorKind::Unauthorized => {
                let message = format!(
                    "node {} does not know this cluster: its agent needs the cluster's client authority",
                    self.name
                );
                Error::new(ErrorKind::Unavailable, message).with_source(error)
            }
            _ => error,
        }
    }

    async fn summary(&self) -> Result<Value> {
        let mut reply = self.get("/stats/summary?only_cpu_and_memory=true".into()).await?;
        let mut text = Vec::new();
        while let Some(chunk) = reply.body.0.next().await {
            text.extend_from_slice(&chunk?);
            if text.len() > SUMMARY {
                return Err(self.garbage());
            }
        }
        serde_json::from_slice(&text).map_err(|error| self.garbage().with_source(error))
    }

    fn garbage(&self) -> Error {
        Error::new(ErrorKind::Unavailable, format!("node {} does not say what it uses", self.name))
    }
}

#[async_trait]
impl NodeAgent for RemoteNode {
    async fn describe(&self) -> Result<NodeStatus> {
        Err(self.not_here("the status"))
    }

    async fn sync(&self, _: Vec<Arc<Pod>>) -> Result<()> {
        Err(self.not_here("the pods"))
    }

    fn reports(&self) -> BoxStream<'static, Report> {
        stream::empty().boxed()
    }

    async fn logs(&self, request: LogRequest) -> Result<Chunks> {
        let query = Serializer::new(String::new()).extend_pairs(request.to_query()).finish();
        let LogRequest { pod, container, .. } = request;
        let target = format!("/containerLogs/{}/{}/{container}?{query}", pod.namespace, pod.name);
        self.get(target).await.map(|reply| reply.body)
    }

    async fn open(&self, request: SessionRequest) -> Result<Session> {
        let spawn = &self.kubelets.spawn;
        let (target, streams) = match request {
            SessionRequest::PortForward { pod, uid } => {
                let target = format!("/portForward/{}/{}/{uid}", pod.namespace, pod.name);
                let connection = self.upgrade(target, PORTS_PROTOCOL).await?;
                return Ok(ports_from_spdy(connection, spawn));
            }
            SessionRequest::Exec { pod, uid, container, command, streams } => {
                let query = query(streams, &command);
                (format!("/exec/{}/{}/{uid}/{container}?{query}", pod.namespace, pod.name), streams)
            }
            SessionRequest::Attach { pod, uid, container, streams } => {
                let query = query(streams, &[]);
                (format!("/attach/{}/{}/{uid}/{container}?{query}", pod.namespace, pod.name), streams)
            }
        };
        let connection = self.upgrade(target, PROCESS_PROTOCOL).await?;
        process_from_spdy(connection, streams, spawn).await
    }

    fn metering(&self) -> Option<&dyn Metering> {
        Some(self)
    }
}

#[async_trait]
impl Metering for RemoteNode {
    async fn usage(&self) -> Result<Usage> {
        let summary = self.kubelets.clock.timeout(PATIENCE, self.summary()).await??;
        Ok(usage(&summary))
    }
}

/// What a session is asked for with, under the names that kubelets know.
fn query(streams: Streams, command: &[String]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(command.iter().map(|word| ("command", word)));
    let flags = [("input", streams.stdin), ("output", streams.stdout), ("error", streams.stderr), ("tty", streams.tty)];
    query.extend_pairs(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, "1")));
    query.finish()
}

/// Reads a summary (`stats/v1alpha1`). What it does not say is left out.
fn usage(summary: &Value) -> Usage {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pods = list(&summary["pods"]).into_iter().filter_map(|pod| {
        let containers = list(&pod["containers"]);
        let read = containers.iter().filter_map(|container| Some((text(&container["name"]), measured(container)?)));
        let read: Vec<(String, Measured<Amounts>)> = read.collect();
        // The oldest, so that nothing is said to be fresher than it is.
        let at = read.iter().map(|(_, own)| own.at).min()?;
        let reference = &pod["podRef"];
        Some(PodUsage {
            pod: ObjectKey::new(text(&reference["namespace"]), text(&reference["name"])),
            uid: text(&reference["uid"]),
            containers: Measured {
                at,
                window: WINDOW,
                amounts: read.into_iter().map(|(name, own)| (name, own.amounts)).collect(),
            },
        })
    });
    Usage { node: measured(&summary["node"]), pods: pods.collect() }
}

/// CPU and memory of a node or a container, where both are said.
fn measured(of: &Value) -> Option<Measured<Amounts>> {
    let (cpu, memory) = (&of["cpu"], &of["memory"]);
    let total = cpu["usageCoreNanoSeconds"].as_u64().map(Duration::from_nanos);
    let amounts =
        Amounts { nanocores: cpu["usageNanoCores"].as_u64()?, memory: memory["workingSetBytes"].as_u64()?, cpu: total };
    Some(Measured { at: cpu["time"].as_str()?.parse().ok()?, window: WINDOW, amounts })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_says_what_a_node_uses() {
        let one = |cpu: u64, memory: u64, second: u32| {
            let time = format!("2026-11-30T00:00:0{second}Z");
            json!({"cpu": {"time": time, "usageNanoCores": cpu}, "memory": {"workingSetBytes": memory}, "name": "c"})
        };
        let read = usage(&json!({
            "node": one(7, 8, 3),
            "pods": [
                {"podRef": {"name": "p", "namespace": "n", "uid": "u"}, "containers": [one(1, 2, 5), one(3, 4, 4)]},
                {"podRef": {"name": "q", "namespace": "n", "uid": "v"}, "containers": [{"name": "c"}]},
            ],
        }));
        let node = read.node.unwrap();
        assert_eq!((node.amounts.nanocores, node.amounts.memory), (7, 8));
        assert_eq!(read.pods.len(), 1);
        let pod = &read.pods[0];
        assert_eq!((pod.uid.as_str(), pod.containers.amounts.len()), ("u", 2));
        assert_eq!(pod.containers.at.to_string(), "2026-11-30T00:00:04Z");
        assert_eq!(usage(&json!({})), Usage::default());
    }

    #[test]
    fn a_session_is_asked_for_under_the_names_of_kubelets() {
        let streams = Streams { stdin: true, stdout: true, ..Streams::default() };
        let command = ["sh".to_owned(), "-c".to_owned(), "echo a&b".to_owned()];
        assert_eq!(query(streams, &command), "command=sh&command=-c&command=echo+a%26b&input=1&output=1");
    }
}

//! Connections to nodes, pods and services of a cluster, wherever they run.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock, Weak},
};

use async_trait::async_trait;
use windlass_api::Value;
use windlass_apiserver::ApiServer;
use windlass_kernel::{
    Api, Dial, Error, ErrorKind, Identity, Result,
    api::{Answer, Destination, GroupVersionResource, Request, Verb},
    controller::ObjectKey,
    dial::{ByteStream, Target},
    node::{Session, SessionRequest},
};

use crate::agents::Agents;

/// Asks the API server as itself, which is its own client upstream too.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    /// Set once the server has started; it does not keep the server alive.
    server: OnceLock<Weak<ApiServer>>,
}

impl Asking {
    /// Says which server it is.
    pub(crate) fn of(&self, server: &Arc<ApiServer>) {
        // A second call would say the same.
        let _ = self.server.set(Arc::downgrade(server));
    }

    async fn ask(&self, resource: &'static str, at: &ObjectKey, subresource: &str) -> Result<Answer> {
        let server = self.server.get().and_then(Weak::upgrade);
        let server = server.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the cluster does not run"))?;
        let identity = Identity::new("system:apiserver", &["system:masters", "system:authenticated"]);
        let mut request = Request::new(Arc::new(identity), Verb::Get, GroupVersionResource::of("", "v1", resource));
        request.namespace.clone_from(&at.namespace);
        request.name.clone_from(&at.name);
        Ok(server.call(request.subresource(subresource)).await?.answer)
    }

    pub(crate) async fn read(&self, resource: &'static str, at: &ObjectKey) -> Result<Value> {
        match self.ask(resource, at, "").await? {
            Answer::Object(document) => document.value(),
            _ => Err(Error::new(ErrorKind::Internal, format!("{resource} {at} is not an object"))),
        }
    }

    /// Where requests for the proxy of an object go on to.
    async fn destination(&self, resource: &'static str, at: &ObjectKey) -> Result<Destination> {
        match self.ask(resource, at, "proxy").await? {
            Answer::Destination(to) => Ok(to),
            _ => Err(Error::new(ErrorKind::Internal, format!("{resource} {at} leads nowhere"))),
        }
    }
}

/// Refuses addresses that nodes say of themselves or of their pods, and that lead back to this machine or to what only it reaches
/// (upstream: `IsProxyableIP`).
pub(crate) fn may_be_dialled(host: &str) -> Result<&str> {
    let allowed = match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() => false,
        Ok(IpAddr::V4(ip)) => !(ip.is_link_local() || ip.is_broadcast()),
        Ok(IpAddr::V6(ip)) => !ip.is_unicast_link_local(),
        Err(_) => {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            !host.is_empty() && host.bytes().all(known) && !host.eq_ignore_ascii_case("localhost")
        }
    };
    allowed.then_some(host).ok_or_else(|| Error::new(ErrorKind::BadRequest, format!("address not allowed: {host:?}")))
}

/// Reaches what belongs to a cluster, and hosts and socket files as the machine does.
///
/// A pod of a node whose pods have no addresses of their own, such as a scripted one, is reached through its agent.
pub(crate) struct ClusterDial {
    agents: Arc<Agents>,
    machine: Arc<dyn Dial>,
    asking: Asking,
}

impl fmt::Debug for ClusterDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterDial").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl ClusterDial {
    pub(crate) fn new(agents: Arc<Agents>, machine: Arc<dyn Dial>) -> Self {
        Self { agents, machine, asking: Asking::default() }
    }

    /// Says which cluster it is.
    pub(crate) fn of(&self, server: &Arc<ApiServer>) {
        self.asking.of(server);
    }

    async fn pod(&self, key: ObjectKey, port: u16) -> Result<ByteStream> {
        let pod = self.asking.read("pods", &key).await?;
        let node = self.agents.node(pod["spec"]["nodeName"].as_str().unwrap_or_default());
        if let Some(node) = node.filter(|node| !node.addressed) {
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            return match node.agent.open(SessionRequest::PortForward { pod: key, uid }).await? {
                Session::Ports(ports) => ports.connect(port).await,
                Session::Process(_) => Err(Error::new(ErrorKind::Internal, "an agent opened another session")),
            };
        }
        let host = pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        if host.is_empty() {
            return Err(Error::new(ErrorKind::Unavailable, format!("pod {key} has no address yet")));
        }
        may_be_dialled(&host)?;
        self.machine.dial(&Target::Host { host, port }).await
    }

    async fn node(&self, name: &str, port: u16) -> Result<ByteStream> {
        if let Some(node) = self.agents.node(name).filter(|node| node.kubelet.port() == port) {
            return Ok(node.kubelet.connect());
        }
        if let Some(elsewhere) = self.agents.elsewhere()
            && let Some(agent) = elsewhere.connect(name, port).await?
        {
            return Ok(agent);
        }
        let node = self.asking.read("nodes", &ObjectKey::new("", name)).await?;
        let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
        let own = addresses.filter(|address| address["type"] == "InternalIP").find_map(|one| one["address"].as_str());
        let host = own.ok_or_else(|| Error::new(ErrorKind::Unavailable, format!("node {name} has no address")))?;
        self.machine.dial(&Target::Host { host: may_be_dialled(host)?.into(), port }).await
    }
}

#[async_trait]
impl Dial for ClusterDial {
    async fn dial(&self, target: &Target) -> Result<ByteStream> {
        match target {
            Target::Pod { namespace, name, port } => self.pod(ObjectKey::new(&**namespace, &**name), *port).await,
            Target::Node { name, port } => self.node(name, *port).await,
            Target::Service { namespace, name, port } => {
                let key = ObjectKey::new(&**namespace, format!("{name}:{port}"));
                let to = self.asking.destination("services", &key).await?;
                self.dial(&to.target).await
            }
            Target::Host { .. } | Target::Unix(_) => self.machine.dial(target).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_back_to_this_machine_is_not_dialled() {
        for host in ["10.0.0.1", "192.0.2.7", "fd00::1", "node-1.example", "8.8.8.8"] {
            assert!(may_be_dialled(host).is_ok(), "{host}");
        }
        let refused = [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "169.254.169.254",
            "fe80::1",
            "::ffff:127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "localhost",
            "",
            "x/api/v1",
            "a@b",
            "10.0.0.1:80",
        ];
        for host in refused {
            assert_eq!(may_be_dialled(host).unwrap_err().kind(), ErrorKind::BadRequest, "{host}");
        }
    }
}

//! `windlass node`: a node's agent alone, for a cluster that a kubeconfig leads to.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use futures::future::Either;
use hyper::Uri;
use windlass::{
    client::informer::Parts,
    host_node,
    kernel::{Clock, Error, ErrorKind, Identity, Spawn, Stop},
    real::{ContainerNode, Routes, Rules},
    rim::{SystemClock, SystemDial, SystemEntropy, TokioSpawn},
};
use windlass_client::{
    Client,
    https::{HttpsApi, Means},
    kubeconfig::Access,
};

use crate::{
    args::{Node, Switch},
    containers,
    data::DataDir,
    foreground,
};

/// Runs until a signal ends it.
pub(crate) fn run(node: &Node) -> Result<()> {
    foreground::run(serve(node))
}

async fn serve(node: &Node) -> Result<()> {
    let eviction = node.eviction.limits()?;
    node.check()?;
    let rim = Rim::real();
    let (parts, access) = rim.parts(&node.kubeconfig, &node.context, "kubelet")?;
    let api = server(&access)?;
    let proxy = node.proxy_kubeconfig.as_ref().map(|file| rim.parts(file, "", "kube-proxy")).transpose()?;
    let proxy = proxy.map_or_else(|| Rim::as_agent(&parts, "kube-proxy"), |(parts, _)| parts);
    containers::need_root("use sudo")?;
    let data = DataDir::of(&node.place);
    data.create()?;
    let _held = data.take_node()?;
    let usual = containers::node(&data, &node.runtime)?;
    let mut source = ContainerNode {
        name: node.name.clone().unwrap_or_else(|| usual.name.clone()),
        address: node.node_ip.unwrap_or(usual.address),
        api,
        api_port: node.api.port,
        eviction,
        ..usual
    };
    node.tell(&mut source)?;
    let own = node.api.listen(&source.name, source.address, &access).await?;

    let stop = Stop::new();
    let running = async {
        let mut tasks = Vec::new();
        if node.service_rules == Switch::On {
            tasks.push(Rules { node: source.name.clone() }.start(&proxy, &stop));
        }
        // The cluster gives the node its range and its address before there is anything to lead there.
        tasks.extend(Routes::of(&source).map(|routes| routes.start_with(&proxy, &parts, &stop)));
        // It may wait for the cluster as long as it likes, but not for longer than it is wanted.
        if let Some(hosted) = stop.race(host_node(&source, parts.clone(), &stop)).await {
            let hosted = hosted.context("cannot start the node")?;
            tasks.extend(own.map(|own| own.serve(&hosted.kubelet, &parts, &stop)).transpose()?);
            tasks.push(hosted.task);
            // Without an answer the host has ended, which it does when it is told to.
            if hosted.registered.await.is_ok() {
                announce(node, &source.name, &access.server)?;
            }
        }
        for task in &tasks {
            task.ended().await;
        }
        Ok(())
    };
    let interrupted = async {
        let told = foreground::interrupted().await;
        println!("node {} ends; what runs in containers goes on, and `windlass node` finds it again", source.name);
        stop.stop();
        told
    };
    match futures::future::select(Box::pin(running), Box::pin(interrupted)).await {
        Either::Left((ended, _)) => ended,
        Either::Right((told, running)) => {
            told?;
            running.await
        }
    }
}

/// Says that the node is registered.
fn announce(node: &Node, name: &str, server: &str) -> Result<()> {
    if let Some(file) = &node.ready_file {
        std::fs::write(file, format!("{name}\n")).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("node {name} is registered at {server}");
    Ok(())
}

/// What clients run on.
struct Rim {
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
}

impl Rim {
    fn real() -> Self {
        Self { clock: Arc::new(SystemClock::new()), spawn: Arc::new(TokioSpawn::current()) }
    }

    /// A client that a kubeconfig makes, and that follows it, and how the server is reached now.
    fn parts(&self, kubeconfig: &Path, context: &str, agent: &str) -> Result<(Parts, Access)> {
        let (clock, spawn) = (Arc::clone(&self.clock), Arc::clone(&self.spawn));
        let means = Means { dial: Arc::new(SystemDial), spawn: Arc::clone(&spawn), clock: Arc::clone(&clock) };
        let (api, access) = HttpsApi::following(kubeconfig, context, means)?;
        // The server knows who asks by the credential.
        let client = Client::new(Arc::new(api), Arc::new(Identity::anonymous())).with_user_agent(agent);
        Ok((Parts { client, spawn, clock, entropy: Arc::new(SystemEntropy) }, access))
    }

    /// The same client under another name.
    fn as_agent(parts: &Parts, agent: &str) -> Parts {
        Parts { client: parts.client.clone().with_user_agent(agent), ..parts.clone() }
    }
}

/// The host and the port of the API server, which pods are told of.
fn server(access: &Access) -> Result<(String, u16)> {
    let unusable = || Error::new(ErrorKind::Invalid, format!("the server's URL {:?} has no host", access.server));
    let url: Uri = access.server.parse().map_err(|_| unusable())?;
    let host = url.host().ok_or_else(unusable)?.trim_matches(['[', ']']).to_owned();
    let usual = if url.scheme_str() == Some("http") { 80 } else { 443 };
    Ok((host, url.port_u16().unwrap_or(usual)))
}

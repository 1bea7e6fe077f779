//! `windlass node`: a node's agent alone, for a cluster that a kubeconfig leads to.

use std::sync::Arc;

use anyhow::{Context, Result};
use hyper::Uri;
use windlass::{
    client::informer::Parts,
    host_node,
    kernel::{Clock, Error, ErrorKind, Identity, Spawn, Stop},
    real::ContainerNode,
    rim::{SystemClock, SystemDial, SystemEntropy, TokioSpawn},
};
use windlass_client::{
    Client,
    https::{HttpsApi, Means},
    kubeconfig::{Access, Kubeconfig},
};

use crate::{args::Node, containers, data::DataDir, foreground};

/// Runs until a signal ends it.
pub(crate) fn run(node: &Node) -> Result<()> {
    foreground::run(serve(node))
}

async fn serve(node: &Node) -> Result<()> {
    let eviction = node.eviction.limits()?;
    node.of_node.check(&node.runtime)?;
    let access = Kubeconfig::read(&node.kubeconfig)?.access(&node.context)?;
    let api = server(&access)?;
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
    node.of_node.tell(&mut source);
    let own = node.api.listen(&source.name, source.address, &access).await?;

    let (stop, parts) = (Stop::new(), parts(&access)?);
    let hosted = host_node(&source, parts.clone(), &stop).await.context("cannot start the node")?;
    let serving = own.map(|own| own.serve(&hosted.kubelet, &parts, &stop)).transpose()?;
    let (name, server) = (&source.name, &access.server);
    let announced = async {
        // Without an answer the host has ended, which it does when it is told to.
        if hosted.registered.await.is_ok() {
            if let Some(file) = &node.ready_file {
                std::fs::write(file, format!("{name}\n"))
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
            println!("node {name} is registered at {server}");
        }
        std::future::pending::<Result<()>>().await
    };
    let told = futures::future::select(Box::pin(announced), Box::pin(foreground::interrupted())).await;
    told.factor_first().0?;
    println!("node {name} ends; what runs in containers goes on, and `windlass node` finds it again");
    stop.stop();
    hosted.task.ended().await;
    if let Some(serving) = serving {
        serving.ended().await;
    }
    Ok(())
}

/// What the node's host runs on, with a client that the kubeconfig makes.
fn parts(access: &Access) -> Result<Parts> {
    let (clock, spawn): (Arc<dyn Clock>, Arc<dyn Spawn>) =
        (Arc::new(SystemClock::new()), Arc::new(TokioSpawn::current()));
    let means = Means { dial: Arc::new(SystemDial), spawn: Arc::clone(&spawn), clock: Arc::clone(&clock) };
    let api = Arc::new(HttpsApi::new(access, means)?);
    // The server knows who asks by the credential.
    let client = Client::new(api, Arc::new(Identity::anonymous())).with_user_agent("kubelet");
    Ok(Parts { client, spawn, clock, entropy: Arc::new(SystemEntropy) })
}

/// The host and the port of the API server, which pods are told of.
fn server(access: &Access) -> Result<(String, u16)> {
    let unusable = || Error::new(ErrorKind::Invalid, format!("the server's URL {:?} has no host", access.server));
    let url: Uri = access.server.parse().map_err(|_| unusable())?;
    let host = url.host().ok_or_else(unusable)?.trim_matches(['[', ']']).to_owned();
    let usual = if url.scheme_str() == Some("http") { 80 } else { 443 };
    Ok((host, url.port_u16().unwrap_or(usual)))
}

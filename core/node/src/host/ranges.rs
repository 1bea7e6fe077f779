//! Which ranges a node's pods have addresses of: that has to be known before the first of them runs.
//!
//! The node's object says it (`spec.podCIDRs`), whoever gave them: the cluster, or the node itself as it was told.

use std::{collections::BTreeMap, time::Duration};

use futures::future::{Either, select};
use ipnet::IpNet;
use windlass_api::core::v1::Node;
use windlass_client::{Client, Informers, Select};
use windlass_kernel::{ClockExt, Error, ErrorKind, Result, controller::ObjectKey};

use super::{RETRY, Registration};

/// So long nothing is said of a cluster that gives the node no range.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ranges of a node: those that it has, that `wanted` says, or that the cluster gives it, which is waited for. A node that
/// is not there is made, where registration says so. `informers` act as the node.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) where the node has others than are wanted, or another node has those, as far as the node may
/// see. A cluster that does not answer is waited for.
pub async fn pod_ranges(registration: &Registration, informers: &Informers, wanted: &[IpNet]) -> Result<Vec<IpNet>> {
    let parts = informers.parts();
    let (name, client) = (registration.name.as_str(), &parts.client);
    let nodes = informers.typed::<Node>(Select::all().named(name));
    let changed = nodes.subscribe();
    nodes.synced().await;
    if !wanted.is_empty() {
        of_nobody_else(client, name, wanted).await?;
    }
    let key = ObjectKey::new("", name);
    let (mut backoff, mut told) = (RETRY, false);
    loop {
        while changed.take().is_some() {}
        let there = nodes.get(&key);
        let has = there.as_deref().map(ranges).unwrap_or_default();
        let made = match &there {
            _ if !has.is_empty() => {
                return if wanted.is_empty() || has == wanted { Ok(has) } else { Err(other(name, &has)) };
            }
            None if registration.register => client.create(&registration.node(&texts(wanted))).await.map(drop),
            Some(_) if !wanted.is_empty() => client.modify::<Node>("", name, |node| take(node, wanted)).await.map(drop),
            _ => Ok(()),
        };
        if let Err(error) = made
            && !error.is(ErrorKind::AlreadyExists)
        {
            tracing::warn!(node = name, %error, "cannot register the node yet");
            parts.clock.sleep(backoff.next(&*parts.entropy)).await;
            continue;
        }
        let (next, late) = (Box::pin(changed.next()), parts.clock.sleep(PATIENCE));
        if let Either::Right(_) = select(next, late).await
            && !std::mem::replace(&mut told, true)
        {
            let cure =
                if there.is_none() { "create the node" } else { "let the control plane give it one, or name one" };
            tracing::warn!(node = name, cure, "the node has no range of pod addresses yet, and runs no pods before");
        }
    }
}

fn ranges(node: &Node) -> Vec<IpNet> {
    node.spec.pod_cidrs.iter().filter_map(|text| text.parse().ok()).collect()
}

fn texts(ranges: &[IpNet]) -> Vec<String> {
    ranges.iter().map(ToString::to_string).collect()
}

/// Gives a node without ranges those.
fn take(node: &mut Node, wanted: &[IpNet]) {
    if node.spec.pod_cidrs.is_empty() {
        node.spec.pod_cidrs = texts(wanted);
        node.spec.pod_cidr = node.spec.pod_cidrs.first().cloned();
    }
}

fn other(name: &str, has: &[IpNet]) -> Error {
    let has = texts(has).join(",");
    let message =
        format!("the node {name:?} has the pod range {has} already: delete the node, or ask for no other range");
    Error::new(ErrorKind::Invalid, message)
}

/// Refuses ranges that touch another node's. Who may not see other nodes has to be believed.
async fn of_nobody_else(client: &Client, name: &str, wanted: &[IpNet]) -> Result<()> {
    let all = match client.list::<Node>(&Select::all()).await {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(node = name, %error, "cannot see whether another node has the pod range");
            return Ok(());
        }
    };
    let others: BTreeMap<_, _> =
        all.iter().map(|node| (node.metadata.name.as_deref().unwrap_or_default(), node)).collect();
    for (other, node) in others.into_iter().filter(|(other, _)| *other != name) {
        let touches = |theirs: &IpNet| {
            wanted.iter().any(|own| own.contains(&theirs.network()) || theirs.contains(&own.network()))
        };
        if let Some(theirs) = ranges(node).iter().find(|theirs| touches(theirs)) {
            let wanted = texts(wanted).join(",");
            let message = format!("the pod range {wanted} touches {theirs} of the node {other:?}: choose another one");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}

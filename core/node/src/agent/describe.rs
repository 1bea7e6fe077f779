//! What the node is, has and is fit for.

use std::collections::BTreeMap;

use windlass_api::core::v1::{ContainerImage, NodeAddress, NodeCondition, NodeStatus};
use windlass_kernel::{Result, SpawnExt, runtime::RuntimeStatus};

use super::Inner;

/// More images than this are not told (as upstream).
const IMAGES: usize = 50;

pub(super) async fn describe(inner: &Inner) -> NodeStatus {
    let needs = &inner.needs;
    let (version, status) = futures::join!(needs.runtime.version(), needs.runtime.status());
    let images = match &status {
        Ok(_) => needs.images.images().await.unwrap_or_default(),
        Err(_) => vec![],
    };
    let mut images: Vec<ContainerImage> = images
        .into_iter()
        .map(|image| ContainerImage {
            names: image.digests.into_iter().chain(image.tags).collect(),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect();
    images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
    images.truncate(IMAGES);
    let mut info = needs.spawn.run_blocking("node.info", crate::machine::info).await.unwrap_or_default();
    info.container_runtime_version = match version {
        Ok(version) => format!("{}://{}", version.name, version.version),
        Err(_) => format!("{}://", inner.machine.runtime),
    };
    let amounts = |all: &BTreeMap<String, String>| {
        all.iter().map(|(name, amount)| (name.clone(), amount.as_str().into())).collect::<BTreeMap<_, _>>()
    };
    let (mut capacity, mut allocatable) = (amounts(&inner.machine.capacity), amounts(&inner.machine.allocatable));
    for (name, (all, healthy)) in inner.config.devices.amounts(needs.clock.uptime()) {
        capacity.insert(name.clone(), all.to_string().as_str().into());
        allocatable.insert(name, healthy.to_string().as_str().into());
    }
    let address = |type_: &str, address: String| NodeAddress { type_: type_.into(), address };
    let addresses = inner.config.addresses.iter().map(|ip| address("InternalIP", ip.to_string()));
    NodeStatus {
        capacity,
        allocatable,
        addresses: addresses.chain([address("Hostname", inner.config.node.clone())]).collect(),
        conditions: inner.pressures.conditions().into_iter().chain([ready(&status)]).collect(),
        node_info: info,
        images,
        ..NodeStatus::default()
    }
}

fn ready(status: &Result<RuntimeStatus>) -> NodeCondition {
    let not = |message: String| condition("Ready", "False", "KubeletNotReady", &message);
    match status {
        Err(error) => not(format!("container runtime is down: {}", super::prepare::whole(error))),
        Ok(status) if !status.runtime.ready => not(format!(
            "container runtime not ready: reason:{} message:{}",
            status.runtime.reason, status.runtime.message
        )),
        Ok(status) if !status.network.ready => not(format!(
            "container runtime network not ready: reason:{} message:{}",
            status.network.reason, status.network.message
        )),
        Ok(_) => condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> NodeCondition {
    NodeCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..NodeCondition::default()
    }
}

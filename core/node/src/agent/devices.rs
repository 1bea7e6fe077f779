//! Devices of plugins for a pod: handed out before it begins, made ready before its containers start.

use std::{collections::BTreeSet, sync::Arc};

use windlass_api::core::v1::{Container, Pod};
use windlass_kernel::{
    Result,
    runtime::{ContainerFilter, ContainerState, Sandbox, SandboxFilter},
};

use super::{Inner, worker::Round};
use crate::{
    devices::{Outfit, Refusal, Rim, Seen, may_ask},
    make::labels,
    pod::{self, Observed},
};

/// Why pods fail that are let in and cannot be run, as upstream has it.
const UNEXPECTED: &str = "UnexpectedAdmissionError";

impl Inner {
    pub(crate) fn devices_rim(&self) -> Rim<'_> {
        Rim { clock: &*self.needs.clock, spawn: &*self.needs.spawn }
    }

    /// Hands a pod its devices. Those of pods that end are waited for: the scheduler may know of the end before it has come.
    async fn wait_for_devices(&self, pod: &Pod) -> Result<(), Refusal> {
        let (devices, own) = (&self.config.devices, pod::uid(pod));
        loop {
            let freed = devices.freed();
            let Err(refusal) = devices.give(pod, self.devices_rim()).await else { return Ok(()) };
            let holders = refusal.short_of.as_deref().map(|resource| devices.holders(resource)).unwrap_or_default();
            if !holders.iter().any(|uid| *uid != own && self.ends(uid)) {
                return Err(refusal);
            }
            freed.await;
        }
    }

    /// Whether a pod has ended, or is to end.
    fn ends(&self, uid: &str) -> bool {
        let Some(handle) = self.handle(uid) else { return false };
        let said = handle.report.lock().as_ref().and_then(|report| report.status.phase.clone());
        let ended = matches!(said.as_deref(), Some("Succeeded" | "Failed")) || pod::ended(&handle.desired().pod);
        ended || handle.ending().is_some()
    }

    /// Where nothing was written down of the devices of pods, looks at what containers have, before any are handed out.
    async fn find_devices(&self) -> Result<()> {
        let devices = &self.config.devices;
        if !devices.is_lost() {
            return Ok(());
        }
        let pods = self.pods();
        let runtime = &self.needs.runtime;
        let all = runtime.containers(&ContainerFilter::default()).await?;
        // Another node's agent may run pods by the same runtime.
        let sandboxes = runtime.sandboxes(&SandboxFilter::default()).await?;
        let ours = |sandbox: &Sandbox| sandbox.annotations.get(labels::NODE) == Some(&self.config.node);
        let ours: BTreeSet<_> = sandboxes.into_iter().filter(ours).map(|sandbox| sandbox.id).collect();
        let label = |container: &windlass_kernel::runtime::Container, name: &str| {
            container.labels.get(name).cloned().unwrap_or_default()
        };
        let seen = all.into_iter().filter(|container| ours.contains(&container.sandbox)).filter_map(|container| {
            let uid = label(&container, labels::UID);
            let alive = matches!(container.state, ContainerState::Created | ContainerState::Running);
            // One that has ended may start again, unless its pod has ended.
            let may = pods.get(&uid).is_some_and(|pod| !pod::ended(pod));
            let devices = serde_json::from_str(container.annotations.get(labels::DEVICES)?).ok()?;
            (alive || may).then(|| Seen {
                namespace: label(&container, labels::NAMESPACE),
                name: label(&container, labels::NAME),
                container: label(&container, labels::CONTAINER),
                uid,
                devices,
            })
        });
        devices.restore(seen.collect());
        Ok(())
    }
}

impl Round<'_> {
    /// Hands a pod its devices before it begins, or notes that it is to end as failed. What has begun has them.
    pub(super) async fn give_devices(&mut self, pod: &Arc<Pod>, observed: &Observed) -> Result<()> {
        let begun = !observed.sandboxes.is_empty() || !observed.containers.is_empty();
        let over = self.memo.records.failed.is_some() || pod::ended(pod);
        if self.memo.given || begun || over || !may_ask(pod) {
            return Ok(());
        }
        self.inner.find_devices().await?;
        if let Err(Refusal { why, .. }) = self.unless_it_ends(self.inner.wait_for_devices(pod)).await? {
            let why = format!("Allocate failed due to {why}, which is unexpected");
            self.event(pod, None, "Warning", UNEXPECTED, &why);
            self.memo.records.failed = Some((UNEXPECTED.into(), format!("Pod was rejected: {why}")));
        }
        self.memo.given = true;
        Ok(())
    }

    /// What a container needs for its devices, which are ready then.
    pub(super) async fn outfit(&self, pod: &Pod, container: &Container) -> Result<Result<Outfit, String>> {
        if !may_ask(pod) {
            return Ok(Ok(Outfit::default()));
        }
        self.inner.find_devices().await?;
        self.unless_it_ends(self.inner.config.devices.equip(pod, container, self.inner.devices_rim())).await
    }
}

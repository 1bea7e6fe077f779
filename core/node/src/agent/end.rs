//! Ends instances, pods that are done, and pods that are let go.

use std::{sync::Arc, time::Duration};

use futures::future::{Either, join_all, select};
use windlass_api::core::v1::Pod;
use windlass_kernel::{
    ClockExt, Result,
    runtime::{ContainerId, ContainerStatus},
};

use super::worker::{Next, Round};
use crate::{
    pod::{self, Observed, Why},
    probe,
};

/// However short the grace, a process gets so long unless it gets none at all.
const LEAST: Duration = Duration::from_secs(2);

impl Round<'_> {
    /// Lets a pod go: everything ends, is removed, and the last report says so.
    pub(super) async fn release(&mut self, pod: &Arc<Pod>, observed: &Observed, grace: Duration) -> Result<Next> {
        self.memo.probes.clear();
        self.memo.shown.stored.ask_no_more();
        let running: Vec<_> = observed.running().cloned().collect();
        if !running.is_empty() {
            self.report(pod, observed, true, false);
            self.kill_all(pod, &running, grace).await?;
            return Ok(Next::Again);
        }
        let status = self.status(pod, observed, true, true);
        // Before anything is removed, so that the last words are told even if this process ends now.
        self.tell(pod, status.clone(), false);
        for sandbox in &observed.sandboxes {
            self.inner.needs.runtime.remove_sandbox(&sandbox.id).await?;
        }
        for lost in &observed.containers {
            self.inner.needs.runtime.remove_container(&lost.container.id).await?;
        }
        self.sweep(pod, true).await?;
        self.tell(pod, status, true);
        Ok(Next::Done)
    }

    /// Ends what is left of a pod whose containers have run to their end. Their logs and ends can still be asked for.
    pub(super) async fn finish(&mut self, pod: &Arc<Pod>, observed: &Observed) -> Result<Next> {
        self.memo.probes.clear();
        let running: Vec<_> = observed.running().cloned().collect();
        if !running.is_empty() {
            self.report(pod, observed, true, false);
            let grace = self.handle.ending().unwrap_or_else(|| pod::seconds(pod::grace(pod)));
            self.kill_all(pod, &running, grace).await?;
            return Ok(Next::Again);
        }
        // Instances that were removed since, to make room, are not lost: the last word on them was said.
        if self.memo.swept.is_some_and(|left| observed.containers.len() < left) {
            return Ok(Next::Wait(None));
        }
        self.report(pod, observed, true, true);
        if self.memo.swept.is_some() {
            return Ok(Next::Wait(None));
        }
        for sandbox in &observed.sandboxes {
            self.inner.needs.runtime.stop_sandbox(&sandbox.id).await?;
        }
        self.sweep(pod, false).await?;
        self.memo.swept = Some(observed.containers.len());
        self.handle.clean();
        Ok(Next::Again)
    }

    /// Takes the pod's things off the node.
    async fn sweep(&mut self, pod: &Arc<Pod>, logs: bool) -> Result<()> {
        self.unmount(pod).await?;
        let (layout, uid) = (self.inner.layout.clone(), pod::uid(pod));
        let folder = layout.logs(pod);
        let work = move || -> std::io::Result<()> {
            crate::volume::clean(&layout.pod(&uid))?;
            if logs {
                crate::volume::clean(&folder)?;
            }
            crate::cgroup::remove(&layout.cgroups(&uid))
        };
        let done = self.blocking(work).await?;
        self.forget_volumes();
        self.inner.config.devices.free(&pod::uid(pod), &*self.inner.needs.spawn).await;
        done.map_err(|error| {
            let message = format!("cannot clean up after pod {}", pod::key(pod));
            windlass_kernel::Error::new(windlass_kernel::ErrorKind::Internal, message).with_source(error)
        })
    }

    /// Ends one instance for its own sake.
    pub(super) async fn stop(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        id: &ContainerId,
        name: &str,
        why: Why,
    ) -> Result<()> {
        let probe = pod::container(pod, name).and_then(|(container, _)| match why {
            Why::Liveness => container.liveness_probe.clone(),
            Why::Startup => container.startup_probe.clone(),
            Why::Unknown | Why::Resize => None,
        });
        let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
        let grace = pod::seconds(own.unwrap_or_else(|| pod::grace(pod)));
        let text = match why {
            Why::Liveness => format!("Container {name} failed liveness probe, will be restarted"),
            Why::Startup => format!("Container {name} failed startup probe, will be restarted"),
            Why::Resize => format!("Container {name} resize requires restart"),
            Why::Unknown => format!("Container {name} is in an unknown state, try killing it before restart"),
        };
        let Some(status) = observed.containers.iter().find(|status| status.container.id == *id) else { return Ok(()) };
        self.announce(pod, status, &text);
        let end = self.end_one(pod, status, observed, grace);
        let sooner = self.handle.sooner(None);
        match select(Box::pin(end), Box::pin(sooner)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Ok(()),
        }
    }

    fn announce(&mut self, pod: &Arc<Pod>, status: &ContainerStatus, text: &str) {
        if self.memo.killing.insert(status.container.id.clone()) {
            self.event(pod, Some(&status.container.key.name), "Normal", "Killing", text);
        }
    }

    /// Ends instances within `grace`: the main ones together, then the sidecars from the last to the first. Returns early
    /// if the pod is to end sooner.
    pub(super) async fn kill_all(
        &mut self,
        pod: &Arc<Pod>,
        running: &[ContainerStatus],
        grace: Duration,
    ) -> Result<()> {
        for status in running {
            self.announce(pod, status, &format!("Stopping container {}", status.container.key.name));
        }
        let ips = self.memo.ips.as_ref().map(|(_, ips)| ips.clone()).unwrap_or_default();
        let observed = Observed { ips, ..Observed::default() };
        let clock = &self.inner.needs.clock;
        let end = clock.uptime() + grace;
        let init = |status: &&ContainerStatus| {
            pod.spec.init_containers.iter().position(|container| container.name == status.container.key.name)
        };
        let this = &*self;
        let all = async {
            let mains = running.iter().filter(|status| init(status).is_none());
            for done in join_all(mains.map(|status| this.end_one(pod, status, &observed, grace))).await {
                done?;
            }
            let mut sidecars: Vec<_> = running.iter().filter(|status| init(status).is_some()).collect();
            sidecars.sort_by_key(|status| std::cmp::Reverse(init(status)));
            for status in sidecars {
                this.end_one(pod, status, &observed, end.saturating_sub(clock.uptime())).await?;
            }
            Ok(())
        };
        // A pod that is not being let go may be at any time, with a grace of its own.
        let current = this.handle.ending().map(|_| grace);
        match select(Box::pin(all), Box::pin(this.handle.sooner(current))).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Ok(()),
        }
    }

    /// The hook before the end, the signal, and after the grace the kill.
    async fn end_one(
        &self,
        pod: &Arc<Pod>,
        status: &ContainerStatus,
        observed: &Observed,
        grace: Duration,
    ) -> Result<()> {
        let clock = &self.inner.needs.clock;
        let begin = clock.uptime();
        let name = &status.container.key.name;
        let hook = pod::container(pod, name).and_then(|(container, _)| {
            let hook = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
            Some(probe::Ask::of_hook(hook, &container))
        });
        if let Some(hook) = hook.filter(|_| !grace.is_zero()) {
            let target = self.target(pod, &status.container.id, observed);
            let asked = clock.within(grace, probe::ask(&self.inner.needs, &target, &hook, None)).await;
            if let Some(Err(why)) = asked {
                self.event(pod, Some(name), "Warning", "FailedPreStopHook", &format!("PreStopHook failed: {why}"));
            }
        }
        let left = grace.saturating_sub(clock.uptime().saturating_sub(begin));
        let left = if grace.is_zero() { left } else { left.max(LEAST) };
        self.inner.needs.runtime.stop_container(&status.container.id, left).await
    }

    pub(crate) fn target(&self, pod: &Pod, id: &ContainerId, observed: &Observed) -> probe::Target {
        let ip = self.inner.place(&observed.ips, pod).ips.first().copied();
        probe::Target { container: id.clone(), ip }
    }
}

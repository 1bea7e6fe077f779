//! A runtime that notes when any of its calls was under way, to tell the agent's own time from the runtime's.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use windlass_kernel::{
    Clock, ContainerRuntime, Result,
    node::Session,
    runtime::{
        Checkpoints, Container, ContainerConfig, ContainerFilter, ContainerId, ContainerStats, ContainerStatus,
        ExecOutput, Opening, PodRanges, Resources, RuntimeEvents, RuntimeStatus, RuntimeVersion, Sandbox,
        SandboxConfig, SandboxFilter, SandboxId, SandboxMetering, SandboxStatus,
    },
};
use windlass_lab::Lab;

use crate::bench::Bench;

#[derive(Debug)]
pub(crate) struct Timed {
    inner: Arc<dyn ContainerRuntime>,
    clock: Arc<dyn Clock>,
    calls: Mutex<Vec<(&'static str, Duration, Duration)>>,
    made: Mutex<Vec<(SandboxConfig, ContainerConfig)>>,
}

impl Timed {
    pub(crate) fn new(inner: Arc<dyn ContainerRuntime>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, calls: Mutex::default(), made: Mutex::default() }
    }

    /// What containers were made of, each with its sandbox.
    pub(crate) fn made(&self) -> Vec<(SandboxConfig, ContainerConfig)> {
        self.made.lock().clone()
    }

    /// How long at least one call was under way between the two moments.
    pub(crate) fn busy(&self, from: Duration, to: Duration) -> Duration {
        let mut spans: Vec<_> = self.calls.lock().iter().map(|(_, a, b)| (*a.max(&from), *b.min(&to))).collect();
        spans.sort();
        let (mut sum, mut end) = (Duration::ZERO, from);
        for (a, b) in spans {
            sum += b.saturating_sub(a.max(end));
            end = end.max(b);
        }
        sum
    }

    /// How often a method was called.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.calls.lock().iter().filter(|(called, ..)| *called == name).count()
    }

    async fn note<T>(&self, name: &'static str, call: impl Future<Output = T> + Send) -> T {
        let begin = self.clock.uptime();
        let done = call.await;
        self.calls.lock().push((name, begin, self.clock.uptime()));
        done
    }
}

/// An agent whose calls of the runtime are noted.
pub(crate) async fn timed(lab: &Lab, name: &'static str) -> (Bench, Arc<Timed>) {
    let mut timed = None;
    let bench = Bench::with(lab, name, |_, needs| {
        let one = Arc::new(Timed::new(Arc::clone(&needs.runtime), needs.clock.clone()));
        needs.runtime = one.clone();
        timed = Some(one);
    });
    (bench.await, timed.expect("it was made"))
}

macro_rules! timed {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        #[async_trait]
        impl ContainerRuntime for Timed {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$out> {
                self.note(stringify!($name), self.inner.$name($($arg),*)).await
            })*
            async fn create_container(
                &self,
                sandbox: &SandboxId,
                config: &ContainerConfig,
                of: &SandboxConfig,
            ) -> Result<ContainerId> {
                self.made.lock().push((of.clone(), config.clone()));
                self.note("create_container", self.inner.create_container(sandbox, config, of)).await
            }
            fn events(&self) -> RuntimeEvents { self.inner.events() }
            fn metering(&self) -> Option<&dyn SandboxMetering> { self.inner.metering() }
            fn checkpoints(&self) -> Option<&dyn Checkpoints> { self.inner.checkpoints() }
            fn pod_ranges(&self) -> Option<&dyn PodRanges> { self.inner.pod_ranges() }
        }
    };
}

timed! {
    version() -> RuntimeVersion;
    status() -> RuntimeStatus;
    run_sandbox(config: &SandboxConfig) -> SandboxId;
    stop_sandbox(id: &SandboxId) -> ();
    remove_sandbox(id: &SandboxId) -> ();
    sandbox(id: &SandboxId) -> Option<SandboxStatus>;
    sandboxes(filter: &SandboxFilter) -> Vec<Sandbox>;
    start_container(id: &ContainerId) -> ();
    stop_container(id: &ContainerId, grace: Duration) -> ();
    remove_container(id: &ContainerId) -> ();
    container(id: &ContainerId) -> Option<ContainerStatus>;
    containers(filter: &ContainerFilter) -> Vec<Container>;
    update_container(id: &ContainerId, resources: &Resources) -> ();
    reopen_log(id: &ContainerId) -> ();
    exec(id: &ContainerId, command: &[String], timeout: Option<Duration>) -> ExecOutput;
    session(opening: Opening) -> Session;
    stats(filter: &ContainerFilter) -> Vec<ContainerStats>;
}
